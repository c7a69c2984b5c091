"""How large a change is, and how large it must be to be seen. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

# Normal quantiles of a two-sided 5 % test and of 80 % power.
_ALPHA, _POWER = 1.959964, 0.841621
# Were all of five rows to change one way, the two-sided sign test would still say p = 2 / 2**5 = 0.06.
FEWEST = 6


def cohens_h(before: float, after: float) -> float:
    """Difference of two shares after the arcsine transform (Cohen 1988, section 6.2): 0.2 is called small, 0.5
    medium, 0.8 large.

    >>> round(cohens_h(0.5, 0.75), 4)
    0.5236
    """
    return 2 * math.asin(math.sqrt(after)) - 2 * math.asin(math.sqrt(before))


def d_z(differences: Sequence[float]) -> float | None:
    """Mean of paired differences over their standard deviation (Cohen 1988, section 2.3.5); None with fewer than two
    or without spread.

    >>> d_z([0.0, 1.0, 2.0])
    1.0
    """
    values = np.asarray(differences, np.float64)
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    return float(values.mean() / spread) if spread > 1e-12 * abs(values).max(initial=0.0) else None


def relative_change(log_ratio: float) -> float:
    """exp(log_ratio) - 1: what part a perplexity fell (negative) or rose, from the change in nats a token.

    >>> round(relative_change(math.log(3.1 / 5.1)), 3)
    -0.392
    """
    return math.expm1(min(log_ratio, 700.0))


def ratio_deviation(
    before: tuple[Sequence[float], Sequence[float]], after: tuple[Sequence[float], Sequence[float]]
) -> float | None:
    """What the change of a ratio of sums varies by from row to row: over sqrt(n) it is the standard error of the
    change (linearised: Cochran 1977, section 6.4). Sides are `(sums, weights)`; None with fewer than two rows."""
    parts = []
    for side in (before, after):
        sums, weights = (np.asarray(part, np.float64) for part in side)
        parts.append((sums - sums.sum() / weights.sum() * weights) / weights.sum())
    return float((parts[1] - parts[0]).std(ddof=1)) * len(parts[0]) if len(parts[0]) > 1 else None


def detectable_share(n: int, discordant: float) -> float | None:
    """The smallest change of a paired share that McNemar's exact test at 0.05 finds in 80 % of studies of n items.

    `discordant` is the share of items on which the two differ. Connor 1987 (Biometrics 43, p. 207) with half an item
    of continuity correction, solved for the change d: sqrt(n) (d - 1 / 2n) = z_a sqrt(s) + z_b sqrt(s - d^2). So the
    exact test, which is careful, keeps 79 % or more. A change cannot be larger than the share that differs; where it
    would have to be, that share is taken to grow with it. The test needs FEWEST items that all change one way, so
    never less than FEWEST / n; None where n is less than that, for then nothing can be found.

    >>> round(detectable_share(100, 0.25), 3), detectable_share(5, 0.2)
    (0.143, None)
    """
    if n < FEWEST:
        return None

    def too_small(change: float) -> bool:
        share = max(discordant, change)
        needed = _ALPHA * math.sqrt(share) + _POWER * math.sqrt(max(0.0, share - change * change))
        return math.sqrt(n) * (change - 0.5 / n) < needed

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if too_small(middle) else (low, middle)
    return max(high, FEWEST / n)


def detectable_mean(n: int, deviation: float) -> float | None:
    """The smallest mean of paired differences that a two-sided test at 0.05 finds in 80 % of studies of n items whose
    differences have this standard deviation: (z_a + z_b) s / sqrt(n - z_a^2 / 2) (Guenther 1981, The American
    Statistician 35, p. 243, solved for the difference). None for n < FEWEST, where no test can be sure.

    >>> round(detectable_mean(102, 1.0), 3)
    0.28
    """
    if n < FEWEST:
        return None
    return (_ALPHA + _POWER) * deviation / math.sqrt(n - _ALPHA**2 / 2)
