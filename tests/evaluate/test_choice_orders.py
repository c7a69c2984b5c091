"""Orders of options: what moves, what stays, and what a preference for a place looks like.

sh run_tests.sh tests/evaluate/test_choice_orders.py
"""

import pytest

from bedside.evaluate.choice import bias
from bedside.evaluate.choice.question import Question, agreement, moves, named, orders, shown


def question(*texts, right="A"):
    return Question("q1", "?", tuple(zip("ABCDEF", texts, strict=False)), frozenset(right))


FOUR = question("gout", "flu", "cold", "lupus")


def test_all_rotations_put_each_option_once_at_each_place():
    assert orders(FOUR, None, 42) == [(0, 1, 2, 3), (1, 2, 3, 0), (2, 3, 0, 1), (3, 0, 1, 2)]


def test_one_order_is_that_of_the_file():
    assert orders(FOUR, 1, 42) == [(0, 1, 2, 3)]


@pytest.mark.parametrize("most", [2, 3, 4, 7, 24, 1000])
def test_any_number_of_orders_begins_with_that_of_the_file_and_repeats_none(most):
    found = orders(FOUR, most, 42)
    assert len(found) == len(set(found)) == min(most, 24)
    assert found[0] == (0, 1, 2, 3)
    assert found == orders(FOUR, most, 42) and all(sorted(order) == [0, 1, 2, 3] for order in found)


def test_the_seed_draws_the_orders():
    drawn = {tuple(orders(FOUR, 2, seed)) for seed in range(20)}
    assert len(drawn) == 3  # the second is one of three rotations


def test_letters_stay_and_texts_move():
    assert shown(FOUR, (1, 2, 3, 0)) == (("A", "flu"), ("B", "cold"), ("C", "lupus"), ("D", "gout"))
    assert named(FOUR, (1, 2, 3, 0), "D") == {"A"}
    assert named(FOUR, (1, 2, 3, 0), frozenset("AB")) == {"B", "C"}


@pytest.mark.parametrize(
    "last",
    ["All of the above", "none of the above.", "None of these", "Both of them", "All the above", "Neither", "以上都是",
     "以上均不对", "上述全部", "都不正确", "NOTA", "全部正确"],
)  # fmt: skip
def test_an_option_that_speaks_of_the_others_keeps_its_place(last):
    one = question("gout", "flu", "cold", last)
    assert moves(one) == [0, 1, 2]
    assert orders(one, None, 1) == [(0, 1, 2, 3), (1, 2, 0, 3), (2, 0, 1, 3)]


@pytest.mark.parametrize(
    "last",
    [
        "A and B",
        "Both A & C",
        "A+C",
        "A、B均是",
        "A或B",
        "neither A nor B, B and C",
        "option A only",
        "A项和C项",
        "ABC",
    ],
)
def test_options_that_name_letters_are_not_moved(last):
    assert orders(question("gout", "flu", "cold", last), None, 1) == [(0, 1, 2, 3)]


@pytest.mark.parametrize("text", ["Hepatitis A", "a cold and a cough", "E. coli", "vitamin B12", "全身发热", "A"])
def test_a_single_letter_in_an_option_is_no_reference(text):
    assert moves(question("gout", "flu", "cold", text)) == [0, 1, 2, 3]


def test_a_question_whose_options_all_stay_has_one_order():
    assert orders(question("gout", "all of the above"), None, 1) == [(0, 1)]


def letters(text):
    return [frozenset(one) for one in text.split()]


@pytest.mark.parametrize(
    ("chosen", "options", "expected"),
    [
        ("A D C B", "A A A A", (1.0, 0.0)),  # follows its option
        ("A A A A", "A B C D", (0.0, 1.0)),  # follows its place
        ("A A C B", "A B A A", (0.0, 1 / 6)),  # one pair of six kept the letter
        ("D D D", "D D D", (1.0, 0.0)),  # an option that was not moved
        ("AB BC", "AB AB", (1.0, 0.0)),  # several answers
    ],
)
def test_agreement(chosen, options, expected):
    assert agreement(letters(chosen), letters(options)) == expected


def test_agreement_of_what_could_not_be_read_is_none_of_both():
    assert agreement([frozenset()] * 3, [frozenset()] * 3) == (0.0, 0.0)


def test_a_single_order_says_nothing_of_agreement():
    assert agreement(letters("A"), letters("A")) is None


def test_a_model_that_always_says_a_prefers_a_place():
    found = bias.places([("A", right, "ABCD") for right in "ABCD" * 10])
    assert found.chosen == {"A": 1.0, "B": 0.0, "C": 0.0, "D": 0.0}
    assert found.right == dict.fromkeys("ABCD", 0.25)
    assert found.p == pytest.approx(1 / 4001)  # none of 4,000 draws is as uneven
    assert "prefer a place (p = 0.00025)" in bias.sentence(found, "by likelihood")


def test_right_answers_that_stand_at_one_letter_are_no_preference():
    found = bias.places([("A", "A", "ABCD")] * 40)
    assert found.p is None
    assert bias.sentence(found, "x") == (
        "x, letters chosen: A 100 % (right 100 %), B 0 % (right 0 %), C 0 % (right 0 %), D 0 % (right 0 %)"
    )


def test_wrong_answers_that_are_spread_evenly_are_no_preference():
    even = [(chosen, right, "ABC") for right in "ABC" for chosen in "ABC" if chosen != right] * 10
    assert bias.places(even).p == 1.0


def test_a_guesser_is_accused_no_more_often_than_by_chance():
    import numpy as np

    rng = np.random.default_rng(5)
    accused = 0
    for study in range(200):
        answers = [("ABCD"[a], "ABCD"[b], "ABCD") for a, b in rng.integers(0, 4, (40, 2))]
        accused += bias.places(answers, study).p < 0.05
    assert accused <= 20  # 10 expected, standard deviation 3


def test_no_answers_at_all():
    assert bias.sentence(bias.places([]), "by what is written") == "by what is written, no letter was chosen"
