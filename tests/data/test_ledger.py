"""The account of rows: totals that add up, printed without anybody's words."""

import json

import pytest

from bedside.data.ledger import Ledger
from bedside.data.rows import Origin
from bedside.errors import DataError


def ledger_of(rows=10, dropped=0, capped=0, file="a.jsonl"):
    ledger = Ledger()
    for line in range(1, rows + 1):
        ledger.row(Origin(file, line))
        if line <= dropped:
            ledger.drop(Origin(file, line), "E_EMPTY", "output is empty")
        elif line > rows - capped:
            ledger.cap(Origin(file, line))
        else:
            ledger.keep(Origin(file, line))
    return ledger


def test_summary_and_files(tmp_path):
    ledger = ledger_of(5, dropped=2, capped=1)
    ledger.row(Origin("b.json", 7, 3))
    ledger.overlong(Origin("b.json", 7, 3), 900, 512)
    ledger.remark(Origin("b.json", 1), "I_BOM", "byte order mark removed")
    ledger.remark(Origin("b.json", 1), "I_BOM", "byte order mark removed")
    assert ledger.summary() == "6 rows = 2 kept + 2 dropped (E_EMPTY 2) + 1 over-long + 1 over the cap"
    ledger.write(tmp_path / "deep" / "out")
    written = json.loads((tmp_path / "deep" / "out" / "ledger.json").read_text())
    assert written["total"] == {
        "rows": 6, "kept": 2, "overlong": 1, "capped": 1, "dropped": {"E_EMPTY": 2}, "remarks": {"I_BOM": 2},
    }  # fmt: skip
    assert list(written["files"]) == ["a.jsonl", "b.json"]
    assert (tmp_path / "deep" / "out" / "rejected.jsonl").read_text() == (
        '{"file": "a.jsonl", "line": 1, "code": "E_EMPTY"}\n'
        '{"file": "a.jsonl", "line": 2, "code": "E_EMPTY"}\n'
        '{"file": "b.json", "line": 7, "code": "W_OVERLONG", "item": 3}\n'
    )
    assert ledger.details == [
        "a.jsonl:1: E_EMPTY output is empty",
        "a.jsonl:2: E_EMPTY output is empty",
        "b.json:7 (item 3): W_OVERLONG 900 tokens, --max_length is 512",
        "b.json:1: I_BOM byte order mark removed",
    ]


def test_twenty_faults_are_shown_and_all_are_listed():
    ledger = ledger_of(50, dropped=33)
    assert (len(ledger.details), len(ledger.rejected)) == (20, 33)


@pytest.mark.parametrize(
    ("dropped", "rate", "stops"), [(1, 0.01, False), (2, 0.01, True), (1, 0.0, True), (0, 0.0, False)]
)
def test_the_rate(dropped, rate, stops):
    ledger = ledger_of(100, dropped)
    if not stops:
        ledger.check_rate(rate)
        return
    message = (
        rf"a.jsonl: E_BAD_RATE {dropped} of 100 rows are bad \(E_EMPTY {dropped}\), more than --max_bad_rate {rate:g}"
    )
    with pytest.raises(DataError, match=message):
        ledger.check_rate(rate)


def test_rows_over_the_cap_were_not_looked_at():
    with pytest.raises(DataError, match="2 of 10 rows are bad"):
        ledger_of(1000, dropped=2, capped=990).check_rate(0.01)
    with pytest.raises(DataError, match="a.jsonl: E_EMPTY all 5 rows are bad"):
        ledger_of(5, dropped=5).check_rate(1.0)
    ledger_of(10, dropped=5, capped=5).check_rate(1.0)
    ledger_of(10, capped=10).check_rate(0.0)


def test_a_row_that_went_missing_is_our_bug(tmp_path):
    ledger = ledger_of(3)
    ledger.row(Origin("a.jsonl", 4))
    with pytest.raises(AssertionError, match="a row went missing"):
        ledger.write(tmp_path)
