"""Multiple choice by what is written: accuracies known beforehand, and what counts as no answer.

sh run_tests.sh tests/evaluate/test_choice_generation.py
"""

import json
import logging
import re

import pytest

from bedside.answers import Answer, Sampling
from bedside.errors import ConfigError
from bedside.evaluate.choice import TASK
from bedside.evaluate.task import Settings

ONE = {"question": "Which disease?", "options": {"A": "gout", "B": "flu", "C": "cold", "D": "lupus"}}


class Scripted:
    """Answers by a function of the question's text; `asked` is what it was asked."""

    name, engine, weights = "scripted", None, None

    def __init__(self, answer, finish="stop"):
        self.answer, self.finish, self.asked = answer, finish, []

    def answers(self, chats, sampling, what):
        self.asked += chats
        found = []
        for chat in chats:
            text = self.answer(chat[-1]["content"])
            thought, _, answer = text.rpartition("</think>")
            found.append(Answer(text, thought or None, answer.strip(), self.finish, 1, 1))
        return found


@pytest.fixture
def run(tmp_path, caplog):
    """The cases of these rows, as this subject answers them."""
    caplog.set_level(logging.INFO, "bedside")

    def cases(rows, subject, system=None, **options):
        path = tmp_path / "mcq.jsonl"
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
        settings = Settings(Sampling(), system=system, options={"choice_by": ["generation"], **options})
        return TASK.run(subject, TASK.load(str(path), settings), settings)

    cases.told = lambda: caplog.text
    return cases


def letter_of(text, asked):
    return re.search(rf"^([A-Z])\. {text}$", asked, re.MULTILINE)[1]


def mean(cases, name):
    values = [case.values[name] for case in cases if case.values[name] is not None]
    return sum(values) / len(values)


def test_accuracy_is_exactly_what_was_answered(run):
    rows = [{**ONE, "question": f"Which of {n}?", "answer": "ABCD"[n % 4]} for n in range(10)]
    cases = run(rows, Scripted(lambda asked: "The answer is B."))
    assert [case.values["accuracy"] for case in cases] == [0, 1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert mean(cases, "parsed") == 1
    assert cases[0].values["accuracy_likelihood"] is None and cases[0].values["consistent"] is None


def test_one_who_knows_the_answer_is_right_in_every_order(run):
    subject = Scripted(lambda asked: f"Answer: {letter_of('flu', asked)}")
    case = run([{**ONE, "answer": "B"}], subject, choice_permutations=4)[0]
    assert case.values["accuracy"] == 1 and case.values["consistent"] == 1 and case.values["position_bias"] == 0
    assert len(subject.asked) == 4
    assert case.shown["letters"][0] == "B" and sorted(case.shown["letters"]) == list("ABCD")
    assert case.shown["chosen"] == ["B"] * 4 and case.shown["expected"] == "B. flu"


def test_one_who_always_says_a_falls_to_chance_and_is_found_out(run):
    rows = [{**ONE, "question": f"Which of {n}?", "answer": "A"} for n in range(12)]  # the file's right letter is A
    always = Scripted(lambda asked: "A")
    assert mean(run(rows, always), "accuracy") == 1  # what a single order believes
    cases = run(rows, always, choice_permutations=4)
    assert mean(cases, "accuracy") == 0.25
    assert mean(cases, "consistent") == 0 and mean(cases, "position_bias") == 1
    assert "letters chosen: A 100 % (right 25 %)" in run.told() and "prefer a place" in run.told()


def test_the_first_wrong_answer_is_shown_with_what_was_right_in_its_order(run):
    case = run([{**ONE, "answer": "A"}], Scripted(lambda asked: "A"), choice_permutations=4)[0]
    options = dict(line.split(". ") for line in case.shown["question"].splitlines()[1:5])
    assert options["A"] != "gout" and options[case.shown["expected"][0]] == "gout"
    assert case.shown["chosen"].count("A") == 1


def test_what_cannot_be_read_is_wrong_and_counted(run):
    rows = [{**ONE, "question": f"Which of {n}?", "answer": "B"} for n in range(4)]
    cases = run(rows, Scripted(lambda asked: "B" if "of 0" in asked else "See a doctor."))
    assert mean(cases, "accuracy") == 0.25 and mean(cases, "parsed") == 0.25
    assert "3 of 4 answers could not be read; they count as wrong" in run.told()


@pytest.mark.parametrize(
    ("text", "accuracy", "parsed"),
    [
        ("I think of A first.</think>The answer is B.", 1, 1),
        ("It is B, surely B, the answer is B", 0, 0),  # inside a thought that never ended
        ("hm</think>The answer is B, because the fev", 1, 1),  # cut off behind its statement
        ("hm</think>", 0, 0),
        ("hm</think>A or B", 0, 0),
        ("hm</think>A and B", 0, 0),  # one option was asked for
        ("hm</think>This is most likely flu.", 1, 1),
        ("hm</think>**B. flu**", 1, 1),
        ("hm</think>The answer is B, gout.", 0, 0),  # letter and text contradict
    ],
)
def test_what_counts_as_an_answer(run, text, accuracy, parsed):
    class Thinking(Scripted):
        def answers(self, chats, sampling, what):
            _, closed, answer = text.partition("</think>")
            return [Answer(text, text, answer if closed else "", "length", 1, 1)]

    values = run([{**ONE, "answer": "B"}], Thinking(None))[0].values
    assert (values["accuracy"], values["parsed"]) == (accuracy, parsed)


SEVERAL = {
    "question": "下列正确的有", "option": {"A": "甲", "B": "乙", "C": "丙", "D": "丁"}, "answer": "ABD",
    "question_type": "多项选择题",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "accuracy", "partial"),
    [
        ("ABD", 1, 1),
        ("A、B、D", 1, 1),
        ("答案：AB", 0, 2 / 3),
        ("ABC", 0, 0),
        ("ABCD", 0, 0),
        ("D", 0, 1 / 3),
        ("不知道", 0, 0),
    ],
)
def test_several_answers_need_the_exact_set(run, text, accuracy, partial):
    subject = Scripted(lambda asked: text)
    values = run([SEVERAL], subject)[0].values
    assert (values["accuracy"], values["partial"]) == (accuracy, pytest.approx(partial))
    assert subject.asked[0][-1]["content"].endswith("本题可能有多个正确选项，请给出所有正确选项的字母。")


def test_one_answer_has_no_partial_measure(run):
    assert run([{**ONE, "answer": "B"}], Scripted(lambda asked: "B"))[0].values["partial"] is None


def test_the_question_is_put_in_its_language_with_the_system_turn(run):
    subject = Scripted(lambda asked: "A")
    run([{**ONE, "answer": "B"}], subject, system="Be brief.")
    assert subject.asked == [[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Which disease?\nA. gout\nB. flu\nC. cold\nD. lupus\n"
                                    "Answer with the letter of the one right option."},
    ]]  # fmt: skip


def test_no_item_and_no_answer(run):
    settings = Settings(Sampling(), options={"choice_by": ["generation"]})
    assert TASK.run(Scripted(lambda asked: ""), [], settings) == []


def test_likelihood_alone_needs_the_model(run):
    with pytest.raises(ConfigError, match="a server gives answers and no probabilities"):
        run([{**ONE, "answer": "B"}], Scripted(lambda asked: "B"), choice_by=["likelihood"])


def test_both_ways_with_a_server_are_one_and_that_is_said(run):
    case = run([{**ONE, "answer": "B"}], Scripted(lambda asked: "B"), choice_by=None)[0]
    assert case.values["accuracy"] == 1 and case.values["accuracy_likelihood"] is None
    assert "likelihood needs the model itself" in run.told()
