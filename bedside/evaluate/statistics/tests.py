"""Tests of a change between two models on the same items, and the correction for many of them. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from bedside.evaluate.statistics.resampling import AT_ONCE, LARGE

# So many differences have few enough patterns of signs to try all 65,536.
_EXACT = 16
# Up to here 2**n has a float.
_WHOLE_NUMBERS = 1000


def mcnemar(lost: int, gained: int, mid: bool = False) -> float:
    """Two-sided p of McNemar's test, exact (binomial): did as many items get worse as got better?

    `lost` were right before only, `gained` after only; the others say nothing. 1 where there are none. `mid` counts
    half of the observed outcome (the mid-p of Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology
    13:91), which is less careful: tables here use the exact p.

    >>> mcnemar(2, 12)
    0.012939453125
    >>> round(mcnemar(2, 12, mid=True), 7)
    0.0073853
    """
    n, fewer = lost + gained, min(lost, gained)
    # P(X = fewer), then P(X < fewer) from the ratios of neighbouring binomial coefficients.
    seen = math.comb(n, fewer) / 2**n if n <= _WHOLE_NUMBERS else math.exp(_log_comb(n, fewer) - n * math.log(2))
    term, below = seen, 0.0
    for k in range(fewer, 0, -1):
        term *= k / (n - k + 1)
        below += term
        if term < 1e-17 * below:
            break
    if mid:
        return 1.0 if lost == gained else 2 * below + seen
    return min(1.0, 2 * (below + seen))


def _log_comb(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided exact p of the sign test (Conover 1999, section 3.4): are wins and losses equally likely? Ties are
    left out. McNemar's exact test is the same test.

    >>> sign_test(6, 0), sign_test(0, 0)
    (0.03125, 1.0)
    """
    return mcnemar(losses, wins)


def sign_flip(differences: Sequence[float], rounds: int = 9999, seed: int = 0) -> float:
    """Two-sided p of the paired permutation test: had each pair been swapped by chance, how often would the sum of
    the differences be as far from 0 (Fisher 1935, The Design of Experiments, section 21)?

    All patterns of signs with up to 16 differences that are not 0; else `rounds` seeded draws, the pattern seen
    counted among them (Phipson and Smyth 2010, so never 0), and from 10,000 differences on the normal limit. 1 where
    nothing differs.

    >>> sign_flip([1.0, 1.0, 1.0]), sign_flip([])
    (0.25, 1.0)
    """
    values = np.asarray(differences, np.float64)
    values = values[values != 0]
    if not len(values):
        return 1.0
    if len(values) >= LARGE:
        return math.erfc(abs(values.sum()) / math.sqrt(2 * float(values @ values)))
    # Patterns that sum to the same must compare as the same, whatever the order of adding did to the last digit.
    seen = abs(values.sum()) - 1e-12 * np.abs(values).sum()
    exact = len(values) <= _EXACT
    found = sum(int((np.abs(sums) >= seen).sum()) for sums in _flipped(values, exact, rounds, seed))
    return found / 2 ** len(values) if exact else (found + 1) / (rounds + 1)


def _flipped(values: np.ndarray, exact: bool, rounds: int, seed: int) -> Iterator[np.ndarray]:
    """Sums of the values `(n,)` under patterns of signs, some patterns at a time: all 2**n, or `rounds` drawn ones.

    The sums of eight neighbours under their 256 patterns are made once, so that a pattern is n / 8 drawn bytes.
    """
    eights = np.append(values, np.zeros(-len(values) % 8)).reshape(-1, 8)
    signs = 1.0 - 2.0 * (np.arange(256)[:, None] >> np.arange(8) & 1)
    table = eights @ signs.T  # (n / 8, 256)
    if exact:
        sums = table[0, : 2 ** min(8, len(values))]
        yield (sums[:, None] + table[1, : 2 ** (len(values) - 8)]).ravel() if len(values) > 8 else sums
        return
    rng, places, step = np.random.default_rng(seed), np.arange(len(table)), max(1, AT_ONCE // len(table))
    for start in range(0, rounds, step):
        many = min(step, rounds - start)
        drawn = np.frombuffer(rng.bytes(many * len(table)), np.uint8).reshape(many, -1)
        yield table[places, drawn].sum(1)


def ratio_influences(
    before: tuple[Sequence[float], Sequence[float]], after: tuple[Sequence[float], Sequence[float]]
) -> np.ndarray:
    """What each row adds to the change of a ratio of sums (after - before), `(n,)`: its sum is the change, and
    `sign_flip` of it tests the change. `before` and `after` are `(sums, weights)` of the same rows.

    Where both sides have the same weights, flipping one is swapping that row's two sums. Where they do not, it is so
    to first order, about the ratio of both sides together.
    """
    (old, old_weights), (new, new_weights) = [
        [np.asarray(part, np.float64) for part in side] for side in (before, after)
    ]
    common = (old.sum() + new.sum()) / (old_weights.sum() + new_weights.sum())
    return (new - common * new_weights) / new_weights.sum() - (old - common * old_weights) / old_weights.sum()


def holm(ps: Sequence[float | None]) -> list[float | None]:
    """p values corrected for their number (Holm 1979, Scandinavian Journal of Statistics 6): the chance that any of
    those called clear below 0.05 is none stays below 0.05. None (no test) stays None and does not count.

    >>> holm([0.01, 0.04, None, 0.03])
    [0.03, 0.06, None, 0.06]
    """
    order = sorted((number for number, p in enumerate(ps) if p is not None), key=lambda number: ps[number])
    adjusted: list[float | None] = [None] * len(ps)
    highest = 0.0
    for place, number in enumerate(order):
        highest = max(highest, min(1.0, ps[number] * (len(order) - place)))
        adjusted[number] = highest
    return adjusted
