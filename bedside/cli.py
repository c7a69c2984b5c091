"""argv and recipes to the dataclasses of `args.py`: types, aliases, conflicts, and the nearest name for a typo."""

import argparse
import dataclasses
import difflib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, Union, get_args, get_origin

from bedside.args import RETIRED, TRAINER_ALIASES
from bedside.errors import ConfigError
from bedside.trainer_flags import TrainerFlag, flags_of

_YES, _NO = ("true", "1", "yes", "y", "on"), ("false", "0", "no", "n", "off")
_NOTHING = ("none", "null", "")


@dataclasses.dataclass
class Parsed:
    """The groups' instances by class name, the trainer's flags, and what the user gave explicitly."""

    groups: dict[type, Any]
    trainer: dict[str, Any]
    given: set[str]

    def __getitem__(self, group: type) -> Any:
        return self.groups[group]


def boolean(text: str) -> bool:
    """`True`, `true`, `1`, `yes` ... as a bool."""
    if text.lower() in _YES + _NO:
        return text.lower() in _YES
    raise argparse.ArgumentTypeError(f"expected True or False, found {text}")


def _optional(convert: Callable[[str], Any]) -> Callable[[str], Any]:
    def converted(text: str) -> Any:
        return None if text.lower() in _NOTHING else convert(text)

    converted.__name__ = getattr(convert, "__name__", "value")
    return converted


def _json_or_text(text: str) -> Any:
    return json.loads(text) if text.lstrip().startswith(("{", "[")) else text


def _list_or_text(text: str) -> Any:
    return [item.strip() for item in text.split(",")] if "," in text and "{" not in text else _json_or_text(text)


def _converter(annotation: str) -> tuple[Callable[[str], Any], bool]:
    """`(converter, is_bool)` for an annotation's text, such as "int | None"."""
    kinds = {kind.strip() for kind in annotation.split("|")}
    optional = "None" in kinds
    if any(kind.startswith("list") for kind in kinds):
        base: Callable = _list_or_text
    elif any(kind.startswith("dict") for kind in kinds):
        base = _json_or_text
    elif "str" in kinds or any(kind.endswith(("Type", "Strategy", "Names", "Config")) for kind in kinds):
        base = str
    elif "float" in kinds:
        base = float
    elif "int" in kinds:
        base = int
    elif "bool" in kinds:
        return (_optional(boolean) if optional else boolean), True
    else:
        base = str
    return (_optional(base) if optional else base), "bool" in kinds


def _annotation_text(kind: Any) -> str:
    if get_origin(kind) is Union or type(kind).__name__ == "UnionType":
        return " | ".join("None" if arg is type(None) else arg.__name__ for arg in get_args(kind))
    return kind if isinstance(kind, str) else kind.__name__


class _Once(argparse.Action):
    """Store a value; two spellings of one flag with different values are a conflict, not a last-one-wins."""

    def __call__(self, parser: "_Parser", namespace: argparse.Namespace, value: Any, option: str | None = None) -> None:
        seen = parser.spelled.get(self.dest)
        if seen and seen[1] != value and seen[0] != option:
            parser.problems.append(f"{seen[0]} {seen[1]} and {option} {value} are the same flag; give one")
        parser.spelled[self.dest] = (option, value)
        setattr(namespace, self.dest, value)


class _Parser(argparse.ArgumentParser):
    def __init__(self, **kwargs: Any):
        super().__init__(allow_abbrev=False, usage="%(prog)s [RECIPE.yaml] [--flag value ...]", **kwargs)
        self.problems: list[str] = []
        self.spelled: dict[str, tuple[str, Any]] = {}

    def error(self, message: str) -> NoReturn:
        raise ConfigError([*self.problems, message.removeprefix("argument ")])


def _add(group: Any, name: str, annotation: str, default: Any, text: str, aliases: tuple, choices: Any) -> None:
    convert, is_bool = _converter(annotation)
    extra = {"nargs": "?", "const": True} if is_bool else {}
    shown = text.replace("%", "%%") or " "
    group.add_argument(
        *(f"--{spelling}" for spelling in (name, *aliases)),
        dest=name,
        action=_Once,
        type=convert,
        choices=choices,
        default=argparse.SUPPRESS,
        metavar=None if choices else name.upper(),
        help=f"{shown} [{default}]" if default is not None else shown,
        **extra,
    )


def _build(description: str, groups: tuple[type, ...], trainer: dict[str, TrainerFlag]) -> _Parser:
    parser = _Parser(description=description, prog=Path(sys.argv[0]).name if sys.argv[0] else None)
    parser.add_argument("--config", default=argparse.SUPPRESS, help="a YAML recipe; also accepted as first argument")
    declared: set[str] = set()
    for kind in groups:
        group = parser.add_argument_group(kind.__name__.removesuffix("Arguments").lower(), kind.__doc__)
        for item in dataclasses.fields(kind):
            meta = item.metadata
            _add(group, item.name, _annotation_text(item.type), item.default, meta["help"], meta["aliases"],
                 meta["choices"])  # fmt: skip
            declared |= {item.name, *meta["aliases"]}
    group = parser.add_argument_group("trainer", "Flags of transformers' and TRL's trainers, as installed.")
    for name, item in trainer.items():
        if name not in declared and name not in RETIRED:
            aliases = tuple(a for a in TRAINER_ALIASES.get(name, ()) if a not in declared)
            _add(group, name, item.annotation, item.default, item.help, aliases, None)
    if "warmup_steps" in trainer:
        group.add_argument("--warmup_ratio", action=_Once, type=float, default=argparse.SUPPRESS,
                           help="share of the steps for warm-up, 0..1")  # fmt: skip
        group.add_argument("--group_by_length", action=_Once, type=boolean, nargs="?", const=True,
                           default=argparse.SUPPRESS, help="batch rows of similar length")  # fmt: skip
    return parser


def _spellings(parser: _Parser) -> dict[str, argparse.Action]:
    return {option.removeprefix("--"): action for action in parser._actions for option in action.option_strings}


def _unknown(name: str, known: dict[str, argparse.Action]) -> str:
    if name in RETIRED:
        return RETIRED[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"--{name}: unknown flag" + (f"; did you mean --{near[0]}?" if near else "; --help lists all flags")


def _recipe_argv(path: str, known: dict[str, argparse.Action]) -> list[str]:
    """A YAML recipe as argv, so that its values take the way of all flags."""
    import yaml

    if not Path(path).is_file():
        raise ConfigError(f"{path}: no such recipe")
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(f"{path}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(recipe, dict):
        raise ConfigError(f"{path}: expected `flag: value` lines")
    problems = [f"{path}: {_unknown(str(key), known)}" for key in recipe if str(key).replace("-", "_") not in known]
    if problems:
        raise ConfigError(problems)
    argv = []
    for key, value in recipe.items():
        if isinstance(value, list) and not any(isinstance(item, (dict, list)) for item in value):
            value = ",".join(map(str, value))
        argv += [f"--{key}", json.dumps(value) if isinstance(value, (dict, list)) else str(value)]
    return argv


def _normal(word: str) -> str:
    """`--lora-rank=8` -> `--lora_rank=8`: dashes in a flag's name count as underscores."""
    if not word.startswith("--"):
        return word
    name, equals, value = word.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def parse(groups: tuple[type, ...], argv: list[str] | None = None, config: str | None = None, description: str = "") -> Parsed:
    """Parse `argv` (default: the command line) into `groups` and the flags of the trainer config `config`.

    A first argument that ends in .yaml, or --config, is a recipe whose values the other flags override.
    Raises ConfigError with every problem found.
    """
    words = [_normal(word) for word in (sys.argv[1:] if argv is None else argv)]
    trainer = flags_of(config) if config else {}
    parser = _build(description, groups, trainer)
    known = _spellings(parser)
    recipe = None
    if words and words[0].endswith((".yaml", ".yml")):
        recipe = words.pop(0)
    elif "--config" in words and words.index("--config") + 1 < len(words):
        recipe = words[words.index("--config") + 1]
    values = vars(_parse_layer(parser, known, _recipe_argv(recipe, known), f"{recipe}: ")) if recipe else {}
    values |= vars(_parse_layer(parser, known, words, ""))
    values.pop("config", None)
    made, problems = {}, []
    for kind in groups:
        names = {item.name for item in dataclasses.fields(kind)}
        made[kind] = kind(**{name: value for name, value in values.items() if name in names})
    own = {item.name for kind in groups for item in dataclasses.fields(kind)}
    chosen = {name: value for name, value in values.items() if name not in own}
    problems += _translate_old_names(chosen)
    if problems:
        raise ConfigError(problems)
    return Parsed(made, chosen, set(values))


def _parse_layer(parser: _Parser, known: dict[str, argparse.Action], words: list[str], prefix: str) -> argparse.Namespace:
    parser.problems, parser.spelled = [], {}
    namespace, rest = parser.parse_known_args(words)
    problems = list(parser.problems)
    for word in rest:
        if word.startswith("--"):
            problems.append(_unknown(word[2:].partition("=")[0], known))
    if rest and not problems:
        problems.append(f"unexpected argument {rest[0]}; flags begin with --")
    if problems:
        raise ConfigError([prefix + problem for problem in problems])
    return namespace


def _translate_old_names(chosen: dict[str, Any]) -> list[str]:
    """Flags that transformers 5 renamed, in place; returns conflicts."""
    problems = []
    ratio = chosen.pop("warmup_ratio", None)
    if ratio is not None:
        if chosen.get("warmup_steps"):
            problems.append(f"--warmup_ratio {ratio} and --warmup_steps {chosen['warmup_steps']}: give one")
        elif not 0 <= ratio < 1:
            problems.append(f"--warmup_ratio {ratio}: expected 0 <= ratio < 1; a number of steps is --warmup_steps")
        else:
            chosen["warmup_steps"] = ratio  # below 1 it is a share of all steps
    grouped = chosen.pop("group_by_length", None)
    if grouped:
        chosen["train_sampling_strategy"] = "group_by_length"
    return problems
