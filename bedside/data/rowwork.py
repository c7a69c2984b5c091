"""The work on one chunk of rows, from parsed values to ids: everything that needs no other row, in any process."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from bedside.data import admit, facts, records, tokens
from bedside.data.conversation import Conversation, RowError
from bedside.data.pieces import Batches
from bedside.data.registry import Entry

Told = tuple[str, str]  # a code and a detail


class Looked(NamedTuple):
    """A row after the check: a record, or the error that it has instead; its format, and remarks that cost nothing."""

    record: Any
    error: Told | None
    format: str | None
    remarks: list[Told]


def look(value: Any, entry: Entry | None, convert: Callable[[Any], Any]) -> Looked:
    """Check one row and convert it; `entry` is how a registered dataset names its fields."""
    try:
        record = convert(entry.adapt(value) if entry else value)
    except RowError as error:
        return Looked(None, (error.code, error.detail), None, [])
    remarks = []
    if entry and (forgotten := entry.forgotten_thought(value)):
        detail = (
            f"'{forgotten}' holds a thought that columns do not map, so no thought is trained; "
            f'add "thought": "{forgotten}" to columns of {entry.name} in dataset_info.json'
        )
        remarks.append(("W_THOUGHT_UNUSED", detail))
    if lost_text(value):
        remarks.append(("W_MOJIBAKE", "text was lost in an earlier decoding (U+FFFD or 锟斤拷)"))
    # A document has no format, and a registered dataset tells its own.
    name = None if entry or isinstance(record, str) else _format(value)
    if name == "choice" and "messages" in record:
        remarks.append(("I_CHOICE", "a question with options is trained as a question and its answer"))
    return Looked(record, None, name, remarks)


def _format(value: Any) -> str | None:
    """The row's format; None where it has none of those, as a question by itself."""
    try:
        return records.detect(value)
    except RowError:
        return None


def lost_text(value: Any) -> bool:
    """Whether a JSON value holds text that an earlier decoding destroyed (U+FFFD or 锟斤拷)."""
    if isinstance(value, str):
        return "\ufffd" in value or "锟斤拷" in value
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, list):
        return False
    for child in value:
        if child.__class__ is str:
            if "\ufffd" in child or "锟斤拷" in child:
                return True
        elif lost_text(child):
            return True
    return False


@dataclass
class Done:
    """What a chunk of rows became. The first three are by row; the others by conversation, in order: rows without
    an error. Ids are int32, `trained` is a byte a token."""

    errors: dict[int, Told] = field(default_factory=dict)
    remarks: dict[int, list[Told]] = field(default_factory=dict)
    formats: list[str | None] = field(default_factory=list)
    refused: dict[int, Told] = field(default_factory=dict)  # what the template or the tokenizer had against it
    told: dict[int, Told] = field(default_factory=dict)
    facts: bytes = b""
    ids: bytes = b""
    trained: bytes = b""
    lengths: bytes = b""


def conversations(
    values: list[Any], entry: Entry | None, roles: dict[str, str] | None
) -> tuple[list[Conversation], Done]:
    """The values that are conversations, without control tokens, and what was found on all of them."""
    done, made = Done(), []
    for number, value in enumerate(values):
        looked = look(value, entry, lambda row: admit.conversation(row, roles))
        done.formats.append(looked.format)
        if looked.error:
            done.errors[number] = looked.error
            continue
        conversation, more = admit.clean_conversation(looked.record)
        made.append(conversation)
        if looked.remarks or more:
            done.remarks[number] = [*looked.remarks, *more]
    return made, done


def encode(made: list[Conversation], done: Done, batches: Batches, encoding: tokens.Encoding) -> Done:
    """Add the ids of the conversations to what is known of their rows."""
    results = tokens.encode_chunk(made, batches, encoding)
    rows = [number for number in range(len(done.formats)) if number not in done.errors]
    samples = []
    for number, result in enumerate(results):
        samples += result.samples
        if result.error:
            done.refused[number] = result.error
        elif result.remark and not any(code == result.remark[0] for code, _ in done.remarks.get(rows[number], ())):
            done.told[number] = result.remark  # a row is remarked on once, by whoever sees it first
    described = [facts.of_conversation(*pair) for pair in zip(made, results, strict=True)]
    lengths = np.array([len(sample.ids) for sample in samples], np.int32)
    trained = np.zeros(int(lengths.sum()), bool)
    begin = 0
    for sample in samples:
        for start, end in sample.spans:
            trained[begin + start : begin + end] = True
        begin += len(sample.ids)
    done.facts = np.array(described, facts.FACTS).tobytes()
    done.ids = b"".join([sample.ids.tobytes() for sample in samples])
    done.trained, done.lengths = trained.tobytes(), lengths.tobytes()
    return done
