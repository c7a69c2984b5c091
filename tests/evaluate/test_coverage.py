"""Intervals cover what they say: 1,000 simulated studies each, with fixed seeds; and tests cry wolf in 5 % at most.

sh run_tests.sh tests/evaluate/test_coverage.py
"""

import math

import numpy as np
import pytest
from scipy import stats

from bedside.evaluate import results
from bedside.evaluate.statistics import bootstrap_mean, holm, mcnemar, newcombe, sign_flip, sign_test, wilson
from bedside.evaluate.task import MEAN, PERPLEXITY, Case, Measure

STUDIES = 1000
SHARE_OF = Measure("ok", "right", "正确")
PPL = Measure("ppl", "perplexity", "困惑度", PERPLEXITY, "lower")
WIN = Measure("win", "win rate", "胜率", MEAN)


def cases(name: str, values, weights=None) -> list[Case]:
    weights = [None] * len(values) if weights is None else weights
    return [
        Case(str(i), {name: float(value)}, {} if weight is None else {name: float(weight)})
        for i, (value, weight) in enumerate(zip(values, weights, strict=True))
    ]


def covered(truth: float, study, studies: int = STUDIES) -> float:
    """The share of studies whose interval holds the truth. `study` makes one from a generator."""
    rng = np.random.default_rng(8)
    found = [study(rng) for _ in range(studies)]
    return float(np.mean([one is not None and one[0] <= truth <= one[1] for one in found]))


def interval(found) -> tuple[float, float]:
    return found.low, found.high


@pytest.mark.parametrize("n", [50, 200])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_wilson_covers_shares_by_enumeration(n, p):
    # No chance in it: the probability of every count whose interval holds p.
    inside = [k for k in range(n + 1) if wilson(k, n)[0] <= p <= wilson(k, n)[1]]
    assert 0.93 <= round(float(stats.binom.pmf(inside, n, p).sum()), 2) <= 0.97


@pytest.mark.parametrize(("n", "p"), [(50, 0.5), (50, 0.9), (200, 0.1)])
def test_shares(n, p):
    got = covered(p, lambda rng: interval(results.estimate(SHARE_OF, cases("ok", rng.random(n) < p))))
    assert 0.93 <= got <= 0.975


@pytest.mark.parametrize(
    ("n", "both", "lost", "gained"), [(50, 0.5, 0.1, 0.2), (50, 0.1, 0.02, 0.3), (200, 0.8, 0.05, 0.05)]
)
def test_a_paired_share_difference(n, both, lost, gained):
    def study(rng):
        return newcombe(*map(int, rng.multinomial(n, [both, lost, gained, 1 - both - lost - gained])))

    assert 0.93 <= covered(gained - lost, study) <= 0.97


@pytest.mark.parametrize("n", [50, 200])
def test_a_mean_of_normal_values(n):
    assert 0.93 <= covered(1.0, lambda rng: bootstrap_mean(rng.normal(1, 2, n), rounds=1000)) <= 0.97


@pytest.mark.parametrize("n", [50, 200])
def test_a_mean_of_skewed_values(n):
    assert 0.93 <= covered(math.exp(0.5), lambda rng: bootstrap_mean(rng.lognormal(0, 1, n), rounds=1000)) <= 0.97


@pytest.mark.parametrize("n", [5, 20])
def test_a_mean_of_few_values(n):
    assert 0.93 <= covered(3.0, lambda rng: bootstrap_mean(rng.normal(3, 1, n), rounds=1000)) <= 0.97


def test_a_mean_of_ratings_of_which_most_are_equal():
    chances = [0.02, 0.03, 0.05, 0.2, 0.7]
    truth = float(np.dot(chances, [1, 2, 3, 4, 5]))
    assert 0.93 <= covered(truth, lambda rng: bootstrap_mean(1.0 + rng.choice(5, 50, p=chances), 1000)) <= 0.97


def texts(rng, n: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of n texts, lognormal, and their nats: each text has a rate of its own, about `rate` nats a token."""
    tokens = np.ceil(rng.lognormal(4, 0.8, n))
    return tokens, tokens * rng.normal(rate, 0.4, n)


@pytest.mark.parametrize("n", [10, 50])
def test_a_perplexity(n):
    def study(rng):
        tokens, nats = texts(rng, n, math.log(4))
        return interval(results.estimate(PPL, cases("ppl", nats, tokens)))

    assert 0.93 <= covered(4.0, study) <= 0.97


@pytest.mark.parametrize("n", [10, 50])
def test_a_perplexity_ratio(n):
    def study(rng):
        tokens, nats = texts(rng, n, math.log(5))
        better = nats - tokens * rng.normal(math.log(5 / 3), 0.2, n)
        found = results.difference(PPL, cases("ppl", nats, tokens), cases("ppl", better, tokens))
        return found.low, found.high

    assert 0.93 <= covered(3 / 5 - 1, study) <= 0.97


@pytest.mark.parametrize(("n", "win", "tie"), [(50, 0.5, 0.3), (50, 0.8, 0.15), (200, 0.4, 0.2)])
def test_a_win_rate(n, win, tie):
    def study(rng):
        return interval(results.estimate(WIN, cases("win", rng.choice([1, 0.5, 0], n, p=[win, tie, 1 - win - tie]))))

    assert 0.93 <= covered(win + tie / 2, study) <= 0.97


def false_alarms(study) -> float:
    rng = np.random.default_rng(9)
    return float(np.mean([study(rng) < 0.05 for _ in range(STUDIES)]))


def test_no_test_cries_wolf_more_often_than_it_says():
    # 5 % and what 1,000 studies may miss it by (two standard errors: 1.4 %).
    def flips(draw):
        return false_alarms(lambda rng: sign_flip(draw(rng), rounds=999))

    assert flips(lambda rng: rng.normal(0, 1, 12)) <= 0.064
    assert flips(lambda rng: rng.normal(0, 1, 60)) <= 0.064
    assert flips(lambda rng: rng.standard_t(3, 40)) <= 0.064
    assert false_alarms(lambda rng: mcnemar(*map(int, rng.multinomial(60, [0.15, 0.15, 0.7])[:2]))) <= 0.05
    assert false_alarms(lambda rng: sign_test(*map(int, rng.multinomial(60, [0.3, 0.3, 0.4])[:2]))) <= 0.064


def test_holm_keeps_the_family():
    # Ten true nulls: without correction some p is below 0.05 in 40 % of the families.
    rng = np.random.default_rng(10)
    families = rng.random((STUDIES, 10))
    assert np.mean([min(family) < 0.05 for family in families]) > 0.35
    assert np.mean([min(holm(list(family))) < 0.05 for family in families]) <= 0.064


def test_a_whole_comparison_of_equal_models_stays_silent():
    # Two models that differ by chance only, three measures: verdicts in at most 5 % of the comparisons.
    measures = [SHARE_OF, Measure("score", "score", "分", MEAN), PPL]

    def study(rng):
        changes = []
        for measure in measures:
            if measure is PPL:
                tokens, nats = texts(rng, 40, 1.0)
                sides = [cases("ppl", nats + tokens * rng.normal(0, 0.2, 40), tokens) for _ in range(2)]
            elif measure is SHARE_OF:
                sides = [cases("ok", rng.random(40) < 0.5) for _ in range(2)]
            else:
                sides = [cases("score", rng.normal(0, 1, 40)) for _ in range(2)]
            changes.append(results.difference(measure, *sides))
        return any(change.verdict != results.UNCLEAR for change in results.correct(changes))

    rng = np.random.default_rng(11)
    assert np.mean([study(rng) for _ in range(200)]) <= 0.08
