"""Which of the danger signs that gold lists does the answer warn of? Their share, from 0 to 1."""

import re
from typing import Any

import bedside.rewards.words as words
from bedside.rewards.completion import Completion, answer, asked, plain
from bedside.rewards.statements import own_words

# Words that carry no sign: without them "loss of consciousness" is found in "if he loses consciousness".
_EMPTY = {
    "a", "an", "the", "of", "and", "or", "with", "in", "on", "at", "to", "by", "for", "as", "is", "are", "was", "be",
    "from", "that", "which", "any", "new", "very",
}  # fmt: skip
_PARTICLES = re.compile("[的地得了着和或及与并伴在有是]")
_ENOUGH = 0.75  # of a sign's words (pairs of characters), in one sentence
_REASSURED = re.compile(
    r"\bno need to\b|\bignore\b|\bharmless\b|\bdo(?:n't| not) worry\b|\bnothing to worry\b|不用(?:担心|在意|管)"
    r"|无需(?:担心|在意)|不必(?:担心|在意)|没关系|不要紧",
    re.IGNORECASE,
)


def score(completion: Completion, gold: dict[str, Any], messages: list[dict[str, Any]]) -> float | None:
    """Share of gold's red flags that a sentence of the answer names; None where gold has none."""
    flags = [pieces for flag in gold.get("red_flags") or [] if (pieces := _pieces(plain(str(flag))))]
    if not flags:
        return None
    text = own_words(answer(completion), plain(asked(messages)))
    sentences = [one for one in re.split(r"[。！？；!?;\n]|\.(?=\s|$)", text) if not _REASSURED.search(one)]
    said = [_pieces(sentence) for sentence in sentences]
    return sum(any(len(flag & one) >= _ENOUGH * len(flag) for one in said) for flag in flags) / len(flags)


def _pieces(text: str) -> set[str]:
    """Words of an English text by their stems, pairs of neighbours of a Chinese one."""
    found = {_stem(token.folded) for token in words.tokens(text) if token.text.isascii()} - _EMPTY
    for run in re.findall(f"[{words.HAN}]+", _PARTICLES.sub("", text)):
        found |= {run[start : start + 2] for start in range(len(run) - 1)} or {run}
    return found


def _stem(word: str) -> str:
    """The word without the endings of verbs and adverbs, so that "falling" is "fall".

    >>> _stem("falling"), _stem("losing"), _stem("lose")
    ('fall', 'los', 'los')
    """
    for ending in ("ing", "ed", "ly", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return words.spelled(word[: -len(ending)])
    return words.spelled(word)
