"""The texts of a row and what each of them is; a row with other texts in the same places.

Only fields of the known formats are looked at. Everything else in a row is handed on as it came.
"""

import re
from typing import Any, NamedTuple

from bedside.data.conversation import RowError
from bedside.data.rows import Origin
from bedside.data.strict_json import shown_names

QUESTION, ANSWER, THOUGHT, SYSTEM, OPTION, TOOL, DOCUMENT = (
    "question", "answer", "thought", "system", "option", "tool", "document",
)  # fmt: skip

# What the text in a field of the row itself is.
_PARTS = {
    "instruction": QUESTION, "input": QUESTION, "prompt": QUESTION, "query": QUESTION, "question": QUESTION,
    "Question": QUESTION, "title": QUESTION, "ask": QUESTION,
    "output": ANSWER, "response": ANSWER, "completion": ANSWER, "answer": ANSWER, "Response": ANSWER,
    "chosen": ANSWER, "rejected": ANSWER, "explanation": ANSWER,
    "Complex_CoT": THOUGHT, "thought": THOUGHT, "reasoning_content": THOUGHT, "cot": THOUGHT,
    "system": SYSTEM, "text": DOCUMENT,
}  # fmt: skip
_TURNS = ("conversations", "messages", "prompt", "completion", "chosen", "rejected")
_OPTIONS = ("options", "option", "choices")
_SPEAKERS = {
    "human": QUESTION, "user": QUESTION, "gpt": ANSWER, "assistant": ANSWER, "bing": ANSWER, "chatgpt": ANSWER,
    "system": SYSTEM, "developer": SYSTEM, "tool": TOOL, "observation": TOOL, "function_call": TOOL,
}  # fmt: skip
_LETTERS = re.compile(r"[A-J]{1,10}")
_COLUMN = re.compile(r"(?:option_?|op)?[A-Fa-f]")  # option_a, A, opa: the options of a choice table


class Text(NamedTuple):
    """One text of a row: the keys that lead to it, what it is, and the text itself."""

    path: tuple[str | int, ...]
    part: str
    text: str


class Case(NamedTuple):
    """A row on its way through the cleaning steps, with the texts it now has."""

    origin: Origin
    row: dict[str, Any]
    texts: list[Text]


def texts_of(row: Any) -> list[Text]:
    """Every text in a known field, in the row's own order. RowError E_TYPE or E_SCHEMA if there is none."""
    if not isinstance(row, dict):
        raise RowError("E_TYPE", "the row is no object")
    found: list[Text] = []
    for key, value in row.items():
        if isinstance(value, str):
            found += _column(row, key, value)
        elif key in _TURNS and isinstance(value, (list, dict)):
            found += _turns(key, value, ANSWER if key in ("chosen", "rejected", "completion") else None)
        elif key == "history" and isinstance(value, list):
            found += _history(value)
        elif key in _OPTIONS and isinstance(value, (list, dict)):
            found += _options(key, value)
    if not any(text.text.strip() for text in found):
        raise RowError("E_SCHEMA", f"no text in the fields {shown_names(row, 'none')}")
    return found


def _column(row: dict, key: str, value: str) -> list[Text]:
    if key in _PARTS:
        # The answer of a choice question is often a letter or several: they name options and are no text.
        letters = (
            key == "answer"
            and _LETTERS.fullmatch(value)
            and any(name in row for name in (*_OPTIONS, "A", "option_a", "opa"))
        )
        return [] if letters else [Text((key,), _PARTS[key], value)]
    choices = "question" in row or "Question" in row
    return [Text((key,), OPTION, value)] if choices and _COLUMN.fullmatch(key) else []


def _turns(key: str, value: list | dict, default: str | None) -> list[Text]:
    turns = [((key,), value)] if isinstance(value, dict) else [((key, i), turn) for i, turn in enumerate(value)]
    found = []
    for path, turn in turns:
        if not isinstance(turn, dict):
            continue
        speaker = turn.get("from", turn.get("role"))
        part = _SPEAKERS.get(speaker.lower(), QUESTION) if isinstance(speaker, str) else default or QUESTION
        for name, what in (("value", part), ("content", part), ("reasoning_content", THOUGHT)):
            if isinstance(turn.get(name), str):
                found.append(Text((*path, name), what, turn[name]))
            elif name == "content" and isinstance(turn.get(name), list):
                found += _parts_of_content((*path, name), part, turn[name])
    return found


def _parts_of_content(path: tuple, part: str, items: list) -> list[Text]:
    return [
        Text((*path, index, "text"), part, item["text"])
        for index, item in enumerate(items)
        if isinstance(item, dict) and isinstance(item.get("text"), str)
    ]


def _history(pairs: list) -> list[Text]:
    return [
        Text(("history", index, side), part, pair[side])
        for index, pair in enumerate(pairs)
        if isinstance(pair, list)
        for side, part in ((0, QUESTION), (1, ANSWER))
        if side < len(pair) and isinstance(pair[side], str)
    ]


def _options(key: str, value: list | dict) -> list[Text]:
    found = []
    for name, option in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(option, str):
            found.append(Text((key, name), OPTION, option))
        elif isinstance(option, dict):
            found += [Text((key, name, k), OPTION, v) for k, v in option.items() if k != "key" and isinstance(v, str)]
    return found


def with_texts(row: dict[str, Any], texts: list[Text]) -> dict[str, Any]:
    """A copy of `row` that holds these texts in their places; `row` itself stays as it was.

    >>> with_texts({"ask": "a", "n": 1}, [Text(("ask",), QUESTION, "b")])
    {'ask': 'b', 'n': 1}
    """
    made, copied = dict(row), {(): None}
    for text in texts:
        place: Any = made
        for depth, key in enumerate(text.path[:-1], 1):
            if text.path[:depth] not in copied:
                copied[text.path[:depth]] = None
                place[key] = place[key].copy()
            place = place[key]
        place[text.path[-1]] = text.text
    return made


def joined(texts: list[Text], *parts: str) -> str:
    """The texts of these parts (default: all but thoughts, system texts and tools), a line each."""
    wanted = parts or (QUESTION, OPTION, ANSWER, DOCUMENT)
    return "\n".join(text.text for text in texts if text.part in wanted)
