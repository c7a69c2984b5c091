"""Rows measured twice, in one call: the means, their change, its interval. What training reports print."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bedside.evaluate.statistics.effects import FEWEST
from bedside.evaluate.statistics.intervals import mean_interval


class Change(NamedTuple):
    """What rows measured twice say: means before and after, the mean change with its 95 % interval.

    `enough` is how many rows would show a change of this size and spread, None where it is 0 or there are none.
    """

    n: int
    before: float
    after: float
    mean: float
    low: float
    high: float
    enough: int | None

    @property
    def shown(self) -> bool:
        """Whether the interval leaves 0 out, from at least FEWEST rows."""
        return self.n >= FEWEST and not self.low <= 0 <= self.high


def paired_change(before: Sequence[float | None], after: Sequence[float | None]) -> Change:
    """The change of rows measured twice, by the paired bootstrap (Efron and Tibshirani 1993, section 13.3); a row that
    lacks a value (None) on either side counts on neither.

    >>> paired_change([0.0, 1.0, None], [1.0, 1.0, 1.0])[:4]
    (2, 0.5, 1.0, 0.5)
    """
    pairs = [(old, new) for old, new in zip(before, after, strict=True) if old is not None and new is not None]
    if not pairs:
        return Change(0, *[math.nan] * 5, None)
    differences = [new - old for old, new in pairs]
    means = [sum(column) / len(pairs) for column in (*zip(*pairs, strict=True), differences)]
    return Change(len(pairs), *means, *mean_interval(differences), rows_needed(differences))


def rows_needed(differences: Sequence[float], z: float = 1.959964) -> int | None:
    """How many rows would leave 0 out of the 95 % interval, if mean and spread of the differences stay: at least
    FEWEST; None where the mean is 0.

    >>> rows_needed([1.0, 0.0, 0.0, 0.0])
    16
    """
    values = np.asarray(differences, np.float64)
    mean = values.mean() if len(values) else 0.0
    if mean == 0:
        return None
    return max(FEWEST, math.ceil((z * values.std(ddof=min(1, len(values) - 1)) / mean) ** 2))
