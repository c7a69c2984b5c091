"""Length, language, answers to other questions, loops.

sh run_tests.sh tests/clean/test_filters.py
"""

import pytest

from bedside.clean import filters
from bedside.clean.fields import ANSWER, QUESTION, SYSTEM, THOUGHT, Text


def row(question: str, answer: str, thought: str = "") -> list[Text]:
    texts = [Text(("q",), QUESTION, question), Text(("a",), ANSWER, answer)]
    return texts + ([Text(("t",), THOUGHT, thought)] if thought else [])


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("患者CT示肺部感染", "zh"),
        ("血压 140/90 mmHg", "zh"),
        ("MRI of 头", "zh"),
        ("The patient has a fever", "en"),
        ("The patient was given 当归 twice a day with meals for a week", "en"),
        ("Как дела", "other"),
        ("薬を飲みましたか、はい、のみました", "other"),
        ("한국어 문장", "other"),
        ("123", "other"),
    ],
)
def test_a_language_is_told_by_its_script(text, wanted):
    assert filters.language(text) == wanted


def test_length_counts_questions_and_answers_only():
    assert filters.length([*row(" 头痛 ", "休息。"), Text(("system",), SYSTEM, "x" * 99)]) == 5


def test_an_answer_about_something_else_is_named_with_the_reason():
    question = "我父亲血压偏高，服用降压片期间可否饮酒？"
    answer = "婴儿湿疹保持皮肤滋润，涂抹润肤霜，避免抓挠；棉质衣物更合适，洗澡水温别太烫，哺乳妈妈忌辛辣。"
    assert filters.mismatch(row(question, answer)) == "none of 14 content words of the question in the answer"


def test_an_answer_in_another_language_is_named():
    question = "我父亲血压偏高，服用降压片期间可否饮酒？"
    answer = (
        "Moisturise baby eczema twice daily, avoid scratching, choose cotton clothing, keep bath lukewarm, nursing "
        "mothers avoid spicy meals, chocolate, coffee, nuts, shellfish, perfume, detergents"
    )
    assert filters.mismatch(row(question, answer)) == "question zh, answer en, nothing in common"


def test_an_answer_that_is_the_question_is_named():
    assert (
        filters.mismatch(row("高血压患者能不能吃人参？", "高血压患者，能不能吃人参")) == "the answer is the question"
    )


@pytest.mark.parametrize(
    ("question", "answer", "thought"),
    [
        ("头痛怎么办", "建议多休息，避免劳累，清淡饮食，必要时到医院神经内科做进一步检查明确原因。", ""),
        ("高血压的患者能喝酒吗，服用降压片期间", "高血压者应戒酒。", ""),
        (
            "一扫灰尘或吹冷风就犯喘，夜里憋醒",
            "最可能是支气管哮喘，请看呼吸内科，做肺功能和舒张试验，规律吸入糖皮质激素控制病情。",
            "夜间喘憋、灰尘诱发",
        ),
    ],
)
def test_short_questions_shared_words_and_thoughts_that_bridge_pass(question, answer, thought):
    assert filters.mismatch(row(question, answer, thought)) is None


def test_a_loop_is_told_from_prose():
    assert filters.looping(row("怎么办", "多喝水，注意休息。" * 60)) > 6
    prose = "先测体温，再听诊肺部；查血常规与胸片，若为细菌感染给予抗生素，若为病毒感染则对症处理。" * 2
    assert filters.looping(row("怎么办", prose * 2)) is None
