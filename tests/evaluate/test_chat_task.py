"""The task chat: rows of every format to questions, and what is said of an answer.

sh run_tests.sh tests/evaluate/test_chat_task.py
"""

import json
from types import SimpleNamespace

import pytest

from bedside.answers import Answer, Sampling
from bedside.errors import ConfigError, DataError
from bedside.evaluate import chat, rows
from bedside.evaluate.task import Settings

THINKS = SimpleNamespace(thinks=True)


def settings(**changes) -> Settings:
    return Settings(Sampling(8, 0.0), **changes)


def written(tmp_path, *lines, name="eval.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
    return str(path)


def answer(text: str, reason: str = "stop", tokens: int = 5) -> Answer:
    from bedside import thoughts

    parts = thoughts.parse(text)
    return Answer(text, parts.thought, parts.answer, reason, 3, tokens)


def measured(row: dict, text: str, reason: str = "stop", engine=THINKS, tmp_path=None, **changes) -> dict:
    items = chat.load(written(tmp_path, row), settings(**changes))
    subject = SimpleNamespace(engine=engine, weights=None, answers=lambda *_: [answer(text, reason)])
    (case,) = chat.run(subject, items, settings(**changes))
    return case.values


FLU = {
    "messages": [{"role": "user", "content": "I have a fever and a cough; what is it?"}],
    "expect": ["influenza", "flu"],
}
GOOD = "<think>\nFever and cough.\n</think>\n\nMost likely influenza. Rest."


def test_a_good_answer(tmp_path):
    assert measured(FLU, GOOD, tmp_path=tmp_path) == {
        "strict": 1.0, "lenient": 1.0, "finished": 1.0, "named": 1.0, "diagnosis": 1.0, "repetition": 0.0,
        "language": 1.0, "tokens": 5.0, "thought_tokens": None, "answer_tokens": None,
    }  # fmt: skip


def test_an_answer_that_was_cut_in_its_thought_names_nothing(tmp_path):
    found = measured(FLU, "<think>\nThis is influenza, influenza", "length", tmp_path=tmp_path)
    assert (found["strict"], found["lenient"], found["finished"], found["named"], found["diagnosis"]) == (0,) * 5
    assert found["language"] is None


def test_an_answer_that_could_not_be_had_counts_as_wrong(tmp_path):
    found = measured(FLU, "", "failed", tmp_path=tmp_path)
    assert (found["strict"], found["finished"], found["named"], found["diagnosis"]) == (0, 0, 0, 0)
    assert (found["repetition"], found["language"]) == (None, None)


def test_a_condition_that_is_denied_is_named_and_not_the_diagnosis(tmp_path):
    found = measured(FLU, "<think>\nhm\n</think>\n\nThis is not influenza.", tmp_path=tmp_path)
    assert (found["named"], found["diagnosis"]) == (1.0, 0.0)


def test_a_lenient_format_only_needs_its_parts_apart(tmp_path):
    found = measured(FLU, "<think>hm</think> flu", tmp_path=tmp_path)
    assert (found["strict"], found["lenient"]) == (0.0, 1.0)


def test_repetition_and_language(tmp_path):
    found = measured(FLU, "rest and drink water, rest and drink water", tmp_path=tmp_path)
    assert found["repetition"] == pytest.approx(0.2)  # five runs of four words, of which the last stood before
    assert found["language"] == 1.0
    assert measured(FLU, "多喝水，注意休息。", tmp_path=tmp_path)["language"] == 0.0
    chinese = {"prompt": "发热怎么办？"}
    assert measured(chinese, "多喝水，注意休息。", tmp_path=tmp_path)["language"] == 1.0
    assert measured(chinese, "Drink and rest.", tmp_path=tmp_path)["language"] == 0.0


def test_repetition_counts_chinese_characters(tmp_path):
    # 多喝热水多喝热水: runs of four of eight characters are five, 多喝热水 twice.
    assert measured({"prompt": "冷？"}, "多喝热水多喝热水", tmp_path=tmp_path)["repetition"] == pytest.approx(0.2)


@pytest.mark.parametrize(("engine", "thinking"), [(SimpleNamespace(thinks=False), None), (THINKS, False)])
def test_a_model_that_does_not_think_has_no_format(tmp_path, engine, thinking):
    found = measured(FLU, "Influenza.", engine=engine, tmp_path=tmp_path, enable_thinking=thinking)
    assert (found["strict"], found["lenient"], found["named"]) == (None, None, 1.0)


def test_lengths_of_the_parts_are_counted_by_the_tokenizer(tmp_path, tiny_tokenizer):
    items = chat.load(written(tmp_path, FLU), settings())
    subject = SimpleNamespace(
        engine=THINKS, weights=SimpleNamespace(tokenizer=tiny_tokenizer), answers=lambda *_: [answer(GOOD)]
    )
    (case,) = chat.run(subject, items, settings())
    count = len(tiny_tokenizer("Fever and cough.", add_special_tokens=False)["input_ids"])
    assert case.values["thought_tokens"] == count
    assert case.values["answer_tokens"] > 0


def test_rows_without_expect_are_not_asked_for_names(tmp_path):
    found = measured({"prompt": "Fever?", "response": "Rest."}, GOOD, tmp_path=tmp_path)
    assert (found["named"], found["diagnosis"], found["finished"]) == (None, None, 1.0)


@pytest.mark.parametrize(
    ("row", "question"),
    [
        ({"instruction": "Fever?", "input": "", "output": "Rest."}, "Fever?"),
        ({"conversations": [{"from": "human", "value": "Fever?"}]}, "Fever?"),
        ({"conversations": [{"from": "human", "value": "A"}, {"from": "gpt", "value": "B"},
                            {"from": "human", "value": "Fever?"}, {"from": "gpt", "value": "C"}]}, "Fever?"),
        ({"Question": "Fever?", "Complex_CoT": "x", "Response": "Rest."}, "Fever?"),
        ({"messages": [{"role": "user", "content": "Fever?"}]}, "Fever?"),
        ({"query": "Fever?"}, "Fever?"),
    ],
)  # fmt: skip
def test_every_chat_format_is_read(tmp_path, row, question):
    (item,) = chat.load(written(tmp_path, row), settings())
    assert item.messages[-1]["content"] == question


def test_a_text_file_holds_a_question_a_line(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text("Fever?\n\n咳嗽怎么办？\n", encoding="utf-8")
    items = chat.load(str(path), settings())
    assert [(item.id, item.messages[-1]["content"]) for item in items] == [
        ("questions.txt:1", "Fever?"), ("questions.txt:3", "咳嗽怎么办？"),
    ]  # fmt: skip
    assert [item.groups["language"] for item in items] == ["en", "zh"]


def test_groups_and_places(tmp_path):
    row = {**FLU, "lang": "en", "department": "infectious diseases", "kind": "x" * 60}
    (item,) = chat.load(written(tmp_path, row), settings())
    assert item.groups == {"language": "en", "department": "infectious diseases"}
    assert (item.id, item.where) == ("eval.jsonl:1", f"{tmp_path}/eval.jsonl:1")


def test_gbk_files_are_read_with_their_encoding(tmp_path):
    path = tmp_path / "gbk.jsonl"
    path.write_bytes(json.dumps({"prompt": "发热怎么办？"}, ensure_ascii=False).encode("gb18030") + b"\n")
    (item,) = chat.load(str(path), settings(options={"encoding": "gb18030"}))
    assert item.messages[0]["content"] == "发热怎么办？"


def test_bad_rows_are_told_with_their_line_and_counted(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("bedside.logs.warn", told.append)
    path = written(tmp_path, FLU, {"prompt": ""}, {**FLU, "expect": [1]})
    assert len(chat.load(path, settings())) == 1
    assert told[0].startswith(f"{path}:2: E_EMPTY")
    assert told[1] == f"{path}:3: E_FIELD expect: expected a name or a list of names"
    assert told[2].startswith(f"{path}: 3 rows = 1 questions + 2 that cannot be used")


def test_a_file_without_questions_is_refused(tmp_path):
    with pytest.raises(DataError, match="no questions in 1 rows"):
        chat.load(written(tmp_path, {"prompt": ""}), settings())
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="no data lines"):
        chat.load(str(tmp_path / "empty.jsonl"), settings())


def test_samples_are_evenly_spread(tmp_path):
    path = written(tmp_path, *[{"prompt": f"q{i}"} for i in range(10)])
    assert [item.id for item in chat.load(path, settings(most=2))] == ["eval.jsonl:1", "eval.jsonl:6"]
    assert len(chat.load(path, settings(most=50))) == 10


def test_a_default_file_that_is_not_here_is_told(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="data/eval/x.jsonl: not here; give your own with --eval_file FILE"):
        rows.path_of(None, "data/eval/x.jsonl", "eval_file")
