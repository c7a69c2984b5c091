"""How far raters agree, and who wins where answers are judged in pairs. Pure functions; votes are nominal."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

from bedside.evaluate.statistics.intervals import tango, wilson
from bedside.evaluate.statistics.resampling import Z, resampled_sums
from bedside.evaluate.statistics.tests import sign_test


class Agreement(NamedTuple):
    """Agreement beyond chance: 1 is full, 0 is what chance gives. `share` is the plain share of agreement and `n` the
    items it rests on; None is what these votes cannot say."""

    value: float | None
    low: float | None
    high: float | None
    share: float | None
    n: int


class WinRate(NamedTuple):
    """Wins of the second over the first: `rate` counts a tie half, `net` is (wins - losses) / n; `low` and `high` are
    of the rate, `p` of the sign test without ties."""

    rate: float | None
    low: float | None
    high: float | None
    wins: int
    ties: int
    losses: int
    n: int
    net: float | None
    p: float | None


def win_rate(values: Sequence[float | None]) -> WinRate:
    """Win rate of 1 (win), 0.5 (tie) and 0 (loss), None left out; 95 % score interval (`tango`, of wins - losses).

    >>> win_rate([1, 1, 1, 0.5, 0])[:1] + win_rate([1, 1, 1, 0.5, 0])[3:8]
    (0.7, 3, 1, 1, 5, 0.4)
    """
    counts = Counter(value for value in values if value is not None)
    wins, ties, losses = counts.pop(1, 0), counts.pop(0.5, 0), counts.pop(0, 0)
    if counts:
        raise ValueError(f"a verdict is 1, 0.5 or 0, not {next(iter(counts))}")
    n = wins + ties + losses
    if not n:
        return WinRate(None, None, None, 0, 0, 0, 0, None, None)
    net = (wins - losses) / n
    low, high = (None, None) if n == 1 else [(1 + edge) / 2 for edge in tango(wins, losses, n)]
    return WinRate((1 + net) / 2, low, high, wins, ties, losses, n, net, sign_test(wins, losses))


def cohens_kappa(first: Sequence[Hashable | None], second: Sequence[Hashable | None]) -> Agreement:
    """Cohen's kappa of two raters of the same items (Cohen 1960) with the interval of Fleiss, Cohen and Everitt 1969
    (Psychological Bulletin 72, eq. 13); an item that lacks a vote (None) is left out.

    No kappa where both gave every item the same one vote: there is no chance to compare with. Where they agree on all
    items that formula has no spread, so the interval comes from Wilson's of the share, marginals as they are.

    >>> cohens_kappa("aabb", "aaba").value
    0.5
    """
    pairs = [(a, b) for a, b in zip(first, second, strict=True) if a is not None and b is not None]
    n = len(pairs)
    if not n:
        return Agreement(None, None, None, None, 0)
    names = {name: number for number, name in enumerate(dict.fromkeys(name for pair in pairs for name in pair))}
    table = np.zeros((len(names), len(names)))
    for a, b in pairs:
        table[names[a], names[b]] += 1
    table /= n
    rows, columns = table.sum(1), table.sum(0)
    share = sum(a == b for a, b in pairs) / n
    chance = float(rows @ columns)
    if len(names) == 1:
        return Agreement(None, None, None, share, n)
    kappa = (share - chance) / (1 - chance)
    if n == 1:
        return Agreement(kappa, None, None, share, n)
    if all(a == b for a, b in pairs):
        return Agreement(kappa, (wilson(n, n)[0] - chance) / (1 - chance), 1.0, share, n)
    crossed = columns[:, None] + rows[None, :]  # column marginal of i, row marginal of j
    diagonal = np.diag(table) @ (1 - (rows + columns) * (1 - kappa)) ** 2
    others = (1 - kappa) ** 2 * float(((table - np.diag(np.diag(table))) * crossed**2).sum())
    variance = (diagonal + others - (kappa - chance * (1 - kappa)) ** 2) / (n * (1 - chance) ** 2)
    reach = Z * math.sqrt(max(0.0, variance))
    return Agreement(kappa, max(-1.0, kappa - reach), min(1.0, kappa + reach), share, n)


def krippendorff_alpha(units: Sequence[Sequence[Hashable | None]], rounds: int = 2000, seed: int = 0) -> Agreement:
    """Krippendorff's alpha of any number of raters, nominal votes, missing ones None (Krippendorff 2011, Computing
    Krippendorff's Alpha-Reliability). `units` are the votes of each item; those with one vote or none are left out.

    The interval is the percentile bootstrap over items (Hayes and Krippendorff 2007); none below FEWEST_UNITS items or
    where all agree, for resampling then sees no disagreement that might be there. No alpha where all votes are the
    same.

    >>> krippendorff_alpha(["aa", "bb", "ab", "aa"]).value
    0.533...
    """
    votes = [Counter(vote for vote in unit if vote is not None) for unit in units]
    votes = [unit for unit in votes if unit.total() > 1]
    if not votes:
        return Agreement(None, None, None, None, 0)
    names = list(dict.fromkeys(name for unit in votes for name in unit))
    counts = np.array([[unit[name] for name in names] for unit in votes], np.float64)  # (items, names)
    given = counts.sum(1)
    apart = (given**2 - (counts**2).sum(1)) / (given - 1)  # pairs of votes that differ, over the raters less one
    share = 1 - float(apart.sum() / given.sum())
    alpha = float(_alpha(apart.sum(), counts.sum(0)))
    if math.isnan(alpha):
        return Agreement(None, None, None, share, len(votes))
    if len(votes) < FEWEST_UNITS or not apart.any():
        return Agreement(alpha, None, None, share, len(votes))
    sums = resampled_sums(np.hstack([apart[:, None], counts]), rounds, seed)
    alphas = _alpha(sums[:, 0], sums[:, 1:])
    # A resample whose votes are all the same agrees in everything.
    low, high = np.quantile(np.nan_to_num(alphas, nan=1.0), [0.025, 0.975])
    return Agreement(alpha, float(low), float(high), share, len(votes))


# With fewer items the bootstrap of alpha draws the same few again and again, and its interval is too narrow.
FEWEST_UNITS = 10


def _alpha(apart: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """1 - observed / expected disagreement; NaN where no two votes differ by chance. `apart` (...), `counts`
    (..., names)."""
    total = counts.sum(-1)
    chance = total**2 - (counts**2).sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(chance > 0, 1 - (total - 1) * apart / chance, np.nan)
