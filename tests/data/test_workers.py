"""Several processes give what one gives: ids, order, accounts, remarks and mistakes.

sh run_tests.sh tests/data/test_workers.py
"""

import random
import subprocess
import sys

import pytest

from bedside import logs, models
from bedside.data import build, chats, collect, tokens, workers
from bedside.errors import ConfigError, DataError

from .malformed import jsonl
from .test_chats import rows_of


@pytest.fixture(scope="module")
def tokenizer():
    return models.load_tokenizer("models/starter")


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Chunks so small, and processes so early, that a test's file is worth several of both."""
    monkeypatch.setattr(workers, "WORTH", 0)
    monkeypatch.setattr(collect, "_CHUNK", 16)


@pytest.fixture
def told(monkeypatch):
    lines = []
    monkeypatch.setattr(logs, "info", lines.append)
    monkeypatch.setattr(logs, "warn", lines.append)
    return lines


def outcome(directory, tokenizer, processes, told, template="qwen3", **more):
    """All that a run can see of its data, and all that a person reads."""
    told.clear()
    encoding = tokens.encoding_for(tokenizer, models.install_template(tokenizer, template), 300)
    plan = chats.Plan(build.sources([str(directory)]), [], build.Reading(), **({"max_bad_rate": 1.0} | more))
    try:
        data = chats.datasets(plan, tokenizer.backend_tokenizer, encoding, 300, processes)
    except (ConfigError, DataError) as error:
        return str(error), list(told)
    held_out = data.held_out.to_dict() if data.held_out is not None else None
    return data.train.to_dict(), held_out, data.ledger.to_dict(), data.ledger.rejected, list(told)


@pytest.fixture
def rows(tmp_path):
    rng = random.Random(4)
    (tmp_path / "a.jsonl").write_bytes(jsonl(*rows_of(rng, 150)))
    (tmp_path / "b.jsonl").write_bytes(jsonl(*rows_of(rng, 40), {"instruction": "</s> <|endoftext|>", "output": "a"}))
    (tmp_path / "c.csv").write_text("question,answer\nq,a\n,\nq,\nq,a,b\n")
    return tmp_path


@pytest.mark.parametrize("more", [{"holdout": 0.1}, {"max_train": 70}, {"max_bad_rate": 0.01}])
def test_two_processes_give_what_one_gives(rows, tokenizer, told, more):
    one, two = (outcome(rows, tokenizer, count, told, **more) for count in (1, 2))
    assert one == two
    assert len(one) == (2 if "max_bad_rate" in more else 5)


def test_a_mistake_is_told_in_its_turn(tmp_path, tokenizer, told):
    """The second file's first row is of another kind; what came before it is read, what comes after it is not."""
    good = {"instruction": "q", "output": "a"}
    (tmp_path / "a.jsonl").write_bytes(jsonl(*[good] * 90, "{"))
    (tmp_path / "b.jsonl").write_bytes(jsonl({"unknown": 1}, good))
    (tmp_path / "c.json").write_text("[")
    one, two = (outcome(tmp_path, tokenizer, count, told) for count in (1, 2))
    assert one == two
    assert one[0].startswith(f"{tmp_path}/b.jsonl:1: E_SCHEMA fields unknown belong to no known format")


def test_a_file_that_ends_early_is_told_after_its_rows(tmp_path, tokenizer, told):
    (tmp_path / "a.json").write_text(
        '[{"instruction": "q", "output": "a"}, ' * 1 + '{"instruction": "q", "output": "a"}'
    )
    one, two = (outcome(tmp_path, tokenizer, count, told) for count in (1, 2))
    assert one == two
    assert "the array is not closed" in one[0]


def test_how_many(monkeypatch):
    monkeypatch.setattr(workers, "WORTH", 100)
    monkeypatch.setattr(workers.os, "cpu_count", lambda: 64)
    assert [workers.number(wanted, size) for wanted, size in ((4, 99), (4, 100), (None, 100), (0, 100))] == [
        1,
        4,
        8,
        1,
    ]
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert workers.number(None, 100) == 1


def test_a_worker_loads_no_torch():
    code = (
        "import bedside.data.workers, sys; print({'torch', 'transformers', 'datasets', 'pandas'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
