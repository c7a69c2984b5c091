"""Intervals for the numbers that tables show. Pure functions."""

import math


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
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
