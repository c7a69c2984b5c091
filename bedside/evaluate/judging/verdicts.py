"""What a judge says of two answers, and whether the place of an answer decides what it says."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bedside.answers import Answer
from bedside.evaluate.judging.questions import Question
from bedside.evaluate.statistics import sign_test, wilson

A, B, TIE = "A", "B", "tie"
_SURE = 0.05  # a leaning that an even judge would show more rarely than this is called one


@dataclass(frozen=True)
class Verdict:
    """`win` of the second model over the first: 1, 0.5 (a tie) or 0; None where the judge could not be read.

    `orders` is what was said with the first model's answer in place A, and with the second model's there; empty for a
    judge that sees no places, and where nobody had to be asked. `why` is what is worth showing: scores, checks.
    """

    win: float | None
    orders: tuple[str | None, ...] = ()
    why: dict[str, Any] = field(default_factory=dict)

    @property
    def unreadable(self) -> bool:
        """Whether the judge was asked and a reply held no verdict."""
        return None in self.orders

    @property
    def inconsistent(self) -> bool:
        """Whether both replies were read and did not prefer the same answer."""
        return bool(self.orders) and not self.unreadable and _first_wins(*self.orders) is None


class Judge(Protocol):
    """Compares answers; `name` stands in tables."""

    name: str

    def verdicts(
        self, questions: Sequence[Question], first: Sequence[Answer], second: Sequence[Answer]
    ) -> list[Verdict]:
        """One verdict a question, in their order. Raises ConfigError if the judge cannot be asked."""
        ...

    def told(self) -> list[str]:
        """Sentences for the report: how it judges, what it cost."""
        ...


def settled(forth: str | None, back: str | None) -> Verdict:
    """The verdict of both orders: `forth` with the first model's answer in place A, `back` with the second model's.

    Answers between which the place decides are equally good, as far as this judge can tell.

    >>> settled("A", "B").win, settled("B", "A").win, settled("A", "A").win, settled("A", None).win
    (0.0, 1.0, 0.5, None)
    """
    if forth is None or back is None:
        return Verdict(None, (forth, back))
    win = _first_wins(forth, back)
    return Verdict(0.5 if win is None else 1.0 - win, (forth, back))


def _first_wins(forth: str, back: str) -> float | None:
    """1, 0.5 or 0 where both orders agree; None where they do not."""
    said = {A: 1.0, B: 0.0, TIE: 0.5}
    one, other = said[forth], 1.0 - said[back]
    return one if one == other else None


@dataclass(frozen=True)
class Position:
    """What the place of an answer does: verdicts for place A, for B and even ones, over questions that were asked in
    both orders; `for_a` and `for_b` are the questions where the change of places changed the verdict towards A or B.

    `p` is the two-sided sign test on these (Dixon and Mood 1946, JASA 41): an even judge errs to both sides alike.
    """

    a: int
    b: int
    even: int
    for_a: int
    for_b: int

    @property
    def questions(self) -> int:
        """How many were asked in both orders."""
        return (self.a + self.b + self.even) // 2

    @property
    def share(self) -> float:
        """Of the verdicts that fell for place A, an even one counting half; NaN without any. 0.5 is even-handed."""
        return (self.a + self.even / 2) / (2 * self.questions) if self.questions else math.nan

    @property
    def moved(self) -> int:
        """Questions that the place decided: with the places changed, the verdict changed with them."""
        return self.for_a + self.for_b

    @property
    def interval(self) -> tuple[float, float]:
        """95 % of the share that place A has of the questions which the place decided (Wilson); 0.5 is even-handed."""
        return wilson(self.for_a, self.moved)

    @property
    def p(self) -> float:
        """Of the sign test."""
        return sign_test(self.for_a, self.for_b)

    @property
    def biased(self) -> bool:
        """Whether the judge leans to one place, by more than chance."""
        return self.p < _SURE


def position(verdicts: Sequence[Verdict]) -> Position:
    """Counted over the verdicts whose replies were both read."""
    read = [verdict.orders for verdict in verdicts if verdict.orders and not verdict.unreadable]
    said = Counter(letter for orders in read for letter in orders)
    lean = [orders.count(A) - orders.count(B) for orders in read]
    return Position(said[A], said[B], said[TIE], sum(x > 0 for x in lean), sum(x < 0 for x in lean))
