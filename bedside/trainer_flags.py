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
    """A field of a config dataclass: `annotation` as `int | None`, its default if it is a literal, its help."""

    name: str
    annotation: str
    default: Any
    help: str
    choices: tuple[str, ...] | None


_TRANSFORMERS = ("transformers", "training_args.py", "TrainingArguments")
_TRL_BASE = ("trl", "trainer/base_config.py", "_BaseConfig")
_GRPO = ("trl", "trainer/grpo_config.py", "GRPOConfig")
_RLOO = ("trl", "trainer/rloo_config.py", "RLOOConfig")
CONFIGS = {
    "SFTConfig": (_TRANSFORMERS, _TRL_BASE, ("trl", "trainer/sft_config.py", "SFTConfig")),
    "RewardConfig": (_TRANSFORMERS, _TRL_BASE, ("trl", "trainer/reward_config.py", "RewardConfig")),
    "DPOConfig": (_TRANSFORMERS, _TRL_BASE, ("trl", "trainer/dpo_config.py", "DPOConfig")),
    "KTOConfig": (_TRANSFORMERS, _TRL_BASE, ("trl", "trainer/kto_config.py", "KTOConfig")),
    "PairConfig": (_TRANSFORMERS, ("bedside", "preference/config.py", "PairConfig")),
    "GRPOConfig": (_TRANSFORMERS, _TRL_BASE, _GRPO),
    "RLOOConfig": (_TRANSFORMERS, _TRL_BASE, _RLOO),
    "GroupConfig": (_TRANSFORMERS, _TRL_BASE, _RLOO, _GRPO),  # the flags of both, for one script
    "PPOConfig": (_TRANSFORMERS, ("bedside", "ppo/config.py", "PPOConfig")),
}
# Where transformers keeps the enumerations that annotate some fields.
_ENUMS = {
    "OptimizerNames": "training_args.py",
    "SchedulerType": "trainer_utils.py",
    "IntervalStrategy": "trainer_utils.py",
    "SaveStrategy": "trainer_utils.py",
}


def _package_root(package: str) -> Path:
    spec = find_spec(package)  # finds the package without running it
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"{package} is not installed; run: pip install -r requirements.txt")
    return Path(next(iter(spec.submodule_search_locations)))


@lru_cache
def _class_body(package: str, file: str, name: str) -> list[ast.stmt]:
    tree = ast.parse((_package_root(package) / file).read_text(encoding="utf-8"))
    return next((node.body for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name), [])


def _literal(node: ast.expr | None) -> Any:
    """The value of a literal; None for anything that would have to be run."""
    try:
        return None if node is None else ast.literal_eval(node)
    except ValueError:
        return None


def _text(node: ast.expr | None) -> str:
    """A help text written as adjacent strings, an f-string or a concatenation, as plain text."""
    pieces = [part.value for part in ast.walk(node) if isinstance(part, ast.Constant)] if node is not None else []
    return " ".join("".join(piece for piece in pieces if isinstance(piece, str)).replace("%%", "%").split())


def kinds_of(node: ast.expr) -> list[str]:
    """The members of an annotation, however it is spelled: `Optional[Union[int, str]]` is int, str and None."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return kinds_of(ast.parse(node.value, mode="eval").body)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return kinds_of(node.left) + kinds_of(node.right)
    if isinstance(node, ast.Subscript):
        outer = ast.unparse(node.value).split(".")[-1]
        if outer == "Optional":
            return [*kinds_of(node.slice), "None"]
        if outer == "Union":
            members = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            return [kind for member in members for kind in kinds_of(member)]
        return [ast.unparse(node).lower() if outer in ("List", "Dict") else ast.unparse(node)]
    return [ast.unparse(node).split(".")[-1]]


def _field(statement: ast.AnnAssign) -> TrainerFlag:
    """One annotated assignment of a dataclass as a flag."""
    default, text, choices = statement.value, "", None
    if isinstance(default, ast.Call):
        keywords = {keyword.arg: keyword.value for keyword in default.keywords}
        default, metadata = keywords.get("default"), keywords.get("metadata")
        if isinstance(metadata, ast.Dict):
            told = {_literal(key): value for key, value in zip(metadata.keys, metadata.values, strict=True)}
            text, choices = _text(told.get("help")), _literal(told.get("choices"))
    kinds = kinds_of(statement.annotation)
    enums = [kind for kind in kinds if kind in _ENUMS]
    if enums and not choices:
        choices = enum_values(enums[0])
    return TrainerFlag(
        statement.target.id, " | ".join(kinds), _literal(default), text, tuple(choices) if choices else None
    )


def enum_values(name: str) -> tuple[str, ...]:
    """The values of one of transformers' string enumerations, such as SchedulerType."""
    body = _class_body("transformers", _ENUMS[name], name)
    return tuple(_literal(item.value) for item in body if isinstance(item, ast.Assign))


@lru_cache
def flags_of(config: str) -> dict[str, TrainerFlag]:
    """Flags of one of CONFIGS, by name; later classes override earlier ones as inheritance does."""
    flags: dict[str, TrainerFlag] = {}
    for place in CONFIGS[config]:
        for statement in _class_body(*place):
            if isinstance(statement, ast.AnnAssign) and not statement.target.id.startswith("_"):
                flag = _field(statement)
                known = flags.get(flag.name)
                flags[flag.name] = flag._replace(
                    help=flag.help or (known.help if known else ""),
                    choices=flag.choices or (known.choices if known else None),
                )
    return flags
