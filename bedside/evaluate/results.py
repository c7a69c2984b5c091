"""From cases to numbers: estimates with intervals, and the paired change between two models. The only place that sums.

Which interval and which test belong to a measure follows from its kind and its values, so every task is treated alike:

- a share of 0s and 1s: Wilson; change: Newcombe's method 10, McNemar's exact test, Cohen's h;
- a verdict `win` of 1, 0.5 and 0: Tango's score interval of wins - losses;
- any other mean: bootstrap-t; change: bootstrap-t of the differences, sign-flip test, d_z;
- a perplexity: bootstrap-t of the nats a token over whole texts; change: of their difference, sign-flip test.

Intervals are 95 % and belong to one number each; p values are corrected by `compare` for how many there are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bedside.evaluate import columns, statistics
from bedside.evaluate.task import PERPLEXITY, SHARE, Case, Measure, Task

ALPHA = 0.05
BETTER, WORSE, HIGHER, LOWER, UNCLEAR = "better", "worse", "higher", "lower", "no clear change"
WIN = "win"  # the measure of judged pairs: 1, 0.5 a tie, 0
_MOST_NATS = 700.0  # a token; above it exp() has no float


@dataclass(frozen=True)
class Estimate:
    """One number of one model. `value` is None with no case, `low` and `high` with one or with no spread to judge by;
    then `note` says so. `method` names the interval; `total` is the tokens of a perplexity."""

    measure: Measure
    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str = ""
    note: str = ""
    total: float | None = None


@dataclass(frozen=True)
class Change:
    """What one measure did between two models, over the `n` items that both have a value of.

    `before` and `after` are the values over these items. `change` with `low` and `high` is after - before; of a
    PERPLEXITY it is relative: -0.39 is 39 % lower. `p` is of `test`, `adjusted_p` after Holm's correction (None
    before it). `gained` and `lost` count the items of a share that became right and wrong; `sd` is the standard
    deviation of the differences of a mean, or of the nats a token between texts. `detectable` is the smallest change
    that so many items show in 80 % of studies, in the unit of `change`, before any correction; None where they cannot
    show any. `unpaired` counts values that one model lacks. `verdict` is "better", "worse" or "no clear change";
    "higher" or "lower" where a measure has no better.
    """

    measure: Measure
    n: int
    before: float | None = None
    after: float | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    test: str = ""
    effect: float | None = None
    effect_name: str = ""
    gained: int | None = None
    lost: int | None = None
    sd: float | None = None
    detectable: float | None = None
    unpaired: int = 0
    adjusted_p: float | None = None
    verdict: str = UNCLEAR
    note: str = ""
    task: str = ""


def estimate(measure: Measure, cases: Sequence[Case]) -> Estimate:
    """The measure over the cases that have a value of it, with its 95 % interval.

    >>> found = estimate(Measure("ok", "right", "正确"), [Case(str(i), {"ok": i < 8}) for i in range(10)])
    >>> found.value, round(found.low, 3), round(found.high, 3), found.n
    (0.8, 0.49, 0.943, 10)
    """
    values, weights = columns.arrays(measure, columns.taken(measure, cases))
    n = len(values)
    if not n:
        return Estimate(measure, None, None, None, 0, note="no item has a value of this measure")
    total = float(weights.sum()) if measure.kind == PERPLEXITY else None
    value = _value(measure, values, weights)
    if value is None:
        return Estimate(measure, None, None, None, n, note=columns.overflow(values), total=total)
    if n == 1:
        return Estimate(measure, value, None, None, 1, note="one item has no interval", total=total)
    interval, method = _interval(measure, values, weights)
    low, high = interval or (None, None)
    note = "" if interval else f"all {n} items are equal: there is no spread to take an interval from"
    return Estimate(measure, value, low, high, n, method if interval else "", note, total)


def by_group(measure: Measure, cases: Sequence[Case], group: str) -> dict[str, Estimate]:
    """The measure within each value of a group, most items first; cases without that group are under "". Groups in
    which no case has a value are left out."""
    sorted_in: dict[str, list[Case]] = {}
    for case in cases:
        sorted_in.setdefault(case.groups.get(group, ""), []).append(case)
    found = {name: estimate(measure, inside) for name, inside in sorted_in.items()}
    return dict(sorted(((k, v) for k, v in found.items() if v.n), key=lambda pair: (-pair[1].n, pair[0])))


def difference(measure: Measure, before: Sequence[Case], after: Sequence[Case], task: str = "") -> Change:
    """The paired change of a measure, cases paired by id; DataError where an id stands twice on one side."""
    old, new = columns.by_id(measure, before, "before"), columns.by_id(measure, after, "after")
    shared = [name for name in old if name in new]
    unpaired = len(old) + len(new) - 2 * len(shared)
    common = {"unpaired": unpaired, "task": task}
    if not shared:
        return Change(measure, 0, note="the two models have no item of this measure in common", **common)
    sides = [columns.arrays(measure, [side[name] for name in shared]) for side in (old, new)]
    (x, _), (y, _) = sides
    values = [_value(measure, *side) for side in sides]
    if None in values:
        return Change(measure, len(shared), *values, note=columns.overflow(np.concatenate([x, y])), **common)
    if measure.kind == PERPLEXITY:
        found = _perplexity_change(measure, *sides)
    elif _whole(measure, x) and _whole(measure, y):
        found = _share_change(measure, x, y)
    else:
        found = _mean_change(measure, x, y)
    return _judged(replace(found, before=values[0], after=values[1], **common))


def correct(changes: Sequence[Change]) -> list[Change]:
    """The changes with Holm's correction over all of them, and the verdicts that are left."""
    adjusted = statistics.holm([change.p for change in changes])
    return [_judged(replace(change, adjusted_p=p)) for change, p in zip(changes, adjusted, strict=True)]


def compare(
    before: Mapping[str, tuple[Task, Sequence[Case]]], after: Mapping[str, tuple[Task, Sequence[Case]]]
) -> list[Change]:
    """Changes of every measure of every task that both models did, in the order of `after`, corrected together: one
    comparison of two models is one family. Takes `Evaluation.tasks` of both."""
    found = []
    for name, (task, cases) in after.items():
        if name in before:
            found += [difference(measure, before[name][1], cases, name) for measure in task.measures]
    return correct(found)


def _value(measure: Measure, values: np.ndarray, weights: np.ndarray) -> float | None:
    """The measure of these values; None where one of them is not finite."""
    if not np.isfinite(values).all():
        return None
    mean = math.fsum(values) / math.fsum(weights)
    return math.exp(min(mean, _MOST_NATS)) if measure.kind == PERPLEXITY else mean


def _whole(measure: Measure, values: np.ndarray) -> bool:
    """Whether this is a share of 0s and 1s; the mean of several samples of an item is not."""
    return measure.kind == SHARE and bool(np.isin(values, (0.0, 1.0)).all())


def _interval(measure: Measure, values: np.ndarray, weights: np.ndarray) -> tuple[tuple[float, float] | None, str]:
    """The 95 % interval of at least two finite values, and its name."""
    n = len(values)
    if _whole(measure, values):
        return statistics.wilson(float(values.sum()), n), "Wilson"
    if measure.name == WIN and np.isin(values, (0.0, 0.5, 1.0)).all():
        verdicts = statistics.win_rate(values.tolist())
        return (verdicts.low, verdicts.high), "Tango's score"
    if measure.kind == PERPLEXITY:
        found = statistics.bootstrap_ratio(values, weights)
        return found and tuple(math.exp(min(edge, _MOST_NATS)) for edge in found), "bootstrap-t over texts"
    found = statistics.bootstrap_mean(values)
    if measure.kind != SHARE:
        return found, "bootstrap-t"
    if found is None:  # parts of 1, all equal; 0s and 1s of the same mean would vary more
        return statistics.wilson(float(values.sum()), n), "Wilson"
    return (max(0.0, found[0]), min(1.0, found[1])), "bootstrap-t"


def _share_change(measure: Measure, x: np.ndarray, y: np.ndarray) -> Change:
    n, both, gained, lost = len(x), int((x * y).sum()), int(((1 - x) * y).sum()), int((x * (1 - y)).sum())
    interval = statistics.newcombe(both, lost, gained, n - both - gained - lost) if n > 1 else None
    low, high = interval or (None, None)
    return Change(
        measure, n, change=(gained - lost) / n, low=low, high=high, p=statistics.mcnemar(lost, gained),
        test="McNemar, exact", effect=statistics.cohens_h(x.mean(), y.mean()), effect_name="Cohen's h",
        gained=gained, lost=lost, detectable=statistics.detectable_share(n, (gained + lost) / n),
        note=_note(n, interval, gained + lost),
    )  # fmt: skip


def _mean_change(measure: Measure, x: np.ndarray, y: np.ndarray) -> Change:
    moved, n = y - x, len(x)
    interval = statistics.bootstrap_mean(moved)
    if measure.kind == SHARE and interval:
        interval = max(-1.0, interval[0]), min(1.0, interval[1])
    elif measure.kind == SHARE and n > 1:  # parts of 1 that all change alike; wholes of the same sums would vary more
        interval = statistics.tango(float(np.maximum(moved, 0).sum()), float(np.maximum(-moved, 0).sum()), n)
    low, high = interval or (None, None)
    sd = float(moved.std(ddof=1)) if n > 1 else None
    return Change(
        measure, n, change=math.fsum(moved) / n, low=low, high=high, p=statistics.sign_flip(moved),
        test="sign flips of pairs", effect=statistics.d_z(moved), effect_name="d_z", sd=sd,
        detectable=statistics.detectable_mean(n, sd) if sd else None,
        note=_note(n, interval, int((moved != 0).sum())),
    )  # fmt: skip


def _perplexity_change(
    measure: Measure, before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]
) -> Change:
    influences, n = statistics.ratio_influences(before, after), len(before[0])
    interval = statistics.bootstrap_ratio_change(before, after) if n > 1 else None
    ratio = after[0].sum() / after[1].sum() - before[0].sum() / before[1].sum()
    low, high = [statistics.relative_change(edge) for edge in interval] if interval else (None, None)
    sd = statistics.ratio_deviation(before, after)
    least = statistics.detectable_mean(n, sd) if sd else None
    notes = [_note(n, interval, int((influences != 0).sum())), columns.other_tokens(before[1], after[1])]
    return Change(
        measure, n, change=statistics.relative_change(ratio), low=low, high=high, p=statistics.sign_flip(influences),
        test="sign flips of pairs", effect=float(ratio), effect_name="log ratio (nats a token)", sd=sd,
        detectable=-math.expm1(-least) if least else None, note="; ".join(filter(None, notes)),
    )  # fmt: skip


def _note(n: int, interval: tuple[float, float] | None, changed: int) -> str:
    """Why there is no interval or no possible verdict, if so."""
    if n == 1:
        return "one item shows no change"
    if not changed:
        return f"no item of {n} changed"
    return "" if interval else f"all {n} items changed by the same amount: there is no spread to take an interval from"


def _judged(change: Change) -> Change:
    """The change with its verdict: clear where p (corrected, if it is) is below 0.05 and the interval leaves 0 out."""
    p = change.p if change.adjusted_p is None else change.adjusted_p
    around = change.low is not None and change.low <= 0 <= change.high
    if p is None or p >= ALPHA or around or not change.change:
        return replace(change, verdict=UNCLEAR)
    up = change.change > 0
    words = {"higher": (BETTER, WORSE), "lower": (WORSE, BETTER), None: (HIGHER, LOWER)}[change.measure.better]
    return replace(change, verdict=words[0] if up else words[1])
