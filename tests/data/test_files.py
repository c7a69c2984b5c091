"""Finding files, and rows with their true places."""

import gzip
import json
import random

import pytest
import zstandard

from bedside.data import arrays, encodings, files, lines
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import ConfigError, DataError

PACK = {"gz": gzip.compress, "zst": zstandard.ZstdCompressor().compress}


def rows(path, **kwargs):
    return list(files.read(path, **kwargs))


def test_find_takes_data_files_below_a_directory_once(tmp_path):
    for name in ("b.jsonl", "a.json", "deep/c.CSV", "deep/d.tsv", "readme.md", "dataset_info.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    for name in (".hidden.jsonl", ".cache/e.jsonl", "deep/.ipynb_checkpoints/f.jsonl"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "again.jsonl").symlink_to(tmp_path / "b.jsonl")
    found = [str(path.relative_to(tmp_path)) for path in files.find([str(tmp_path), str(tmp_path / "a.json")])]
    assert found == ["a.json", "again.jsonl", "deep/c.CSV", "deep/d.tsv"]


def test_packed_columnar_and_text_files_below_a_directory(tmp_path):
    for name in (
        "a.jsonl.gz",
        "b.CSV.zst",
        "c.parquet",
        "d.arrow",
        "e.parquet.gz",
        "f.gz",
        "g.jsonl.bz2",
        "notes.txt",
    ):
        (tmp_path / name).write_text("x")
    assert [path.name for path in files.find(str(tmp_path))] == ["a.jsonl.gz", "b.CSV.zst", "c.parquet", "d.arrow"]
    assert [path.name for path in files.find(str(tmp_path), texts=True)][-1] == "notes.txt"
    assert files.find(str(tmp_path / "notes.txt")) == [tmp_path / "notes.txt"]


def test_an_explicit_file_may_have_any_name(tmp_path):
    (tmp_path / "rows").write_text('{"a": 1}\n')
    assert files.find(str(tmp_path / "rows")) == [tmp_path / "rows"]
    assert rows(tmp_path / "rows") == [Row(Origin(str(tmp_path / "rows"), 1), {"a": 1})]


def test_what_is_not_there_is_told_with_what_is(tmp_path):
    (tmp_path / "train.jsonl").write_text("{}")
    with pytest.raises(
        ConfigError, match=rf"{tmp_path}/tarin.jsonl: no such file or directory; {tmp_path}/ holds train"
    ):
        files.find(str(tmp_path / "tarin.jsonl"))
    with pytest.raises(ConfigError, match=rf"no such file or directory; {tmp_path}/ holds train.jsonl"):
        files.find(str(tmp_path / "no" / "such" / "x"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="expected .jsonl, .json, .csv, .tsv, .parquet, .arrow, found nothing"):
        files.find(str(tmp_path / "empty"))
    (tmp_path / "empty" / "rows.xlsx").write_text("x")
    with pytest.raises(ConfigError, match="found rows.xlsx"):
        files.find(str(tmp_path / "empty"))


def test_lines_are_numbered_as_an_editor_numbers_them(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('\n{"a": "x\u2028y"}\n\n  \n{"a": 2}\r\n{"a"\n', encoding="utf-8")
    found = rows(path)
    assert [(item.origin.line, type(item)) for item in found] == [(2, Row), (5, Row), (6, Fault)]
    assert found[0].value == {"a": "x\u2028y"}
    assert str(found[1].origin) == f"{path}:5"
    assert found[2][1:] == ("E_JSON", "Expecting ':' delimiter at column 5")


def test_items_of_an_array_know_their_line_and_number(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text('[{"a": 1},\n\n {"a":\n 2},\n {"a": 3}\n]\n')
    found = rows(path)
    assert [(item.origin.line, item.origin.item) for item in found] == [(1, 1), (3, 2), (5, 3)]
    assert str(found[2].origin) == f"{path}:5 (item 3)"
    assert rows(tmp_path / "rows.json") == found


def test_a_pretty_array_is_read_whole(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"a": {"b": [1, 2]}}, {"a": "]"}], indent=2))
    assert [item.value for item in rows(path)] == [{"a": {"b": [1, 2]}}, {"a": "]"}]
    assert [item.origin.line for item in rows(path)] == [2, 10]


@pytest.mark.parametrize("encoding", ["gb18030", "utf-16", "utf-8-sig", "big5"])
@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_a_named_encoding(tmp_path, encoding, suffix):
    path = tmp_path / f"rows.{suffix}"
    row = {"question": "頭痛", "answer": "多休息"}
    text = {"jsonl": json.dumps(row, ensure_ascii=False) + "\n" * 2, "json": json.dumps([row], ensure_ascii=False)}
    path.write_bytes(text.get(suffix, "question,answer\n頭痛,多休息\n").encode(encoding))
    assert [item.value for item in rows(path, encoding=encoding) if isinstance(item, Row)] == [row]


def test_a_bad_byte_far_into_a_large_file_is_that_line_alone(tmp_path):
    path = tmp_path / "rows.jsonl"
    line = json.dumps({"a": "长" * 300}, ensure_ascii=False).encode() + b"\n"
    path.write_bytes(line * 1300 + b'{"a": "\xff"}\n' + line)
    assert path.stat().st_size > 1 << 20
    found = rows(path)
    assert len(found) == 1302
    assert [item[1:] for item in found if isinstance(item, Fault)] == [("E_ENCODING", "byte 7 is not UTF-8")]


def test_a_megabyte_of_blank_lines_is_not_an_empty_file(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"\n" * ((1 << 20) + 5) + b'{"a": 1}\n')
    assert [row.origin.line for row in rows(path)] == [(1 << 20) + 6]


def test_many_bad_lines_take_no_longer_than_good_ones(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes((b'{"a": "' + b"x" * 200 + b'"}\n' + b'{"a": "\xe9"}\n') * 10_000)
    assert sum(isinstance(item, Fault) for item in files.read(path)) == 10_000


def items(count, indent=None):
    """A JSON array of rows that are not alike, and them."""
    made = [{"a": "长" * (number % 50), "b": [number, None]} for number in range(count)]
    return made, json.dumps(made, indent=indent, ensure_ascii=False).encode()


@pytest.mark.parametrize("indent", [None, 1])
def test_an_array_larger_than_what_is_held_of_it(tmp_path, monkeypatch, indent):
    monkeypatch.setattr(encodings, "SAMPLE", 1 << 12)
    monkeypatch.setattr(arrays, "_AHEAD", 1 << 12)
    monkeypatch.setattr(lines, "LONGEST", 1 << 11)
    made, raw = items(2000, indent)
    path = tmp_path / "rows.json"
    path.write_bytes(raw)
    found = rows(path)
    assert [item.value for item in found] == made
    assert found[-1].origin.item == 2000
    first_lines = [number for number, line in enumerate(raw.split(b"\n"), 1) if line == b" {"]
    assert [item.origin.line for item in found] == (first_lines if indent else [1] * 2000)


def test_faults_far_into_an_array_are_told_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(encodings, "SAMPLE", 1 << 12)
    monkeypatch.setattr(arrays, "_AHEAD", 1 << 12)
    monkeypatch.setattr(lines, "LONGEST", 1 << 10)
    _, raw = items(1000)
    path = tmp_path / "rows.json"
    path.write_bytes(raw[:-1] + b', {"a": NaN}, {"b": "' + b"x" * 9000 + b'"}, {"c": 1')
    found, faults = files.read(path), []
    with pytest.raises(DataError, match=r"E_JSON .*at column (\d+) \(item 1003\)") as error:
        faults += [item for item in found if isinstance(item, Fault)]
    column = int(error.value.detail.split("column ")[1].split()[0])
    assert column == len(path.read_text(encoding="utf-8")) + 1
    path.write_bytes(path.read_bytes() + b"}]")
    faults = [item for item in rows(path) if isinstance(item, Fault)]
    assert [(item.origin.item, item.code) for item in faults] == [(1001, "E_NAN"), (1002, "W_LONG")]
    path.write_bytes(raw[:60_000] + b"\xff" + raw[60_000:])
    with pytest.raises(DataError, match=r"rows.json:1: E_ENCODING byte \d+ is not UTF-8; convert it with iconv"):
        rows(path)


def test_a_line_of_any_size_is_counted_and_passed_over(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"a": 1}\n"' + "长".encode() * 3_000_000 + b'"\n{"a": 2}\n')
    assert [(item.origin.line, item[1]) for item in rows(path)] == [(1, {"a": 1}), (2, "W_LONG"), (3, {"a": 2})]
    assert rows(path)[1].detail == "line of 3000002 characters, at most 1000000 are read"


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("inner", ["jsonl", "json", "csv", "txt"])
def test_packed_files_read_as_what_is_in_them(tmp_path, inner, suffix):
    made = {"jsonl": '{"a": "长"}\n\n{"a": "b"}\n', "json": '[{"a": "长"},\n\n{"a": "b"}]', "csv": "a\n长\n\nb\n"}
    plain, packed = tmp_path / f"rows.{inner}", tmp_path / f"rows.{inner}.{suffix}"
    plain.write_text(made.get(inner, "长\n\nb\n"), encoding="utf-8")
    packed.write_bytes(PACK[suffix](plain.read_bytes()))
    assert [item.origin.file for item in rows(packed)] == [str(packed)] * 2
    assert [(i.origin[1:], i.value) for i in rows(packed)] == [(i.origin[1:], i.value) for i in rows(plain)]
    packed.write_bytes(PACK[suffix](b'{"a": 1}\n') + PACK[suffix](b'{"a": 2}\n'))  # two frames are one file
    assert len(rows(packed)) == (2 if inner != "csv" else 1)


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("inner", ["jsonl", "json", "csv", "txt"])
def test_a_packed_file_that_is_cut_off_names_the_row_reached(tmp_path, inner, suffix):
    rng = random.Random(1)
    texts = ["".join(rng.choices("abcdefgh", k=100)) for _ in range(20_000)]
    lines = {"jsonl": [f'{{"a": "{text}"}}\n' for text in texts], "csv": ["a\n", *(text + "\n" for text in texts)]}
    plain = "".join(lines.get(inner, [text + "\n" for text in texts])).encode()
    raw = PACK[suffix](json.dumps([{"a": text} for text in texts], indent=1).encode() if inner == "json" else plain)
    path = tmp_path / f"rows.{inner}.{suffix}"
    path.write_bytes(raw[: 9 * len(raw) // 10])
    read = []
    with pytest.raises(DataError, match=r"E_ARCHIVE .* ends early; the file is cut off \(after ") as error:
        for item in files.read(path):
            read.append(item)
    assert len(read) > 1000 and error.value.where == str(read[-1].origin)
    path.write_bytes(b"no archive at all")
    with pytest.raises(DataError, match=r"E_ARCHIVE the packed data is damaged .*no row could be read"):
        rows(path)


def test_a_packed_file_in_another_encoding(tmp_path):
    path = tmp_path / "rows.csv.gz"
    path.write_bytes(gzip.compress("question,answer\n发热怎么办,多休息\n".encode("gbk")))
    assert [item[1] for item in rows(path)] == ["I_GB18030", {"question": "发热怎么办", "answer": "多休息"}]
    (tmp_path / "page.jsonl.gz").write_bytes(gzip.compress(b"<html>"))
    with pytest.raises(DataError, match="HTML page"):
        rows(tmp_path / "page.jsonl.gz")


DOCUMENTS = "一\n二 \n\n \n三\n四"


def test_documents_of_plain_text(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_text(DOCUMENTS, encoding="utf-8")
    assert [(i.origin.line, i.value["text"]) for i in rows(path)] == [(1, "一"), (2, "二 "), (5, "三"), (6, "四")]
    joined = [(1, "一\n二 "), (5, "三\n四")]
    assert [(i.origin.line, i.value["text"]) for i in rows(path, documents="blank_line")] == joined
    path.write_bytes(("\ufeff" + DOCUMENTS * 9).encode())
    assert [item[1] for item in rows(path)][:2] == ["I_BOM", {"text": "一"}]
    path.write_bytes(DOCUMENTS.encode("gb18030"))
    assert [item[1] for item in rows(path)][:2] == ["I_GB18030", {"text": "一"}]
    path.write_bytes(DOCUMENTS.encode("utf-16"))
    assert rows(path, encoding="utf-16")[3].value == {"text": "四"}
    with pytest.raises(ConfigError, match="--txt_documents x: expected line or blank_line"):
        rows(path, encoding="utf-16", documents="x")


def test_text_that_cannot_be_read(tmp_path):
    path = tmp_path / "rows.txt"
    path.write_bytes("发热\n咳嗽\n".encode() * 20 + b"caf\xe9\n\nn\0l\nend")
    found = [(item.origin.line, *item[1:3]) for item in rows(path) if isinstance(item, Fault)]
    assert found == [(41, "E_ENCODING", "byte 3 is not UTF-8"), (43, "E_ENCODING", "holds a NUL byte")]
    found = rows(path, documents="blank_line")
    assert [(item.origin.line, item[1]) for item in found] == [(41, "E_ENCODING"), (43, "E_ENCODING")]
    path.write_text("\n \n")
    with pytest.raises(DataError, match="E_EMPTY_FILE no data lines"):
        rows(path)
    path.write_text("ab\n" * 400_000)
    assert [item[1:3] for item in rows(path, documents="blank_line")] == [
        ("W_LONG", "document of 1199999 characters, at most 1000000 are read")
    ]
