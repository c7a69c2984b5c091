"""One number of one model: exact values, intervals by kind, and what is said where there is not enough.

sh run_tests.sh tests/evaluate/test_results.py
"""

import math

import numpy as np
import pytest

from bedside.errors import DataError
from bedside.evaluate.results import by_group, estimate
from bedside.evaluate.statistics import bootstrap_mean, wilson, win_rate
from bedside.evaluate.task import MEAN, PERPLEXITY, SHARE, Case, Measure

RIGHT = Measure("ok", "right", "正确")
SCORE = Measure("score", "score", "得分", MEAN)
PPL = Measure("ppl", "perplexity", "困惑度", PERPLEXITY, "lower")
WIN = Measure("win", "win rate", "胜率", MEAN)


def cases(measure: Measure, values, weights=None, **kwargs) -> list[Case]:
    weights = [1.0] * len(values) if weights is None else weights
    return [
        Case(f"q{i}", {measure.name: value}, {measure.name: weight}, **kwargs)
        for i, (value, weight) in enumerate(zip(values, weights, strict=True))
    ]


@pytest.mark.parametrize(("right", "n"), [(7, 10), (33, 100), (667, 1000), (0, 30), (30, 30)])
def test_exact_accuracies(right, n):
    found = estimate(RIGHT, cases(RIGHT, [1.0] * right + [0.0] * (n - right)))
    assert (found.value, found.n, found.method) == (right / n, n, "Wilson")
    assert (found.low, found.high) == pytest.approx(wilson(right, n))
    assert 0 <= found.low < found.high <= 1 + 1e-12


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_a_true_perplexity_of_four_is_four_whatever_the_number_of_texts(n):
    tokens = np.ceil(np.random.default_rng(n).lognormal(4, 1, n))
    found = estimate(PPL, cases(PPL, (math.log(4) * tokens).tolist(), tokens.tolist()))
    assert f"{found.value:.2f}" == "4.00" and found.total == tokens.sum() and found.n == n


def test_perplexity_weighs_tokens_not_texts():
    # 2 nats over 1 token, 9 nats over 9 tokens: exp(11 / 10), not the mean of exp(2) and exp(1).
    found = estimate(PPL, cases(PPL, [2.0, 9.0], [1, 9]))
    assert found.value == pytest.approx(math.exp(1.1)) and found.low < found.value < found.high


def test_a_perplexity_of_a_broken_model_does_not_overflow():
    found = estimate(PPL, cases(PPL, [1e6, 2e6, 3e6], [1, 1, 1]))
    assert math.isfinite(found.value) and found.value > 1e300 and math.isfinite(found.high)


def test_an_empty_text_has_no_perplexity():
    found = estimate(PPL, cases(PPL, [2.0, 0.0, 3.0], [2, 0, 3]))
    assert (found.n, found.value) == (2, pytest.approx(math.e))
    assert estimate(PPL, cases(PPL, [0.0], [0])).value is None


@pytest.mark.parametrize("weights", [{}, {"ppl": -1}, {"ppl": math.inf}, {"ppl": math.nan}])
def test_a_perplexity_without_tokens_names_the_item(weights):
    case = Case("a", {"ppl": 3.0}, weights, shown={"where": "held.jsonl:7"})
    with pytest.raises(DataError, match=r"held.jsonl:7: E_CASE ppl has .*tokens"):
        estimate(PPL, [case])


def test_a_mean_has_the_bootstrap_interval():
    values = [1.0, 2.0, 5.0, 9.0, 4.0] * 4
    found = estimate(SCORE, cases(SCORE, values))
    assert found.value == 4.2 and found.method == "bootstrap-t"
    assert (found.low, found.high) == bootstrap_mean(values)


def test_a_share_of_several_samples_is_a_mean_within_zero_and_one():
    found = estimate(RIGHT, cases(RIGHT, [1.0] * 11 + [0.25]))
    assert found.value == pytest.approx(0.9375) and found.method == "bootstrap-t"
    assert 0 < found.low < found.value < found.high <= 1


def test_samples_that_all_agree_fall_back_to_wilson():
    found = estimate(RIGHT, cases(RIGHT, [0.5] * 12))
    assert (found.low, found.high) == pytest.approx(wilson(6, 12))


def test_a_win_rate_has_the_interval_with_ties():
    values = [1.0] * 14 + [0.5] * 4 + [0.0] * 2
    found = estimate(WIN, cases(WIN, values))
    verdicts = win_rate(values)
    assert (found.value, found.low, found.high) == (0.8, verdicts.low, verdicts.high)
    ties = estimate(WIN, cases(WIN, [0.5] * 30))
    assert ties.value == 0.5 and ties.low < 0.5 < ties.high


@pytest.mark.parametrize("measure", [RIGHT, SCORE, PPL, WIN])
def test_nothing_and_one(measure):
    nothing, one = estimate(measure, []), estimate(measure, cases(measure, [1.0]))
    assert (nothing.value, nothing.low, nothing.n) == (None, None, 0)
    assert nothing.note == "no item has a value of this measure"
    assert one.value is not None and (one.low, one.high, one.n) == (None, None, 1)
    assert one.note == "one item has no interval"


@pytest.mark.parametrize("measure", [SCORE, PPL])
def test_all_equal_has_no_interval_and_says_why(measure):
    found = estimate(measure, cases(measure, [0.0] * 8))
    assert (found.low, found.high) == (None, None)
    assert found.note == "all 8 items are equal: there is no spread to take an interval from"


def test_a_case_that_the_measure_does_not_apply_to_is_left_out():
    found = estimate(RIGHT, [*cases(RIGHT, [1.0, None, 0.0, None]), Case("z", {"other": 1.0})])
    assert (found.n, found.value) == (2, 0.5)


@pytest.mark.parametrize("wrong", [math.nan, math.inf])
@pytest.mark.parametrize("measure", [SCORE, PPL])
def test_a_value_that_overflowed_is_told_not_left_out(measure, wrong):
    found = estimate(measure, cases(measure, [1.0, wrong, 2.0]))
    assert (found.value, found.low, found.n) == (None, None, 3)
    assert found.note == "1 of 3 values are not finite numbers: the model overflowed, so there is no result"


def test_a_share_outside_zero_and_one_is_refused():
    with pytest.raises(DataError, match="item 'q1': E_CASE ok is 2.0, expected 0 to 1"):
        estimate(RIGHT, cases(RIGHT, [1.0, 2.0]))


def test_booleans_are_shares():
    found = estimate(RIGHT, cases(RIGHT, [True, False, True, True]))
    assert found.value == 0.75 and found.method == "Wilson"


def test_groups_have_an_estimate_each_most_items_first():
    made = [
        Case(str(i), {"ok": float(i % 2)}, groups={"department": name} if name else {})
        for i, name in enumerate(["heart", "skin", "skin", "lung", "skin", ""])
    ]
    found = by_group(RIGHT, made, "department")
    assert list(found) == ["skin", "", "heart", "lung"]
    assert found["skin"].n == 3 and found["skin"].value == pytest.approx(1 / 3)
    assert sum(part.n for part in found.values()) == 6


def test_a_group_without_values_is_left_out():
    made = [Case("a", {"ok": None}, groups={"kind": "x"}), Case("b", {"ok": 1.0}, groups={"kind": "y"})]
    assert list(by_group(RIGHT, made, "kind")) == ["y"]


def test_every_number_is_a_plain_float():
    # json.dumps and report pages know no numpy floats.
    for measure, values in ((RIGHT, [1, 0, 1]), (SCORE, [1, 2, 4]), (PPL, [1, 2, 4]), (WIN, [1, 0.5, 0])):
        found = estimate(measure, cases(measure, values))
        assert [type(number) for number in (found.value, found.low, found.high)] == [float] * 3, measure.kind
    assert SHARE == "share"
