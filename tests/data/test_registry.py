"""dataset_info.json as LLaMA-Factory users have it."""

import json

import pytest

from bedside.data import build, registry
from bedside.data.ledger import Ledger
from bedside.errors import ConfigError

U, A, S = ({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a"), ("system", "s")))


def read(directory, info, rows, name="d"):
    """Conversations and ledger of dataset `name`, whose file holds `rows`."""
    (directory / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (directory / "dataset_info.json").write_text(json.dumps({name: {"file_name": "rows.jsonl", **info}}))
    ledger = Ledger()
    found = build.read_conversations(build.sources([], name, str(directory)), ledger)
    return [conversation for _, conversation in found], ledger


TURNS = {"role_tag": "who", "content_tag": "said", "user_tag": "patient", "assistant_tag": "doctor"}
CASES = {
    "nothing mapped": ({}, {"instruction": "q", "output": "a"}, [U, A]),
    "columns": ({"columns": {"prompt": "x", "query": "z", "response": "y", "system": "w"}},
                {"x": "q", "z": "", "y": "a", "w": "s"}, [S, U, A]),
    "empty columns": ({"columns": {"prompt": "x", "query": "", "response": "y"}}, {"x": "q", "y": "a"}, [U, A]),
    "only the thought mapped": ({"columns": {"thought": "cot"}}, {"instruction": "q", "output": "a", "cot": "t"},
                                [U, {**A, "reasoning_content": "t"}]),
    "sharegpt": ({"formatting": "sharegpt"},
                 {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, [U, A]),
    "sharegpt tags": ({"formatting": "sharegpt", "columns": {"messages": "dialogue", "system": "sys"}, "tags": TURNS},
                      {"dialogue": [{"who": "patient", "said": "q"}, {"who": "doctor", "said": "a"}], "sys": "s"},
                      [S, U, A]),
    "openai": ({"formatting": "openai", "columns": {"messages": "chat"}}, {"chat": [U, A]}, [U, A]),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_mappings(tmp_path, name):
    info, row, messages = CASES[name]
    (conversation,), ledger = read(tmp_path, info, [row])
    assert conversation["messages"] == messages
    assert ledger.rejected == []


BAD_ROWS = {
    "column missing": ({"columns": {"prompt": "x", "response": "y"}}, {"x": "q"}, "E_FIELD no field 'y' (has: x)"),
    "turns missing": ({"formatting": "sharegpt", "tags": TURNS}, {"a": 1},
                      "E_FIELD no field 'conversations' (has: a)"),
    "role is a list": ({"formatting": "sharegpt", "tags": TURNS}, {"conversations": [{"who": [], "said": "q"}]},
                       "E_TYPE conversations[0].from is list, expected string"),
    "nothing said": ({"formatting": "sharegpt", "tags": TURNS}, {"conversations": [{"who": "patient"}]},
                     "E_FIELD conversations[0] has no 'value' (has: from)"),
    "turn is a string": ({"formatting": "sharegpt", "tags": TURNS}, {"conversations": ["q"]},
                         "E_TYPE conversations[0] is string, expected object"),
    "row is a list": ({"columns": {"prompt": "x", "response": "y"}}, [1], "E_TYPE the row is list, expected object"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROWS)
def test_rows_that_do_not_fit(tmp_path, name):
    info, row, detail = BAD_ROWS[name]
    good = CASES["sharegpt tags" if info.get("formatting") else "columns"][1]
    if info.get("formatting"):
        good = {"conversations": good["dialogue"]}
    _, ledger = read(tmp_path, info, [good, row])
    assert ledger.details == [f"{tmp_path}/rows.jsonl:2: {detail}"]


def test_a_thought_that_columns_forget_is_told(tmp_path):
    row = {"Question": "q", "Complex_CoT": "t", "Response": "a"}
    _, ledger = read(tmp_path, {"columns": {"prompt": "Question", "response": "Response"}}, [row, row])
    assert ledger.total().remarks == {"W_THOUGHT_UNUSED": 2}
    assert ledger.details == [
        f"{tmp_path}/rows.jsonl:1: W_THOUGHT_UNUSED 'Complex_CoT' holds a thought that columns do not map, so no "
        'thought is trained; add "thought": "Complex_CoT" to columns of d in dataset_info.json'
    ]


BAD_FILES = {
    "not JSON": ("{", "dataset_info.json: not JSON"),
    "a list": ("[]", "expected an object of datasets, found list"),
    "name": ('{"medcto": {}}', r"--dataset medcot: not in .*dataset_info.json \(has: medcto\); did you mean medcto\?"),
    "row": ('{"medcot": 3}', "says int, expected an object with file_name"),
    "hub": ('{"medcot": {"hf_hub_url": "x/y"}}', "gives no file_name; only local files are read so far"),
    "gone": ('{"medcot": {"file_name": "x.json"}}', "x.json does not exist; put it there, or correct file_name"),
    "ranking": ('{"medcot": {"file_name": "x.json", "ranking": true}}', "a preference dataset"),
    "formatting": ('{"medcot": {"file_name": "here.json", "formatting": "x"}}', "expected alpaca, sharegpt or openai"),
    "columns": ('{"medcot": {"file_name": "here.json", "columns": ["x"]}}', "columns: expected an object of names"),
    "tags": ('{"medcot": {"file_name": "here.json", "tags": {"role_tag": []}}}', "tags: expected an object of names"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_what_is_wrong_with_dataset_info(tmp_path, name):
    text, message = BAD_FILES[name]
    (tmp_path / "here.json").write_text("[]")
    (tmp_path / "dataset_info.json").write_text(text)
    with pytest.raises(ConfigError, match=message):
        registry.load("medcot", str(tmp_path))


def test_no_dataset_info(tmp_path):
    with pytest.raises(ConfigError, match="dataset_info.json does not exist; write it, or use --train_file_dir"):
        registry.load("medcot", str(tmp_path))
