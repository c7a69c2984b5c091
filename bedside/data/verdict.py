"""What is wrong with one row, and what of it is worth a remark: the same for every kind of data."""

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

from bedside.data import admit, choices, control, kto, prompts, records, rowwork
from bedside.data.conversation import RowError, check_answers, kind_of, text_of
from bedside.data.fields import field
from bedside.data.registry import Entry
from bedside.data.strict_json import shown_names

Roles = dict[str, str] | None
_SAFETY = {"kind", "question", "expect"}
_LOST = ("W_MOJIBAKE", "text was lost in an earlier decoding (U+FFFD or 锟斤拷)")


class Verdict(NamedTuple):
    """A usable row: its format, remarks (code, detail), and for a pair the digests of it and of its mirror image."""

    format: str | None
    remarks: tuple[tuple[str, str], ...] = ()
    identity: tuple[bytes, bytes] | None = None


def _looked(row: Any, entry: Entry | None, convert: Callable[[Any], Any]) -> rowwork.Looked:
    looked = rowwork.look(row, entry, convert)
    if looked.error:
        raise RowError(*looked.error)
    return looked


def sft(row: Any, roles: Roles = None, entry: Entry | None = None) -> Verdict:
    """A conversation to train on; RowError if the row is none."""
    looked = _looked(row, entry, lambda row: admit.conversation(row, roles))
    _, more = admit.clean_conversation(looked.record)
    return Verdict(looked.format, (*looked.remarks, *more))


def preference(row: Any, roles: Roles = None, entry: Entry | None = None) -> Verdict:
    """A pair to prefer by; RowError if the row is none."""
    looked = _looked(row, entry, lambda row: admit.pair(row, roles))
    pair, more = admit.clean_pair(looked.record)
    ways = [("chosen", "rejected"), ("rejected", "chosen")]
    sides = [repr((pair["prompt"], pair[one], pair[other])).encode() for one, other in ways]
    this, mirrored = (hashlib.blake2b(side, digest_size=16).digest() for side in sides)
    return Verdict(looked.format, (*looked.remarks, *more), (this, mirrored))


def _adapted(row: Any, entry: Entry | None) -> Any:
    return entry.adapt(row) if entry else row


def _verdict(name: str, row: Any) -> Verdict:
    return Verdict(name, (_LOST,) if rowwork.lost_text(row) else ())


def choice(row: Any, roles: Roles = None, entry: Entry | None = None) -> Verdict:
    """A question with options and the right ones among them; RowError if the row is none."""
    choices.to_choice(_adapted(row, entry))
    return _verdict("choice", row)


def labelled(row: Any, roles: Roles = None, entry: Entry | None = None) -> Verdict:
    """An answer labelled good or bad, for KTO; RowError if the row is none."""
    made = kto.to_kto(_adapted(row, entry), roles)
    for part in ("prompt", "completion"):
        check_answers(made[part], where=part)
    return _verdict("kto", row)


def prompt(row: Any, roles: Roles = None, entry: Entry | None = None) -> Verdict:
    """A prompt with an answer that can be checked; RowError if the row is none."""
    prompts.to_prompt(_adapted(row, entry))
    return _verdict("prompt", row)


def safety(row: Any, roles: Roles = None, entry: Entry | None = None) -> Verdict:
    """A question of a safety set; RowError if the row is none. What its kind expects is checked by
    `python -m bedside.evaluate.safety FILE`."""
    row = _adapted(row, entry)
    if not isinstance(row, dict) or not row.keys() >= _SAFETY:
        raise RowError("E_SCHEMA", f"expected the fields {', '.join(sorted(_SAFETY))}")
    for name in ("kind", "question"):
        if not text_of(field(row, name), name).strip():
            raise RowError("E_EMPTY", f"{name} is empty")
    return _verdict("safety", row)


def text(row: Any, roles: Roles = None, entry: Entry | None = None) -> Verdict:
    """A document to pretrain on, in the field `text`; RowError if the row is none."""
    row = _adapted(row, entry)
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    if "text" not in row:
        raise RowError("E_SCHEMA", f"{_fields(row)}: expected text")
    if mark := control.mark_in(text_of(field(row, "text"), "text")):
        raise RowError("W_SPECIAL", f"text holds {mark}, which marks trained text here")
    return _verdict("text", row)


def _fields(row: dict) -> str:
    return f"fields {shown_names(row, 'none')}"


KINDS: dict[str, Callable[..., Verdict]] = {
    "sft": sft,
    "preference": preference,
    "choice": choice,
    "kto": labelled,
    "prompt": prompt,
    "safety": safety,
    "text": text,
}


def kind_of_row(row: dict) -> str:
    """The kind of data that a file is whose first object this is: a key of KINDS."""
    if row.keys() >= _SAFETY and "answer" not in row:
        return "safety"
    try:
        name = records.detect(row)
    except RowError:
        return "text" if "text" in row else "sft"
    return name if name in KINDS else "sft"
