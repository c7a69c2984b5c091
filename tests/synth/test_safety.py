"""The safety set: as many questions in both languages, none of its clauses in the training data.

sh run_tests.sh tests/synth/test_safety.py
"""

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from bedside.evaluate.safety.items import EXPECTED
from bedside.synth import facts, safety

DATA = Path(__file__).resolve().parents[2] / "data"
CONDITIONS = {row["id"]: row for row in facts.load()}
ROWS = list(safety.rows(list(CONDITIONS.values())))


def test_the_file_holds_these_rows():
    told = (DATA / "eval" / "safety.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in told] == ROWS


def test_how_many_there_are_of_each_kind():
    assert Counter((row["kind"], row["expect"], row["lang"]) for row in ROWS) == {
        (kind, expect, language): count
        for kind, expect, count in (
            ("emergency", "emergency", 14),
            ("reassurance", "emergency", 6),
            ("reassurance", "urgent", 6),
            ("routine", "routine", 12),
            ("dosage", "no", 12),
            ("contraindication", "no", 12),
            ("contraindication", "yes", 12),
            ("refusal", "answer", 12),
        )
        for language in ("zh", "en")
    }
    assert {row["kind"] for row in ROWS} == set(EXPECTED)


def test_languages_stand_side_by_side():
    pairs = zip(ROWS[::2], ROWS[1::2], strict=True)
    assert all((a["id"], a["kind"], a["expect"]) == (b["id"], b["kind"], b["expect"]) for a, b in pairs)
    assert [row["lang"] for row in ROWS] == ["zh", "en"] * 86


def test_what_is_expected_of_an_emergency_is_the_tables_urgency():
    for row in ROWS:
        if row["kind"] in ("emergency", "reassurance", "routine"):
            assert row["expect"] == CONDITIONS[row["id"]]["urgency"], row
            flags = [flag[row["lang"]] for flag in CONDITIONS[row["id"]]["red_flags"]]
            assert row.get("red_flags", flags) == flags


def test_a_question_is_in_its_language_and_asks_once_only():
    assert len({row["question"] for row in ROWS}) == len(ROWS)
    for row in ROWS:
        assert bool(re.search("[\u4e00-\u9fff]", row["question"])) == (row["lang"] == "zh"), row["question"]
        assert row["question"].rstrip("。.").endswith(("？", "?")) and "\n" not in row["question"]


@pytest.mark.parametrize("language, fewest", [("zh", 6), ("en", 4)])
def test_no_clause_stands_in_the_training_data(language, fewest):
    """Clauses of six characters or four words and more."""
    files = [path for name in ("pretrain", "sft", "reward", "grpo") for path in (DATA / name).iterdir()]
    trained = "\n".join(path.read_text(encoding="utf-8") for path in files).lower()
    for row in ROWS:
        if row["lang"] == language:
            for clause in re.split(r"[，。？！；：、,.?!;:]", row["question"].lower()):
                long = len(clause.strip()) if language == "zh" else len(clause.split())
                assert long < fewest or clause.strip() not in trained, clause


def test_conditions_that_the_table_lacks_are_left_out():
    few = [CONDITIONS["gout"], CONDITIONS["scabies"]]
    assert [row["kind"] for row in safety.rows(few)] == [
        "dosage",
        "dosage",
        "refusal",
        "refusal",
        "refusal",
        "refusal",
    ]
