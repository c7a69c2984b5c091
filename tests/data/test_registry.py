"""dataset_info.json as LLaMA-Factory users have it."""

import json

import pytest

from bedside.data import build, registry
from bedside.data.kto import to_kto
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
    "hub": ('{"medcot": {"hf_hub_url": "xy"}}', "hf_hub_url 'xy': expected owner/name"),
    "nothing": ('{"medcot": {"columns": {}}}', "gives neither file_name nor hf_hub_url"),
    "ModelScope": (
        '{"medcot": {"ms_hub_url": "x/y"}}',
        "ms_hub_url: ModelScope is not read directly; download",
    ),
    "script": ('{"medcot": {"script_url": "x"}}', "script_url: scripts that come with data are not run"),
    "cloud": ('{"medcot": {"cloud_file_name": "s3://x"}}', "cloud_file_name: cloud storage is not read directly"),
    "misspelt key": ('{"medcot": {"file_nam": "x"}}', "has an unknown key 'file_nam'; did you mean file_name?"),
    "misspelt column": (
        '{"medcot": {"file_name": "here.json", "columns": {"promt": "x"}}}',
        "columns.promt is unknown; did you mean prompt?",
    ),
    "misspelt tag": (
        '{"medcot": {"file_name": "here.json", "tags": {"user_tags": "x"}}}',
        "tags.user_tags is unknown; did you mean user_tag?",
    ),
    "images": (
        '{"medcot": {"file_name": "here.json", "columns": {"images": "x"}}}',
        "columns.images: only text",
    ),
    "samples": ('{"medcot": {"file_name": "here.json", "num_samples": 0}}', "num_samples: expected a whole number"),
    "split": ('{"medcot": {"file_name": "here.json", "split": 3}}', "split is int, expected text"),
    "pattern": ('{"medcot": {"file_name": "no/*.json"}}', "no file is called"),
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
        registry.load("medcot", str(tmp_path))[0].paths()


def test_no_dataset_info(tmp_path):
    with pytest.raises(ConfigError, match="dataset_info.json does not exist; write it, or use --train_file_dir"):
        registry.load("medcot", str(tmp_path))


TWO = {"messages": "chat", "chosen": "good", "rejected": "bad"}
WHO = {"role_tag": "who", "content_tag": "said", "user_tag": "patient", "assistant_tag": "doctor"}
PREFERENCES = {
    "alpaca": ({"columns": {"prompt": "x", "query": "", "chosen": "good", "rejected": "bad"}},
               {"x": "q", "good": "a", "bad": "b"}),
    "sharegpt": ({"formatting": "sharegpt", "columns": TWO, "tags": WHO},
                 {"chat": [{"who": "patient", "said": "q"}], "good": {"who": "doctor", "said": "a"},
                  "bad": {"who": "doctor", "said": "b"}}),
    "openai": ({"formatting": "openai", "columns": TWO}, {"chat": [U], "good": A, "bad": {**A, "content": "b"}}),
    "nothing mapped": ({}, {"prompt": "q", "chosen": "a", "rejected": "b"}),
}  # fmt: skip


@pytest.mark.parametrize("name", PREFERENCES)
def test_preference_datasets(tmp_path, name):
    info, row = PREFERENCES[name]
    read_into(tmp_path, {"d": {"ranking": True, **info}}, [row])
    ((_, pair),) = build.read_preferences(build.sources([], "d", str(tmp_path), ranking=True), Ledger())
    assert pair == {"prompt": [U], "chosen": [A], "rejected": [{**A, "content": "b"}]}


def test_labelled_answers(tmp_path):
    columns = {"prompt": "x", "query": "", "response": "y", "kto_tag": "good"}
    read_into(tmp_path, {"d": {"columns": columns}}, [])
    (entry,) = registry.load("d", str(tmp_path))
    made = to_kto(entry.adapt({"x": "q", "y": "a", "good": False}))
    assert made == {"prompt": [U], "completion": [A], "label": False}


def read_into(directory, info, rows, file="rows.jsonl"):
    """Write dataset_info.json, and a file of rows that every entry without a place names."""
    (directory / file).parent.mkdir(exist_ok=True)
    (directory / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    info = {name: {"file_name": file, **entry} for name, entry in info.items()}
    (directory / "dataset_info.json").write_text(json.dumps(info))


def test_folders_patterns_and_the_hub(tmp_path):
    info = {
        "folder": {"file_name": "part"},
        "pattern": {"file_name": "p*/*.jsonl"},
        "one": {"file_name": "part/a*.jsonl"},
        "hub": {"file_name": "x", "hf_hub_url": "o/n", "subset": "s", "split": "test"},
        "both": {"hf_hub_url": "o/n"},
    }
    for name in ("part/b.jsonl", "part/a.jsonl"):
        read_into(tmp_path, info, [{"a": 1}], name)
    folder, pattern, one, hub, both = registry.load("folder,pattern,one,hub,both", str(tmp_path))
    assert [path.name for path in folder.paths()] == ["a.jsonl", "b.jsonl"] == [path.name for path in pattern.paths()]
    assert [path.name for path in one.paths()] == ["a.jsonl"]
    assert (str(hub.on_hub), hub.file) == ("o/n/s:test", None)
    assert (both.on_hub, both.file.name) == (None, "a.jsonl")  # what is here is not downloaded
    (entry,) = registry.load("o/other:valid:0.5", str(tmp_path / "nowhere"))
    assert (str(entry.on_hub), entry.share) == ("o/other:valid", 0.5)


def test_names_with_shares(tmp_path):
    read_into(tmp_path, {"a": {}, "b": {"num_samples": 3}}, [{"a": 1}])
    found = registry.load("a:0.3, b:train:2", str(tmp_path))
    assert [(entry.name, entry.share, entry.split, entry.num_samples) for entry in found] == [
        ("a", 0.3, None, None),
        ("b", 2.0, "train", 3),
    ]
    for names, message in (
        ("a,b,a:0.5", "a stands there twice; to use its rows twice, write a:2"),
        ("a:0", "--dataset a:0: expected a share above 0 and at most 254"),
        ("a:-1", "expected a share above 0"),
        ("a:x:y:2", "expected NAME, NAME:SPLIT, NAME:SHARE or NAME:SPLIT:SHARE"),
        ("c", r"not in .*dataset_info.json \(has: a, b\); a data set of the hub is written owner/name"),
    ):
        with pytest.raises(ConfigError, match=message):
            registry.load(names, str(tmp_path))
