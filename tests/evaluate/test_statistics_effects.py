"""Sizes of changes and what can be detected: by hand, by statsmodels, and by the exact power of the test.

sh run_tests.sh tests/evaluate/test_statistics_effects.py
"""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_effectsize

from bedside.evaluate.statistics import (
    cohens_h,
    d_z,
    detectable_mean,
    detectable_share,
    mcnemar,
    ratio_deviation,
    relative_change,
)


@pytest.mark.parametrize(("before", "after"), [(0.5, 0.75), (0.0, 1.0), (0.9, 0.2), (0.3, 0.3)])
def test_cohens_h_is_statsmodels(before, after):
    assert cohens_h(before, after) == pytest.approx(proportion_effectsize(after, before))


def test_d_z_by_hand_and_at_the_edges():
    # Mean 2, deviation sqrt(((2-1)^2 + 0 + (3-2)^2) / 2) = 1
    assert d_z([1.0, 2.0, 3.0]) == 2.0
    assert [d_z([]), d_z([1.0]), d_z([0.0, 0.0]), d_z([0.1] * 7)] == [None] * 4


def test_relative_change_of_a_perplexity():
    # The seed's 5.1 to 3.1 is 39 % lower.
    assert relative_change(math.log(3.1) - math.log(5.1)) == pytest.approx(-0.39216, abs=1e-5)
    assert relative_change(0.0) == 0.0 and math.isfinite(relative_change(1e6))


def power(n: int, discordant: float, change: float) -> float:
    """Exact power of McNemar's exact test: over the number that differ, and over which way."""
    total, gain = 0.0, (discordant + change) / (2 * discordant)
    for some in range(n + 1):
        gained = np.arange(some + 1)
        found = np.array([mcnemar(some - int(k), int(k)) < 0.05 for k in gained])
        total += stats.binom.pmf(some, n, discordant) * stats.binom.pmf(gained, some, gain)[found].sum()
    return total


@pytest.mark.parametrize(("n", "discordant"), [(10, 0.3), (20, 0.5), (30, 0.3), (50, 0.5), (100, 0.2)])
def test_the_detectable_share_has_the_power_it_says(n, discordant):
    change = detectable_share(n, discordant)
    assert 0.78 <= power(n, max(discordant, change), change) <= 0.88


def test_the_detectable_share_falls_with_the_items_and_has_a_floor():
    found = [detectable_share(n, 0.3) for n in (6, 10, 30, 100, 1000, 100_000)]
    assert found == sorted(found, reverse=True) and found[0] <= 1.0
    assert [detectable_share(n, 0.3) for n in (0, 1, 5)] == [None] * 3
    # Where nothing differed, some change must be assumed to: never 0.
    assert detectable_share(100, 0.0) == pytest.approx(0.086, abs=1e-3)


@pytest.mark.parametrize("n", [10, 20, 50, 200])
def test_the_detectable_mean_is_statsmodels(n):
    solved = TTestPower().solve_power(nobs=n, alpha=0.05, power=0.8)
    assert detectable_mean(n, 2.0) == pytest.approx(2 * solved, rel=0.02)


def test_the_detectable_mean_of_few():
    assert detectable_mean(5, 1.0) is None and detectable_mean(0, 1.0) is None
    assert detectable_mean(6, 0.0) == 0.0


def test_the_deviation_of_a_ratio_is_that_of_the_differences_where_weights_are_one():
    before, after = np.array([1.0, 2.0, 4.0]), np.array([2.0, 2.0, 3.0])
    ones = np.ones(3)
    # Differences 1, 0, -1
    assert ratio_deviation((before, ones), (after, ones)) == pytest.approx(1.0)
    # A change of one nat a token everywhere does not vary, however long the texts are.
    tokens = np.array([3.0, 50.0, 9.0])
    assert ratio_deviation((2 * tokens, tokens), (tokens, tokens)) == pytest.approx(0.0, abs=1e-12)
    assert ratio_deviation(([1.0], [1.0]), ([1.0], [1.0])) is None
