"""Which cases a reader is shown: the same questions before and after, not only those that went well; and failures."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from bedside.evaluate.task import PERPLEXITY, SHARE, Case, Measure, Task

EACH = 3  # cases shown for every reason


@dataclass(frozen=True)
class Shown:
    """One question as two models did it; `why` is better, worse or random, `gain` the change for the better in the
    measure that it was chosen by."""

    why: str
    gain: float
    before: Case
    after: Case


@dataclass(frozen=True)
class Chosen:
    """What is shown of one task, and of how many: questions that went better, worse and the same by `measure`."""

    measure: Measure
    better: int
    worse: int
    same: int
    shown: list[Shown]

    @property
    def n(self) -> int:
        return self.better + self.worse + self.same


def chosen(
    task: Task, before: Sequence[Case], after: Sequence[Case], seed: int = 42, each: int = EACH
) -> Chosen | None:
    """Up to `each` of the largest changes for the better, for the worse, and of the others drawn at random.

    None where no measure of the task has a direction, or no answer is to be shown. Questions are chosen by the first
    measure with a direction in which any of them changed; among equals the other measures decide, then the order.
    """
    pairs = _pairs(before, after)
    directed = [measure for measure in task.measures if measure.better]
    moved = [measure for measure in directed if any(_gain(measure, *pair) for pair in pairs)]
    if not pairs or not directed:
        return None
    first = (moved or directed)[0]
    pairs = [pair for pair in pairs if _gain(first, *pair) is not None]
    others = [measure for measure in directed if measure is not first and measure.kind == SHARE]
    gains = [(_gain(first, *pair) or 0.0, sum(_gain(other, *pair) or 0.0 for other in others)) for pair in pairs]
    order = range(len(pairs))
    better = sorted((i for i in order if gains[i][0] > 0), key=lambda i: (-gains[i][0], -gains[i][1], i))
    worse = sorted((i for i in order if gains[i][0] < 0), key=lambda i: (gains[i][0], gains[i][1], i))
    taken = [*better[:each], *worse[:each]]
    rest = sorted(set(order) - set(taken))
    drawn = sorted(random.Random(seed).sample(rest, min(each, len(rest))))
    why = [("better", better[:each]), ("worse", worse[:each]), ("random", drawn)]
    shown = [Shown(name, gains[i][0], *pairs[i]) for name, numbers in why for i in numbers]
    return Chosen(first, len(better), len(worse), len(pairs) - len(better) - len(worse), shown)


def failures(measure: Measure, cases: Sequence[Case]) -> list[Case]:
    """The cases that did not wholly do well in a share with a direction: below 1 where higher is better, above 0 where
    lower is. None for other measures, of which nothing says what a failure is.

    >>> failures(Measure("right", "right", "对"), [Case("a", {"right": 0.5}), Case("b", {"right": None})])[0].id
    'a'
    """
    if measure.kind != SHARE or not measure.better:
        return []
    best = 1.0 if measure.better == "higher" else 0.0
    return [case for case in cases if case.values.get(measure.name) not in (None, best)]


def unmeasured(cases: Sequence[Case]) -> list[Case]:
    """The cases that have no value at all, in any measure."""
    return [case for case in cases if all(value is None for value in case.values.values())]


def letters(cases: Sequence[Case]) -> Counter:
    """How often each letter was chosen, over every order in which the questions were asked."""
    found: Counter = Counter()
    for case in cases:
        told = case.shown.get("letters")
        for one in told if isinstance(told, list) else []:
            found.update(letter for letter in str(one) if letter.isalpha())
    return found


def _pairs(before: Sequence[Case], after: Sequence[Case]) -> list[tuple[Case, Case]]:
    """Cases of one item that have an answer to show on either side, in the order of `after`."""
    first = {case.id: case for case in before}
    both = [(first[case.id], case) for case in after if case.id in first]
    return [pair for pair in both if any("answer" in case.shown for case in pair)]


def _gain(measure: Measure, before: Case, after: Case) -> float | None:
    """The change for the better, in the measure's own unit (nats a token for a perplexity)."""
    values = [_value(measure, case) for case in (before, after)]
    if None in values or any(value != value for value in values):
        return None
    return (values[1] - values[0]) * (1 if measure.better == "higher" else -1)


def _value(measure: Measure, case: Case) -> float | None:
    value = case.values.get(measure.name)
    if value is None or measure.kind != PERPLEXITY:
        return value
    return value / max(1.0, case.weights.get(measure.name, 1.0))
