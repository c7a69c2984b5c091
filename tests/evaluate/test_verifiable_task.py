"""The task verifiable: which rows can be checked, and how an answer counts.

sh run_tests.sh tests/evaluate/test_verifiable_task.py
"""

import json
from types import SimpleNamespace

import pytest

from bedside import thoughts
from bedside.answers import Answer, Sampling
from bedside.errors import DataError
from bedside.evaluate import verifiable
from bedside.evaluate.task import Settings

SETTINGS = Settings(Sampling(8, 0.0))
ROWS = [
    {"question": "Which condition?", "answer": "influenza", "aliases": ["flu"], "kind": "diagnosis", "lang": "en"},
    {"question": "Which dose?", "answer": 500, "unit": "mg"},
    {"question": "哪一项？", "options": {"A": "感冒", "B": "肺炎"}, "answer_idx": "B", "lang": "zh"},
    {"prompt": "Explain fever.", "response": "It is a raised temperature, and " + "long " * 60},
]


def written(tmp_path, *lines) -> str:
    path = tmp_path / "tasks.jsonl"
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def cases(tmp_path, texts: list[str], reason: str = "stop", thinks: bool = True):
    items = verifiable.load(written(tmp_path, *ROWS), SETTINGS)
    answers = []
    for text in texts:
        parts = thoughts.parse(text)
        answers.append(Answer(text, parts.thought, parts.answer, reason, 3, 9))
    subject = SimpleNamespace(engine=SimpleNamespace(thinks=thinks), answers=lambda *_: answers)
    return verifiable.run(subject, items, SETTINGS)


def test_rows_whose_answer_cannot_be_checked_are_counted(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("bedside.logs.warn", told.append)
    items = verifiable.load(written(tmp_path, *ROWS, {"question": ""}), SETTINGS)
    assert [item.groups["kind"] for item in items] == ["diagnosis", "number", "choice"]
    assert told[-1].endswith(
        "5 rows = 3 questions with an answer that can be checked + 1 that cannot be used + 1 without what is asked for"
    )


def test_right_answers_are_right(tmp_path):
    right = [
        "<think>\nhm\n</think>\n\nInfluenza.",
        "<think>\nhm\n</think>\n\n500 mg",
        "<think>\n想\n</think>\n\n答案：B",
    ]
    found = cases(tmp_path, right)
    assert [case.values for case in found] == [{"accuracy": 1.0, "format": 1.0, "finished": 1.0}] * 3
    assert found[0].shown["expected"] == ["influenza", "flu"]
    assert found[0].shown["where"].endswith("tasks.jsonl:1")
    assert [case.groups["language"] for case in found] == ["en", "en", "zh"]


def test_wrong_answers_are_wrong(tmp_path):
    found = cases(tmp_path, ["Measles.", "50 mg", "A"])
    assert [case.values["accuracy"] for case in found] == [0.0, 0.0, 0.0]
    assert [case.values["format"] for case in found] == [0.0, 0.0, 0.0]


def test_what_stands_in_the_thought_is_no_answer(tmp_path):
    found = cases(tmp_path, ["<think>\nInfluenza", "<think>\n500 mg", "<think>\nB"], reason="length")
    assert [case.values["accuracy"] for case in found] == [0.0, 0.0, 0.0]


def test_an_answer_that_could_not_be_had_is_wrong(tmp_path):
    found = cases(tmp_path, ["", "", ""], reason="failed")
    assert [case.values for case in found] == [{"accuracy": 0.0, "format": 0.0, "finished": 0.0}] * 3


def test_a_prompt_that_opened_the_thought_leaves_the_answer_where_it_is(tmp_path):
    items = verifiable.load(written(tmp_path, ROWS[0]), SETTINGS)
    text = "Fever and cough.\n</think>\n\nInfluenza."
    parts = thoughts.parse(text, opened=True)
    answers = [Answer(text, parts.thought, parts.answer, "stop", 3, 9)]
    subject = SimpleNamespace(engine=SimpleNamespace(thinks=True), answers=lambda *_: answers)
    assert verifiable.run(subject, items, SETTINGS)[0].values == {"accuracy": 1.0, "format": 1.0, "finished": 1.0}


def test_a_model_without_thoughts_has_no_format(tmp_path):
    assert cases(tmp_path, ["Influenza.", "500 mg", "B"], thinks=False)[0].values["format"] is None


def test_a_file_of_chats_alone_is_refused(tmp_path):
    with pytest.raises(DataError, match="no questions with an answer that can be checked in 1 rows"):
        verifiable.load(written(tmp_path, ROWS[3]), SETTINGS)
