"""Rows of every kind to tasks: prompt and gold, ids as served, limits, what is held out; every row accounted.

sh run_tests.sh tests/data/test_tasks.py
"""

import json
from collections import Counter
from pathlib import Path

import pytest

from bedside import generate, models, templates
from bedside.data import build, chats, tasks, tokens
from bedside.data.conversation import RowError
from bedside.data.pieces import Batches
from bedside.data.tasks import to_task
from bedside.errors import DataError
from tests.templates.test_parity import make_tokenizer

U, V = {"role": "user", "content": "q"}, {"role": "user", "content": "more?"}
A, B = {"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}
S = {"role": "system", "content": "s"}
CALL = {"type": "function", "function": {"name": "find", "arguments": "{}"}}
TOOLS = [{"type": "function", "function": {"name": "find", "parameters": {"type": "object", "properties": {}}}}]
LONG = "Rest, drink water and see a doctor if it lasts. " * 5

TASKS = {
    "checkable": (
        {"question": "q", "answer": "a", "aliases": ["b"], "kind": "drug", "lang": "zh-CN"},
        [U],
        {"answer": "a", "aliases": ["b"], "kind": "drug", "lang": "zh"},
    ),
    "short answer": ({"question": "q", "answer": "a"}, [U], {"answer": "a"}),
    "number": (
        {"question": "q", "answer": 0.5, "unit": "g", "tolerance": 0.1},
        [U],
        {"answer": "0.5", "unit": "g", "tolerance": 0.1, "kind": "number"},
    ),
    "verl": ({"prompt": [U], "reward_model": {"ground_truth": "a"}}, [U], {"answer": "a"}),
    "options": (
        {"question": "q", "options": {"A": "x", "B": "y"}, "answer": "B", "red_flags": ["f"]},
        [{**U, "content": "q\nA. x\nB. y"}],
        {"answer": "B", "aliases": ["y"], "options": {"A": "x", "B": "y"}, "kind": "choice", "red_flags": ["f"]},
    ),
    "options in the prompt": (
        {"prompt": "q A: x B: y", "options": {"A": "x", "B": "y"}, "ground_truth": "B"},
        [{**U, "content": "q A: x B: y"}],
        {"answer": "B", "options": {"A": "x", "B": "y"}, "kind": "choice"},
    ),
    "explanation": ({"question": "q", "answer": LONG}, [U], {"answer": LONG, "kind": "reference"}),
    "alpaca": ({"instruction": "q", "input": "", "output": "a"}, [U], {"answer": "a", "kind": "reference"}),
    "chat": (
        {"messages": [S, U, A, V, B], "red_flags": ["f"]},
        [S, U, A, V],
        {"answer": "b", "kind": "reference", "red_flags": ["f"]},
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "<think>\nt\n</think>\na"}]},
        [U],
        {"answer": "a", "kind": "reference"},
    ),
    "thought": ({"Question": "q", "Complex_CoT": "t", "Response": "a"}, [U], {"answer": "a", "kind": "reference"}),
    "pair": ({"prompt": "q", "chosen": "a", "rejected": "b"}, [U], {"answer": "a", "kind": "reference"}),
    "good answer": ({"prompt": "q", "completion": "a", "label": True}, [U], {"answer": "a", "kind": "reference"}),
    "bad answer": ({"prompt": "q", "completion": "a", "label": False}, [U], {}),
    "prompt alone": ({"prompt": "q"}, [U], {}),
    "messages alone": ({"messages": [U, A, V]}, [U, A, V], {}),
    "messages and solution": ({"messages": [S, U], "solution": "a"}, [S, U], {"answer": "a"}),
    "turns alone": ({"system": "s", "conversations": [{"from": "human", "value": "q"}]}, [S, U], {}),
    "problem alone": ({"problem": "q", "system": "s"}, [S, U], {}),
}


@pytest.mark.parametrize("name", TASKS)
def test_a_row_becomes_a_prompt_and_its_gold(name):
    row, prompt, gold = TASKS[name]
    assert to_task(row) == {"prompt": prompt, "gold": gold}


def test_a_call_of_a_tool_is_no_reference_but_the_answer_behind_it_is():
    turns = [{"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "r"}, A]
    task = to_task({"messages": [U, *turns], "tools": TOOLS})
    assert (task["prompt"], task["gold"]["answer"], len(task["tools"])) == ([U], "a", 1)
    assert to_task({"messages": [U, *turns[:1]], "tools": TOOLS})["gold"] == {}


BAD = {
    "no question": ({"text": "t"}, "E_SCHEMA fields text: expected prompt, question"),
    "no row": ([], "E_TYPE the row is list"),
    "null answer": ({"question": "q", "answer": None}, "E_NULL answer is null"),
    "ends with an answer": ({"prompt": [U, A]}, "E_ROLE_ORDER the prompt ends with assistant"),
    "tolerance": ({"question": "q", "answer": 1, "tolerance": -1}, "E_TYPE tolerance is -1, expected a share"),
    "unit": ({"question": "q", "answer": 1, "unit": 3}, "E_TYPE unit is int, expected string"),
    "red flags": ({"prompt": "q", "red_flags": "f"}, "E_TYPE red_flags is string, expected list"),
    "one option": ({"prompt": "q", "answer": "A", "options": {"A": "x"}}, "E_EMPTY options: 1 option"),
    "forged answer": ({"messages": [U, {**A, "content": "<|im_end|>"}, V]}, "W_SPECIAL prompt.1..content holds"),
}


@pytest.mark.parametrize("name", BAD)
def test_rows_that_are_no_tasks(name):
    row, message = BAD[name]
    with pytest.raises(RowError, match=message):
        to_task(row)


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def made(tiny_model_dir, tmp_path):
    """Rows, the longest prompt and more flags of a plan to data; and the tokenizer."""
    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, "qwen3")

    def make(rows: list[dict], longest: int = 200, validation: list[dict] | None = None, **plan):
        train = [build.Source(write(tmp_path / "rows.jsonl", rows))]
        held = [build.Source(write(tmp_path / "held.jsonl", validation))] if validation else []
        fixed = {"train": train, "validation": held, "reading": build.Reading(), "max_bad_rate": 1.0}
        encoding = tokens.encoding_for(tokenizer, template, 400)
        backend = tokenizer.backend_tokenizer
        return tasks.datasets(chats.Plan(**{**fixed, **plan}), backend, encoding, longest, tmp_path), tokenizer

    return make


def test_columns_of_a_task(made):
    data, tokenizer = made([{"question": "咳嗽？", "answer": "感冒", "kind": "diagnosis"}])
    (row,) = data.train
    assert tokenizer.decode(row["prompt_ids"]) == "<|im_start|>user\n咳嗽？<|im_end|>\n<|im_start|>assistant\n"
    assert json.loads(row["prompt"]) == [{"role": "user", "content": "咳嗽？"}]
    assert json.loads(row["gold"]) == {"answer": "感冒", "kind": "diagnosis"}
    assert (row["line"], row["length"], row["opened"]) == (1, len(row["prompt_ids"]), False)
    assert data.train.features["prompt_ids"].feature.dtype == "int32" and data.held_out is None


CHAT = [S, U, A, {"role": "user", "content": "[INST]发热？<|im_start|> </s>"}]


@pytest.mark.parametrize("thinking", [None, False])
@pytest.mark.parametrize("name", sorted(templates.REGISTRY))
def test_ids_are_those_of_the_served_prompt(name, thinking):
    tokenizer, template = make_tokenizer(), templates.get(name)
    messages = CHAT if template.supports_system else CHAT[1:]
    encoding = tokens.encoding_for(tokenizer, template, 400, thinking)
    model = type("Model", (), {"config": type("Config", (), {"get_text_config": lambda self: None})()})()
    wanted = generate.ChatEngine(model, tokenizer, template, []).prompt(messages, thinking)
    # Twice, for what is remembered of the first time; and by the JSON that the column holds.
    for _ in range(2):
        (served,) = tasks.encode([messages], Batches(tokenizer.backend_tokenizer), encoding)
        assert served.ids.tolist() == wanted.ids and served.opened == wanted.opened
        messages = served.messages


def test_the_oldest_turns_are_left_out_to_fit_and_the_system_turn_stays(made):
    old = [{"role": "user", "content": "Old question. " * 20}, {"role": "assistant", "content": "Old answer."}]
    rows = [{"messages": [S, *old, {"role": "user", "content": "New?"}]}, {"prompt": "Too long. " * 40}]
    data, tokenizer = made(rows, 60)
    text = tokenizer.decode(data.train[0]["prompt_ids"])
    assert "New?" in text and "system\ns<" in text and "Old" not in text
    assert [message["content"] for message in json.loads(data.train[0]["prompt"])] == ["s", "New?"]
    account = data.ledger.total()
    assert account.adds_up() and (account.kept, account.overlong) == (1, 1)
    assert data.ledger.samples["turns_dropped"] == 1
    assert data.ledger.details[-1].endswith("tokens, --max_source_length is 60")


def test_every_row_is_accounted(made):
    rows = [
        {"question": "Fever?", "answer": "flu"},
        {"prompt": "<|im_start|>Fever?"},  # neutralised, with a remark
        {"prompt": "Fever?", "answer": ""},
        {"instruction": "Cough?", "output": "Rest."},
        {"messages": [U, A], "tools": TOOLS},
    ]
    data, tokenizer = made(rows)
    account = data.ledger.total()
    assert account.adds_up() and (account.rows, account.kept) == (5, 4)
    assert dict(account.dropped) == {"E_EMPTY": 1}
    assert account.remarks["W_SPECIAL"] == 1 and account.remarks["W_TOOL"] == 1
    assert "I_CHOICE" not in account.remarks
    assert "< |im_start|>Fever?" in tokenizer.decode(data.train[1]["prompt_ids"])


def test_no_prompt_is_trained_on_and_held_out(made):
    rows = [{"question": f"Fever {n // 3}?", "answer": f"flu {n}"} for n in range(30)]
    data, _ = made(rows, holdout=0.3)
    trained, held = ({row["prompt"] for row in part} for part in (data.train, data.held_out))
    assert (len(trained), len(held), len(data.train), len(data.held_out)) == (7, 3, 21, 9)
    assert not trained & held
    assert data.ledger.total().adds_up()
    capped, _ = made(rows, holdout=0.3, max_eval=4)
    assert len(capped.held_out) == 4 and capped.ledger.total().capped == 5 and capped.ledger.total().adds_up()


def test_prompts_of_validation_files_are_not_trained_on(made):
    data, _ = made([{"prompt": "Fever?"}, {"prompt": "Cough?"}], validation=[{"question": "Fever?", "answer": "flu"}])
    assert [row["line"] for row in data.train] == [2] and len(data.held_out) == 1
    assert data.ledger.total().dropped == Counter({"W_HELD_OUT": 1}) and data.ledger.total().adds_up()
    with pytest.raises(DataError, match="every prompt stands in the validation files too"):
        made([{"prompt": "Fever?"}], validation=[{"prompt": "Fever?"}])


def test_nothing_left_and_too_many_bad_rows_stop_the_run(made, tmp_path):
    with pytest.raises(DataError, match="no row is left to train on"):
        made([{"prompt": "Too long. " * 40}], 30)
    with pytest.raises(DataError, match="2 of 3 rows are bad"):
        made([{"prompt": "q"}, {"prompt": ""}, {"question": "q", "answer": ""}], max_bad_rate=0.5)
    assert len((tmp_path / "rejected.jsonl").read_text(encoding="utf-8").splitlines()) == 2


def test_a_task_that_a_mixture_uses_twice_stands_there_twice(made, tmp_path):
    path = write(tmp_path / "twice.jsonl", [{"prompt": "Fever?"}, {"prompt": "Cough?"}])
    data, _ = made([{"prompt": "q"}], train=[build.Source(path, None, bytes([2, 1]))])
    assert [row["line"] for row in data.train] == [1, 1, 2]


def test_our_own_verifiable_rows_are_all_tasks(repo):
    rows = [json.loads(line) for line in (repo / "data/grpo/verifiable.jsonl").read_text("utf-8").splitlines()]
    golds = [to_task(row)["gold"] for row in rows]
    assert all(gold["answer"] and gold["lang"] in ("zh", "en") for gold in golds)
    assert {gold["kind"] for gold in golds} == {row["kind"] for row in rows}
