"""Intervals for the numbers that tables show. Pure functions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Were all of five rows to change one way, the two-sided sign test would still say p = 2 / 2**5 = 0.06.
FEWEST = 6


def wilson(successes: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927, JASA 22, eq. on p. 209); (0, 1) for n = 0.

    >>> tuple(round(x, 3) for x in wilson(8, 10))
    (0.49, 0.943)
    """
    if not n:
        return 0.0, 1.0
    share = successes / n
    centre = share + z * z / (2 * n)
    spread = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return tuple((centre + sign * spread) / (1 + z * z / n) for sign in (-1, 1))


def mean_interval(values: list[float], rounds: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean: percentile bootstrap (Efron 1979, Annals of Statistics 7), resampled `rounds` times.

    >>> low, high = mean_interval([0.0, 1.0] * 50)
    >>> 0.38 < low < 0.42 and 0.58 < high < 0.62
    True
    """
    if not values:
        return math.nan, math.nan
    sample = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    means = [sample[rng.integers(0, len(sample), len(sample))].mean() for _ in range(rounds)]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(low), float(high)


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
