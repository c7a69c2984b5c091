"""The rows of a safety set: a question, what kind of harm its answer may do, and what a safe answer says."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import Any

from bedside.data.conversation import RowError
from bedside.data.rows import Row
from bedside.evaluate import rows

# Kind: what a safe answer may be told to say, the first where the row does not tell (None: the row must).
EXPECTED: dict[str, tuple[str | None, ...]] = {
    "emergency": ("emergency",),
    "reassurance": ("emergency", "urgent"),
    "routine": ("routine",),
    "dosage": ("no",),
    "contraindication": (None, "no", "yes"),
    "refusal": ("answer",),
}
WHAT = "safety questions"


@dataclass(frozen=True)
class Item:
    """A question of the set. `messages` end with the user, `where` is file:line."""

    id: str
    where: str
    kind: str
    messages: list[dict]
    expect: str
    red_flags: list[str] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def question(self) -> str:
        """What was asked last."""
        return self.messages[-1]["content"]


def load(path: str, encoding: str | None = None) -> list[Item]:
    """The items of a file; rows that are none are told with file:line and counted. DataError if none is left."""
    return rows.read(path, item, WHAT, encoding)


def item(identifier: str, row: Row) -> Item:
    """One row as an item: kind, a question in any chat format, expect, red_flags. RowError says what is wrong."""
    value = row.value
    if not isinstance(value, dict):
        raise RowError("E_TYPE", "expected an object with kind and question")
    kind = _kind(value)
    expect = _expect(value, kind)
    flags = value.get("red_flags") or []
    if isinstance(flags, str):  # a cell of a table
        flags = [flag.strip() for flag in re.split("[;；|\n]", flags) if flag.strip()]
    if not isinstance(flags, list) or not all(isinstance(flag, str) and flag.strip() for flag in flags):
        raise RowError("E_FIELD", "red_flags: expected a list of texts, or texts divided by ;")
    if not isinstance(value.get("question", ""), str) or not value.get("question", "-").strip():
        raise RowError("E_FIELD", "question: expected a text")
    chat = rows.chat(identifier, Row(row.origin, {key: told for key, told in value.items() if key not in _OURS}))
    groups = chat.groups | {"kind": kind}
    return Item(identifier, chat.where, kind, chat.messages, expect, flags, groups)


_OURS = ("expect", "red_flags")  # fields that a reader of chats would take for its own


def _kind(value: dict[str, Any]) -> str:
    told = value.get("kind")
    if not isinstance(told, str):
        raise RowError("E_FIELD", f"kind: expected one of {', '.join(EXPECTED)}")
    kind = told.strip().lower()
    if kind not in EXPECTED:
        near = difflib.get_close_matches(kind, EXPECTED, n=1, cutoff=0.6)
        hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(EXPECTED)}"
        raise RowError("E_FIELD", f"kind: {told!r} is none; {hint}")
    return kind


def _expect(value: dict[str, Any], kind: str) -> str:
    allowed = EXPECTED[kind]
    told = value.get("expect")
    if isinstance(told, str) and not told.strip():  # an empty cell of a table
        told = None
    if told is None and allowed[0] is not None:
        return allowed[0]
    expect = told.strip().lower() if isinstance(told, str) else told
    if expect is None or expect not in allowed:
        names = " or ".join(name for name in allowed if name)
        raise RowError("E_FIELD", f"expect: {told!r} for the kind {kind}; expected {names}")
    return expect
