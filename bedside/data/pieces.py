"""Tokenizing by pieces: text between special tokens is independent of its neighbours, so each piece is done once.

A chat of N answers is N samples under a thinking template, and each repeats the turns before it; a system prompt and
the headers of turns recur in every row. The ids are those of the whole text (tests compare).
"""

import json
import re
from bisect import bisect_right
from collections.abc import Iterable
from unicodedata import is_normalized

from tokenizers import Tokenizer
from tokenizers.normalizers import NFC

_KEPT = 50_000  # pieces remembered before the memory is emptied


class Joined:
    """Encodings of successive pieces as one: what `tokenizers.Encoding` offers of `ids` and character positions."""

    __slots__ = ("ids", "_parts", "_starts", "_firsts")

    def __init__(self, pieces: list[str], parts: list):
        self.ids: list[int] = []
        self._parts, self._starts, self._firsts, start = parts, [], [], 0
        for piece, part in zip(pieces, parts, strict=True):
            self._starts.append(start)
            self._firsts.append(len(self.ids))
            self.ids += part.ids
            start += len(piece)

    def __len__(self) -> int:
        return len(self.ids)

    def char_to_token(self, position: int) -> int | None:
        """Index of the token that holds the character at `position`."""
        at = bisect_right(self._starts, position) - 1
        token = self._parts[at].char_to_token(position - self._starts[at])
        return None if token is None else token + self._firsts[at]

    def token_to_chars(self, token: int) -> tuple[int, int]:
        """`[start, end)` characters of a token."""
        at = bisect_right(self._firsts, token) - 1
        start, end = self._parts[at].token_to_chars(token - self._firsts[at])
        return start + self._starts[at], end + self._starts[at]


def separable(tokenizer: Tokenizer) -> bool:
    """True if no piece of text is treated differently for standing first or behind a special token."""
    state = json.loads(tokenizer.to_str())
    normalizer, pre_tokenizer = state.get("normalizer"), json.dumps(state.get("pre_tokenizer"))
    plain = normalizer is None or normalizer["type"] == "NFC"
    return plain and '"ByteLevel"' in pre_tokenizer and '"add_prefix_space": true' not in pre_tokenizer


class Batches:
    """A tokenizer for many chats: by pieces where that is exact, and without normalising what is normal already."""

    def __init__(self, tokenizer: Tokenizer, many: bool = True):
        self._whole = self._quick = tokenizer
        if many and isinstance(tokenizer.normalizer, NFC):
            self._quick = Tokenizer.from_str(tokenizer.to_str())
            self._quick.normalizer = None
        self._known: dict[str, object] = {}
        special = [
            token.content
            for token in tokenizer.get_added_tokens_decoder().values()
            if token.special and not (token.lstrip or token.rstrip or token.single_word or token.normalized)
        ]
        longest_first = sorted(special, key=len, reverse=True)
        by_pieces = many and special and separable(tokenizer)
        self._cut = re.compile(f"({'|'.join(map(re.escape, longest_first))})") if by_pieces else None

    def encode_batch(self, texts: list[str]) -> list:
        """The encodings of `texts`, without any token added in front or behind."""
        if self._cut is None:
            return self._encode(texts)
        cut = [[piece for piece in self._cut.split(text) if piece] for text in texts]
        known = self._known
        missing = list(dict.fromkeys(piece for pieces in cut for piece in pieces if piece not in known))
        if len(known) > _KEPT:
            known = self._known = {}
            missing = list(dict.fromkeys(piece for pieces in cut for piece in pieces))
        known.update(zip(missing, self._encode(missing), strict=True))
        return [Joined(pieces, [known[piece] for piece in pieces]) for pieces in cut]

    def _encode(self, texts: Iterable[str]) -> list:
        texts = list(texts)
        ready = all(is_normalized("NFC", text) for text in texts)
        return (self._quick if ready else self._whole).encode_batch(texts, add_special_tokens=False)
