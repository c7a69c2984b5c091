"""One row to a document, and chunks of rows to the ids of their pieces: what needs no other row, in any process."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unicodedata import is_normalized

import numpy as np
from tokenizers import Tokenizer

from bedside.data import control, facts, records
from bedside.data.conversation import RowError, kind_of, text_of
from bedside.data.pieces import separable
from bedside.data.registry import Entry
from bedside.data.rowwork import Done, lost_text
from bedside.data.strict_json import shown_names
from bedside.data.words import Words

_MOST_PIECES = np.iinfo(facts.FACTS["samples"]).max


@dataclass(frozen=True)
class Cutting:
    """How documents become pieces: ids in front and behind, tokens of a piece, control tokens to take apart."""

    beginning: tuple[int, ...]
    end: int
    block: int
    forbidden: tuple[str, ...] = ()


def document(row: Any, roles: dict[str, str] | None = None) -> str:
    """The text of a row `{"text": ...}`; RowError for a row of another kind, or one without words.

    >>> document({"text": "Fever and cough.", "source": "textbook"})
    'Fever and cough.'
    """
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    if "text" not in row:
        raise RowError("E_SCHEMA", f"fields {shown_names(row, 'none')}: {_other(row)}, expected text")
    text = text_of(row["text"], "text")
    if mark := control.mark_in(text):
        raise RowError("W_SPECIAL", f"text holds {mark}, which marks trained text here")
    return text


def _other(row: dict) -> str:
    """What a row without `text` is, and the stage that reads it."""
    try:
        name = records.detect(row)
    except RowError:
        return "no document"
    looks = records.OTHERS.get(name, "questions and answers, for supervised_finetuning.py")
    return f"this looks like {looks}"


def fingerprint(text: str) -> int:
    """64 bits that are equal for texts that are the same but for outer blanks."""
    return int.from_bytes(hashlib.blake2b(text.strip().encode(), digest_size=8).digest(), "little")


def piece_lengths(tokens: int, block: int) -> list[int]:
    """How many tokens each piece of a document has.

    >>> piece_lengths(1030, 512)
    [512, 512, 6]
    """
    full, tail = divmod(tokens, block)
    return [block] * full + [tail] * bool(tail)


class Encoder:
    """The ids of whole texts as bytes of int32: word by word where that is exact, else as the tokenizer does it."""

    def __init__(self, tokenizer: Tokenizer):
        self._tokenizer = tokenizer
        self._words = Words.of(tokenizer) if separable(tokenizer) else None

    def encode(self, texts: list[str]) -> list[bytes]:
        """The ids of each text, without any token added in front or behind."""
        sure = self._words is not None
        found = [self._words.encode(text) if sure and is_normalized("NFC", text) else None for text in texts]
        left = [number for number, ids in enumerate(found) if ids is None]
        encoded = self._tokenizer.encode_batch_fast([texts[number] for number in left], add_special_tokens=False)
        for number, one in zip(left, encoded, strict=True):
            found[number] = np.asarray(one.ids, np.int32).tobytes()
        return found


def here(tokenizer: Tokenizer, cutting: Cutting, roles: dict[str, str] | None) -> Callable[..., Done]:
    """The work on a chunk of rows, in this process: `workers.here` for documents."""
    encoder = Encoder(tokenizer)

    def work(values: list[Any], entry: Entry | None) -> Done:
        return _encoded(values, entry, encoder, cutting)

    return work


def _encoded(values: list[Any], entry: Entry | None, encoder: Encoder, cutting: Cutting) -> Done:
    done, texts = Done(), []
    for number, value in enumerate(values):
        done.formats.append(None)
        try:
            text = document(entry.adapt(value) if entry else value)
        except RowError as error:
            done.errors[number] = (error.code, error.detail)
            continue
        remarks = [("W_MOJIBAKE", "text was lost in an earlier decoding (U+FFFD or 锟斤拷)")] * lost_text(text)
        if token := control.first_token(text, cutting.forbidden):
            text = control.neutralise(text, cutting.forbidden)
            told = f"text holds the control token {token}, kept as {control.apart(token)}, which ends no document"
            remarks.append(("W_SPECIAL", told))
        if remarks:
            done.remarks[number] = remarks
        texts.append(text)
    beginning, end = (np.array(ids, np.int32).tobytes() for ids in (cutting.beginning, [cutting.end]))
    described, lengths, ids = [], [], []
    for place, (text, inner) in enumerate(zip(texts, encoder.encode(texts), strict=True)):
        whole = beginning + inner + end
        pieces = piece_lengths(len(whole) // 4, cutting.block)
        if len(pieces) > _MOST_PIECES:
            told = f"{len(pieces)} pieces of {cutting.block} tokens; at most {_MOST_PIECES}: raise --block_size"
            done.refused[place], whole, pieces = ("W_LONG", told), b"", []
        described.append(_facts(text, len(whole) // 4, pieces))
        lengths += pieces
        ids.append(whole)
    done.facts = np.array(described, facts.FACTS).tobytes()
    done.ids, done.lengths = b"".join(ids), np.array(lengths, np.int32).tobytes()
    done.trained = b"\1" * (len(done.ids) // 4)
    return done


def _facts(text: str, tokens: int, pieces: list[int]) -> tuple:
    """A row of `facts.FACTS`; what only chats have is nought."""
    longest = max(pieces, default=0)
    return (len(pieces), 0, 0, tokens, tokens - len(pieces), 0, longest, longest, 0, False, facts.language_of(text),
            fingerprint(text))  # fmt: skip
