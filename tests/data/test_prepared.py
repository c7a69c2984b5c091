"""Prepared data is what would be made in memory, is used again only where nothing differs, and never half-written.

sh run_tests.sh tests/data/test_prepared.py
"""

import dataclasses
import json
import os
import random

import pytest

import prepare_dataset
from bedside import logs, models
from bedside.data import build, chats, prepared, tokens
from bedside.errors import ConfigError, DataError

from .malformed import jsonl
from .test_chats import rows_of


@pytest.fixture(scope="module")
def tokenizer():
    return models.load_tokenizer("models/starter")


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(logs, "info", lines.append)
    monkeypatch.setattr(logs, "warn", lines.append)
    return lines


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.jsonl").write_bytes(jsonl(*rows_of(random.Random(5), 80)))
    return chats.Plan(build.sources([str(tmp_path / "data")]), [], build.Reading(), 1.0, holdout=0.1)


def encoding_of(tokenizer, template="qwen3", length=300, **more):
    return tokens.encoding_for(tokenizer, models.install_template(tokenizer, template), length, **more)


@pytest.fixture
def make(tmp_path, tokenizer, plan):
    def made(plan=plan, packed=300, **more):
        encoding = encoding_of(tokenizer, **more)
        return prepared.datasets(tmp_path / "prepared", plan, tokenizer.backend_tokenizer, encoding, packed)

    return made


def content(data):
    parts = [(part.facts().tolist(), part.times().tolist(), part.made.files) for part in data.parts]
    places = [[str(part.made.place(n)) for n in part.chosen] for part in data.parts]
    held_out = data.held_out.to_dict() if data.held_out is not None else None
    return data.train.to_dict(), held_out, data.ledger.to_dict(), data.ledger.rejected, parts, places


@pytest.mark.parametrize("packed", [None, 300])
def test_it_is_what_memory_would_hold_when_made_and_when_used_again(tokenizer, plan, make, told, packed):
    memory = chats.datasets(plan, tokenizer.backend_tokenizer, encoding_of(tokenizer), packed)
    first = make(packed=packed)
    assert told[-1].startswith("prepared data: ") and "MB)" in told[-1]
    told.clear()
    again = make(packed=packed)
    assert content(first) == content(memory) == content(again)
    (line,) = told
    assert " is used again (" in line
    assert f"rows, {len(memory.held_out)} held out" in line
    assert line.endswith(memory.ledger.summary())


def test_files_of_validation_have_their_own_account(tmp_path, tokenizer, plan, make, told):
    (tmp_path / "valid.jsonl").write_bytes(jsonl({"instruction": "q", "output": "a"}, "{"))
    with_files = dataclasses.replace(plan, validation=build.sources([str(tmp_path / "valid.jsonl")]), holdout=0.0)
    make(with_files)
    again = make(with_files)
    assert again.parts[1].ledger.summary() == "2 rows = 1 kept + 1 dropped (E_JSON 1) + 0 over-long"
    assert again.parts[0].ledger is not again.parts[1].ledger


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"template": "chatml"}, "another template"),
        ({"length": 200}, "another max_length (was 300, is 200)"),
        ({"packed": None}, "another packing (was 300, is None)"),
        ({"mask_history": True}, "another mask_history (was False, is True)"),
        ({"enable_thinking": False}, "another enable_thinking (was None, is False)"),
        ({"seed": 7}, "another seed (was 42, is 7)"),
        ({"holdout": 0.0}, "another held out (was 0.1, is 0.0)"),
        ({"max_train": 30}, "another max_train_samples (was None, is 30)"),
    ],
)
def test_it_is_made_anew_where_something_differs(make, plan, told, change, why):
    make()
    told.clear()
    of_plan = {name: change.pop(name) for name in ("seed", "holdout", "max_train") if name in change}
    make(dataclasses.replace(plan, **of_plan), **change)
    assert f"prepared data: made now, because {why}" in told


def test_a_changed_file_and_a_file_more_are_named(tmp_path, make, plan, told):
    make()
    path = tmp_path / "data" / "a.jsonl"
    path.write_bytes(path.read_bytes() + jsonl({"instruction": "q", "output": "a"}))
    told.clear()
    make()
    assert told[0] == f"prepared data: made now, because another training files ({path})"
    (tmp_path / "data" / "b.jsonl").write_bytes(jsonl({"instruction": "q", "output": "a"}))
    told.clear()
    make(dataclasses.replace(plan, train=build.sources([str(tmp_path / "data")])))
    assert told[0] == f"prepared data: made now, because another training files ({tmp_path / 'data' / 'b.jsonl'})"


def test_what_is_half_written_is_not_used(tmp_path, make, told):
    make()
    (place,) = (tmp_path / "prepared").iterdir()
    shard = next(place.glob("train-*.arrow"))
    shard.write_bytes(shard.read_bytes()[:-1])
    told.clear()
    make()
    assert told[0] == f"prepared data: made now, because {place} is damaged"
    (place / prepared.NAME).unlink()
    told.clear()
    make()
    assert told[0] == f"prepared data: made now, because {place} is damaged"
    told.clear()
    make()
    assert "is used again" in told[0]


def test_what_a_dead_process_left_is_removed_and_nothing_else(tmp_path, make, told):
    host = prepared.socket.gethostname()
    dead, alive = (tmp_path / "prepared" / f".0-{host}-{number}.part" for number in (2**22 + 1, os.getppid()))
    for path in (dead, alive):
        path.mkdir(parents=True)
    make()
    assert (dead.exists(), alive.exists()) == (False, True)


def test_a_run_that_is_stopped_leaves_nothing_but_the_list_of_its_rows(tmp_path, tokenizer, plan, told):
    strict = dataclasses.replace(plan, max_bad_rate=0.0)
    place, output = tmp_path / "prepared", tmp_path / "out"
    with pytest.raises(DataError, match="E_BAD_RATE"):
        prepared.datasets(place, strict, tokenizer.backend_tokenizer, encoding_of(tokenizer), 300, 1, output)
    assert list(place.iterdir()) == []
    assert "E_JSON" in {json.loads(line)["code"] for line in (output / "rejected.jsonl").read_text().splitlines()}


def test_the_limit_of_bad_rows_holds_for_prepared_data_too(make, plan, told):
    make()
    with pytest.raises(DataError, match="E_BAD_RATE"):
        make(dataclasses.replace(plan, max_bad_rate=0.0))


def test_the_command_makes_what_a_run_would_make(tmp_path, plan, capfd):
    given = ["--train_file_dir", str(tmp_path / "data"), "--template_name", "qwen3", "--max_bad_rate", "1"]
    with pytest.raises(ConfigError, match="--prepared_dir: name the directory that the prepared data goes to"):
        prepare_dataset.main(given)
    given += ["--prepared_dir", str(tmp_path / "prepared"), "--packing", "True", "--max_length", "300"]
    for wanted in ("made now, because", "is used again"):
        prepare_dataset.main(given)
        written = capfd.readouterr()
        assert wanted in written.out + written.err
    names = {path.name for path in (tmp_path / "prepared").iterdir() if path.is_file()}
    assert names == {"data_report.html", "data_lengths.png"}
