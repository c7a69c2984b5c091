"""Files judged in pieces and by the quick check: the same account as row by row with the full check."""

import json
import random

import pytest

from bedside.data import build, quick, scan, validate, verdict
from bedside.data.conversation import RowError
from bedside.data.ledger import Ledger
from bedside.errors import DataError

from .malformed import CASES

PLAIN = build.Reading()


def rowwise(path, kind="sft", roles=None):
    """What the stages' own reading says of a file."""
    ledger = Ledger(shown=None)
    reader = build.read_preferences if kind == "preference" else build.read_conversations
    try:
        usable = len(reader([build.Source(path)], ledger, build.Reading(roles=roles)))
    except DataError as error:
        return str(error), ledger.details, ledger.rejected, ledger.total().rows
    return usable, ledger.details, ledger.rejected, ledger.total()


def in_pieces(path, kind="sft", processes=1, roles=None):
    report = validate.check(build.Source(path), kind, build.Reading(roles=roles), processes=processes)
    total = report.ledger.total()
    if report.unusable:
        return str(report.unusable), report.ledger.details, report.ledger.rejected, total.rows
    assert total.adds_up()
    total.kept = 0  # which reading alone does not settle
    return report.usable, report.ledger.details, report.ledger.rejected, total


@pytest.mark.parametrize("case", [c for c in CASES if c.file.endswith(".jsonl")], ids=lambda case: case.name)
def test_every_malformed_file(tmp_path, case, monkeypatch):
    if case.flags.keys() - {"roles"}:
        return
    path = tmp_path / case.file
    path.write_bytes(case.raw)
    roles = case.flags.get("roles")
    wanted = rowwise(path, case.kind, roles)
    assert in_pieces(path, case.kind, roles=roles) == wanted
    monkeypatch.setattr(scan.pieces, "__defaults__", (30,))
    assert in_pieces(path, case.kind, roles=roles) == wanted


_TEXTS = (
    "",
    " ",
    "a",
    "发热",
    "<think>a</think>b",
    "<think>a",
    "</think>b",
    "<think></think>b",
    "<b>",
    "[INST]",
    "\ufffd",
    "锟斤拷",
    "\ufdd0",
    "</s>",
    "<|im_end|>",
    "1 < 2",
    "a :b",
    '"',
    None,
    3,
    ["a"],
    {"a": "b"},
    0.5,
    False,
)
_NAMES = ("instruction", "input", "output", "system", "history", "thought", "Question", "Complex_CoT", "Response",
          "ask", "title", "answer", "question", "prompt", "response", "tools", "label", "options", "text", "chosen",
          "id", "from", "value", "role", "content", "reasoning_content", "train", "tool_calls", "name")  # fmt: skip


def known_rows(repo):
    rows = []
    for path in sorted((repo / "data/sft").glob("*.jsonl")):
        rows += [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()[:40]]
    pairs = [("ask", "answer"), ("prompt", "response"), ("query", "response"), ("input", "output")]
    return rows + [dict.fromkeys(pair, "发热") | {"system": "a"} for pair in pairs]


def changed(value, draw):
    """A copy of a row with one thing in it changed."""
    if isinstance(value, dict) and value:
        name = draw.choice(list(value))
        how = draw.random()
        if how < 0.25:
            return {key: item for key, item in value.items() if key != name}
        if how < 0.5:
            return {**value, draw.choice(_NAMES): draw.choice(_TEXTS)}
        return {**value, name: changed(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        index, how = draw.randrange(len(value)), draw.random()
        if how < 0.2:
            return value[:index] + value[index + 1 :]
        if how < 0.4:
            return [*value[:index], value[index], *value[index:]]
        return [*value[:index], changed(value[index], draw), *value[index + 1 :]]
    if isinstance(value, str) and draw.random() < 0.3:
        return f"{value} {draw.choice([text for text in _TEXTS if isinstance(text, str)])}"
    return draw.choice(_TEXTS)


def test_the_quick_check_says_yes_only_where_the_full_one_does_without_a_remark(repo):
    draw, known, wrong, said_yes = random.Random(5), known_rows(repo), [], 0
    for number in range(12_000):
        row = draw.choice(known)
        for _ in range(number % 4):
            row = changed(row, draw)
        raw = json.dumps(row, ensure_ascii=number % 3 == 0).encode("utf-8", "surrogatepass")
        name = quick.format_of(row, raw, quick.oddities(raw + b"\n"))
        try:
            found = verdict.sft(row)
        except RowError:
            found = None
        said_yes += name is not None
        if name is not None and (found is None or found.remarks or found.format != name):
            wrong.append((row, found))
    assert wrong == []
    assert said_yes > 3600


def test_nearly_every_good_row_needs_no_full_check(repo):
    files = sorted((repo / "data/sft").glob("*.jsonl"))
    known = [line for path in files for line in path.read_bytes().splitlines()]
    lines = [line for line in known if b'"history": [[' not in line]
    quickly = [quick.format_of(json.loads(line), line, quick.oddities(line)) for line in lines]
    assert len(lines) == 1600
    assert quickly.count(None) == 0


def mixed_file(repo, path, draw):
    """A file of good, bad, blank and broken lines in several formats."""
    known, made = known_rows(repo), []
    for _ in range(600):
        row = changed(draw.choice(known), draw) if draw.random() < 0.3 else draw.choice(known)
        raw = json.dumps(row, ensure_ascii=False).encode("utf-8", "surrogatepass")
        made.append(draw.choice([raw] * 12 + [raw[:40], b"", b" ", raw + b"\r", raw + raw, b"\xff" + raw]))
    path.write_bytes(b'{"instruction": "a", "output": "b"}\n' + b"\n".join(made) + draw.choice([b"", b"\n"]))


@pytest.mark.parametrize("size", [50, 1000, 4_000_000])
def test_pieces_of_any_size_give_the_same_account(repo, tmp_path, monkeypatch, size):
    path = tmp_path / "rows.jsonl"
    mixed_file(repo, path, random.Random(size))
    monkeypatch.setattr(scan.pieces, "__defaults__", (size,))
    usable, details, rejected, total = in_pieces(path)
    assert (usable, details, rejected, total) == rowwise(path)
    assert total.rows > 500
    assert len(total.dropped) > 6


def test_processes_change_nothing(repo, tmp_path, monkeypatch):
    path = tmp_path / "rows.jsonl"
    mixed_file(repo, path, random.Random(9))
    monkeypatch.setattr(scan.pieces, "__defaults__", (40_000,))
    assert in_pieces(path, processes=2) == in_pieces(path, processes=1) == rowwise(path)


def test_contradictions_are_found_across_pieces(tmp_path, monkeypatch):
    pair = {"prompt": "a", "chosen": "b", "rejected": "c"}
    other = {"prompt": "a", "chosen": "c", "rejected": "b"}
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in (pair, pair, other)))
    monkeypatch.setattr(scan.pieces, "__defaults__", (10,))
    assert in_pieces(path, "preference") == rowwise(path, "preference")
    assert in_pieces(path, "preference")[1] == [f"{path}:3: W_CONTRADICT prefers the answer that line 2 rejects"]


def test_pieces_end_where_lines_do(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"aa\nbbbbbb\n\nc")
    assert list(scan.pieces(path, 1)) == [(0, 3), (3, 10), (10, 12)]
    assert list(scan.pieces(path, 4)) == [(0, 10), (10, 12)]
    assert list(scan.pieces(path, 100)) == [(0, 12)]


def test_small_files_start_no_processes():
    assert scan.workers(scan.ALONE) == 1
    assert scan.workers(scan.ALONE, 3) == 3
    assert 1 <= scan.workers(scan.ALONE + 1) <= 8


def test_what_is_told_is_forgotten(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("{}\n".join(['{"instruction": "a", "output": "b"}\n', "", ""]))
    told = []
    report = validate.check(build.Source(path), "sft", PLAIN, told.append)
    assert told == [f"{path}:{line}: E_SCHEMA fields none belong to no known format (see docs/data-formats.md)"
                    for line in (2, 3)]  # fmt: skip
    assert (report.ledger.details, report.ledger.rejected) == ([], [])
    assert (report.usable, report.bad()) == (1, 2)
