"""Format, length, repetition, language and red flags: what each pays for, and what earns nothing.

sh run_tests.sh tests/rewards/test_form.py
"""

import pytest

from bedside.rewards import Completion, format, red_flags, style

EN = [{"role": "user", "content": "What should I do?"}]
ZH = [{"role": "user", "content": "怎么办？"}]
GOOD = "<think>\nhm\n</think>\n\nRest."


@pytest.mark.parametrize("text, finished, opened, wanted", [
    (GOOD, True, False, 1), ("hm\n</think>\n\nRest.", True, True, 1), (GOOD, False, False, 0), (GOOD, True, True, 0),
    ("", True, False, 0), ("Rest.", True, False, 0), ("<think>\n\n</think>\n\nRest.", True, False, 0),
    ("<think>\nhm\n</think>\n\n", True, False, 0),
    ("<think>\nhm\n</think>\n\n<think>\nhm\n</think>\n\nRest.", True, False, 0),
    ("<think>hm</think>Rest.", True, False, 0),
])  # fmt: skip
def test_the_format_is_exact(text, finished, opened, wanted):
    assert format.score(Completion(text, finished, opened), {}, EN) == wanted


@pytest.mark.parametrize("tokens, wanted", [(5, 0.5), (10, 1), (20, 1), (25, 0.75), (30, 0.5), (40, 0), (900, 0)])
def test_length_is_full_inside_its_range_and_falls_linearly_outside(tokens, wanted):
    assert style.length(Completion(GOOD, True, tokens=tokens), {}, EN, shortest=10, longest=20) == wanted


def test_length_counts_words_where_nobody_counted_tokens():
    assert style.length(Completion("one two 三四", True), {}, EN, shortest=8, longest=20) == 0.5


def test_no_answer_has_no_good_length():
    assert style.length(Completion("<think>\n" + "a " * 50, True, tokens=50), {}, EN, 10, 100) == 0


@pytest.mark.parametrize("text, wanted", [
    ("", 0), ("Rest and drink a lot of water.", 1), ("多喝水，注意休息。", 1), ("<think>\n\n</think>\n\n", 0),
    ("yes", 1),
    ("a b c d a b c d", 0.8), ("多喝热水多喝热水", 0.8),
])  # fmt: skip
def test_repetition_is_counted_in_words_and_characters(text, wanted):
    assert style.repetition(Completion(text, True), {}, EN) == wanted


def test_one_sentence_over_and_over_earns_little():
    for sentence in ("Please rest and drink water. ", "请多喝水并注意休息。"):
        assert style.repetition(Completion(sentence * 40, True), {}, EN) < 0.1


@pytest.mark.parametrize("text, asked, wanted", [
    ("Rest.", EN, 1), ("休息。", EN, 0), ("休息。", ZH, 1), ("Rest.", ZH, 0), ("", ZH, 0), ("Rest, 休息", EN, 0),
    ("<think>\nhm\n</think>\n\n休息。", ZH, 0.5), ("<think>\n想想\n</think>\n\n休息。", ZH, 1),
    ("<think>\n想想\n</think>\n\nRest.", EN, 0.5),
    ("建议查ECG、CT、HbA1c，血糖7 mmol/L时就医。", ZH, 1), ("建议服用aspirin并复查。", ZH, 1),
    ("You should rest 并且 drink water now", ZH, 0),
])  # fmt: skip
def test_the_language_is_the_questions(text, asked, wanted):
    assert style.same_language(Completion(text, True), {}, asked) == wanted


FLAGS = {"red_flags": ["loss of consciousness or cardiac arrest", "falling blood pressure with cold clammy limbs"]}


@pytest.mark.parametrize("text, wanted", [
    ("", 0), ("Rest.", 0), ("Look out for loss of consciousness or cardiac arrest.", 0.5),
    ("In cardiac arrest or loss of consciousness call 120.\nWatch for cold clammy limbs, falling blood pressure.", 1),
    ("<think>\nLoss of consciousness or cardiac arrest.\n</think>\n\nRest.", 0),
    ("There is no need to worry about loss of consciousness or cardiac arrest.", 0), ("blood pressure", 0),
])  # fmt: skip
def test_red_flags_are_a_share(text, wanted):
    assert red_flags.score(Completion(text, True), FLAGS, EN) == wanted


@pytest.mark.parametrize("text, wanted", [
    ("出现意识丧失或心脏骤停，请马上呼救。", 1), ("如果心脏骤停、意识丧失，立即拨打120", 1), ("多休息。", 0),
                                          ("不用担心意识丧失或心脏骤停。", 0)])  # fmt: skip
def test_red_flags_in_chinese(text, wanted):
    assert red_flags.score(Completion(text, True), {"red_flags": ["意识丧失或心脏骤停"]}, ZH) == wanted


def test_rows_without_red_flags_are_left_out():
    assert red_flags.score(Completion("Rest.", True), {}, EN) is None
    assert red_flags.score(Completion("Rest.", True), {"red_flags": []}, EN) is None
