"""The flags of one script as a table: own groups and the trainer's, each with its spellings, type and default."""

import dataclasses
import difflib
import json
import math
from typing import Any, NamedTuple, Union, get_args, get_origin

from bedside.spellings import ACCEPTED, BARE, DEFAULT_TEXT, RETIRED, TRAINER_ALIASES
from bedside.trainer_flags import TrainerFlag, flags_of

_YES, _NO = ("true", "1", "yes", "y", "on"), ("false", "0", "no", "n", "off")
_NOTHING = ("none", "null", "")


class Flag(NamedTuple):
    """One flag: `kinds` as {"int", "None"}, `bare` the text that the flag alone stands for, `many` if words follow."""

    name: str
    kinds: frozenset[str]
    default: str
    help: str
    group: str
    aliases: tuple[str, ...] = ()
    choices: tuple[str, ...] | None = None
    only: tuple | None = None
    bare: str | None = None
    many: bool = False


def _kinds(annotation: Any) -> frozenset[str]:
    if get_origin(annotation) is Union or type(annotation).__name__ == "UnionType":
        return frozenset("None" if kind is type(None) else kind.__name__ for kind in get_args(annotation))
    return frozenset([annotation.__name__])


def _own(group: type, field: dataclasses.Field) -> Flag:
    kinds, meta = _kinds(field.type), field.metadata
    return Flag(
        field.name, kinds, "" if field.default in (None, "") else str(field.default), meta["help"],
        group.__name__.removesuffix("Arguments").lower(), meta["aliases"], meta["choices"], meta["only"],
        BARE.get(field.name, "True" if "bool" in kinds else None), "joined by commas" in meta["help"],
    )  # fmt: skip


def _trainers(item: TrainerFlag) -> Flag:
    kinds = frozenset(item.annotation.split(" | "))
    default = "" if item.default in (None, "") else str(item.default)
    return Flag(
        item.name, kinds, DEFAULT_TEXT.get(item.name, default), item.help, "trainer",
        TRAINER_ALIASES.get(item.name, ()), item.choices, None,
        BARE.get(item.name, "True" if "bool" in kinds else None), any(kind.startswith("list") for kind in kinds),
    )  # fmt: skip


# Flags of older transformers that version 5 spells otherwise; `cli` translates them.
_OLD = (
    Flag("warmup_ratio", frozenset(["float"]), "", "share of the steps for warm-up, 0..1", "trainer"),
    Flag("group_by_length", frozenset(["bool"]), "", "batch rows of similar length", "trainer", bare="True"),
)


def table(groups: tuple[type, ...], config: str | None) -> list[Flag]:
    """All flags of a script with these groups of `args` and this trainer config, own ones first.

    A trainer flag that a group declares too, that is retired, or that is an alias of another is left out.
    """
    flags = [_own(group, field) for group in groups for field in dataclasses.fields(group)]
    taken = {spelling for flag in flags for spelling in (flag.name, *flag.aliases)}
    trainer = flags_of(config) if config else {}
    renamed = {alias for name in trainer for alias in TRAINER_ALIASES.get(name, ())}
    for item in trainer.values():
        if item.name not in taken | set(RETIRED) | set(ACCEPTED) | renamed:
            flag = _trainers(item)
            flags.append(flag._replace(aliases=tuple(alias for alias in flag.aliases if alias not in taken)))
    return flags + list(_OLD if trainer else ())


def spellings(flags: list[Flag]) -> dict[str, Flag]:
    """Every spelling to its flag."""
    return {spelling: flag for flag in flags for spelling in (flag.name, *flag.aliases)}


def convert(flag: Flag, text: str) -> Any:
    """The value that `text` stands for; ValueError says what was expected."""
    low = text.strip().lower()
    if "None" in flag.kinds and low in _NOTHING:
        return None
    if flag.choices:
        return _choice(flag.choices, text)
    if text.lstrip().startswith(("{", "[")) and any(kind.startswith(("dict", "list")) for kind in flag.kinds):
        return _json(text)
    if flag.many and any(kind.startswith("list") for kind in flag.kinds):
        return [item.strip() for item in text.split(",") if item.strip()]
    if "bool" in flag.kinds and (low in _YES + _NO or not flag.kinds & {"str", "float", "int"}):
        return _boolean(low, text)
    for kind, read, what in (("int", int, "a whole number"), ("float", _finite, "a number")):
        if kind in flag.kinds and not (kind == "int" and "float" in flag.kinds):
            try:
                return read(text)
            except ValueError:
                if "str" not in flag.kinds:
                    raise ValueError(f"expected {what}") from None
    return text


def _choice(choices: tuple[str, ...], text: str) -> str:
    if text in choices:
        return text
    near = difflib.get_close_matches(text.lower(), choices, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    raise ValueError(f"{hint}expected {', '.join(choices[:-1])} or {choices[-1]}" if len(choices) > 1 else
                     f"{hint}expected {choices[0]}")  # fmt: skip


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"expected JSON ({error})") from None


def _boolean(low: str, text: str) -> bool:
    if low not in _YES + _NO:
        raise ValueError("expected True or False")
    return low in _YES


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
