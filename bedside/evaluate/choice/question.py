"""A multiple-choice question, and the orders in which its options are shown.

An option that speaks of others ("all of the above", 以上都是) keeps its place; where options name letters ("A and C"),
nothing is moved.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import combinations

# At each place, which option stands there: (1, 2, 0) shows the second option first.
Order = tuple[int, ...]

_ABOVE = re.compile(
    r"\b(?:all|none|any|both|neither|either|some|two|three) (?:of )?(?:the |these |them\b|those )"
    r"|\b(?:of|the) (?:the )?(?:above|below|following|preceding|foregoing)\b|\b(?:above|other) (?:options|choices)\b"
    r"|^(?:all|none|both|neither|either)(?: (?:are )?(?:correct|true|false|right|wrong))?$"
    r"|^(?:all|none|both) of (?:these|them|those|it)\b|^(?:nota|aota)$"
    r"|以上|上述|上列|前述|(?:都|均|皆|全|全部)(?:是|不是|对|不对|正确|不正确|错|错误|有|包括|需要|可以?)$"
    r"|^(?:都|均|皆|全)(?:是|对|不对|正确|错)|^(?:无|没有)(?:正确|一项|一个)?(?:正确|答案|选项)|二者|两者|三者|前两项|前三项",
    re.IGNORECASE,
)
_JOINED = r"(?:\s*(?:,|，|、|\+|&|/|;|和|与|或|及|\band\b|\bor\b)\s*(?:and |or )?)"


@dataclass(frozen=True)
class Question:
    """`options` as (letter, text) in the order of the file; `right` are letters of it; `several`: the exact set of
    right letters is asked for. `groups` are what accuracy is split by."""

    id: str
    text: str
    options: tuple[tuple[str, str], ...]
    right: frozenset[str]
    several: bool = False
    language: str = "en"
    where: str = ""
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def letters(self) -> tuple[str, ...]:
        """The letters of the options, in order."""
        return tuple(letter for letter, _ in self.options)

    @property
    def chance(self) -> float:
        """The accuracy of one who guesses: among the options, or among the sets of them that are not empty."""
        return 1 / (2 ** len(self.options) - 1) if self.several else 1 / len(self.options)


def shown(question: Question, order: Order) -> tuple[tuple[str, str], ...]:
    """The options in this order: the letters stay, the texts move.

    >>> shown(Question("1", "?", (("A", "gout"), ("B", "flu")), frozenset("A")), (1, 0))
    (('A', 'flu'), ('B', 'gout'))
    """
    return tuple((letter, question.options[index][1]) for letter, index in zip(question.letters, order, strict=True))


def named(question: Question, order: Order, letters: Sequence[str] | frozenset[str]) -> frozenset[str]:
    """The options, by their letters in the file, that an answer to this order names."""
    places = {letter: question.letters[index] for letter, index in zip(question.letters, order, strict=True)}
    return frozenset(places[letter] for letter in letters)


def expected(question: Question, order: Order) -> str:
    """The right options as they stand in this order.

    >>> expected(Question("1", "?", (("A", "gout"), ("B", "flu")), frozenset("A")), (1, 0))
    'B. gout'
    """
    right = [
        (letter, text) for letter, text in shown(question, order) if named(question, order, [letter]) <= question.right
    ]
    return "; ".join(f"{letter}. {text}" for letter, text in right)


def moves(question: Question) -> list[int]:
    """The places of the options that may be moved; none where that would change what an option says."""
    texts = [text for _, text in question.options]
    letters = "".join(question.letters)
    one = rf"[(（]?(?<![A-Za-z0-9])[{letters}](?![A-Za-z0-9'])[)）]?"
    several = re.compile(rf"{one}(?:{_JOINED}{one})+|\b(?:option|choice|answer)s? {one}|选项\s*{one}|{one}\s*项")
    whole = re.compile(rf"\s*(?:only |仅|只有)?[{letters}]{{2,}}(?:都|均|皆)?(?:对|是|正确)?\s*", re.IGNORECASE)
    if any(several.search(text) or whole.fullmatch(text) and _is_letters(text, letters) for text in texts):
        return []
    free = [place for place, text in enumerate(texts) if not _ABOVE.search(text.strip().rstrip(".。"))]
    return free if len(free) > 1 else []


def _is_letters(text: str, letters: str) -> bool:
    """Whether "AC" names options A and C: in rising order, each once. "AB" as a blood group among options does so too,
    and is then left where it is, which is harmless."""
    found = re.findall(f"[{letters}]", text)
    return len(found) > 1 and found == sorted(set(found))


def orders(question: Question, most: int | None, seed: int) -> list[Order]:
    """The file's own order, and others up to `most` (None: all rotations of the options that may be moved).

    Rotations come first: over all of them each option stands once at each place. More than these are drawn from all
    permutations. Two models get the same orders.
    """
    places, number = moves(question), len(question.options)
    first = tuple(range(number))
    if not places or most == 1:
        return [first]
    rotations = [_moved(number, places, places[shift:] + places[:shift]) for shift in range(1, len(places))]
    wanted = len(places) if most is None else min(most, math.factorial(len(places)))
    drawn = random.Random(f"{seed}-{question.id}")
    if wanted <= len(places):
        return [first, *(rotations if most is None else drawn.sample(rotations, wanted - 1))]
    found = dict.fromkeys([first, *rotations])
    while len(found) < wanted:
        found[_moved(number, places, drawn.sample(places, len(places)))] = None
    return list(found)


def _moved(number: int, places: list[int], instead: list[int]) -> Order:
    order = list(range(number))
    for place, option in zip(places, instead, strict=True):
        order[place] = option
    return tuple(order)


def agreement(chosen: Sequence[frozenset[str]], options: Sequence[frozenset[str]]) -> tuple[float, float] | None:
    """How an answer follows its options when they move: `(consistent, kept)`; None for a single order.

    `chosen` are the letters that were answered to each order, `options` what these letters stood for. Consistent (0 or
    1): the same option every time. Kept: of all pairs of orders, the share in which the letter stayed although it
    stood for another option; 1 for a model that always says A, one over the number of options for one that guesses.
    """
    if len(chosen) < 2:
        return None
    consistent = bool(options[0]) and len(set(options)) == 1
    pairs = list(combinations(range(len(chosen)), 2))
    kept = sum(bool(chosen[a]) and chosen[a] == chosen[b] and options[a] != options[b] for a, b in pairs)
    return float(consistent), kept / len(pairs)
