"""The command as a person runs it: every row accounted for, only known texts changed, mistakes in a sentence.

sh run_tests.sh tests/stages/test_clean.py
"""

import csv
import json
import subprocess
import sys
import time

import pytest

from bedside.clean import run, steps
from bedside.clean.account import Account
from bedside.data import files
from bedside.errors import ConfigError

import clean_dataset  # isort: skip  (a script at the top)

LONG = "患者反复上腹痛三年，空腹时加重，进食后缓解，近一周解黑便两次，无呕血，无发热，既往体健。"
ROWS = [
    {"instruction": "头痛,怎么办?", "input": "", "output": "多休息.", "id": 1, "score": 0.5, "tags": ["a", None]},
    {"instruction": "我叫张小明，电话13800138000，头痛", "input": "", "output": "多喝水，注意休息。"},
    {"instruction": "頭痛，怎么办？", "input": "", "output": "多休息"},
    {"instruction": LONG, "input": "", "output": "考虑消化性溃疡，建议尽快做胃镜检查。"},
    {"instruction": LONG.replace("三年", "两年"), "input": "", "output": "考虑消化性溃疡，建议尽快做胃镜检查。"},
    {"instruction": "鍙戠儹怎么办", "input": "", "output": "物理降温，多饮水。"},
    {"instruction": "服用\ufffd片可以吗", "input": "", "output": "遵医嘱服用。"},
    {"instruction": "以下是题目：一名四十岁女性怕热多汗手抖突眼，最可能的诊断是什么", "input": "", "output": "甲亢。"},
]


@pytest.fixture
def place(tmp_path):
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    lines.insert(3, '{"broken": ')
    (tmp_path / "in.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    item = {
        "question": "一名四十岁女性，怕热、多汗、手抖、突眼。最可能的诊断是什么？",
        "options": {"A": "甲亢"},
        "answer": "A",
    }
    (tmp_path / "eval.jsonl").write_text(json.dumps(item, ensure_ascii=False), encoding="utf-8")
    return tmp_path


def clean(place, *flags: str) -> tuple[list[dict], dict, list[dict]]:
    """Rows that are left, cleaning.json, rejected.jsonl."""
    clean_dataset.main([f"{place}/in.jsonl", "--output_file", f"{place}/out.jsonl", *flags])
    rows = [json.loads(line) for line in (place / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    ledger = place / "out.jsonl.ledger"
    rejected = [json.loads(line) for line in (ledger / "rejected.jsonl").read_text(encoding="utf-8").splitlines()]
    return rows, json.loads((ledger / "cleaning.json").read_text(encoding="utf-8")), rejected


def test_every_row_is_kept_or_removed_for_a_reason(place, capsys):
    rows, account, rejected = clean(place, "--against", f"{place}/eval.jsonl")
    assert {k: account[k] for k in ("rows", "kept", "removed", "changed", "flagged")} == {
        "rows": 9,
        "kept": 5,
        "removed": {"E_JSON": 1, "W_CONTAMINATED": 1, "W_DUPLICATE": 1, "W_NEAR_DUPLICATE": 1},
        "changed": {"C_NORMALISED": 1, "C_PRIVATE": 1, "C_MOJIBAKE": 1},
        "flagged": {"W_MOJIBAKE": 1},
    }
    assert sorted((r["line"], r["code"], r.get("partner", "").rpartition("/")[2]) for r in rejected) == [
        (3, "W_DUPLICATE", "in.jsonl:1"),
        (4, "E_JSON", ""),
        (6, "W_NEAR_DUPLICATE", "in.jsonl:5"),
        (9, "W_CONTAMINATED", "eval.jsonl:1"),
    ]
    assert "        9  rows in\n        5  kept\n        4  removed\n" in capsys.readouterr().out
    assert rows[0] == {**ROWS[0], "instruction": "头痛，怎么办？", "output": "多休息。"}
    assert list(rows[0]) == list(ROWS[0])
    assert rows[1]["instruction"] == "我叫[姓名]，电话[电话]，头痛"
    assert [row["instruction"] for row in rows[2:]] == [LONG, "发热怎么办", ROWS[6]["instruction"]]


def test_no_text_of_a_row_is_in_the_ledger_or_the_output(place, capsys):
    clean(place, "--against", f"{place}/eval.jsonl", "--drop_mojibake")
    said = capsys.readouterr().out + "".join(
        p.read_text(encoding="utf-8") for p in (place / "out.jsonl.ledger").iterdir()
    )
    assert not any(word in said for word in ("张小明", "13800138000", "头痛", "溃疡", "降温"))


def test_without_steps_that_apply_rows_are_equal_as_json(place):
    rows, account, _ = clean(place, "--steps", "length")
    assert rows == ROWS
    assert account["changed"] == account["flagged"] == {}


def test_flags_choose_what_goes(place):
    rows, account, _ = clean(
        place, "--steps", "private,mojibake,length,language", "--private", "refuse", "--drop_mojibake",
        "--min_chars", "14",
        "--max_chars", "40", "--languages", "zh",
    )  # fmt: skip
    assert account["removed"] == {"W_LENGTH": 4, "E_JSON": 1, "W_PRIVATE": 1, "W_MOJIBAKE": 1}
    assert [row["instruction"] for row in rows] == ["发热怎么办", ROWS[7]["instruction"]]


def test_a_table_stays_a_table(tmp_path):
    table = "department,title,ask,answer\n内科,头痛,头痛,怎么办\n外科,外伤,流血了,压迫\n"
    (tmp_path / "in.csv").write_text(table + "外科,外伤,流血了,压迫。\n", encoding="utf-8")
    clean_dataset.main([f"{tmp_path}/in.csv", "--output_file", f"{tmp_path}/out.csv"])
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert [",".join(cells) for cells in csv.reader(file)] == table.splitlines()
    clean_dataset.main([f"{tmp_path}/in.csv", "--output_file", f"{tmp_path}/out.json"])
    assert len(json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))) == 2


def test_a_second_cleaning_removes_and_changes_nothing(place):
    rows, _, _ = clean(place)
    (place / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    again, account, _ = clean(place, "--overwrite_output_file")
    assert (again, account["removed"], account["changed"]) == (rows, {}, {})


def test_the_ledger_is_not_read_as_data(place):
    clean(place)
    assert sorted(path.name for path in files.find(str(place))) == ["eval.jsonl", "in.jsonl", "out.jsonl"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output_file", "x.jsonl"], "no files: name files"),
        (["IN", "--output_file", "x.xlsx"], "expected a name that ends in .jsonl, .json, .csv, .tsv"),
        (["IN"], "--output_file (not given)"),
        (["IN", "--output_file", "IN"], "is also an input"),
        (["IN", "--output_file", "EVAL"], "is there already; --overwrite_output_file replaces it"),
        (
            ["IN", "--output_file", "x.jsonl", "--steps", "normalize"],
            "--steps normalize: expected mojibake, normalise",
        ),
        (["IN", "--output_file", "x.jsonl", "--steps", "contamination"], "--steps contamination: needs --against"),
        (["IN", "--output_file", "x.jsonl", "--languages", "de"], "--languages de: expected zh, en, other"),
        (["IN", "--output_file", "x.jsonl", "--near_duplicate_threshold", "1.5"], "expected 0.5 to 1"),
        (["nowhere", "--output_file", "x.jsonl"], "no such file or directory"),
    ],
)
def test_mistakes_are_told_before_anything_is_written(place, flags, message, monkeypatch):
    monkeypatch.chdir(place)
    names = {"IN": "in.jsonl", "EVAL": "eval.jsonl"}
    with pytest.raises(ConfigError, match=message.replace("(", r"\(").replace(")", r"\)")):
        clean_dataset.main([names.get(flag, flag) for flag in flags])
    assert sorted(path.name for path in place.iterdir()) == ["eval.jsonl", "in.jsonl"]


def test_a_table_that_cannot_hold_a_row_leaves_no_file(place):
    with pytest.raises(ConfigError, match="is no text, which is all that a table holds; write .jsonl"):
        clean_dataset.main([f"{place}/in.jsonl", "--output_file", f"{place}/out.csv"])
    assert not (place / "out.csv").exists()


def test_a_text_is_never_emptied():
    texts = steps.normalising([*_texts("\u200b"), *_texts("a\u200b")]).texts
    assert [text.text for text in texts] == ["\u200b", "a"]


def _texts(text: str):
    from bedside.clean.fields import DOCUMENT, Text

    return [Text(("text",), DOCUMENT, text)]


def test_a_tool_with_private_data_is_refused_not_broken():
    from bedside.clean.fields import texts_of

    row = {"messages": [{"role": "user", "content": "查电话"}, {"role": "tool", "content": '{"tel": 13800138000}'}]}
    verdict = steps.hiding(refuse=False)(texts_of(row))
    assert verdict.removed == ("W_PRIVATE", "phone 1, in a tool's text, which a mask could break")


def test_totals_add_up_over_files_with_faults(place, tmp_path):
    with Account(tmp_path / "ledger") as account:
        rows = list(run.kept(run.alone(run.admit(files.read(place / "in.jsonl"), account), [], account), account))
    assert len(rows) == account.kept == 8
    assert account.adds_up()
    assert account.files[str(place / "in.jsonl")] == {"rows": 9, "kept": 8, "removed": 1}


def test_the_command_starts_without_heavy_imports():
    heavy = "torch", "transformers", "datasets", "pyarrow", "pandas", "numpy"
    code = f"import sys, clean_dataset; print([name for name in {heavy} if name in sys.modules])"
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert time.perf_counter() - began < 10  # a shared machine; the figure of docs/data/cleaning.md is 0.2 s
