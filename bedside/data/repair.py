"""Repairs of chats whose turns do not alternate: asked for by name, told row by row, and nothing else changes.

A repair changes the row as it is written, not what it becomes: every field that is not named here stays as it was.
"""

from collections.abc import Callable
from typing import Any

from bedside.data.records import MESSAGE_ROLES, SHAREGPT_ROLES

REPAIRS = ("merge_turns", "drop_tail")
_TURNS = ("conversations", "messages")
_ROLES = {**SHAREGPT_ROLES, **MESSAGE_ROLES}
# A turn that holds more than who says what (a call, a thought, a mark) is not joined to another.
_PLAIN = ({"from", "value"}, {"role", "content"})


def _role(turn: Any, roles: dict[str, str]) -> str | None:
    name = turn.get("from", turn.get("role")) if isinstance(turn, dict) else None
    return roles.get(name) if isinstance(name, str) else None


def _joined(turns: list, roles: dict[str, str]) -> list:
    """Turns, neighbours of one role (user or assistant) as one with a blank line between their texts."""
    made: list = []
    for turn in turns:
        last = made[-1] if made else None
        key = "value" if isinstance(turn, dict) and "value" in turn else "content"
        fits = (
            _role(turn, roles) in ("user", "assistant")
            and _role(turn, roles) == _role(last, roles)
            and turn.keys() == last.keys()
            and set(turn) in _PLAIN
            and all(isinstance(one[key], str) and one[key].strip() for one in (last, turn))
        )
        if fits and not any("think>" in one[key] for one in (last, turn)):
            made[-1] = {**last, key: f"{last[key]}\n\n{turn[key]}"}
        else:
            made.append(turn)
    return made


def _without_ends(turns: list, roles: dict[str, str]) -> list:
    """Turns without answers in front of the first question and without questions behind the last answer."""
    kept = list(turns)
    first = 1 if kept and _role(kept[0], roles) == "system" else 0
    while len(kept) > first and _role(kept[first], roles) == "assistant":
        del kept[first]
    while kept and _role(kept[-1], roles) == "user":
        kept.pop()
    return kept


_WAYS: dict[str, Callable[[list, dict[str, str]], list]] = {"merge_turns": _joined, "drop_tail": _without_ends}


def repaired(row: Any, wanted: list[str], roles: dict[str, str] | None = None) -> tuple[Any, list[str]]:
    """The row with these repairs made, and the names of those that changed it; the row itself where none did.

    >>> repaired({"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}, ["merge_turns"])
    ({'messages': [{'role': 'user', 'content': 'a\\n\\nb'}]}, ['merge_turns'])
    """
    key = next((key for key in _TURNS if isinstance(row, dict) and isinstance(row.get(key), list)), None)
    if key is None:
        return row, []
    known, done = {**_ROLES, **(roles or {})}, []
    for name in (name for name in REPAIRS if name in wanted):
        turns = _WAYS[name](row[key], known)
        if turns != row[key]:
            row, done = {**row, key: turns}, [*done, name]
    return row, done
