"""Texts that words are found and counted in: documents, or every text of a row, whatever its format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.data import files
from bedside.data.rows import Fault

MOST = 10_000_000  # characters read in all: what they say about words, more text would repeat


def strings(value: Any) -> Iterator[str]:
    """Every text in a row."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)


def _of_file(path: Path, encoding: str | None) -> Iterator[str]:
    """Every text of a data file, or every line of another; a line tells how many rows could not be read."""
    read, faults = files.read if files.suffix(path) in files.SUFFIXES else files.read_text, 0
    for item in read(path, encoding):
        if not isinstance(item, Fault):
            yield from strings(item.value)
        elif not item.code.startswith("I_"):
            faults += 1
    if faults:
        logs.warn(f"{path}: {faults} rows could not be read and are left out; validate_jsonl.py {path} names them")


def read(paths: list[str], encoding: str | None = None) -> dict[str, list[str]]:
    """The texts of each file, up to `MOST` characters in all; a line tells if there was more.

    Raises ConfigError where there is no file.
    """
    found: dict[str, list[str]] = {}
    room = MOST
    for path in files.find(paths, texts=True):
        texts = found.setdefault(str(path), [])
        for text in _of_file(path, encoding):
            room -= len(text)
            if room < 0:
                logs.info(f"{path}: words are counted in the first {MOST:,} characters; the rest is not read")
                return found
            texts.append(text)
    return found
