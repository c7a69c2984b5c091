"""Yes and no, in both languages, and the words that only contain them.

sh run_tests.sh tests/rewards/test_yes_no.py
"""

import pytest

from bedside.rewards import Completion, yes_no

ASKED = [{"role": "user", "content": "Is it a contraindication? Answer yes or no."}]


def score(text: str, answer: str, kind: str = "contraindication") -> float | None:
    return yes_no.score(Completion(text, True), {"answer": answer, "kind": kind}, ASKED)


@pytest.mark.parametrize("text, says", [
    ("Yes.", "yes"), ("yes", "yes"), ("**Yes**", "yes"), ("Yes, it is a contraindication.", "yes"),
    ("Yes - avoid it.", "yes"),
    ("It is a contraindication.", "yes"), ("The answer is yes.", "yes"), ("It should not be used.", "yes"),
    ("True", "yes"),
    ("No.", "no"), ("No, mumps is not a contraindication.", "no"), ("It is not a contraindication.", "no"),
    ("The answer is no.", "no"), ("It can be given.", "no"), ("Nope.", "no"),
    ("It does not rule out ibuprofen.", "no"),
    ("是", "是"), ("是的，属于禁忌。", "是"), ("活动性出血属于阿司匹林的禁忌。", "是"),
    ("布洛芬的禁忌包括哮喘。", "是"), ("答案是：是。", "是"), ("禁用。", "是"),
    ("会", "是"), ("否", "否"), ("不是。", "否"), ("否，可以使用。", "否"), ("不会", "否"),
    ("感冒不属于布洛芬的禁忌。", "否"),
    ("布洛芬的禁忌不包括感冒。", "否"), ("答案是否。", "否"), ("答案：不是", "否"), ("不算禁忌", "否"),
    ("并非禁忌。", "否"),
])  # fmt: skip
def test_what_an_answer_says(text, says):
    opposite = {"yes": "no", "no": "yes", "是": "否", "否": "是"}[says]
    assert (score(text, says), score(text, opposite)) == (1, 0)


@pytest.mark.parametrize("text", [
    "", "Not known", "I know it", "Nothing", "None", "yes or no", "Yes and no.", "Yes. No.", "Answer yes or no.",
    "No fever is needed.", "是否属于禁忌", "是或否", "是不是禁忌", "yes/no", "<think>\nyes\n</think>\n\n",
    "<think>\nno", "Noteworthy.",
    "Is it a contraindication? Answer yes or no.", "unknown", "不清楚", "不知道是否", "无法判断",
])  # fmt: skip
def test_what_says_neither(text):
    assert [score(text, answer) for answer in ("yes", "no")] == [0, 0]


def test_other_answers_are_left_to_others():
    assert score("gout", "gout") is None
    assert not yes_no.applies({"answer": "gout"}) and yes_no.applies({"answer": "否"})


def test_a_question_of_another_kind_needs_the_word_itself():
    assert score("It is not a contraindication.", "no", "other") == 0
    assert score("No, it is not.", "no", "other") == 1
