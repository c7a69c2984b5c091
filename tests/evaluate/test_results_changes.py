"""The paired change between two models: pairing, tests by kind, correction, verdicts, and their edges.

sh run_tests.sh tests/evaluate/test_results_changes.py
"""

import dataclasses
import json
import math

import numpy as np
import pytest

from bedside.errors import DataError
from bedside.evaluate.results import Change, compare, correct, difference
from bedside.evaluate.statistics import bootstrap_mean, mcnemar, newcombe, sign_flip
from bedside.evaluate.task import MEAN, PERPLEXITY, Case, Measure, Task

RIGHT = Measure("ok", "right", "正确")
SCORE = Measure("score", "score", "得分", MEAN)
MISSED = Measure("missed", "missed", "漏报", better="lower")
LENGTH = Measure("length", "length", "长度", MEAN, None, "characters")
PPL = Measure("ppl", "perplexity", "困惑度", PERPLEXITY, "lower")


def cases(measure: Measure, values, weights=None) -> list[Case]:
    weights = [1.0] * len(values) if weights is None else weights
    return [
        Case(f"q{i}", {measure.name: value}, {measure.name: weight})
        for i, (value, weight) in enumerate(zip(values, weights, strict=True))
    ]


def changed(measure: Measure, before, after, weights=None) -> Change:
    return difference(measure, cases(measure, before, weights), cases(measure, after, weights))


def test_a_share_by_hand():
    # 20 right twice, 2 lost, 12 gained, 16 never: 44 % to 64 %.
    found = changed(RIGHT, [1] * 22 + [0] * 28, [1] * 20 + [0] * 2 + [1] * 12 + [0] * 16)
    assert (found.n, found.before, found.after, found.gained, found.lost) == (50, 0.44, 0.64, 12, 2)
    assert found.change == pytest.approx(0.2)
    assert (found.low, found.high) == newcombe(20, 2, 12, 16)
    assert (found.p, found.test) == (mcnemar(2, 12), "McNemar, exact")
    assert found.effect_name == "Cohen's h" and found.effect == pytest.approx(0.4045, abs=1e-3)
    assert found.verdict == "better" and found.adjusted_p is None


def test_a_mean_by_hand():
    before, after = [1.0, 2.0, 3.0, 4.0] * 5, [2.0, 2.0, 5.0, 4.0] * 5
    found = changed(SCORE, before, after)
    moved = [1.0, 0.0, 2.0, 0.0] * 5
    assert (found.before, found.after, found.change, found.n) == (2.5, 3.25, 0.75, 20)
    assert (found.low, found.high) == bootstrap_mean(moved) and found.p == sign_flip(moved)
    assert found.sd == pytest.approx(np.std(moved, ddof=1)) and found.effect == pytest.approx(0.75 / found.sd)
    assert (found.verdict, found.gained, found.lost) == ("better", None, None)


def test_a_perplexity_falls_by_a_part():
    rng = np.random.default_rng(1)
    tokens = np.ceil(rng.lognormal(4, 0.7, 60))
    nats = tokens * rng.normal(math.log(5.1), 0.1, 60)
    found = changed(PPL, nats, nats + tokens * (math.log(3.1 / 5.1) + rng.normal(0, 0.05, 60)), tokens)
    assert found.change == pytest.approx(found.after / found.before - 1) and -0.42 < found.change < -0.36
    assert found.low < found.change < found.high < 0 and found.p < 0.001 and found.verdict == "better"
    assert found.effect == pytest.approx(math.log(found.after / found.before))
    assert 0 < found.detectable < 0.1 and found.note == ""


def test_perplexities_over_other_tokens_are_told():
    sides = [cases(PPL, [n * rate for n in tokens], tokens) for tokens, rate in (([5, 9, 7], 2.0), ([6, 9, 7], 1.0))]
    assert "(21 tokens before, 22 after)" in difference(PPL, *sides).note


def test_cases_are_paired_by_id_whatever_their_order():
    before, after = cases(RIGHT, [1, 0, 1, 0, 0, 0]), cases(RIGHT, [1, 1, 1, 1, 0, 0])
    assert difference(RIGHT, before, after[::-1]) == difference(RIGHT, before, after)


def test_what_one_side_lacks_is_left_out_and_counted():
    before = [*cases(RIGHT, [1, 0, None, 1]), Case("only", {"ok": 1.0})]
    found = difference(RIGHT, before, cases(RIGHT, [1, 1, 1, None]))
    # q2 has no value before, q3 none after, "only" no partner.
    assert (found.n, found.unpaired, found.before, found.after) == (2, 3, 0.5, 1.0)


def test_an_id_twice_is_refused_with_its_place():
    twice = [Case("a", {"ok": 1.0}), Case("a", {"ok": 0.0}, shown={"where": "quiz.jsonl:9"})]
    with pytest.raises(DataError, match=r"quiz.jsonl:9: E_CASE the item 'a' is there twice"):
        difference(RIGHT, twice, [Case("a", {"ok": 1.0})])
    with pytest.raises(DataError, match="the cases of ok, after: E_CASE"):
        difference(RIGHT, [], [Case("a", {"ok": 1.0})] * 2)


def test_direction_follows_the_measure():
    zeros, ones = [0.0] * 20, [1.0] * 20
    assert changed(RIGHT, ones, zeros).verdict == "worse"
    assert changed(MISSED, ones, zeros).verdict == "better"
    assert changed(LENGTH, zeros, [float(i) for i in range(5, 25)]).verdict == "higher"
    assert changed(LENGTH, [float(i) for i in range(5, 25)], zeros).verdict == "lower"


@pytest.mark.parametrize("measure", [RIGHT, SCORE, PPL])
def test_nothing_in_common(measure):
    found = difference(measure, cases(measure, [1.0]), [])
    assert (found.n, found.change, found.p, found.verdict, found.unpaired) == (0, None, None, "no clear change", 1)
    assert found.note == "the two models have no item of this measure in common"


@pytest.mark.parametrize("measure", [RIGHT, SCORE, PPL])
def test_one_item_shows_nothing(measure):
    found = changed(measure, [0.0], [1.0])
    assert (found.n, found.low, found.high, found.p, found.detectable) == (1, None, None, 1.0, None)
    assert found.verdict == "no clear change" and found.note == "one item shows no change"


@pytest.mark.parametrize("measure", [RIGHT, SCORE, PPL])
@pytest.mark.parametrize("n", [2, 3, 5])
def test_fewer_than_six_never_give_a_verdict(measure, n):
    found = changed(measure, [0.0] * n, [1.0] * n)
    assert found.verdict == "no clear change" and found.p > 0.05 and found.detectable is None


@pytest.mark.parametrize("measure", [RIGHT, SCORE, PPL])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_the_same_model_twice(measure, value):
    found = changed(measure, [value] * 30, [value] * 30)
    assert (found.change, found.p, found.verdict) == (0.0, 1.0, "no clear change")
    assert found.note == "no item of 30 changed"
    assert (found.low is None) == (measure is not RIGHT), "thirty questions do not make sure that nothing changed"


def test_a_constant_change_is_clear_but_has_no_interval():
    found = changed(SCORE, [float(i) for i in range(30)], [i + 0.5 for i in range(30)])
    assert (found.low, found.verdict, found.effect) == (None, "better", None)
    assert found.note == "all 30 items changed by the same amount: there is no spread to take an interval from"


def test_a_share_of_several_samples_is_tested_as_a_mean():
    before, after = [0.25, 0.5, 0.0, 1.0] * 6, [0.5, 0.75, 0.5, 1.0] * 6
    found = changed(RIGHT, before, after)
    assert found.test == "sign flips of pairs" and found.gained is None and found.verdict == "better"
    assert found.change == pytest.approx(0.25) and -1 <= found.low < 0.25 < found.high <= 1
    same = changed(RIGHT, [0.5] * 12, [0.75] * 12)
    assert same.low < 0.25 < same.high, "parts of 1 have Tango's interval where all change alike"


@pytest.mark.parametrize("measure", [SCORE, PPL])
def test_an_overflow_gives_no_result(measure):
    found = changed(measure, [1.0, 2.0, 3.0], [1.0, math.nan, 3.0])
    assert (found.change, found.p, found.n) == (None, None, 3) and "1 of 6 values" in found.note


def test_correction_takes_verdicts_back():
    # p = 0.0313 alone is clear; one of three it is 0.094.
    six = changed(RIGHT, [0] * 6 + [1] * 20, [1] * 6 + [1] * 20)
    flat = changed(RIGHT, [0, 1] * 13, [0, 1] * 13)
    assert six.verdict == "better"
    found = correct([six, flat, flat])
    assert [change.adjusted_p for change in found] == [0.09375, 1.0, 1.0]
    assert [change.verdict for change in found] == ["no clear change"] * 3


def test_correction_leaves_out_what_was_not_tested():
    six = changed(RIGHT, [0] * 6 + [1] * 20, [1] * 26)
    found = correct([six, difference(RIGHT, [], [])])
    assert [change.adjusted_p for change in found] == [0.03125, None] and found[0].verdict == "better"
    assert correct([]) == []


def task(name: str, *measures: Measure) -> Task:
    return Task(name, name, name, measures, lambda path, settings: [], lambda subject, items, settings: [])


def test_compare_corrects_over_all_tasks_that_both_did():
    quiz, chat = task("quiz", RIGHT), task("chat", SCORE, LENGTH)
    both = lambda s, n: [Case(f"c{i}", {"score": s + i, "length": n + i % 3}) for i in range(20)]  # noqa: E731
    before = {"quiz": (quiz, cases(RIGHT, [0] * 20)), "chat": (chat, both(0, 9)), "old": (quiz, cases(RIGHT, [1]))}
    after = {"chat": (chat, both(1, 9)), "quiz": (quiz, cases(RIGHT, [0] * 14 + [1] * 6)), "new": (quiz, [])}
    found = compare(before, after)
    assert [(one.task, one.measure.name) for one in found] == [("chat", "score"), ("chat", "length"), ("quiz", "ok")]
    # Three tests: 3 x 0.0001; then 2 x 0.03125; then 1.
    assert [one.adjusted_p for one in found] == [pytest.approx(3e-4), 1.0, 0.0625]
    assert [one.verdict for one in found] == ["better", "no clear change", "no clear change"]


def test_a_change_is_plain_numbers():
    for measure in (RIGHT, SCORE, PPL):
        found = changed(measure, [0.0, 1.0, 1.0, 0.0] * 3, [1.0, 1.0, 0.0, 1.0] * 3)
        kept = {name: value for name, value in dataclasses.asdict(found).items() if name != "measure"}
        assert json.loads(json.dumps(kept)) == kept
        assert {type(value) for value in kept.values()} <= {float, int, str, type(None)}
