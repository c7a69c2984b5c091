"""A file is written whole or not at all.

sh run_tests.sh tests/test_wholefile.py
"""

import os

import pytest

from bedside import wholefile


def test_a_file_is_written_and_replaced(tmp_path):
    path = tmp_path / "new" / "notes.txt"
    wholefile.write(path, "one\n")
    wholefile.write(path, "两\n")
    assert path.read_bytes() == "两\n".encode()
    assert [found.name for found in path.parent.iterdir()] == ["notes.txt"]


def test_what_stood_there_stays_where_the_new_text_does_not_arrive(tmp_path, monkeypatch):
    path = tmp_path / "notes.txt"
    wholefile.write(path, "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        wholefile.write(path, "new")
    assert path.read_text() == "old"


def test_half_a_character_is_refused_before_anything_is_written(tmp_path):
    path = tmp_path / "notes.txt"
    with pytest.raises(UnicodeEncodeError):
        wholefile.write(path, "fever \ud83d")
    assert list(tmp_path.iterdir()) == []
    wholefile.write(path, "fever \ud83d", "replace")
    assert path.read_text() == "fever ?"


def test_json_is_written_for_people(tmp_path):
    wholefile.write_json(tmp_path / "notes.json", {"name": "糖尿病"})
    assert (tmp_path / "notes.json").read_text(encoding="utf-8") == '{\n "name": "糖尿病"\n}\n'
