"""Tokenizing by pieces: text between added tokens is independent of its neighbours, so each piece is done once.

A chat of N answers is N samples under a thinking template, and each repeats the turns before it; a system prompt and
the headers of turns recur in every row. The ids are those of the whole text (tests compare).
"""

import json
import re
from unicodedata import is_normalized

import numpy as np
from tokenizers import Tokenizer

from bedside.data.words import Words, byte_lengths

_KEPT = 10_000  # pieces remembered before the memory is emptied


class ByOffsets:
    """The ids of a text, and where they stand in it, as the tokenizer says."""

    __slots__ = ("ids", "_encoded")

    def __init__(self, encoded):
        self.ids, self._encoded = np.asarray(encoded.ids, np.int32), encoded

    def first(self, position: int) -> int | None:
        """Index of the token that begins with the character at `position`; None if none does."""
        token = self._encoded.char_to_token(position)
        return token if token is not None and self._encoded.token_to_chars(token)[0] == position else None

    def end(self, position: int) -> int | None:
        """Index behind the last token that holds text in front of `position`; None if there is none."""
        last = self._encoded.char_to_token(position - 1)
        if last is None:
            return None
        while last + 1 < len(self.ids) and self._encoded.token_to_chars(last + 1)[0] < position:
            last += 1  # one character may be several byte tokens
        return last + 1


class ByBytes:
    """The ids of a text, and where they stand in it by the bytes that each token is."""

    __slots__ = ("ids", "_text", "_starts")

    def __init__(self, text: str, ids: bytes, lengths: np.ndarray):
        self.ids, self._text = np.frombuffer(ids, np.int32), text
        self._starts = np.concatenate(([0], np.cumsum(lengths[self.ids])))

    def whole(self) -> bool:
        """Whether the tokens are all of the text."""
        return int(self._starts[-1]) == len(self._text.encode())

    def _byte(self, position: int) -> int:
        return len(self._text[:position].encode())

    def first(self, position: int) -> int | None:
        """Index of the token that begins with the character at `position`; None if none does."""
        byte = self._byte(position)
        token = int(np.searchsorted(self._starts, byte))
        return token if self._starts[token] == byte else None

    def end(self, position: int) -> int | None:
        """Index behind the last token that holds text in front of `position`."""
        return int(np.searchsorted(self._starts[:-1], self._byte(position)))


def separable(tokenizer: Tokenizer) -> bool:
    """True if no piece of text is treated differently for standing first or behind an added token."""
    state = json.loads(tokenizer.to_str())
    normalizer, pre_tokenizer = state.get("normalizer"), json.dumps(state.get("pre_tokenizer"))
    plain = normalizer is None or normalizer["type"] == "NFC"
    return plain and '"ByteLevel"' in pre_tokenizer and '"add_prefix_space": true' not in pre_tokenizer


class Batches:
    """A tokenizer for many chats: by pieces and words where that is exact. `many=False` saves its preparations."""

    def __init__(self, tokenizer: Tokenizer, many: bool = True):
        self._tokenizer = tokenizer
        self._known: dict[str, bytes] = {}
        cutting = [
            token.content
            for token in tokenizer.get_added_tokens_decoder().values()
            if not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        ]
        longest_first = sorted(cutting, key=len, reverse=True)
        by_pieces = many and cutting and separable(tokenizer)
        self._cut = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if by_pieces else None
        if by_pieces:
            self._added = frozenset(cutting)
            self._words, self._lengths = Words.of(tokenizer), byte_lengths(tokenizer)

    def encode_batch(self, texts: list[str]) -> list[ByOffsets | ByBytes]:
        """The ids of `texts`, without any token added in front or behind, and where they stand."""
        if self._cut is None:
            return list(map(ByOffsets, self._tokenizer.encode_batch(texts, add_special_tokens=False)))
        if len(self._known) > _KEPT:
            self._known.clear()
        return [self._by_pieces(text) for text in texts]

    def _by_pieces(self, text: str) -> ByOffsets | ByBytes:
        if not is_normalized("NFC", text):
            return ByOffsets(self._tokenizer.encode(text, add_special_tokens=False))
        known, parts = self._known, []
        for piece in self._cut.split(text):
            if piece:
                ids = known.get(piece)
                if ids is None:
                    ids = known[piece] = self._encode(piece)
                parts.append(ids)
        made = ByBytes(text, b"".join(parts), self._lengths)
        # A text that the tokenizer has no tokens for is located by the tokenizer.
        return made if made.whole() else ByOffsets(self._tokenizer.encode(text, add_special_tokens=False))

    def _encode(self, piece: str) -> bytes:
        ids = self._words.encode(piece) if self._words is not None and piece not in self._added else None
        if ids is None:
            ids = np.asarray(self._tokenizer.encode(piece, add_special_tokens=False).ids, np.int32).tobytes()
        return ids
