"""Both sets of a run: rows in = kept + dropped + over-long + capped, whatever the mixture."""

import dataclasses
import json
import random

import numpy as np
import pytest

from bedside import logs, templates
from bedside.data import build, chats
from bedside.errors import ConfigError, DataError

from .malformed import GOOD, jsonl
from .test_tokens import OWN_PLAIN, encoding, make


@pytest.fixture(scope="module")
def tokenizer():
    return make("".join(map(chr, range(32, 127))) + "\n")[0]


@pytest.fixture
def told(monkeypatch):
    """What a person reads, line by line."""
    lines = []
    monkeypatch.setattr(logs, "info", lines.append)
    monkeypatch.setattr(logs, "warn", lambda message: lines.append(f"warning: {message}"))
    return lines


TOOL_ROW = {
    "conversations": [
        {"from": who, "value": text}
        for who, text in [("human", "q"), ("function_call", '{"name": "f"}'), ("observation", "r"), ("gpt", "a")]
    ]
}


def rows_of(rng, count):
    """Good rows of all formats with every kind of fault among them."""
    turn = lambda who, text: {"from": who, "value": text}  # noqa: E731
    kinds = [
        lambda: {"instruction": "q", "output": "a" * rng.randint(1, 60)},
        lambda: {"Question": "q", "Complex_CoT": "t", "Response": "a"},
        lambda: {"conversations": [turn("human", "q"), turn("gpt", "a")] * rng.randint(1, 4)},
        lambda: {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        lambda: TOOL_ROW,
        lambda: {"instruction": "q" * 5000, "output": "a"},
        lambda: {"instruction": "q", "output": "a<|pad|>"},
        lambda: {"instruction": "q", "output": ""},
        lambda: {"conversations": [turn("gpt", "a")]},
        lambda: {"unknown": 1},
        lambda: [1, 2],
        lambda: '{"broken": ',
    ]  # fmt: skip
    weights = [6, 4, 6, 4, 2] + [1] * 7
    return [GOOD | {"instruction": "q", "output": "a"}, *(rng.choices(kinds, weights)[0]() for _ in range(count))]


def planned(train, validation=None, max_bad_rate=0.01, **more):
    """A plan for the files at these paths."""
    files = [build.sources([str(path)]) if path else [] for path in (train, validation)]
    return chats.Plan(*files, build.Reading(), max_bad_rate, **more)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("template", ["chatml", "qwen3"])
def test_no_row_disappears(tmp_path, tokenizer, told, seed, template):
    rng = random.Random(seed)
    (tmp_path / "a.jsonl").write_bytes(jsonl(*rows_of(rng, 60)))
    items = [row for row in rows_of(rng, 30) if not isinstance(row, str)]
    (tmp_path / "b.json").write_text(json.dumps(items))
    (tmp_path / "c.csv").write_text("question,answer\nq,a\n,\nq,\nq,a,b\n")
    limits = {"max_train": rng.choice([None, 20, 70]), "max_eval": rng.choice([None, 1, 3])}
    plan = planned(tmp_path, max_bad_rate=1.0, holdout=rng.choice([0.0, 0.2, 5]), seed=seed, **limits)
    data = chats.datasets(plan, tokenizer, encoding(template, 400), rng.choice([None, 400]))
    train, held_out, ledger = data.train, data.held_out, data.ledger
    total, sent = ledger.total(), 61 + len(items) + 3
    assert total.rows == sent == total.kept + sum(total.dropped.values()) + total.overlong + total.capped
    assert all(account.adds_up() for account in ledger.files.values())
    assert len(ledger.rejected) == sum(total.dropped.values()) + total.overlong
    ledger.write(tmp_path / "out")
    assert len(train) + len(held_out or []) <= ledger.samples["made"]
    assert ledger.summary() in told


def test_faults_of_templates_count_against_the_rate(tmp_path, tokenizer, told):
    """Tool rows under a template that has no tool format: 1 in 10 is more than 1 %."""
    (tmp_path / "a.jsonl").write_bytes(jsonl(*[{"instruction": "q", "output": "a"}] * 9, TOOL_ROW))
    with pytest.raises(
        DataError, match=r"E_BAD_RATE 1 of 10 rows are bad \(E_TEMPLATE 1\), more than --max_bad_rate 0.01"
    ):
        chats.datasets(planned(tmp_path), tokenizer, encoding("chatml"), None)
    refused = next(line for line in told if line.startswith(f"{tmp_path}/a.jsonl:10: E_TEMPLATE "))
    assert "no tool format" in refused
    assert "--tool_format" in refused


def test_a_template_that_hides_its_answers_stops_before_a_thousand_rows_are_dropped(tmp_path, tokenizer, told):
    (tmp_path / "a.jsonl").write_bytes(jsonl(*[{"instruction": "q", "output": "a"}] * 1000))
    own = templates.own(OWN_PLAIN.source.replace("eos_token", "'x'"))
    with pytest.raises(ConfigError, match=r"nothing could be trained; add --template_name "):
        chats.datasets(planned(tmp_path), tokenizer, encoding(own), None)
    assert not any("E_" in line for line in told)


def test_thoughts_without_a_place_are_told_once_with_their_number(tmp_path, tokenizer, told):
    row = {"Question": "q", "Complex_CoT": "t", "Response": "a"}
    (tmp_path / "a.jsonl").write_bytes(jsonl(row, row, {"instruction": "q", "output": "a"}))
    chats.datasets(planned(tmp_path), tokenizer, encoding("chatml"), None)
    warning = (
        "warning: 2 conversations hold thoughts, and template chatml has no place for them: they are trained as text"
    )
    assert sum(line.startswith(warning) for line in told) == 1
    told.clear()
    chats.datasets(planned(tmp_path), tokenizer, encoding("qwen3"), None)
    assert not any(line.startswith("warning") for line in told)


def test_what_is_printed(tmp_path, tokenizer, told):
    (tmp_path / "a.jsonl").write_bytes(jsonl(*[{"instruction": "q", "output": "a"}] * 30, *["{"] * 22))
    plan = planned(tmp_path, max_bad_rate=1.0, holdout=0.1, seed=0)
    chats.datasets(plan, tokenizer, encoding("chatml"), 64)
    assert told[0] == (f"{tmp_path}/a.jsonl:31: E_JSON Expecting property name enclosed in double quotes at column 2")
    assert told[20:] == [
        "... and 2 more rows (all of them in rejected.jsonl)",
        "training data: 52 rows read from 1 file(s)",
        "training: 27 samples in 14 rows of 64, 621 tokens (9 % trained), longest 23",
        "held out: 3 samples in 2 rows of 64, 69 tokens (9 % trained), longest 23",
        "52 rows = 30 kept + 22 dropped (E_JSON 22) + 0 over-long",
    ]


def test_validation_files(tmp_path, tokenizer, told):
    train, valid = tmp_path / "train.jsonl", tmp_path / "valid.jsonl"
    for path in (train, valid):
        path.write_bytes(jsonl(*[{"instruction": "q", "output": "a"}] * 4))
    data = chats.datasets(planned(train, valid, max_eval=3), tokenizer, encoding("chatml"), None)
    assert (len(data.train), len(data.held_out), data.parts[1].ledger.total().capped) == (4, 3, 1)
    assert not any("validation files are training files" in line for line in told)
    chats.datasets(planned(train, train), tokenizer, encoding("chatml"), None)
    assert any(line.startswith("warning: validation files are training files") for line in told)


def test_nothing_left_says_for_what(tmp_path, tokenizer, told):
    long, short = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    long.write_bytes(jsonl({"instruction": "q", "output": "a" * 99}))
    short.write_bytes(jsonl({"instruction": "q", "output": "a"}))
    with pytest.raises(DataError, match=r"E_NOTHING_LEFT no row is left to train on \(1 rows = 0 kept .* 1 over-long"):
        chats.datasets(planned(long), tokenizer, encoding("chatml", 50), None)
    with pytest.raises(DataError, match="no row is left to evaluate on"):
        chats.datasets(planned(short, long), tokenizer, encoding("chatml", 50), None)


def test_a_split_is_the_same_for_the_same_seed():
    train, held_out = chats.split(100, 0.1, 3)
    assert len(held_out) == 10
    assert sorted([*train, *held_out]) == list(range(100))
    assert chats.split(100, 0.1, 3)[1].tolist() == held_out.tolist()
    assert chats.split(100, 0.1, 4)[1].tolist() != held_out.tolist()
    assert [len(part) for part in chats.split(2, 0.9, 3)] == [1, 1]


def test_the_rejected_rows_of_a_stopped_run_are_listed(tmp_path, tokenizer, told):
    (tmp_path / "a.jsonl").write_bytes(jsonl(*[{"instruction": "q", "output": "a"}] * 30, *["{"] * 22))
    output = tmp_path / "out"
    with pytest.raises(DataError, match="E_BAD_RATE 22 of 52 rows are bad"):
        chats.datasets(planned(tmp_path / "a.jsonl"), tokenizer, encoding("chatml"), None, output=output)
    listed = [json.loads(line) for line in (output / "rejected.jsonl").read_text().splitlines()]
    assert [place["line"] for place in listed] == list(range(31, 53))
    assert told[-1] == f"every rejected row: {output / 'rejected.jsonl'}"


def test_an_earlier_runs_list_of_rejected_rows_stays(tmp_path, tokenizer, told):
    (tmp_path / "a.jsonl").write_bytes(jsonl({"instruction": "q", "output": "a"}, "{"))
    output = tmp_path / "out"
    output.mkdir()
    for name in ("ledger.json", "rejected.jsonl"):
        (output / name).write_text("earlier")
    with pytest.raises(DataError, match="E_BAD_RATE"):
        chats.datasets(planned(tmp_path / "a.jsonl"), tokenizer, encoding("chatml"), None, output=output)
    assert (output / "rejected.jsonl").read_text() == "earlier"
    assert len((output / "rejected_of_stopped_run.jsonl").read_text().splitlines()) == 1


def test_what_a_mixture_repeats_is_trained_on_so_often_and_evaluated_once(tmp_path, tokenizer, told):
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl(*({"instruction": "q", "output": "a" * n} for n in (1, 2, 3, 4))))
    (source,) = build.sources([str(path)])
    plan = chats.Plan([dataclasses.replace(source, used=bytes([3, 0, 1, 2]))], [], build.Reading(), 0.0)
    data = chats.datasets(plan, tokenizer, encoding("chatml"), None)
    sizes = np.diff([0, *np.cumsum([len(ids) for ids in data.train["input_ids"]])]).tolist()
    assert sizes == [23, 23, 23, 25, 26, 26]
    total = data.ledger.total()
    assert (total.rows, total.kept, total.capped) == (4, 3, 1)
    held = chats.datasets(dataclasses.replace(plan, holdout=2), tokenizer, encoding("chatml"), None).held_out
    assert len(held) == 2
