"""Both orders to one verdict, exact counts, and judges whose leaning is known.

sh run_tests.sh tests/evaluate/test_judging_verdicts.py
"""

import random

import pytest

from bedside.evaluate import judging, results
from bedside.evaluate.judging import compare
from bedside.evaluate.judging.verdicts import position, settled
from tests.evaluate.judging_pairs import (
    ALWAYS_A,
    ALWAYS_B,
    EVEN,
    FIRST_MODEL,
    SECOND_MODEL,
    Scripted,
    answer,
    many,
    question,
)

NAMES = ("base", "tuned")


def cases_of(prefers, count: int):
    made = many(count)
    return judging.judged(*made, Scripted(prefers))


def sentences(prefers, count: int) -> str:
    judge = Scripted(prefers)
    return "\n".join(judging.told(cases_of(prefers, count), judge, NAMES))


@pytest.mark.parametrize("orders, win, inconsistent", [
    (("A", "B"), 0.0, False), (("B", "A"), 1.0, False), (("tie", "tie"), 0.5, False), (("A", "A"), 0.5, True),
    (("B", "B"), 0.5, True), (("A", "tie"), 0.5, True), (("tie", "A"), 0.5, True), (("B", "tie"), 0.5, True),
])  # fmt: skip
def test_what_both_orders_say_counts_and_else_it_is_a_tie(orders, win, inconsistent):
    found = settled(*orders)
    assert (found.win, found.inconsistent, found.unreadable) == (win, inconsistent, False)


@pytest.mark.parametrize("orders", [("A", None), (None, "A"), (None, None)])
def test_a_reply_that_cannot_be_read_is_no_verdict(orders):
    found = settled(*orders)
    assert (found.win, found.inconsistent, found.unreadable) == (None, False, True)


def test_wins_are_counted_exactly():
    said = [SECOND_MODEL] * 6 + [EVEN] * 2 + [ALWAYS_A] + [FIRST_MODEL]
    cases = cases_of(said.__getitem__, 10)
    assert [case.values["win"] for case in cases] == [1.0] * 6 + [0.5] * 3 + [0.0]
    assert [case.values["inconsistent"] for case in cases] == [0.0] * 8 + [1.0, 0.0]
    assert results.estimate(compare.WIN, cases).value == 0.75
    told = sentences(said.__getitem__, 10)
    assert "tuned wins 6, ties 3 (1 of them because the order of the answers decided), loses 1 of 10 questions" in told
    assert "win rate of tuned: 75.0 % [" in told and "net win +50.0 [" in told
    assert "wins less losses in a hundred questions" in told


def test_a_question_without_a_verdict_is_left_out_and_told():
    said = [SECOND_MODEL, (None, "A"), SECOND_MODEL, FIRST_MODEL]
    cases = cases_of(said.__getitem__, 4)
    assert [case.values["win"] for case in cases] == [1.0, None, 1.0, 0.0]
    assert [case.values["unreadable"] for case in cases] == [0.0, 1.0, 0.0, 0.0]
    assert "loses 1 of 3 questions; 1 of 4 questions have no verdict and are left out" in sentences(
        said.__getitem__, 4
    )


def test_a_judge_that_always_says_first_ends_at_a_half_and_is_named_as_biased():
    cases = cases_of(lambda number: ALWAYS_A, 40)
    assert {case.values["win"] for case in cases} == {0.5}
    assert results.estimate(compare.WIN, cases).value == 0.5
    told = sentences(lambda number: ALWAYS_A, 40)
    assert "ties 40 (40 of them because the order of the answers decided)" in told
    assert "the answer shown first won 100.0 % of 80 verdicts" in told and "40 times for the first place" in told
    assert "this judge is biased: it leans to the answer that is shown first" in told
    assert "no clear difference between base and tuned" in told or "nothing can be said" in told
    assert "leans to the answer that is shown second" in sentences(lambda number: ALWAYS_B, 40)


def test_a_judge_without_a_leaning_is_not_accused():
    told = sentences([ALWAYS_A, ALWAYS_B, SECOND_MODEL, FIRST_MODEL].__getitem__, 4)
    assert "biased" not in told and "no leaning to a place is shown" in told
    assert "changing the places changed no verdict" in sentences(lambda number: SECOND_MODEL, 5)
    few = sentences(lambda number: ALWAYS_A, 5)  # 2 / 2**5 = 0.06
    assert "biased" not in few


def test_preference_is_recovered_from_a_judge_with_noise_of_place():
    """70 % of the questions have a better second answer; in 30 % the judge just takes the first place."""
    draw = random.Random(0)

    def prefers(number: int):
        if draw.random() < 0.3:
            return ALWAYS_A
        return SECOND_MODEL if draw.random() < 0.7 else FIRST_MODEL

    said = [prefers(number) for number in range(400)]
    cases = cases_of(said.__getitem__, 400)
    found = results.estimate(compare.WIN, cases)
    # Of 70 % that are judged fairly, 49 points win, 21 lose; the rest ties: 0.49 + 0.15 = 0.64.
    assert found.low < 0.64 < found.high and found.low > 0.5
    told = sentences(said.__getitem__, 400)
    assert "tuned is preferred" in told and "leans to the answer that is shown first" in told


def test_position_by_hand():
    verdicts = [
        settled(*orders) for orders in [ALWAYS_A, ALWAYS_A, ALWAYS_B, ("A", "tie"), EVEN, FIRST_MODEL, ("A", None)]
    ]
    found = position(verdicts)
    # A: 2 + 2 + 1 + 1; B: 2 + 1; even: 1 + 2. The last pair was not read.
    assert (found.a, found.b, found.even, found.questions) == (6, 3, 3, 6)
    assert (found.for_a, found.for_b, found.share) == (3, 1, 7.5 / 12)
    assert found.p == pytest.approx(2 * (4 + 1) / 16)


@pytest.mark.parametrize("count", [0, 1])
def test_few_questions_make_no_false_certainty(count):
    told = sentences(lambda number: SECOND_MODEL, count)
    assert "is preferred" not in told
    assert ("no question has a verdict" in told) if count == 0 else ("win rate of tuned: 100.0 %," in told)


def test_length_is_told():
    first = [answer("short")] * 4
    second = [answer("a much longer answer")] * 3 + [answer("short too here")]
    said = [SECOND_MODEL, SECOND_MODEL, FIRST_MODEL, EVEN]
    judge = Scripted(said.__getitem__)
    cases = judging.judged([question(f"q{n}") for n in range(4)], first, second, judge)
    assert "the longer answer won 2 of 3 decided questions, 67 % [" in "\n".join(judging.told(cases, judge, NAMES))


def test_a_case_shows_what_a_reader_needs():
    asked = question("q7", reference="Flu.")
    (case,) = judging.judged(
        [asked], [answer("A cold.", "t1")], [answer("Flu.", None)], Scripted(lambda n: SECOND_MODEL)
    )
    shown = case.shown
    assert (case.id, shown["where"], shown["expected"], shown["judge"]) == ("q7", "toy.jsonl:2", "Flu.", "scripted")
    assert (shown["first"], shown["first_thought"], shown["second"], shown["second_thought"]) == (
        "A cold.", "t1", "Flu.", None,
    )  # fmt: skip
    assert shown["orders"] == ["B", "A"] and case.groups == {"language": "en"}
