"""Both sets of a run: rows in = kept + dropped + over-long + capped, whatever the mixture."""

import json
import random

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


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("template", ["chatml", "qwen3"])
def test_no_row_disappears(tmp_path, tokenizer, told, seed, template):
    rng = random.Random(seed)
    (tmp_path / "a.jsonl").write_bytes(jsonl(*rows_of(rng, 60)))
    items = [row for row in rows_of(rng, 30) if not isinstance(row, str)]
    (tmp_path / "b.json").write_text(json.dumps(items))
    (tmp_path / "c.csv").write_text("question,answer\nq,a\n,\nq,\nq,a,b\n")
    limits = {"max_train": rng.choice([None, 20, 70]), "max_eval": rng.choice([None, 1, 3])}
    read = build.sources([str(tmp_path)])
    sets = chats.read_sets(read, [], build.Reading(), 1.0, holdout=rng.choice([0.0, 0.2, 5]), seed=seed, **limits)
    train, held_out = chats.datasets(sets, tokenizer, encoding(template, 400), rng.choice([None, 400]), 1, seed)
    ledger = sets.ledger
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
    sets = chats.read_sets(build.sources([str(tmp_path)]), [], build.Reading(), 0.01)
    with pytest.raises(
        DataError, match=r"E_BAD_RATE 1 of 10 rows are bad \(E_TEMPLATE 1\), more than --max_bad_rate 0.01"
    ):
        chats.datasets(sets, tokenizer, encoding("chatml"), None, 1, 0)
    refused = next(line for line in told if line.startswith(f"{tmp_path}/a.jsonl:10: E_TEMPLATE "))
    assert "no tool format" in refused
    assert "--tool_format" in refused


def test_a_template_that_hides_its_answers_stops_before_a_thousand_rows_are_dropped(tmp_path, tokenizer, told):
    (tmp_path / "a.jsonl").write_bytes(jsonl(*[{"instruction": "q", "output": "a"}] * 1000))
    sets = chats.read_sets(build.sources([str(tmp_path)]), [], build.Reading(), 0.01)
    own = templates.own(OWN_PLAIN.source.replace("eos_token", "'x'"))
    with pytest.raises(ConfigError, match=r"nothing could be trained; add --template_name "):
        chats.datasets(sets, tokenizer, encoding(own), None, 1, 0)
    assert sets.ledger.rejected == []


def test_thoughts_without_a_place_are_told_once_with_their_number(tmp_path, tokenizer, told):
    row = {"Question": "q", "Complex_CoT": "t", "Response": "a"}
    (tmp_path / "a.jsonl").write_bytes(jsonl(row, row, {"instruction": "q", "output": "a"}))
    sets = chats.read_sets(build.sources([str(tmp_path)]), [], build.Reading(), 0.01)
    chats.datasets(sets, tokenizer, encoding("chatml"), None, 1, 0)
    warning = (
        "warning: 2 conversations hold thoughts, and template chatml has no place for them: they are trained as text"
    )
    assert sum(line.startswith(warning) for line in told) == 1
    told.clear()
    chats.datasets(sets, tokenizer, encoding("qwen3"), None, 1, 0)
    assert not any(line.startswith("warning") for line in told)


def test_what_is_printed(tmp_path, tokenizer, told):
    (tmp_path / "a.jsonl").write_bytes(jsonl(*[{"instruction": "q", "output": "a"}] * 30, *["{"] * 22))
    sets = chats.read_sets(build.sources([str(tmp_path)]), [], build.Reading(), 1.0, holdout=0.1)
    chats.datasets(sets, tokenizer, encoding("chatml"), 64, 1, 0)
    assert told[0] == (f"{tmp_path}/a.jsonl:31: E_JSON Expecting property name enclosed in double quotes at column 2")
    assert told[20:] == [
        "... and 2 more rows (all of them in rejected.jsonl)",
        "training data: 52 rows read from 1 file(s)",
        "training: 27 samples in 14 rows of 64, 621 tokens (9 % trained), longest 23",
        "held out: 3 samples in 2 rows of 64, 69 tokens (9 % trained), longest 23",
        "52 rows = 30 kept + 22 dropped (E_JSON 22) + 0 over-long",
    ]


def test_validation_files(tmp_path, tokenizer, told):
    for name in ("train", "valid"):
        (tmp_path / f"{name}.jsonl").write_bytes(jsonl(*[{"instruction": "q", "output": "a"}] * 4))
    train, valid = (build.sources([str(tmp_path / f"{name}.jsonl")]) for name in ("train", "valid"))
    sets = chats.read_sets(train, valid, build.Reading(), 0.01, max_eval=3)
    assert (len(sets.train), len(sets.held_out), sets.held_out_ledger.total().capped) == (4, 3, 1)
    assert not any("validation files are training files" in line for line in told)
    chats.read_sets(train, train, build.Reading(), 0.01)
    assert any(line.startswith("warning: validation files are training files") for line in told)


def test_nothing_left_says_for_what(tmp_path, tokenizer, told):
    path = tmp_path / "a.jsonl"
    path.write_bytes(jsonl({"instruction": "q", "output": "a" * 99}))
    sets = chats.read_sets(build.sources([str(path)]), [], build.Reading(), 0.01)
    with pytest.raises(DataError, match=r"E_NOTHING_LEFT no row is left to train on \(1 rows = 0 kept .* 1 over-long"):
        chats.datasets(sets, tokenizer, encoding("chatml", 50), None, 1, 0)
    (tmp_path / "b.jsonl").write_bytes(jsonl({"instruction": "q", "output": "a"}))
    sets = chats.read_sets(
        build.sources([str(tmp_path / "b.jsonl")]), build.sources([str(path)]), build.Reading(), 0.01
    )
    with pytest.raises(DataError, match="no row is left to evaluate on"):
        chats.datasets(sets, tokenizer, encoding("chatml", 50), None, 1, 0)


def test_a_split_is_the_same_for_the_same_seed():
    items = [(i, i) for i in range(100)]
    train, held_out = build.split(items, 0.1, 3)
    assert len(held_out) == 10
    assert sorted(train + held_out) == items
    assert build.split(items, 0.1, 3) == (train, held_out)
    assert build.split(items, 0.1, 4) != (train, held_out)
    assert [len(part) for part in build.split(items[:2], 0.9, 3)] == [1, 1]
