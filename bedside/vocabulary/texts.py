"""Texts that words are found and counted in: documents, or every text of a row, whatever its format."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.data import files
from bedside.data.rows import Row
from bedside.errors import ConfigError
from bedside.vocabulary.words import lines_of

MOST = 10_000_000  # characters read in all: what they say about words, more text would repeat
_PLAIN = (".txt", ".md")
_ROWS = (".jsonl", ".json", ".csv", ".tsv")


def find(paths: list[str]) -> list[Path]:
    """Text and data files under files and directories; ConfigError where there is none."""
    found = []
    for name in paths:
        path = Path(name)
        if path.is_file():
            found.append(path)
            continue
        inside = sorted(p for p in path.rglob("*") if p.suffix.lower() in (*_PLAIN, *_ROWS)) if path.is_dir() else []
        if not inside:
            what = "no text in this directory" if path.is_dir() else "no such file or directory"
            raise ConfigError(f"{name}: {what}; expected {', '.join((*_PLAIN, *_ROWS))} files")
        found += inside
    return list(dict.fromkeys(found))


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
    if path.suffix.lower() in _ROWS:
        for row in files.read(path, encoding):
            if isinstance(row, Row):
                yield from strings(row.value)
    else:
        for _, text in lines_of(str(path), encoding):
            if text.strip():
                yield text


def read(paths: list[str], encoding: str | None = None) -> dict[str, list[str]]:
    """The texts of each file, up to `MOST` characters in all; a line tells if there was more."""
    found: dict[str, list[str]] = {}
    room = MOST
    for path in find(paths):
        texts = found.setdefault(str(path), [])
        for text in _of_file(path, encoding):
            room -= len(text)
            if room < 0:
                logs.info(f"{path}: words are counted in the first {MOST:,} characters; the rest is not read")
                return found
            texts.append(text)
    return found
