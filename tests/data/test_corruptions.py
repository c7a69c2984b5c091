"""Files corrupted in more ways than anyone lists by hand: a code with its place, or an honest acceptance.

Every format in every kind of file is damaged by a seeded hand. Whatever comes of it, there is no traceback, the totals
add up, a refusal says where, no message holds the rows' text, and what is accepted is what the file says: rows that
the damage did not touch are read as they were, and a row that it did touch reads as its own bytes do.
"""

import csv
import gzip
import io
import json
import random

import pytest

from bedside.data import build, convert, files, formats, targets, validate, verdict, writers
from bedside.data.conversation import RowError
from bedside.data.rows import Fault, Row

SECRET = "患者口述"  # stands in every text of every row, and in no message
ROWS = 8
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def chat(number):
    question = {"role": "user", "content": f'{SECRET}发热{number}天，"怎么办"？\tfever {number}'}
    return {
        "messages": [question, {"role": "assistant", "content": f"{SECRET}休息{number}，多喝水。\nrest, {number}"}]
    }


def rows_of(format):
    """Eight rows of a format."""
    rows = []
    for number in range(ROWS):
        if format in formats.FORMATS:
            rows.append(formats.to_row(chat(number), format))
        elif format == "text":
            rows.append({"text": f"{SECRET}发热{number}天。"})
        elif format == "choice":
            rows.append({"question": f"{SECRET}{number}？", "options": {"A": "甲", "B": f"乙{number}"}, "answer": "B"})
        elif format == "prompt":
            rows.append({"prompt": f"{SECRET}{number}？", "ground_truth": f"{number}"})
        else:
            answers = [{"role": "assistant", "content": f"{SECRET}{text}{number}"} for text in ("好", "坏")]
            pair = {"prompt": chat(number)["messages"][:1], "chosen": answers[:1], "rejected": answers[1:]}
            rows.append(targets.made("preference", pair, format)[number % 2 if format == "kto" else 0].row)
    return rows


PLACES = [(format, suffix) for format in targets.KIND_OF for suffix in (".jsonl", ".json")]
PLACES += [
    (format, suffix) for format in ("toyhom", "question_answer", "preference", "alpaca") for suffix in (".csv", ".tsv")
]
PLACES += [
    (format, suffix) for format in ("messages", "alpaca", "kto") for suffix in (".parquet", ".jsonl.gz", ".csv.gz")
]
PLACES += [("text", ".txt"), ("text", ".txt.gz"), ("sharegpt", ".jsonl.zst")]
PLACES = [place for place in PLACES if place not in (("messages", ".csv.gz"), ("kto", ".csv.gz"))]


def whole(tmp_path, format, suffix):
    """The bytes of a good file."""
    path = tmp_path / f"good{suffix}"
    with writers.opened(path) as write:
        for row in rows_of(format):
            write(row)
    return path.read_bytes()


def _somewhere(raw, draw):
    return draw.randrange(len(raw))


def truncated(raw, draw):
    return raw[: _somewhere(raw, draw)]


def beheaded(raw, draw):
    return raw[_somewhere(raw, draw) :]


def mutated(raw, draw):
    made = bytearray(raw)
    for _ in range(draw.choice((1, 1, 3, 20))):
        made[_somewhere(raw, draw)] = draw.randrange(256)
    return bytes(made)


def holed(raw, draw):
    begin = _somewhere(raw, draw)
    return raw[:begin] + raw[begin + draw.choice((1, 2, 7, 60)) :]


def with_nuls(raw, draw):
    begin = _somewhere(raw, draw)
    return raw[:begin] + b"\0" * draw.choice((1, 3)) + raw[begin:]


def _lines(change):
    def corrupted(raw, draw):
        lines = raw.splitlines(keepends=True)
        change(lines, draw)
        return b"".join(lines)

    corrupted.__name__ = change.__name__
    return corrupted


@_lines
def doubled(lines, draw):
    place = draw.randrange(len(lines))
    lines.insert(place, lines[place])


@_lines
def reordered(lines, draw):
    draw.shuffle(lines)


@_lines
def joined(lines, draw):
    place = draw.randrange(len(lines))
    lines[place] = lines[place].rstrip(b"\r\n")


@_lines
def split(lines, draw):
    place = draw.randrange(len(lines))
    cut = draw.randrange(len(lines[place]) + 1)
    lines[place] = lines[place][:cut] + b"\n" + lines[place][cut:]


def swapped(raw, draw):
    """Delimiters for one another."""
    one, other = draw.choice(
        [(b",", b";"), (b",", b"\t"), (b'"', b"'"), (b":", b"="), (b"\n", b"\r"), (b"\n", b"\r\n")]
    )
    return raw.replace(one, other)


def reencoded(raw, draw):
    name = draw.choice(["gb18030", "utf-16", "utf-16-le", "big5", "utf-8-sig", "utf-32"])
    try:
        return raw.decode("utf-8").encode(name, "replace")
    except UnicodeDecodeError:
        return raw[::-1]


def marked(raw, draw):
    """A byte order mark, in front or further on."""
    place = draw.choice((0, 0, _somewhere(raw, draw)))
    return raw[:place] + draw.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"]) + raw[place:]


def repacked(raw, draw):
    """The contents of a packed file damaged inside; another file is packed under its own name."""
    try:
        inside = gzip.decompress(raw)
    except (OSError, EOFError):
        return gzip.compress(raw)
    return gzip.compress(mutated(inside, draw))


WAYS = (truncated, beheaded, mutated, holed, with_nuls, doubled, reordered, joined, split, swapped, reencoded, marked,
        repacked)  # fmt: skip
EACH = 8  # so that every format, in two kinds of files at least, is corrupted in more than 200 ways
CASES = [(format, suffix, way) for format, suffix in PLACES for way in WAYS * EACH]


def test_there_are_many():
    assert min(sum(case[0] == format for case in CASES) for format, _ in PLACES) > 200


def as_written(path):
    """What the rows of a JSONL file say to Python's own lenient parser, by line: the reference for acceptance."""
    said = {}
    for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
        try:
            said[number] = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
        except (ValueError, RecursionError):
            continue
    return said


def check(path, format, rows):
    """One damaged file, read and validated: the rows that the damage did not touch, or None if it is unusable."""
    kind = targets.KIND_OF[format]
    report = validate.check(build.Source(path), kind, build.Reading())
    total = report.ledger.total()
    told = [*report.ledger.details, str(report.unusable or "")]
    assert SECRET not in "".join(told)
    assert all(line.startswith(str(path)) for line in told if line), told
    if report.unusable:
        assert report.unusable.code[:2] in ("E_", "W_")
        return None
    assert total.adds_up()
    known = {repr(row) for row in rows}
    read = [item for item in files.read(path) if isinstance(item, Row)]
    faults = [item for item in files.read(path) if isinstance(item, Fault) and not item.code.startswith("I_")]
    assert len(read) + len(faults) == total.rows
    assert len(report.ledger.rejected) == total.rows - report.usable
    usable = 0
    for item in read:
        try:
            usable += bool(verdict.KINDS[kind](item.value))
        except RowError:
            continue
    assert usable - total.dropped["W_CONTRADICT"] == report.usable
    if path.name.endswith(".jsonl") and "I_JSON_ARRAY" not in total.remarks:
        said = as_written(path)
        assert all(item.value == said[item.origin.line] for item in read)
    if path.suffix in DELIMITERS and not {"I_GB18030", "I_BOM", "I_DELIMITER"} & set(total.remarks):
        # Python's reader would take an empty first line for the header.
        text = io.StringIO(path.read_bytes().decode("utf-8").lstrip("\r\n"), newline="")
        said = [repr(row) for row in csv.DictReader(text, delimiter=DELIMITERS[path.suffix])]
        assert all(repr(item.value) in said for item in read)
    return [item for item in read if repr(item.value) in known]


@pytest.mark.parametrize(("format", "suffix"), PLACES)
def test_corrupted(tmp_path, format, suffix):
    raw, rows, outcomes = whole(tmp_path, format, suffix), rows_of(format), set()
    for seed, way in enumerate(WAYS * EACH):
        draw = random.Random(f"{format}{suffix}{way.__name__}{seed}")
        path = tmp_path / f"f{suffix}"
        path.write_bytes(way(raw, draw))
        untouched = check(path, format, rows)
        outcomes.add(way.__name__ if untouched is None else len(untouched))
    assert len(outcomes) > 1


@pytest.mark.parametrize("way", [doubled, reordered])
def test_lines_that_only_moved_are_all_read(tmp_path, way):
    raw = whole(tmp_path, "alpaca", ".jsonl")
    path = tmp_path / "f.jsonl"
    path.write_bytes(way(raw, random.Random(1)))
    values = [item.value for item in files.read(path)]
    wanted = rows_of("alpaca")
    assert sorted(map(repr, {repr(value) for value in values})) == sorted(map(repr, map(repr, wanted)))
    assert len(values) == ROWS + (way is doubled)


@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_what_is_accepted_is_converted_as_it_stands(tmp_path, suffix):
    raw = whole(tmp_path, "question_answer", suffix)
    for seed in range(12):
        path, output = tmp_path / f"f{suffix}", tmp_path / "out.jsonl"
        path.write_bytes(mutated(raw, random.Random(seed)))
        source = build.Source(path)
        report = validate.check(source, "sft", build.Reading())
        if report.unusable or not report.usable:
            continue
        with writers.opened(output) as write:
            way = convert.Way("messages", ".jsonl")
            account = convert.convert([source], "sft", build.Reading(), way, write)
        convert.verify(output, "messages", account)
        assert (account.written, account.ledger.total().rows) == (report.usable, report.ledger.total().rows)
        accepted = [targets.READ["sft"](item.value, None) for item in files.read(path)
                    if isinstance(item, Row) and not _refused(item.value)]  # fmt: skip
        assert [targets.READ["sft"](item.value, None) for item in files.read(output)] == accepted


def _refused(value):
    try:
        targets.READ["sft"](value, None)
    except RowError:
        return True
    return False


def test_gzip_members_after_one_another_are_one_file(tmp_path):
    raw = whole(tmp_path, "alpaca", ".jsonl")
    path = tmp_path / "f.jsonl.gz"
    packed = io.BytesIO()
    for line in raw.splitlines(keepends=True):
        packed.write(gzip.compress(line))
    path.write_bytes(packed.getvalue())
    assert [item.value for item in files.read(path)] == rows_of("alpaca")
