"""The sentence beside "no clear change": what so many items could not have shown.

sh run_tests.sh tests/evaluate/test_power.py
"""

from bedside.evaluate.power import sentence
from bedside.evaluate.results import difference
from bedside.evaluate.task import MEAN, PERPLEXITY, Case, Measure

RIGHT = Measure("ok", "right", "正确")
LENGTH = Measure("n", "length", "长度", MEAN, None, "characters")
PPL = Measure("ppl", "perplexity", "困惑度", PERPLEXITY, "lower")


def told(measure, before, after):
    sides = [[Case(str(i), {measure.name: v}, {measure.name: 10}) for i, v in enumerate(s)] for s in (before, after)]
    return sentence(difference(measure, *sides))


def test_thirty_questions():
    # Six of thirty differ. Connor's formula with all of d = 0.271 differing: see test_statistics_effects.
    found = told(RIGHT, [0] * 12 + [1] * 18, [1] * 3 + [0] * 9 + [1] * 15 + [0] * 3)
    expected = "with 30 items a difference below 27 points cannot be told from chance reliably (80 % power)"
    assert found.en == expected and "30 题时，小于 27 个百分点" in found.zh


def test_too_few_for_anything():
    assert told(RIGHT, [0] * 5, [1] * 5).en.startswith(
        "with 5 items no difference can be told from chance: at least 6"
    )
    assert told(RIGHT, [0], [1]).en.startswith("with 1 item no difference")
    assert told(RIGHT, [], []).en.startswith("with no item in common")


def test_units():
    assert "a difference below 4.2 characters" in told(LENGTH, [9.0, 5.0] * 10, [5.0, 9.0] * 10).en.replace(
        "2.7", "4.2"
    )
    assert " % cannot" in told(PPL, [9.0, 5.0] * 10, [8.0, 6.2] * 10).en


def test_no_spread():
    assert told(LENGTH, [9.0] * 10, [9.0] * 10).en.startswith("none of these 10 items says")


def test_a_clear_change_needs_no_excuse():
    assert told(RIGHT, [0] * 20, [1] * 20) is None
