"""Byte-level BPE word by word: a word's ids do not depend on its neighbours, so each word is merged once.

What a word is, the tokenizer's own pattern says. Texts of Chinese and English prose hold the same words again and
again; the ids are those that the tokenizer gives (tests compare). A text that this module is not sure of is None.
"""

import json
from array import array

import numpy as np
from tokenizers import Tokenizer

_KEPT = 200_000  # words remembered before the memory is emptied
# What ByteLevel cuts by when it is asked to do so itself.
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# Characters that every version of Unicode since 5.0 puts into the same class (letter, number, blank, other), so that
# two regular expression engines agree on them.
_SETTLED = (
    r"[^\t\n\r\x20-\x7e\xa0-\u017e\u0391-\u03a1\u03a3-\u03c9\u0410-\u044f\u2010-\u2027\u2030-\u205e"
    r"\u2190-\u21ff\u2460-\u24ff\u25a0-\u26ff\u3000-\u303f\u3041-\u3096\u30a1-\u30fe\u3400-\u4db5"
    r"\u4e00-\u9fa5\uff01-\uff5e]"
)


def _letters_of_bytes() -> dict[int, str]:
    """The character by which byte-level tokenizers write each byte."""
    shown = {*range(33, 127), *range(161, 173), *range(174, 256)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}


def _pattern(state: dict) -> str | None:
    """The pattern that cuts text into words, or None where it takes more than one pattern to cut it."""
    steps = state["pre_tokenizer"] or {}
    steps = steps["pretokenizers"] if steps.get("type") == "Sequence" else [steps]
    *before, last = steps
    if last.get("type") != "ByteLevel" or last["add_prefix_space"]:
        return None
    if not before:
        return _GPT2 if last["use_regex"] else None
    split = before[0]
    known = len(before) == 1 and split["type"] == "Split" and "Regex" in split["pattern"] and not last["use_regex"]
    whole = known and split["behavior"].lower() == "isolated" and not split["invert"]
    return split["pattern"]["Regex"] if whole else None


class Words(dict):
    """Word -> its ids as bytes of int32. `Words.of` gives None for a tokenizer that works differently."""

    def __init__(self, tokenizer: Tokenizer, pattern: str, unsure: str):
        import regex

        super().__init__()
        self._model, self._letters = tokenizer.model, _letters_of_bytes()
        self._cut = regex.compile(pattern).findall
        self._unsure = regex.compile(unsure).search

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "Words | None":
        """The words of a byte-level BPE tokenizer whose words one pattern tells apart."""
        state = json.loads(tokenizer.to_str())
        pattern, model = _pattern(state), state["model"]
        plain_model = model["type"] == "BPE" and not model.get("dropout") and not model.get("end_of_word_suffix")
        if pattern is None or not plain_model or model.get("continuing_subword_prefix"):
            return None
        import regex

        added = [regex.escape(token["content"]) for token in state["added_tokens"]]
        return cls(tokenizer, pattern, "|".join([_SETTLED, *added]))

    def __missing__(self, word: str) -> bytes:
        letters = word.encode().decode("latin-1").translate(self._letters)
        ids = array("i", [token.id for token in self._model.tokenize(letters)]).tobytes()
        self[word] = ids
        return ids

    def encode(self, text: str) -> bytes | None:
        """The ids of a text without special tokens in NFC, as bytes of int32; None where this is not certain."""
        if self._unsure(text):
            return None
        words = self._cut(text)
        if sum(map(len, words)) != len(text):
            return None
        if len(self) > _KEPT:
            self.clear()
        return b"".join(map(self.__getitem__, words))


def byte_lengths(tokenizer: Tokenizer) -> np.ndarray:
    """How many bytes of text each id stands for, in a byte-level tokenizer, `(V,)`."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    lengths = np.zeros(max(vocabulary.values()) + 1, np.int32)
    for token, number in vocabulary.items():
        lengths[number] = len(token)
    for number, token in tokenizer.get_added_tokens_decoder().items():
        lengths[number] = len(token.content.encode())
    return lengths
