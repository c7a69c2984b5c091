"""Intervals for the numbers that tables show. Pure functions."""

import math

import numpy as np


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
