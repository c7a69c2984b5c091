"""Intervals: published examples, scipy and statsmodels, and what happens at the edges.

sh run_tests.sh tests/evaluate/test_statistics_intervals.py
"""

import math

import numpy as np
import pytest
from scipy import optimize, stats
from statsmodels.stats.proportion import proportion_confint

from bedside.evaluate.statistics import (
    bootstrap_mean,
    bootstrap_ratio,
    bootstrap_ratio_change,
    newcombe,
    resampling,
    tango,
    wilson,
)

# Airway hyper-responsiveness before and after a transplant (Bentur 2009), as worked in Fagerland, Lydersen and Laake
# 2014 (Statistics in Medicine 33, p. 2850): 1 both, 1 before only, 7 after only, 12 neither.
BENTUR = {"both": 1, "lost": 1, "gained": 7, "neither": 12}


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 10), (10, 10), (1, 1), (57, 200), (99_000, 100_000)])
def test_wilson_is_statsmodels_wilson(k, n):
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-6)


def test_wilson_of_nothing_and_of_sums_that_rounding_moved():
    assert wilson(0, 0) == (0.0, 1.0)
    assert wilson(3 + 1e-15, 3) == pytest.approx((0.438503, 1.0), abs=1e-6)


def test_newcombe_against_published_tables():
    assert newcombe(**BENTUR) == pytest.approx((0.026, 0.507), abs=5e-4)
    # The continuity correction of method 10 makes the positive correlation smaller.
    assert newcombe(36, 2, 12, 0) == pytest.approx((0.0569, 0.3404), abs=5e-5)


def test_newcombe_turned_round_is_the_same_mirrored():
    low, high = newcombe(20, 3, 9, 8)
    assert newcombe(20, 9, 3, 8) == pytest.approx((-high, -low))


@pytest.mark.parametrize("table", [(10, 0, 0, 0), (0, 0, 0, 10), (5, 0, 0, 5), (0, 10, 0, 0), (0, 0, 10, 0)])
def test_newcombe_at_the_edges(table):
    low, high = newcombe(*table)
    change = (table[2] - table[1]) / 10
    assert -1 <= low <= change <= high <= 1
    assert high - low > 0.1, "ten items never make a change certain"


def test_newcombe_of_nothing():
    assert newcombe(0, 0, 0, 0) is None


def test_tango_against_a_published_table():
    assert tango(7, 1, 21) == pytest.approx((0.026, 0.517), abs=5e-4)


@pytest.mark.parametrize(("gains", "losses", "n"), [(40, 20, 160), (3, 0, 12), (1, 8, 30), (0, 5, 50)])
def test_tango_inverts_the_score_test(gains, losses, n):
    def score(delta):
        # Another way to the likelihood under this difference: maximise it, instead of the closed form.
        def minus(lose):
            chances = lose + delta, lose, 1 - 2 * lose - delta
            counts = gains, losses, n - gains - losses
            return -sum(k * math.log(max(p, 1e-300)) for k, p in zip(counts, chances, strict=True) if k)

        bounds = max(0, -delta), (1 - delta) / 2
        lose = optimize.minimize_scalar(minus, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return (gains - losses - n * delta) / math.sqrt(n * (2 * lose + delta - delta**2))

    estimate = (gains - losses) / n
    expected = (
        optimize.brentq(lambda d: score(d) - 1.959964, -0.98, estimate),
        optimize.brentq(lambda d: score(d) + 1.959964, estimate, 0.98),
    )
    assert tango(gains, losses, n) == pytest.approx(expected, abs=1e-4)


def test_tango_at_the_edges():
    # No change in ten: z^2 / (n + z^2) = 3.8415 / 13.8415
    assert tango(0, 0, 10) == pytest.approx((-0.27753, 0.27753), abs=1e-5)
    low, high = tango(10, 0, 10)
    assert 0.4 < low < 0.8 and high == 1.0
    assert tango(0, 10, 10) == pytest.approx((-1.0, -low))
    assert tango(0, 0, 0) is None


def test_the_bootstrap_is_close_to_students_t_where_that_is_right():
    values = np.random.default_rng(1).normal(3, 2, 400)
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert bootstrap_mean(values) == pytest.approx(expected, abs=0.03)


def test_the_bootstrap_is_near_scipys_bca_where_values_are_skewed_and_many():
    values = np.random.default_rng(2).lognormal(0, 1, 1000)
    other = stats.bootstrap((values,), np.mean, n_resamples=4000, method="BCa", rng=3).confidence_interval
    assert bootstrap_mean(values) == pytest.approx(tuple(other), abs=0.02)


def test_it_leans_to_the_side_of_the_long_tail_and_is_never_narrower_than_student():
    values = np.random.default_rng(3).lognormal(0, 1, 40)
    low, high = bootstrap_mean(values)
    reach = stats.t.ppf(0.975, 39) * stats.sem(values)
    assert high - values.mean() > 1.2 * (values.mean() - low)
    assert low <= values.mean() - reach + 1e-3 and high >= values.mean() + reach - 1e-3


@pytest.mark.parametrize("n", [2, 5, 9])
def test_few_values_have_students_interval(n):
    values = np.arange(n) ** 1.5
    expected = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
    assert bootstrap_mean(values) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("freedom", [1, 8, 9, 20, 100, 9998])
def test_quantiles_of_student(freedom):
    assert resampling.student(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), abs=4e-3)


@pytest.mark.parametrize("values", [[], [1.0], [2.0, 2.0], [0.0] * 50, [0.1] * 1000, [0.1 + 0.2, 0.3] * 9])
def test_nothing_one_and_all_equal_have_no_interval(values):
    assert bootstrap_mean(values) is None


def test_one_odd_value_among_equals_keeps_the_interval_finite():
    low, high = bootstrap_mean([0.0] * 49 + [1.0])
    assert -0.1 < low <= 0.0 < 0.02 < high < 1.0


def test_the_seed_decides():
    values = list(range(30))
    assert bootstrap_mean(values) == bootstrap_mean(values)
    assert bootstrap_mean(values) != bootstrap_mean(values, seed=1)


def test_a_scale_and_a_shift_carry_over():
    values = np.random.default_rng(4).exponential(1, 50)
    low, high = bootstrap_mean(values)
    assert bootstrap_mean(1e6 + 1e-3 * values) == pytest.approx((1e6 + 1e-3 * low, 1e6 + 1e-3 * high), abs=1e-8)


def test_a_ratio_with_equal_weights_is_a_mean():
    values = np.random.default_rng(5).exponential(1, 50)
    assert bootstrap_ratio(7 * values, [7.0] * 50) == pytest.approx(bootstrap_mean(values))


def test_a_ratio_of_equal_rates_has_no_interval():
    tokens = np.array([3.0, 17.0, 120.0, 9.0] * 5)
    assert bootstrap_ratio(math.log(4) * tokens, tokens) is None
    assert bootstrap_ratio([1.0], [2.0]) is None


def test_the_change_of_a_ratio_is_that_of_the_differences_where_weights_are_the_same():
    rng = np.random.default_rng(6)
    tokens = np.ceil(rng.lognormal(3, 1, 40))
    old, new = tokens * rng.normal(2, 0.3, 40), tokens * rng.normal(1.5, 0.3, 40)
    changed = bootstrap_ratio_change((old, tokens), (new, tokens))
    assert changed == pytest.approx(bootstrap_ratio(new - old, tokens), rel=1e-6)


def test_the_change_of_a_ratio_with_other_weights_after():
    rng = np.random.default_rng(7)
    tokens, fewer = np.ceil(rng.lognormal(3, 1, 60)), np.ceil(rng.lognormal(2.8, 1, 60))
    old, new = tokens * 2.0, fewer * rng.normal(2.5, 0.1, 60)
    low, high = bootstrap_ratio_change((old, tokens), (new, fewer))
    assert low < new.sum() / fewer.sum() - 2.0 < high
    assert bootstrap_ratio_change((old, tokens), (old, tokens)) is None
    assert bootstrap_ratio_change(([], []), ([], [])) is None


def test_a_hundred_thousand_values_need_little_memory():
    import tracemalloc

    values = np.random.default_rng(8).lognormal(0, 1, 100_000)
    tracemalloc.start()
    low, high = bootstrap_mean(values)
    bootstrap_mean(values[: resampling.LARGE - 1], rounds=50)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert low < values.mean() < high and peak < 64 << 20
