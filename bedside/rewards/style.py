"""Rewards of form, to be added in small weights: length, repetition, language. All between 0 and 1; blank earns 0."""

import re
from typing import Any

import bedside.rewards.words as words
from bedside.rewards.completion import Completion, asked, language, parts, plain

_HAN = re.compile(f"[{words.HAN}]")
_LATIN_WORD = re.compile(r"[A-Za-z][A-Za-z'-]*")
_NAMED = re.compile(r"[A-Z0-9]{2,}|[A-Za-z]*\d[\w-]*")  # ECG, HbA1c, B12: the same in every language
_UNITS = {"mg", "g", "kg", "ml", "l", "dl", "mmol", "mol", "mmhg", "cm", "mm", "iu", "u", "h", "min", "ph"}
_GRAM = 4
_LATIN_ALLOWED = 0.4  # share of Latin words in a Chinese text that is abbreviations and names


def count(completion: Completion) -> int:
    """How many tokens were sampled; where nobody counted, words and Chinese characters."""
    return completion.tokens or len(words.tokens(completion.text))


def length(
    completion: Completion,
    gold: dict[str, Any],
    messages: list[dict[str, Any]],
    shortest: int = 32,
    longest: int = 512,
) -> float:
    """1 from `shortest` to `longest` tokens (thought included), falling to 0 at none and at twice the longest."""
    size = count(completion)
    if not parts(completion).answer or not size:
        return 0.0
    if size < shortest:
        return size / shortest
    return max(0.0, min(1.0, 2.0 - size / longest))


def repetition(completion: Completion, gold: dict[str, Any], messages: list[dict[str, Any]]) -> float:
    """1 minus the share of runs of four words (or Chinese characters) that stood in the completion before."""
    if not parts(completion).answer:
        return 0.0
    said, grams = _grams(completion.text)
    return len(set(grams)) / len(grams) if grams else float(said)


def repeated(text: str) -> float:
    """Share of the runs of four words (or Chinese characters) of a text that stood in it before, 0 to 1.

    >>> repeated("rest and drink water, rest and drink water")
    0.2
    """
    _, grams = _grams(text)
    return (len(grams) - len(set(grams))) / len(grams) if grams else 0.0


def _grams(text: str) -> tuple[bool, list[tuple[str, ...]]]:
    """Whether there is a word at all, and the runs of four."""
    said = [token.folded for token in words.tokens(plain(text))]
    return bool(said), [tuple(said[start : start + _GRAM]) for start in range(len(said) - _GRAM + 1)]


def same_language(completion: Completion, gold: dict[str, Any], messages: list[dict[str, Any]]) -> float | None:
    """Share of thought and answer that are in the question's language (0, 0.5 or 1); None without a question.

    Abbreviations, units and names in Latin letters are at home in a Chinese answer.
    """
    if not asked(messages):
        return None
    wanted = language({}, messages)
    found = parts(completion)
    if not found.answer:
        return 0.0
    texts = [found.answer] if found.thought is None else [found.thought, found.answer]
    return sum(_is_in(plain(text), wanted) for text in texts) / len(texts)


def _is_in(text: str, wanted: str) -> bool:
    han = len(_HAN.findall(text))
    foreign = [word for word in _LATIN_WORD.findall(text) if not _NAMED.fullmatch(word) and word.lower() not in _UNITS]
    if wanted == "en":
        return not han and bool(text.strip())
    return han > 0 and len(foreign) <= _LATIN_ALLOWED * (han / 2 + len(foreign))
