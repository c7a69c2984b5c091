"""A tokenizer learns words: as merges of its own BPE, or as added tokens that are looked for before it.

Works on the tokenizer's JSON state. A text is a word's surface in the model's alphabet: bytes as letters
(byte-level), or letters with U+2581 for the blank (SentencePiece-like).
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from bedside.errors import ConfigError

BLANK = "\u2581"
Tokenize = Callable[[str], list[str]]  # a surface to its pieces


def byte_letters() -> dict[int, str]:
    """The letter that byte-level BPE writes for each byte: itself where it can be printed, else one from 256 on."""
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(256, 512))
    return {byte: chr(byte) if byte in printable else chr(next(others)) for byte in range(256)}


_LETTER = byte_letters()
_BYTE = {letter: byte for byte, letter in _LETTER.items()}


def _kinds(part: dict | None) -> set[str]:
    """Names of all the steps of a pre-tokenizer, decoder or normalizer."""
    if not part:
        return set()
    inner = [*part.get("pretokenizers", ()), *part.get("decoders", ()), *part.get("normalizers", ())]
    return {part["type"]}.union(*map(_kinds, inner))


@dataclass
class Alphabet:
    """How a tokenizer writes text inside: byte-level or not."""

    byte_level: bool

    def surface(self, text: str) -> str:
        """A text in the model's letters."""
        if self.byte_level:
            return "".join(_LETTER[byte] for byte in text.encode())
        return text.replace(" ", BLANK)

    def text(self, token: str) -> str:
        """What a token reads as; halves of characters read as U+FFFD."""
        if not self.byte_level:
            return token.replace(BLANK, " ")
        return bytes(_BYTE[letter] for letter in token).decode(errors="replace")

    def whole(self, token: str) -> bool:
        """True if a token is made of whole characters."""
        if not self.byte_level:
            return True
        try:
            bytes(_BYTE[letter] for letter in token).decode()
        except (KeyError, UnicodeDecodeError):
            return False
        return True


def alphabet_of(state: dict) -> Alphabet:
    """The alphabet of a BPE; ConfigError for another model or a BPE of neither kind."""
    if state["model"]["type"] != "BPE":
        raise ConfigError(f"the tokenizer is a {state['model']['type']}, not a BPE; use --method added")
    kinds = _kinds(state["pre_tokenizer"]) | _kinds(state["decoder"]) | _kinds(state["normalizer"])
    if "ByteLevel" in kinds:
        return Alphabet(byte_level=True)
    if "Metaspace" in kinds or "ByteFallback" in kinds or state["model"].get("byte_fallback"):
        return Alphabet(byte_level=False)
    raise ConfigError("the tokenizer's BPE is neither byte-level nor SentencePiece-like; use --method added")


@dataclass
class Learnt:
    """What a tokenizer learnt: its new state, and the new ids of words and of the steps towards them."""

    state: dict
    words: dict[str, int] = field(default_factory=dict)  # surface to id
    steps: dict[str, int] = field(default_factory=dict)  # the same for what words are built of: letters, half words
    merges: int = 0


def joined(pieces: list[str], ranks: dict[tuple[str, str], int]) -> list[str]:
    """`pieces` after the merges of `ranks`, the lowest rank first, as BPE applies them."""
    pieces = list(pieces)
    while len(pieces) > 1:
        pairs = [(ranks[pair], at) for at, pair in enumerate(zip(pieces, pieces[1:], strict=False)) if pair in ranks]
        if not pairs:
            break
        at = min(pairs)[1]
        pieces[at : at + 2] = [pieces[at] + pieces[at + 1]]
    return pieces


def _next_join(pieces: list[str], alphabet: Alphabet, seen: str) -> int:
    """Where to join next: halves of characters first, then the pair that most words of the list share."""
    for at, piece in enumerate(pieces[:-1]):
        if not alphabet.whole(piece):
            return at
    return max(range(len(pieces) - 1), key=lambda at: (seen.count(pieces[at] + pieces[at + 1]), -at))


def learn_letters(state: dict, tokenize: Tokenize, surfaces: Iterable[str]) -> Learnt:
    """Letters that a SentencePiece-like BPE can only spell in bytes become tokens: a merge cannot begin below them."""
    alphabet, vocabulary = alphabet_of(state), _with_added(state)
    learnt = Learnt(state)
    if not alphabet.byte_level:
        missing = [c for c in dict.fromkeys("".join(surfaces)) if c not in vocabulary and tokenize(c) != [c]]
        first = 1 + max(vocabulary.values())
        learnt.steps = {letter: first + n for n, letter in enumerate(missing)}
    learnt.state = _with_vocabulary(state, vocabulary | learnt.steps)
    return learnt


def learn_merges(state: dict, tokenize: Tokenize, surfaces: Iterable[str]) -> Learnt:
    """Append merges behind all that are there, so that each surface becomes one token; nothing that is there changes.

    `tokenize` gives the pieces of a surface in the tokenizer as `state` has it. Shorter words are learnt first and
    longer ones are built of them. Ids go on behind the highest one.
    """
    alphabet, vocabulary = alphabet_of(state), _with_added(state)
    first = 1 + max(vocabulary.values())
    surfaces = sorted(dict.fromkeys(surfaces), key=len)
    seen, wanted = "\n".join(surfaces), set(surfaces)
    ranks: dict[tuple[str, str], int] = {}
    learnt = Learnt(state)
    for surface in surfaces:
        pieces = joined(tokenize(surface), ranks)
        while len(pieces) > 1:
            at = _next_join(pieces, alphabet, seen)
            ranks[pieces[at], pieces[at + 1]] = len(ranks)
            token = pieces[at] + pieces[at + 1]
            if token not in vocabulary:
                vocabulary[token] = first + len(learnt.words) + len(learnt.steps)
                (learnt.words if token in wanted else learnt.steps)[token] = vocabulary[token]
            pieces = joined(pieces, ranks)
    learnt.merges = len(ranks)
    merges = [*state["model"]["merges"], *(list(pair) for pair in ranks)]
    learnt.state = _with_vocabulary(state, vocabulary, merges=merges)
    return learnt


def _with_added(state: dict) -> dict[str, int]:
    """The model's vocabulary and the added tokens. One that is in the vocabulary keeps its id when the tokenizer is
    loaded; others are counted on from the vocabulary's size, which has grown."""
    return {token["content"]: token["id"] for token in state["added_tokens"]} | state["model"]["vocab"]


def _with_vocabulary(state: dict, vocabulary: dict[str, int], **more) -> dict:
    return state | {"model": state["model"] | {"vocab": vocabulary, **more}}


def learn_added(state: dict, texts: Iterable[str], alone: Callable[[str], bool]) -> Learnt:
    """Append added tokens, which are looked for in a text before the tokenizer's own rules.

    `alone` says of a text whether it counts only between characters that are no letters.
    """
    model = state["model"]["vocab"]
    ids = model.values() if isinstance(model, dict) else range(len(model))
    first = 1 + max([*ids, *(token["id"] for token in state["added_tokens"])])
    learnt = Learnt(state, {text: first + n for n, text in enumerate(dict.fromkeys(texts))})
    added = [
        {"id": number, "content": text, "single_word": alone(text), "lstrip": False, "rstrip": False,
         "normalized": False, "special": False}
        for text, number in learnt.words.items()
    ]  # fmt: skip
    learnt.state = state | {"added_tokens": [*state["added_tokens"], *added]}
    return learnt


def state_of(backend: Any) -> dict:
    """The JSON state of a `tokenizers.Tokenizer`."""
    return json.loads(backend.to_str())
