"""Tests of a paired change: by hand, and against scipy and statsmodels.

sh run_tests.sh tests/evaluate/test_statistics_tests.py
"""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar as reference
from statsmodels.stats.multitest import multipletests

from bedside.evaluate.statistics import holm, mcnemar, ratio_influences, sign_flip, sign_test


@pytest.mark.parametrize(
    ("lost", "gained"), [(0, 0), (1, 0), (0, 5), (0, 6), (3, 3), (2, 12), (450, 400), (561, 502), (1200, 1300)]
)
def test_mcnemar_is_statsmodels_mcnemar(lost, gained):
    expected = reference([[5, lost], [gained, 5]], exact=True).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)
    assert mcnemar(gained, lost) == mcnemar(lost, gained)


def test_mcnemar_by_hand():
    # Six of six one way: 2 / 2^6. Five of five: 2 / 2^5, not below 0.05.
    assert (mcnemar(0, 6), mcnemar(0, 5)) == (0.03125, 0.0625)
    # One of eight against: 2 (1 + 8) / 2^8
    assert mcnemar(1, 7) == 18 / 256


def test_mid_p_counts_half_of_what_was_seen():
    # Fagerland, Lydersen and Laake 2013: 0.0703 exact and 0.0391 mid-p for 1 and 7.
    assert mcnemar(1, 7, mid=True) == pytest.approx(0.0390625)
    assert mcnemar(0, 0, mid=True) == mcnemar(4, 4, mid=True) == 1.0


def test_mcnemar_of_many():
    assert mcnemar(45_000, 46_000) == pytest.approx(stats.binomtest(45_000, 91_000).pvalue, rel=1e-8)
    assert mcnemar(0, 2000) == pytest.approx(0.0, abs=1e-300)


def test_the_sign_test_leaves_ties_out():
    assert sign_test(9, 1) == pytest.approx(stats.binomtest(9, 10).pvalue)
    assert sign_test(0, 0) == 1.0


@pytest.mark.parametrize("n", [2, 5, 8, 9, 13, 16])
def test_few_pairs_are_flipped_in_every_way(n):
    values = np.round(np.random.default_rng(n).normal(0.5, 1, n), 2)
    exact = stats.permutation_test(
        (values,), lambda v, axis: v.sum(axis), permutation_type="samples", n_resamples=np.inf, vectorized=True
    )
    assert sign_flip(values) == pytest.approx(exact.pvalue)


def test_sign_flips_by_hand():
    assert sign_flip([]) == sign_flip([0.0, 0.0]) == sign_flip([3.0]) == 1.0
    # Of 2^6 patterns only all plus and all minus are as far out.
    assert sign_flip([1.0] * 6) == 2 / 64
    # Zeros say nothing.
    assert sign_flip([1.0] * 6 + [0.0] * 100) == 2 / 64
    # 0.1 + 0.2 - 0.3 is not exactly 0 in floats; all eight patterns count as far out.
    assert sign_flip([0.1, 0.2, -0.3]) == 1.0


def test_many_pairs_are_flipped_by_draws_that_count_the_one_seen():
    values = np.random.default_rng(3).normal(0.25, 1, 80)
    assert sign_flip(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.015)
    assert sign_flip([1.0] * 80) == 1 / 10_000
    assert sign_flip(values) == sign_flip(values) != sign_flip(values, seed=1)


@pytest.mark.parametrize("n", [9_999, 10_000, 100_000])
def test_very_many_pairs(n):
    values = np.random.default_rng(4).normal(2 / math.sqrt(n), 1, n)
    assert sign_flip(values) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, abs=0.01)


def test_influences_add_up_to_the_change_of_the_ratio():
    old, new = ([10.0, 40.0], [5.0, 10.0]), ([6.0, 33.0], [4.0, 9.0])
    # 39 / 13 - 50 / 15
    assert ratio_influences(old, new).sum() == pytest.approx(39 / 13 - 50 / 15)
    same = ratio_influences(old, ([6.0, 33.0], [5.0, 10.0]))
    assert same == pytest.approx([-4 / 15, -7 / 15])


@pytest.mark.parametrize("ps", [[0.04], [0.01, 0.04, 0.03], [0.5, 0.5, 0.9], [0.001] * 4, [1.0, 0.0]])
def test_holm_is_statsmodels_holm(ps):
    assert holm(ps) == pytest.approx(multipletests(ps, method="holm")[1].tolist())


def test_holm_leaves_out_what_was_not_tested():
    assert holm([]) == [] and holm([None]) == [None]
    # Two tests: 2 x 0.02, then 1 x 0.03 which may not be below it.
    assert holm([0.03, None, 0.02]) == [0.04, None, 0.04]
