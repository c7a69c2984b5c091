"""What a tokenizer does with a word, seen from inside: the form in which it meets it, its pieces, its cuts."""

import json
from typing import Any

from bedside.vocabulary.merges import Alphabet, alphabet_of, state_of
from bedside.vocabulary.words import is_cjk


class Codec:
    """A fast tokenizer's backend as `vocabulary` needs it; `merges` says how it will learn."""

    def __init__(self, backend: Any, merges: bool):
        self.backend, self.merges = backend, merges
        self.state = state_of(backend)
        self.alphabet: Alphabet | None = alphabet_of(self.state) if merges else None

    def form(self, word: str) -> str:
        """The word as a sentence has it: a Latin word follows a blank, which merges take into the token."""
        return word if is_cjk(word) or not self.merges else f" {word}"

    def surface(self, word: str) -> str:
        """The word's form in the letters of the model (merges), or as it is (added tokens)."""
        return self.alphabet.surface(self.form(word)) if self.alphabet else word

    def text(self, surface: str) -> str:
        """What a token of this surface reads as, broken characters replaced."""
        return self.alphabet.text(surface) if self.alphabet else surface

    def tokenize(self, surface: str) -> list[str]:
        """The pieces of a surface, without the rules that cut a text beforehand."""
        return [token.value for token in self.backend.model.tokenize(surface)]

    def ids(self, surface: str) -> list[int]:
        """The ids of a surface's pieces."""
        if self.merges:
            return [token.id for token in self.backend.model.tokenize(surface)]
        return self.backend.encode(surface, add_special_tokens=False).ids

    def pieces(self, word: str) -> int:
        """How many tokens the word is in a sentence, the blank in front of a Latin word aside."""
        if self.merges or is_cjk(word):
            return len(self.ids(self.surface(word)))
        return min(len(self.ids(word)), len(self.ids(f" {word}")))

    def cut(self, word: str) -> bool:
        """True if the tokenizer's own rules split the word before its model sees it."""
        if not self.merges or self.backend.pre_tokenizer is None:
            return False
        return len(self.backend.pre_tokenizer.pre_tokenize_str(self.form(word))) != 1

    def learnt(self, state: dict) -> "Codec":
        """The codec of a tokenizer in another state."""
        from tokenizers import Tokenizer

        return Codec(Tokenizer.from_str(json.dumps(state)), self.merges)
