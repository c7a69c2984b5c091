"""Finding files, and rows with their true places."""

import json

import pytest

from bedside.data import files
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import ConfigError


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
    with pytest.raises(ConfigError, match="no data file here; expected .jsonl, .json, .csv, .tsv, found nothing"):
        files.find(str(tmp_path / "empty"))
    (tmp_path / "empty" / "rows.parquet").write_text("x")
    with pytest.raises(ConfigError, match="found rows.parquet"):
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


def test_cells_of_a_table(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text('question, answer\n"a, b","say ""c""\nd"\n\n e ,f\n')
    assert rows(path) == [
        Row(Origin(str(path), 2), {"question": "a, b", "answer": 'say "c"\nd'}),
        Row(Origin(str(path), 5), {"question": " e ", "answer": "f"}),
    ]


def test_named_columns(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("a,b\nc,d\n")
    assert [row.value for row in rows(path, columns=["x", "y"])] == [{"x": "a", "y": "b"}, {"x": "c", "y": "d"}]
    assert [row[1] for row in rows(path, columns=["x"])] == ["E_CSV", "E_CSV"]


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
