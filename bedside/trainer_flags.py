"""The trainer's own flags, read from the installed libraries' source without importing them.

`transformers.TrainingArguments` and TRL's configs are dataclasses in files of known names. Importing them costs
seven seconds; reading them costs a tenth of one, and the list is always that of the installed version.
"""

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from bedside.errors import ConfigError


class TrainerFlag(NamedTuple):
    """A field of a config dataclass: its annotation and help as text, its default if it is a literal."""

    name: str
    annotation: str
    default: Any
    help: str


_TRANSFORMERS = ("transformers", "training_args.py", "TrainingArguments")
_TRL_BASE = ("trl", "trainer/base_config.py", "_BaseConfig")
CONFIGS = {
    "SFTConfig": (_TRANSFORMERS, _TRL_BASE, ("trl", "trainer/sft_config.py", "SFTConfig")),
}


def _package_root(package: str) -> Path:
    spec = find_spec(package)  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"{package} is not installed; run: pip install -r requirements.txt")
    return Path(next(iter(spec.submodule_search_locations)))


def _literal(node: ast.expr | None) -> Any:
    if node is None:
        return None
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None


def _text(node: ast.expr | None) -> str:
    """A help text written as adjacent strings, an f-string or a concatenation, as plain text."""
    pieces = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)] if node is not None else []
    return " ".join("".join(piece for piece in pieces if isinstance(piece, str)).replace("%%", "%").split())


def _field(statement: ast.AnnAssign) -> TrainerFlag:
    default, text = statement.value, ""
    if isinstance(default, ast.Call):
        keywords = {keyword.arg: keyword.value for keyword in default.keywords}
        default, metadata = keywords.get("default"), keywords.get("metadata")
        if isinstance(metadata, ast.Dict):
            for key, value in zip(metadata.keys, metadata.values, strict=True):
                if isinstance(key, ast.Constant) and key.value == "help":
                    text = _text(value)
    return TrainerFlag(statement.target.id, ast.unparse(statement.annotation), _literal(default), text)


@lru_cache
def flags_of(config: str) -> dict[str, TrainerFlag]:
    """Flags of one of CONFIGS, by name; later classes override earlier ones as inheritance does."""
    flags: dict[str, TrainerFlag] = {}
    for package, file, name in CONFIGS[config]:
        tree = ast.parse((_package_root(package) / file).read_text(encoding="utf-8"))
        for statement in next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name).body:
            if isinstance(statement, ast.AnnAssign) and not statement.target.id.startswith("_"):
                flag = _field(statement)
                known = flags.get(flag.name)
                flags[flag.name] = flag._replace(help=flag.help or (known.help if known else ""))
    return flags
