"""Texts for counting: from rows, documents and packed files alike, and what cannot be read is told."""

import gzip

import pytest

from bedside.errors import ConfigError
from bedside.vocabulary import texts


def test_rows_documents_and_packed_files(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"x": ["一", {"y": "二"}], "n": 3}\n', encoding="utf-8")
    (tmp_path / "b.txt").write_text("三\n\n四\n", encoding="utf-8")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress("五\n".encode()))
    found = texts.read([str(tmp_path)])
    assert list(found.values()) == [["一", "二"], ["三", "四"], ["五"]]
    (tmp_path / "notes.md").write_text("六\n", encoding="utf-8")
    assert list(texts.read([str(tmp_path / "notes.md")]).values()) == [["六"]]


def test_rows_that_cannot_be_read_are_told(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr("bedside.logs.warn", said.append)
    path = tmp_path / "a.jsonl"
    path.write_text('{"x": "一"}\n{"x":\n', encoding="utf-8")
    assert texts.read([str(path)]) == {str(path): ["一"]}
    assert said == [f"{path}: 1 rows could not be read and are left out; validate_jsonl.py {path} names them"]


def test_no_file_is_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="no data file here; expected .*.txt, found nothing"):
        texts.read([str(tmp_path)])
