"""95 % intervals of shares, means and ratios, of one model and of the change between two. Pure functions.

An interval is `(low, high)`, or None where the rows do not say how sure one may be: fewer than two, or all equal.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bedside.evaluate.statistics.resampling import Z, bootstrap_t

# Rounding of sums of floats makes equal rows differ by about this part of their size.
_EQUAL = 1e-9


def wilson(successes: float, n: int, z: float = Z) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson 1927, JASA 22, eq. on p. 209); (0, 1) for n = 0.

    >>> tuple(round(x, 3) for x in wilson(8, 10))
    (0.49, 0.943)
    """
    if not n:
        return 0.0, 1.0
    share = successes / n
    centre = share + z * z / (2 * n)
    # Rounding of sums of shares may leave a share a hair outside 0 to 1.
    spread = z * math.sqrt(max(0.0, share * (1 - share)) / n + z * z / (4 * n * n))
    low, high = ((centre + sign * spread) / (1 + z * z / n) for sign in (-1, 1))
    return max(0.0, low), min(1.0, high)


def newcombe(both: int, lost: int, gained: int, neither: int, z: float = Z) -> tuple[float, float] | None:
    """95 % interval of the change of a share between two looks at the same items: after - before.

    `both` were right before and after, `lost` before only, `gained` after only, `neither` never. Method 10 of
    Newcombe 1998 (Statistics in Medicine 17, p. 2635): Wilson limits of both shares, joined by their correlation with
    a continuity correction. None for no items.

    >>> tuple(round(x, 4) for x in newcombe(36, 2, 12, 0))
    (0.0569, 0.3404)
    """
    n = both + lost + gained + neither
    if not n:
        return None
    before, after = (both + lost) / n, (both + gained) / n
    (low_before, high_before), (low_after, high_after) = wilson(both + lost, n, z), wilson(both + gained, n, z)
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    product = both * neither - lost * gained
    if product > 0:
        product = max(product - n / 2, 0.0)
    phi = product / math.sqrt(margins) if margins else 0.0
    below = _joined(after - low_after, high_before - before, phi)
    above = _joined(high_after - after, before - low_before, phi)
    return max(-1.0, after - before - below), min(1.0, after - before + above)


def _joined(one: float, other: float, correlation: float) -> float:
    return math.sqrt(max(0.0, one * one - 2 * correlation * one * other + other * other))


def tango(gains: float, losses: float, n: int, z: float = Z) -> tuple[float, float] | None:
    """95 % score interval of (gains - losses) / n, where an item gains 1, loses 1 or stays (Tango 1998, Statistics in
    Medicine 17, p. 891); None for n = 0.

    Gains and losses may be sums of parts of 1: parts vary less than wholes, so the interval is then too wide, never
    too narrow. With no gain and no loss it is -z^2 / (n + z^2) to z^2 / (n + z^2).

    >>> tuple(round(x, 4) for x in tango(0, 0, 10))
    (-0.2775, 0.2775)
    """
    if not n:
        return None
    estimate = (gains - losses) / n

    def score(delta: float) -> float:
        b = (2 * n - gains + losses) * delta - gains - losses
        c = -losses * delta * (1 - delta)
        lose = max(0.0, (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n))
        variance = n * (2 * lose + delta * (1 - delta))
        distance = gains - losses - n * delta
        return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)

    def edge(outside: float, wanted: float) -> float:
        inside = estimate
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if abs(score(middle)) <= wanted else (inside, middle)
        return inside

    return (-1.0 if estimate <= -1 else edge(-1.0, z)), (1.0 if estimate >= 1 else edge(1.0, z))


def mean_interval(values: list[float], rounds: int = 2000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean: percentile bootstrap (Efron 1979, Annals of Statistics 7), resampled `rounds` times.

    It covers less than it says where there are few values or they are skewed; tables of an evaluation use
    `bootstrap_mean`.

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


def bootstrap_mean(values: Sequence[float], rounds: int = 2000, seed: int = 0) -> tuple[float, float] | None:
    """95 % interval of a mean `(n,)`, or of a paired mean difference if `values` are the differences: bootstrap-t.

    >>> low, high = bootstrap_mean([0.0, 1.0] * 50)
    >>> 0.38 < low < 0.42 and 0.58 < high < 0.62
    True
    """
    return bootstrap_ratio(values, np.ones(len(values)), rounds, seed)


def bootstrap_ratio(
    sums: Sequence[float], weights: Sequence[float], rounds: int = 2000, seed: int = 0
) -> tuple[float, float] | None:
    """95 % interval of sum(sums) / sum(weights), rows resampled whole: bootstrap-t. Weights are positive, `(n,)`.

    With summed nats and tokens of each document, its exponential is the interval of a token-weighted perplexity.
    """
    x, w = np.asarray(sums, np.float64), np.asarray(weights, np.float64)
    if len(x) < 2:
        return None
    ratio = x.sum() / w.sum()
    residuals = x - ratio * w
    if np.abs(residuals).max() <= _EQUAL * np.abs(x).max():
        return None
    reach = bootstrap_t(residuals[:, None], w[:, None], [1.0], rounds, seed)
    return reach and (float(ratio + reach[0]), float(ratio + reach[1]))


def bootstrap_ratio_change(
    before: tuple[Sequence[float], Sequence[float]],
    after: tuple[Sequence[float], Sequence[float]],
    rounds: int = 2000,
    seed: int = 0,
) -> tuple[float, float] | None:
    """95 % interval of the change of a ratio of sums, after - before, rows paired: bootstrap-t.

    `before` and `after` are `(sums, weights)` of the same rows in the same order. With nats and tokens it is the log
    of the ratio of two perplexities.
    """
    x, w = (np.asarray([after[side], before[side]], np.float64).T for side in (0, 1))
    if len(x) < 2:
        return None
    residuals = x - x.sum(0) / w.sum(0) * w
    if np.abs((residuals / w.sum(0)) @ [1.0, -1.0]).max() <= _EQUAL * np.abs(x / w.sum(0)).max():
        return None
    ratio = x.sum(0) / w.sum(0)
    reach = bootstrap_t(residuals, w, [1.0, -1.0], rounds, seed)
    return reach and (float(ratio[0] - ratio[1] + reach[0]), float(ratio[0] - ratio[1] + reach[1]))
