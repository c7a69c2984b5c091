"""A file of any format to the items of a task: every row is an item, or is told with its place and counted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from bedside import logs, questions
from bedside.data import files, records
from bedside.data.conversation import RowError
from bedside.data.ledger import SHOWN
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import ConfigError, DataError

Item = TypeVar("Item")
_HAN = re.compile("[\u3400-\u9fff\uf900-\ufaff]")
# Fields of a row by which results are split, where a row has them.
_GROUPS = ("department", "kind", "category", "subject", "split")
_LONGEST_GROUP = 40  # characters: what is longer is no name of a group


@dataclass(frozen=True)
class Chat:
    """A chat that waits for an answer. `messages` end with the user, `answer` is the assistant's turn that the row
    gives (or None), `expect` the names of which a right answer states one, `where` is `file:line`."""

    id: str
    where: str
    messages: list[dict]
    answer: dict | None = None
    expect: list[str] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)


def read(path: str, convert: Callable[[str, Row], Item | None], what: str, encoding: str | None = None) -> list[Item]:
    """An item for each row of a file or directory, in order; `convert` takes its id and the row, and gives None for
    one that is none of the task's business.

    Rows that cannot be read, or for which `convert` raises RowError, are warned of with file:line and counted.
    Raises DataError if no row is left, ConfigError if there is no such file.
    """
    found = files.find(path, texts=True)
    names = [file.name for file in found]
    items: list[Item] = []
    bad, other = [], 0
    for file in found:
        name = file.name if names.count(file.name) == 1 else str(file)
        for row in files.read(file, encoding):
            if isinstance(row, Fault):
                if row.code.startswith("I_"):  # a remark on the file, not a row
                    logs.info(f"{row.origin}: {row.code} {row.detail}")
                else:
                    bad.append(f"{row.origin}: {row.code} {row.detail}")
                continue
            try:
                item = convert(identity(name, row.origin), row)
            except RowError as error:
                bad.append(f"{row.origin}: {error.code} {error.detail}")
                continue
            other += item is None
            items += [] if item is None else [item]
    tell(path, what, len(items), bad, other)
    return items


def tell(path: str, what: str, kept: int, bad: list[str], other: int) -> None:
    """Warn of the rows that are no items, and account for all of them; DataError if none is left."""
    for told in bad[:SHOWN]:
        logs.warn(told)
    if len(bad) > SHOWN:
        logs.warn(f"... and {len(bad) - SHOWN:,} more rows that cannot be used")
    if not kept:
        why = f"{len(bad):,} cannot be used" + (f", the first: {bad[0]}" if bad else "") if bad else "is none of them"
        raise DataError("E_NOTHING_LEFT", path, f"no {what} in {len(bad) + other:,} rows ({why})")
    if bad or other:
        logs.warn(f"{path}: {kept + len(bad) + other:,} rows = {kept:,} {what} + {len(bad):,} that cannot be used + "
                  f"{other:,} without what is asked for")  # fmt: skip


def identity(name: str, origin: Origin) -> str:
    """What pairs an item of two evaluations: the file's name and the row's place in it.

    >>> identity("mcq.jsonl", Origin("data/eval/mcq.jsonl", 7))
    'mcq.jsonl:7'
    """
    return f"{name}:{origin.line}" if origin.item is None else f"{name}#{origin.item}"


def groups_of(row: Any, text: str) -> dict[str, str]:
    """What a row's results are split by: its language, and what it says of department, kind and the like."""
    told = row if isinstance(row, dict) else {}
    lang = str(told.get("lang") or told.get("language") or "")[:2].lower()
    found = {"language": lang if lang in ("zh", "en") else language(text)}
    for name in _GROUPS:
        value = told.get(name)
        if isinstance(value, str) and 0 < len(value.strip()) <= _LONGEST_GROUP:
            found[name] = value.strip()
    return found


def language(text: str) -> str:
    """`zh` where a Chinese character stands in the text, else `en`."""
    return "zh" if _HAN.search(text) else "en"


def chat(identifier: str, row: Row) -> Chat:
    """A row of any chat format as a Chat; RowError says what is wrong with it."""
    value = {"prompt": row.value} if isinstance(row.value, str) else row.value
    if isinstance(value, dict) and set(value) == {"text"} and isinstance(value["text"], str):
        # A line of a .txt file is a question.
        value = {"prompt": value["text"].strip()}
    messages, answer = _turns(value)
    question = next(turn["content"] for turn in messages[::-1] if turn["role"] in ("user", "tool"))
    expect = value.get("expect") if isinstance(value, dict) else None
    if expect is not None and not (isinstance(expect, (str, list)) and all(isinstance(name, str) for name in expect)):
        raise RowError("E_FIELD", "expect: expected a name or a list of names")
    names = [expect] if isinstance(expect, str) else list(expect or [])
    return Chat(
        identifier, str(row.origin), messages, answer, [name for name in names if name.strip()],
        groups_of(value, question),
    )  # fmt: skip


def _turns(value: Any) -> tuple[list[dict], dict | None]:
    """Messages up to the last question, and the answer that follows it."""
    try:
        messages = records.to_conversation(value)["messages"]
    except RowError:
        return questions.unanswered(value)[0], None
    last = max(index for index, turn in enumerate(messages) if turn["role"] in ("user", "tool"))
    return messages[: last + 1], dict(messages[last + 1])


def path_of(name: str | None, default: str | None, flag: str) -> str:
    """The file of a task: the one that was given, else the one of this repository; ConfigError where it is not."""
    if name:
        return name
    if default and Path(default).exists():
        return default
    raise ConfigError(f"{default}: not here; give your own with --{flag} FILE, or run in bedside's directory")
