"""validate_jsonl.py: the stages' reading, told row by row; and the stage itself, which must stop before it loads."""

import json
import subprocess
import sys

import pytest

import validate_jsonl
from bedside.errors import ConfigError

from .malformed import CASES, GOOD, PAIR, jsonl


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_malformed_file_gets_its_status(tmp_path, capsys, case):
    path = tmp_path / case.file
    path.write_bytes(case.raw)
    flags = {
        "encoding": case.flags.get("encoding"),
        "columns": ",".join(case.flags.get("columns", [])),
        "role_map": ",".join(f"{a}={b}" for a, b in case.flags.get("roles", {}).items()),
    }
    words = [word for name, value in flags.items() if value for word in (f"--{name}", value)]
    status = validate_jsonl.main([str(path), "--kind", case.kind, *words])
    told = capsys.readouterr().out.splitlines()
    policy, *wanted = case.outcome
    if policy == "accept":
        assert status == 0
        assert told[-1].startswith(f"{path}: {case.kind}, ")
    elif policy == "skip":
        assert status == 1
        for line, code in wanted[0]:
            assert any(text.startswith((f"{path}:{line}: {code} ", f"{path}:{line} (item ")) for text in told)
    else:  # a file of which every single row is bad is told row by row
        assert status == 2 or len(told) > 1
        assert any(f": {wanted[0]} " in text for text in told)


def test_all_faults_are_told_and_the_summary_counts(tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(jsonl(GOOD, *[{"instruction": "a", "output": ""}] * 30, "{"))
    assert validate_jsonl.main([str(path)]) == 1
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 32
    assert told[0] == f"{path}:2: E_EMPTY output is empty"
    assert told[-1] == f"{path}: sft, 32 rows = 1 usable + 31 bad (E_EMPTY 30, E_JSON 1)"
    assert validate_jsonl.main([str(path), "--max_bad_rate", "0.97"]) == 0
    assert validate_jsonl.main([str(path), "--max_bad_rate", "0.96"]) == 1


def test_auto_tells_the_kinds_apart_and_the_worst_status_counts(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_bytes(jsonl(GOOD))
    (tmp_path / "b.json").write_text(json.dumps([PAIR, {"prompt": "a", "chosen": "b"}]))
    width = len(f"{tmp_path}/a.jsonl")
    assert validate_jsonl.main([str(tmp_path)]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{tmp_path}/a.jsonl: sft, 1 rows = 1 usable + 0 bad",
        f"{tmp_path}/b.json:1 (item 2): E_FIELD no field 'rejected' (has: prompt, chosen)",
        f"{tmp_path}/b.json: preference, 2 rows = 1 usable + 1 bad (E_FIELD 1)",
        "",
        f"{'file':{width}}  kind        rows  usable  bad  bad by code  remarks",
        f"{tmp_path}/a.jsonl  sft            1       1    0",
        f"{tmp_path}/b.json   preference     2       1    1  E_FIELD 1",
        f"{'2 files':{width}}                 3       2    1",
    ]
    (tmp_path / "c.jsonl").write_bytes(b"")
    assert validate_jsonl.main([str(tmp_path)]) == 2
    told = capsys.readouterr().out.splitlines()
    assert told[-8:-6] == [
        f"{tmp_path}/c.jsonl: E_EMPTY_FILE no data lines",
        f"{tmp_path}/c.jsonl: unusable (E_EMPTY_FILE)",
    ]
    assert told[-2] == f"{tmp_path}/c.jsonl  sft            0       0    0  unusable: E_EMPTY_FILE"


def test_json_for_machines(tmp_path, capsys):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + jsonl(GOOD, "{"))
    assert validate_jsonl.main([str(path), "--json"]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "file": str(path), "kind": "sft", "rows": 2, "usable": 1, "bad": {"E_JSON": 1}, "remarks": {"I_BOM": 1},
        "rejected": [{"file": str(path), "line": 2, "code": "E_JSON"}], "unusable": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "no files: name files or directories"),
        (["data/sft", "--kind", "x"], "expected auto, sft, preference, choice, kto, prompt, safety or text"),
        (["data/stf"], "data/stf: no such file or directory; data/ holds"),
        (["data/sft", "--max_bad_rate", "2"], "--max_bad_rate 2: expected 0 to 1"),
        (["data/sft", "--encoding", "x"], "--encoding x: unknown encoding"),
        (["data/sft", "--role_map", "x"], "--role_map x: expected name=role pairs"),
        (["data/sft", "--fix", "merge"], "--fix merge: expected merge_turns, drop_tail"),
        (["data/sft", "--output_dir", "x"], "say where --fix writes"),
        (["data/sft", "--fix", "drop_tail", "--output_file", "x.jsonl"], "two files would go to one name"),
        (["data/sft/cot.jsonl", "--fix", "drop_tail", "--output_file", "data/sft/cot.jsonl"], "is also an input"),
        (["data/sft", "--rolemap", "x"], "--rolemap: unknown flag; did you mean --role_map"),
    ],
)
def test_wrong_flags(words, message):
    with pytest.raises(ConfigError, match=message):
        validate_jsonl.main(words)


def test_our_own_data_is_clean(capsys):
    assert validate_jsonl.main(["data/sft", "data/reward", "data/grpo", "data/eval", "data/pretrain"]) == 0


KINDS = [
    ("sft", GOOD, {**GOOD, "output": ""}, "E_EMPTY"),
    ("preference", PAIR, {**PAIR, "rejected": PAIR["chosen"]}, "E_EQUAL"),
    ("choice", {"question": "a", "options": {"A": "b", "B": "c"}, "answer_idx": "A"},
     {"question": "a", "options": {"A": "b", "B": "c"}, "answer_idx": "D"}, "E_CHOICE"),
    ("kto", {**GOOD, "label": True}, {**GOOD, "label": "maybe"}, "E_LABEL"),
    ("prompt", {"prompt": "a", "ground_truth": "b"}, {"prompt": "a", "ground_truth": None}, "E_NULL"),
    ("text", {"text": "a"}, {"text": " "}, "E_EMPTY"),
    ("safety", {"kind": "refusal", "question": "a", "expect": "answer"},
     {"kind": "refusal", "question": " ", "expect": "answer"}, "E_EMPTY"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "good", "bad", "code"), KINDS, ids=lambda value: value if type(value) is str else "")
@pytest.mark.parametrize("suffix", [".jsonl", ".json"])
def test_every_kind_is_told_and_checked(tmp_path, capsys, kind, good, bad, code, suffix):
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(jsonl(good, bad) if suffix == ".jsonl" else json.dumps([good, bad]).encode())
    for word in ("auto", kind):
        assert validate_jsonl.main([str(path), "--kind", word]) == 1
        assert capsys.readouterr().out.endswith(f"{path}: {kind}, 2 rows = 1 usable + 1 bad ({code} 1)\n")


def chat(*turns):
    return {"conversations": [{"from": who, "value": text} for who, text in turns]}


H, G = ("human", "a"), ("gpt", "b")


def test_fix_writes_what_is_usable_and_says_what_it_did(tmp_path, capsys):
    path, fixed = tmp_path / "rows.jsonl", tmp_path / "rows.fixed.jsonl"
    path.write_bytes(jsonl(chat(H, G), chat(H, H, G), chat(G, H, G, H), "{", chat(H, ("gpt", "")), chat(H, H, G, H)))
    before = path.read_bytes()
    assert validate_jsonl.main(["--file_path", str(path), "--fix", "merge_turns,drop_tail"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{path}:2: FIXED merge_turns",
        f"{path}:3: FIXED drop_tail",
        f"{path}:4: E_JSON Expecting property name enclosed in double quotes at column 2",
        f"{path}:5: E_EMPTY conversations[1].value is empty",
        f"{path}:6: FIXED merge_turns, drop_tail",
        f"{path}: sft, 6 rows = 4 usable + 2 bad (E_JSON 1, E_EMPTY 1); 3 of the usable were repaired: "
        "merge_turns 2, drop_tail 2",
        f"{fixed}: 4 rows",
    ]
    made = [json.loads(line) for line in fixed.read_text().splitlines()]
    assert made == [chat(H, G), chat(("human", "a\n\na"), G), chat(H, G), chat(("human", "a\n\na"), G)]
    assert path.read_bytes() == before
    assert validate_jsonl.main([str(fixed)]) == 0
    with pytest.raises(ConfigError, match="rows.fixed.jsonl: is there already; --overwrite_output_file replaces it"):
        validate_jsonl.main([str(path), "--fix", "merge_turns"])


def test_fix_of_a_table_writes_lines_and_of_an_unusable_file_nothing(tmp_path, capsys):
    (tmp_path / "a.csv").write_text("question,answer\na,b\nc,\n")
    (tmp_path / "b.jsonl").write_text("")
    out = tmp_path / "out"
    assert validate_jsonl.main([str(tmp_path), "--fix", "drop_tail", "--output_dir", str(out)]) == 2
    assert [path.name for path in out.iterdir()] == ["a.fixed.jsonl"]
    assert (out / "a.fixed.jsonl").read_text() == '{"question": "a", "answer": "b"}\n'


# The stage, as a person runs it: exit status 2, one line on stderr, and nothing heavy has been imported by then.
_RUN = """
import sys
import supervised_finetuning
from bedside import errors
try:
    errors.run_command(supervised_finetuning.main)
finally:
    print([name for name in ("torch", "transformers", "trl", "peft", "datasets") if name in sys.modules])
"""
STAGE = ["5 GBK", "12 LFS", "14 pretty-printed", "20 nested brackets", "35 preference file to SFT", "45 all rows"]
STAGE += ["63 quote left open"]


def run_stage(repo, tmp_path, path, *more):
    words = ["--train_file_dir", str(path), "--output_dir", str(tmp_path / "out"), *more]
    return subprocess.run([sys.executable, "-c", _RUN, *words], cwd=repo, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", STAGE)
def test_the_stage_stops_before_it_loads_anything(repo, tmp_path, name):
    case = next(case for case in CASES if case.name == name)
    (tmp_path / case.file).write_bytes(case.raw)
    done = run_stage(repo, tmp_path, tmp_path / case.file, "--max_bad_rate", "0.01")
    code = case.outcome[1] if case.outcome[0] == "stop" else "E_BAD_RATE"
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert len(errors) == 1
    assert code in errors[0]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"notes.txt": b"x"}, ".jsonl, .json, .csv, .tsv, .parquet, .arrow, found notes.txt"),
        (None, "no such file or directory; "),
        ({"a.jsonl": jsonl(GOOD), "b.jsonl": jsonl(PAIR)}, "b.jsonl:1: E_SCHEMA fields prompt, chosen, rejected"),
        (
            {"a.jsonl": jsonl(*[GOOD] * 9, "{")},
            "E_BAD_RATE 1 of 10 rows are bad (E_JSON 1), more than --max_bad_rate 0.01",
        ),
        ({"a.csv": b"question,answer\n"}, "a.csv: E_EMPTY_FILE no data lines, only a header"),
    ],
)
def test_the_stage_on_directories(repo, tmp_path, made, message):
    path = tmp_path / "rows"
    if made is not None:
        path.mkdir()
        for name, raw in made.items():
            (path / name).write_bytes(raw)
    done = run_stage(repo, tmp_path, path)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, done.stdout) == (2, "[]\n")
    assert len(errors) == 1
    assert message in errors[0]
