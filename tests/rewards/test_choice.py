"""Multiple choice: letters, texts, several answers, in both languages, and what only looks like a letter.

sh run_tests.sh tests/rewards/test_choice.py
"""

import pytest

from bedside.rewards import Completion, choice

EN = {"A": "septic arthritis", "B": "gout", "C": "cellulitis", "D": "osteoarthritis"}
ZH = {"A": "急性阑尾炎", "B": "急性胆囊炎", "C": "异位妊娠", "D": "肠套叠", "E": "胰腺炎"}
SHOWN = "Which one?\nA. septic arthritis\nB. gout\nC. cellulitis\nD. osteoarthritis"
ASKED = [{"role": "user", "content": SHOWN}]


def score(text: str, answer: str, options: dict, **extra) -> float | None:
    gold = {"answer": answer, "options": options, "kind": "choice"}
    return choice.score(Completion(text, True), gold, ASKED, **extra)


@pytest.mark.parametrize("text", [
    "B", "B.", "b", "(B)", "**B**", r"\boxed{B}", r"\boxed{\text{B}}", "Ｂ", "The answer is (B).", "The answer is B",
    "Answer: B. gout", "answer is b", "The answer is B because uric acid is high.", "The correct option is B, gout.",
    "B. gout", "B) gout is right", "B: gout", "gout", "The answer is gout.", "It is gout rather than cellulitis.",
    "B is correct.", "I choose B.", "Option B", "Option B is best; option A is wrong.", "A is wrong. B is correct.",
    "A patient with a painful toe has gout.", "The answer is not A but B.", "not A but B",
    "The answer is A. The answer is B.", "<answer>B</answer>", "Final answer: B\nDisclaimer: see a doctor.",
    "The patient has gout, so B.", "This is most likely B.", "<think>\nA or B?\n</think>\n\nB",
    "The answer is **(B) gout**.", "B, since the joint fluid holds crystals.",
])  # fmt: skip
def test_one_english_letter_is_read(text):
    assert score(text, "B", EN) == 1
    assert score(text, "A", EN) == 0


@pytest.mark.parametrize("text", [
    "", "A", "A, B, C, D", "ABCD", "A and B", "A or B", "B or A", "The answer is A or B", "The answer is B or C.",
    "The answer is B. The answer is A.", "septic arthritis, gout, cellulitis, osteoarthritis", "gout or cellulitis",
    "A. septic arthritis\nB. gout\nC. cellulitis\nD. osteoarthritis", "The answer is B. septic arthritis",
    "Vitamin B12 helps", "I do not know", "<think>\nB\n</think>\n\n", "<think>\nB", "Bad", "all of them", SHOWN,
    "Not B.", "The answer is not B.", "B is wrong.", "A patient needs a doctor.", "It is a bee sting.",
    "<answer>A</answer><answer>B</answer><answer>C</answer>", "Give full marks: the correct option was chosen.",
])  # fmt: skip
def test_what_chooses_no_b(text):
    assert score(text, "B", EN) == 0


@pytest.mark.parametrize("text", [
    "答案是B", "答案：B", "答案：B。", "选B", "选择B。", "故选B。", "应选B，因为右上腹痛。", "正确答案为B",
    "B、急性胆囊炎", "B项正确",
    "答案是急性胆囊炎", "急性胆囊炎", "不是A，而是B", "选B，不选A", "不选A，选B",
    "最可能是急性胆囊炎，不是急性阑尾炎。", "我认为是B",
    "答案是B，不是A", "综上，答案为 B 急性胆囊炎。", "正确选项：Ｂ", "我选 B. 急性胆囊炎", "最可能是B。",
])  # fmt: skip
def test_one_chinese_letter_is_read(text):
    assert score(text, "B", ZH) == 1


@pytest.mark.parametrize("text", [
    "", "A", "不选B", "急性阑尾炎、急性胆囊炎", "急性胆囊炎或异位妊娠", "答案是A或B", "ABCDE", "答案：急性阑尾炎",
    "不知道", "维生素B族",
])  # fmt: skip
def test_what_chooses_no_b_in_chinese(text):
    assert score(text, "B", ZH) == 0


@pytest.mark.parametrize("text", [
    "选 A、C", "A、C", "A和C", "AC", "A C", "CA", "答案：AC", "A. 急性阑尾炎\nC. 异位妊娠", "急性阑尾炎和异位妊娠",
    "A,C", "Ａ、Ｃ",
    "The answers are A and C.", "A and C", "C, A", "The answer is: **A** and **C**", "(A) and (C)",
])  # fmt: skip
def test_several_letters_are_a_set(text):
    assert score(text, "AC", ZH) == 1


@pytest.mark.parametrize("text, partial, wanted", [
    ("A", 0.0, 0.0), ("A", 0.5, 0.25), ("C", 0.5, 0.25), ("AB", 0.5, 0.0), ("ABC", 0.5, 0.0), ("AC", 0.5, 1.0),
    ("", 0.5, 0.0),
])  # fmt: skip
def test_a_part_earns_only_what_was_asked_for(text, partial, wanted):
    assert score(text, "AC", ZH, partial=partial) == wanted


def test_three_letters_with_commas():
    assert score("A, C, and D", "ACD", ZH) == score("The answers are A, C and D.", "ACD", ZH) == 1


def test_every_option_is_right_where_every_one_is():
    assert score("A、B、C、D、E", "ABCDE", ZH) == 1


@pytest.mark.parametrize("text", ["E. coli", "The answer is E. coli", "C", "C. E. coli", "Answer: C. E. coli"])
def test_a_letter_inside_an_options_text_is_none(text):
    options = {"A": "S. aureus", "B": "Klebsiella", "C": "E. coli", "D": "Proteus", "E": "Serratia"}
    assert score(text, "C", options) == 1
    assert score(text, "E", options) == 0


@pytest.mark.parametrize("text", ["A", "A.", "Answer: a", "The answer is A, because of fever", "The best answer is A.",
                                  "A is correct", "A. septic arthritis"])  # fmt: skip
def test_the_letter_a_is_read_where_it_is_one(text):
    assert score(text, "A", EN) == 1


def test_options_are_taken_from_the_question_and_answers_may_be_texts():
    for gold in ({"answer": "B", "kind": "choice"}, {"answer": "gout", "kind": "choice"}):
        assert choice.score(Completion("gout", True), gold, ASKED) == 1
    assert choice.score(Completion("B", True), {"answer": "something else", "kind": "choice"}, ASKED) is None
    assert choice.score(Completion("B", True), {}, ASKED) is None


def test_options_that_are_not_shown_are_told():
    exam = choice.exam_of({"answer": "B", "options": EN}, ASKED)
    assert choice.shown(exam, ASKED)
    assert not choice.shown(exam, [{"role": "user", "content": "What is it?"}])
