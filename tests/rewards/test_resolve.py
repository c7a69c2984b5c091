"""Names and weights to a scorer, and scores to one number.

sh run_tests.sh tests/rewards/test_resolve.py
"""

import subprocess
import sys

import pytest

from bedside import rewards
from bedside.errors import ConfigError
from bedside.rewards import Completion

ASKED = [{"role": "user", "content": "What is it?"}]


def test_scores_stand_under_their_names_in_order():
    scorer = rewards.resolve(["accuracy", "format", "red_flags"], [1, 0.2, 0.5])
    rows = scorer.score([Completion("<think>\nhm\n</think>\n\ngout", True), Completion("lupus", True)],
                        [{"answer": "gout"}, {"answer": "gout"}], [ASKED, ASKED])  # fmt: skip
    assert rows == [{"accuracy": 1, "format": 1, "red_flags": None}, {"accuracy": 0, "format": 0, "red_flags": None}]
    assert [rewards.total(row, scorer.weights) for row in rows] == [1.2, 0.0]
    assert scorer.told() == []


def test_nothing_applicable_is_nothing():
    assert rewards.total({"accuracy": None}, [1.0]) == 0.0


def test_accuracy_goes_by_what_gold_is():
    scorer = rewards.resolve(["accuracy", "choice", "diagnosis", "number"])
    golds = [{"answer": "gout"}, {"answer": "500 mg"}, {"answer": "yes"}, {"answer": "Rest.", "kind": "reference"}, {},
             {"answer": "A", "options": {"A": "x", "B": "y"}}]  # fmt: skip
    asked = [*[ASKED] * 5, [{"role": "user", "content": "Which?\nA. x\nB. y"}]]
    texts = ["gout", "0.5 g", "Yes.", "Rest.", "Rest.", "A"]
    rows = scorer.score([Completion(text, True) for text in texts], golds, asked)
    assert [tuple(row.values()) for row in rows] == [
        (1, None, 1, None), (1, None, None, 1), (1, None, None, None), (None,) * 4, (None,) * 4, (1, 1, None, None),
    ]  # fmt: skip


def test_a_letter_earns_nothing_where_no_options_were_shown():
    scorer = rewards.resolve(["accuracy"])
    gold = {"answer": "foo fever", "options": {"A": "foo fever", "B": "bar fever"}, "kind": "choice"}
    rows = scorer.score([Completion("A", True), Completion("foo fever", True)], [gold] * 2, [ASKED] * 2)
    assert [row["accuracy"] for row in rows] == [0, 1]


@pytest.mark.parametrize("names, weights, more, told", [
    ([], None, {}, "no reward is named; known: accuracy"),
    (["acuracy"], None, {}, "reward acuracy: did you mean accuracy?"),
    (["accuracy"], [1, 2], {}, r"2 reward weights for 1 rewards \(accuracy\)"),
    (["accuracy"], [0], {}, "not all of them 0"),
    (["accuracy"], [float("nan")], {}, "expected finite numbers"),
    (["format", "format"], None, {}, "two rewards are called format"),
    (["choice"], None, {"choice_partial": 1.5}, "choice_partial 1.5: expected 0 to less than 1"),
    (["length"], None, {"length_min": 9, "length_max": 3}, "expected 1 <= min <= max"),
])  # fmt: skip
def test_what_cannot_be_meant_is_told(names, weights, more, told):
    with pytest.raises(ConfigError, match=told):
        rewards.resolve(names, weights, **more)


def test_every_problem_is_told_at_once():
    with pytest.raises(ConfigError) as raised:
        rewards.resolve(["acuracy", "judge"], [1], length_min=0)
    assert len(raised.value.problems) == 4


def test_no_torch_is_needed():
    code = (
        "import sys, bedside.rewards.selftest; print(sorted({'torch', 'transformers', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
