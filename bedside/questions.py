"""A file of questions, in any form, to conversations that wait for an answer. No row disappears: a bad one says why.

What a row already answers is not shown to the model: it is kept as the reference.
"""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from bedside import logs
from bedside.data import compressed, files, records
from bedside.data.conversation import Conversation, RowError
from bedside.data.ledger import SHOWN
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import DataError

_STUB = "-"  # stands for an answer that is not there yet, so that the training readers can check the rest
# The field of the question, and of the answer that may be missing; thoughts belong to the answer.
_ANSWERS = {
    "Question": "Response",
    "ask": "answer",
    "instruction": "output",
    "question": "answer",
    "query": "response",
    "prompt": "response",
    "input": "output",
}
_THOUGHTS = ("Complex_CoT", "thought")


@dataclass(frozen=True)
class Question:
    """One row: a conversation that ends before the answer, or `error` (code and detail) if it cannot be asked."""

    origin: Origin
    id: Any
    messages: list[dict] = field(default_factory=list)
    tools: list[dict] | None = None
    reference: str | None = None
    error: tuple[str, str] | None = None


def read(
    path: str, encoding: str | None = None, roles: dict[str, str] | None = None, system: str | None = None
) -> list[Question]:
    """Every row of the file, in order. `system` is the system turn of rows without one.

    Raises DataError if the file, or every row of it, cannot be used.
    """
    found: list[Question] = []
    rows = files.read(path, encoding) if _holds_json(path) else _lines(path, encoding)
    for row in rows:
        if isinstance(row, Row):
            found.append(_question(row, len(found), roles, system))
        elif row.code.startswith("I_"):  # a remark on the file, not a row
            logs.info(f"{row.origin}: {row.code} {row.detail}")
        else:
            found.append(Question(row.origin, len(found), error=(row.code, row.detail)))
    bad = [question for question in found if question.error]
    for question in bad[:SHOWN]:
        logs.warn(f"{question.origin}: {' '.join(question.error)}")
    if len(bad) > SHOWN:
        logs.warn(f"... and {len(bad) - SHOWN} more rows that cannot be asked")
    if len(bad) == len(found):
        hint = "; one prompt a line belongs in a .txt file" if {q.error[0] for q in bad} == {"E_JSON"} else ""
        raise DataError(bad[0].error[0] if bad else "E_EMPTY_FILE", path, f"no row of {len(found)} can be asked{hint}")
    return found


def _question(row: Row, index: int, roles: dict[str, str] | None, system: str | None) -> Question:
    name = row.value.get("id") if isinstance(row.value, dict) else None
    name = name if isinstance(name, (str, int)) else index
    try:
        messages, tools, reference = unanswered(row.value, roles)
    except RowError as error:
        return Question(row.origin, name, error=(error.code, error.detail))
    if system and messages[0]["role"] != "system":
        messages = [{"role": "system", "content": system}, *messages]
    return Question(row.origin, name, messages, tools, reference)


def unanswered(row: Any, roles: dict[str, str] | None = None) -> tuple[list[dict], list[dict] | None, str | None]:
    """Messages up to the last turn that is not the assistant's, tools, and the answer that the row gives (or None).

    Raises RowError for a row of no known format, or with a turn that cannot be used.

    >>> unanswered({"prompt": "Fever?", "response": "Rest."})
    ([{'role': 'user', 'content': 'Fever?'}], None, 'Rest.')
    """
    if isinstance(row, str):
        row = {"prompt": row}
    conversation, stubbed = _conversation(row, roles)
    messages = conversation["messages"]
    last = max(i for i, message in enumerate(messages) if message["role"] in ("user", "tool"))
    reference = None if stubbed else messages[last + 1]["content"] or None
    return messages[: last + 1], conversation.get("tools"), reference


def _conversation(row: Any, roles: dict[str, str] | None) -> tuple[Conversation, bool]:
    """The row as the training readers see it, and whether its answer had to be made up for them."""
    if not isinstance(row, dict):
        return records.to_conversation(row, roles), False
    row = {"messages": row["prompt"], **row} if isinstance(row.get("prompt"), list) else row
    for key in ("conversations", "messages"):
        if key not in row:
            continue
        try:
            return records.to_conversation(row, roles), False
        except RowError as error:
            if error.code != "E_NO_ANSWER":
                raise
        return records.to_conversation({**row, key: [*row[key], _turn(key, row[key][-1])]}, roles), True
    question = next((key for key in _ANSWERS if key in row), None)
    answer = "completion" if question == "prompt" and "completion" in row else _ANSWERS.get(question)
    if question is None or (isinstance(row.get(answer), str) and row[answer].strip()):
        return records.to_conversation(row, roles), False
    kept = {key: value for key, value in row.items() if key not in _THOUGHTS}
    return records.to_conversation({**kept, answer: _STUB}, roles), True


def _turn(key: str, like: dict) -> dict:
    """The stub as a turn of the same shape as the one before it."""
    if key == "messages" or "role" in like:
        return {"role": "assistant", "content": _STUB}
    return {"from": "gpt", "value": _STUB}


def _holds_json(path: str) -> bool:
    """True for the suffixes of data files, and for other files that begin as JSON does."""
    if files.suffix(path) in files.SUFFIXES:
        return True
    with compressed.open_binary(path) as stream:
        return stream.read(4096).removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"{", b"[")


def _lines(path: str, encoding: str | None) -> Iterator[Row | Fault]:
    """Plain text: one prompt a line, blank lines apart."""
    for item in files.read_text(path, encoding):
        yield item if isinstance(item, Fault) else Row(item.origin, item.value["text"].strip())
