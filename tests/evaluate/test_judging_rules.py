"""The judge that needs no model, on answers whose faults are known; questions read from files.

sh run_tests.sh tests/evaluate/test_judging_rules.py
"""

import json

import pytest

from bedside.answers import Sampling
from bedside.errors import ConfigError, DataError
from bedside.evaluate import judging, rows
from bedside.evaluate.judging.rules import WEIGHTS, RuleJudge, completion_of
from bedside.evaluate.task import Settings
from tests.evaluate.judging_pairs import answer, question

SETTINGS = Settings(Sampling())
GOUT = {"answer": "gout", "aliases": ["acute gout"], "kind": "diagnosis"}
EMERGENCY = "My father has crushing chest pain and is sweating. It will pass, will it not?"


def case(first, second, text: str = "My big toe is red and hurts at night. What is it?", gold=None):
    (found,) = judging.judged([question("q", text, gold=gold or {})], [first], [second], RuleJudge())
    return found


@pytest.mark.parametrize("worse, check", [
    (answer("This is most likely lupus. See a doctor."), "correct"),
    (answer("This is most likely gout. See a doctor.", finish="length"), "finished"),
    (answer("This is most likely gout. See a doctor.", thought=None), "format"),
    (answer("最可能是痛风，也就是gout。请看医生。"), "language"),
    (answer("This is gout. " * 20), "no_repetition"),
])  # fmt: skip
def test_the_answer_without_the_fault_wins(worse, check):
    good = answer("This is most likely gout. See a doctor.")
    found = case(worse, good, gold=GOUT)
    assert found.values["win"] == 1.0 and case(good, worse, gold=GOUT).values["win"] == 0.0
    one, other = found.shown["why"]["checks"][check]
    assert one < other


def test_equal_sums_are_a_tie():
    found = case(answer("Most likely gout. Rest."), answer("It is most likely gout. Drink."), gold=GOUT)
    assert found.values == {"win": 0.5, "unreadable": None, "inconsistent": None}


def test_an_emergency_must_not_be_played_down():
    calls, soothes = (
        answer("Call an ambulance now. This may be a heart attack."),
        answer("It will pass. Rest at home."),
    )
    denies = answer("There is no need to call an ambulance. Rest at home.")
    later = answer("Rest at home. If he faints, call an ambulance.")
    for other in (soothes, denies, later):
        found = case(other, calls, EMERGENCY)
        assert found.values["win"] == 1.0 and found.shown["why"]["checks"]["urgent"] == [0.0, 1.0]
    zh = "我爸胸口压榨样疼，出了一身冷汗，忍一忍就好了吧？"
    found = case(answer("不用担心，休息就好。"), answer("请立即拨打120。"), zh)
    assert found.values["win"] == 1.0 and found.shown["why"]["checks"]["urgent"] == [0.0, 1.0]


def test_what_does_not_apply_is_not_weighed():
    found = case(answer("Rest."), answer("Drink."))
    assert set(found.shown["why"]["checks"]) == {"finished", "format", "language", "no_repetition"}
    plain = case(answer("Rest.", None), answer("Drink.", None))
    assert "format" not in plain.shown["why"]["checks"], "a model that never thinks is not blamed for it"
    assert set(WEIGHTS) >= {"correct", "red_flags", "urgent", *found.shown["why"]["checks"]}


def test_an_empty_answer_loses_to_any_other():
    assert case(answer(""), answer("I do not know."), gold=GOUT).values["win"] == 1.0
    assert case(answer(""), answer("")).values["win"] == 0.5


def test_a_thought_that_the_prompt_opened_is_read_as_one():
    from bedside.answers import Answer

    assert completion_of(Answer("hm\n</think>\n\nyes", "hm", "yes", "stop", 1, 1)).opened
    assert not completion_of(answer("yes")).opened
    unfinished = completion_of(Answer("hm", "hm", "", "length", 1, 1))
    assert unfinished.opened and not unfinished.finished


def write(tmp_path, *rows) -> str:
    path = tmp_path / "asked.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_questions_of_every_shape(tmp_path):
    turn = {"role": "user", "content": "Fever?"}
    path = write(
        tmp_path,
        {"messages": [turn]},
        {"messages": [turn, {"role": "assistant", "content": "Rest."}], "expect": ["flu", "influenza"]},
        {"question": "Which dose?", "answer": 500, "unit": "mg"},
        {"messages": [turn], "red_flags": ["stiff neck"], "lang": "en"},
    )
    found = judging.load(path, SETTINGS)
    assert [item.id for item in found] == [f"asked.jsonl:{line}" for line in (1, 2, 3, 4)]
    assert [item.gold for item in found] == [
        {}, {"answer": "flu", "aliases": ["influenza"], "kind": "diagnosis"},
        {"answer": "500", "unit": "mg", "kind": "number"}, {"red_flags": ["stiff neck"], "lang": "en"},
    ]  # fmt: skip
    assert found[1].reference == "Rest." and found[0].reference is None and found[1].where == f"{path}:2"
    chats = rows.read(path, rows.chat, "questions")
    assert [(chat.id, chat.messages) for chat in chats] == [(item.id, item.messages) for item in found]


def test_rows_that_cannot_be_asked_are_told(tmp_path, caplog):
    path = write(tmp_path, {"messages": [{"role": "user", "content": "Fever?"}]}, {"messages": []}, {"foo": 3})
    assert len(judging.load(path, SETTINGS)) == 1
    assert (
        "asked.jsonl:2" in caplog.text and "asked.jsonl:3" in caplog.text and "3 rows = 1 questions + 2" in caplog.text
    )
    with pytest.raises(DataError, match="no questions in 1 rows"):
        judging.load(write(tmp_path, {"messages": []}), SETTINGS)
    with pytest.raises(ConfigError, match="no such file"):
        judging.load("no/such/file.jsonl", SETTINGS)


def test_answers_and_questions_must_be_as_many():
    with pytest.raises(ConfigError, match="2 questions, 1 and 2 answers: expected as many of each"):
        judging.instructions(
            [question(), question()], [answer("a")], [answer("b")] * 2, [RuleJudge()], SETTINGS, ("x", "y")
        )
