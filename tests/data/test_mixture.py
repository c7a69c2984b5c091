"""How much of a data set is used, and that every row is counted once."""

import json

import pytest

from bedside.data import build, mixture
from bedside.data.ledger import Ledger
from bedside.data.rows import Fault, Origin, Row


@pytest.mark.parametrize(
    ("total", "share", "samples", "uses", "used"),
    [
        (1000, 1.0, None, 1000, 1000),
        (1000, 0.3, None, 300, 300),
        (1000, 2.0, None, 2000, 1000),
        (1000, 2.5, None, 2500, 1000),
        (1000, 1.0, 40, 40, 40),
        (1000, 0.5, 40, 20, 20),
        (1000, 3.0, 40, 120, 40),
        (10, 1.0, 40, 10, 10),
        (10, 0.001, None, 1, 1),
        (0, 0.5, None, 0, 0),
    ],
)
def test_how_many(total, share, samples, uses, used):
    drawn = mixture.times(total, share, samples)
    assert (len(drawn), sum(drawn), sum(map(bool, drawn))) == (total, uses, used)


def test_a_seed_draws_the_same_rows_and_another_seed_others():
    assert list(mixture.times(8, 0.5, seed="1")) == [1, 0, 0, 1, 0, 1, 0, 1]
    assert mixture.times(800, 0.5, seed="1") == mixture.times(800, 0.5, seed="1")
    assert mixture.times(800, 0.5, seed="1") != mixture.times(800, 0.5, seed="2")


def test_items_know_how_often_they_are_used():
    items = [Fault(Origin("f", 1), "I_BOM", ""), *(Row(Origin("f", line), line) for line in (1, 2, 3)),
             Fault(Origin("f", 4), "E_JSON", ""), Fault(Origin("f", 5), "E_JSON", "")]  # fmt: skip
    assert mixture.count(items) == 5
    assert list(mixture.drawn(items, bytes([1, 0, 3, 0, 2]))) == [
        items[0],
        items[1],
        Fault(Origin("f", 2), "NOT_DRAWN", "not drawn"),
        Fault(Origin("f", 3), "I_REPEATED", "used 3 times"),
        Row(Origin("f", 3), 3, 3),
        Fault(Origin("f", 4), "NOT_DRAWN", "not drawn"),
        items[5],
    ]


@pytest.fixture
def registered(tmp_path):
    """Two datasets: one of two files with 30 rows and two bad ones, one of 10 rows."""
    (tmp_path / "a").mkdir()
    for name, count in (("a/1", 10), ("a/2", 20), ("b", 10)):
        rows = [json.dumps({"question": f"{name} {number}", "answer": "a"}) for number in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(rows + ["{"] * name.startswith("a")) + "\n")
    info = {"a": {"file_name": "a"}, "b": {"file_name": "b.jsonl"}, "some": {"file_name": "b.jsonl", "num_samples": 4}}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    return str(tmp_path)


@pytest.mark.parametrize(
    ("names", "rows", "uses"),
    [
        ("a,b", 42, 42),
        ("a:0.5,b", 42, 26),
        ("a,b:2.5", 42, 57),
        ("some", 10, 4),
        ("some:0.5,a", 42, 34),
        ("some:3", 10, 12),
    ],
)
def test_every_row_is_counted_once(registered, names, rows, uses):
    ledger, wanted = Ledger(), build.sources([], names, registered, seed=7)
    made = build.read_conversations(wanted, ledger)
    for origin, _ in made:
        ledger.keep(origin)
    total = ledger.total()
    assert total.rows == rows == total.kept + total.capped + sum(total.dropped.values())
    assert all(account.adds_up() for account in ledger.files.values())
    items = [item for source in wanted for item in build.rows_of(source, build.Reading())]
    bad = sum(total.dropped.values())
    assert sum(item.times for item in items if isinstance(item, Row)) + bad == uses
    assert total.remarks["I_REPEATED"] == sum(isinstance(item, Row) and item.times > 1 for item in items)
    again = build.read_conversations(build.sources([], names, registered, seed=7), Ledger())
    assert made == again
