"""Rows to a file whose suffix says how: lines, an array, a table, parquet or documents; packed with .gz or .zst.

A file has its name only when it is complete. What a kind of file cannot hold is a RowError E_PLACE of that row,
raised by `check` before anything is written.
"""

import csv
import gzip
import io
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from bedside.data import compressed, lines, tables
from bedside.data.conversation import RowError
from bedside.errors import ConfigError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv", ".parquet", ".txt")
TABLES = (".csv", ".tsv")
_ROWS = 1000  # of parquet, held at once
Write = Callable[[dict], None]


def checked(path: str, inputs: list[Path], overwrite: bool, flag: str = "--output_file") -> Path:
    """`path` if it can be written without harm; ConfigError if it is an input, is there, or has another suffix."""
    output = Path(path)
    if compressed.suffix(output) not in SUFFIXES:
        expected = f"expected a name that ends in {', '.join(SUFFIXES)}"
        raise ConfigError(f"{flag} {path or '(not given)'}: {expected}")
    if compressed.is_packed(output) and compressed.suffix(output) == ".parquet":
        raise ConfigError(f"{flag} {path}: parquet is packed inside; leave {output.suffix} away")
    if output.resolve() in {file.resolve() for file in inputs}:
        raise ConfigError(f"{flag} {path}: is also an input; nothing is written over what is read")
    if output.exists() and not overwrite:
        raise ConfigError(f"{flag} {path}: is there already; --overwrite_output_file replaces it")
    return output


def check(row: dict, suffix: str) -> None:
    """Raise RowError E_PLACE if a file of this kind cannot hold the row so that it is read back equal."""
    if suffix == ".txt":
        _check_document(row)
        return
    if suffix in TABLES:
        for name, value in row.items():
            if not isinstance(value, str):
                raise RowError("E_PLACE", f"{name} is no text, which is all that a table holds; write .jsonl")
            if "\0" in value:
                raise RowError("E_PLACE", f"{name} holds a NUL character, which no table can")
            if len(value) > tables.LONGEST_CELL:
                raise RowError(
                    "E_PLACE", f"{name} has {len(value)} characters, at most {tables.LONGEST_CELL} are read"
                )
    elif suffix == ".parquet":
        for name, value in row.items():
            if isinstance(value, dict):
                raise RowError("E_PLACE", f"{name} is an object, whose keys parquet makes columns; write .jsonl")
    elif (size := len(text_of(row))) > lines.LONGEST:
        raise RowError("E_PLACE", f"the row takes {size} characters, at most {lines.LONGEST} are read")


def _check_document(row: dict) -> None:
    text = row.get("text")
    if row.keys() != {"text"} or not isinstance(text, str):
        raise RowError("E_PLACE", "a .txt file holds documents only; use --to text, or write .jsonl")
    if "\n" in text or "\0" in text or text != text.strip("\r\n"):
        raise RowError("E_PLACE", "text holds line ends, and a .txt file holds one document a line; write .jsonl")


def text_of(value: Any) -> str:
    """A value as one line of JSON."""
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def opened(path: Path) -> Iterator[Write]:
    """A function that writes rows into `path`, which is there once the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".unfinished")
    kind = compressed.suffix(path)
    try:
        with unfinished.open("wb") as raw, _packing(path, raw) as stream, _WAYS[kind](stream, path) as write:
            yield write
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def _packing(path: Path, raw: BinaryIO) -> Iterator[BinaryIO]:
    suffix = path.suffix.lower()
    if suffix == ".gz":
        with gzip.GzipFile(fileobj=raw, mode="wb", mtime=0, filename="") as stream:
            yield stream
    elif suffix == ".zst":
        try:
            import zstandard
        except ImportError:
            raise ConfigError(f"{path}: writing .zst needs a library: pip install zstandard") from None
        with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as stream:
            yield stream
    else:
        yield raw


@contextmanager
def _lines(stream: BinaryIO, _path: Path) -> Iterator[Write]:
    yield lambda row: stream.write(f"{text_of(row)}\n".encode())


@contextmanager
def _array(stream: BinaryIO, _path: Path) -> Iterator[Write]:
    begun = False

    def write(row: dict) -> None:
        nonlocal begun
        stream.write(f"{',' if begun else '['}\n{text_of(row)}".encode())
        begun = True

    yield write
    stream.write(b"\n]\n" if begun else b"[]\n")


@contextmanager
def _documents(stream: BinaryIO, _path: Path) -> Iterator[Write]:
    yield lambda row: stream.write(f"{row['text']}\n".encode())


@contextmanager
def _waiting(path: Path) -> Iterator[tuple[Write, Callable[[], Iterator[dict]]]]:
    """What takes rows, and what gives them back once all are there: the columns of a table are those of all rows."""
    waiting = path.with_name(path.name + ".waiting")

    def rows() -> Iterator[dict]:
        with waiting.open(encoding="utf-8", newline="\n") as held:
            yield from map(json.loads, held)

    try:
        with waiting.open("w", encoding="utf-8", newline="\n") as held:

            def write(row: dict) -> None:
                held.write(f"{text_of(row)}\n")
                held.flush()

            yield write, rows
    finally:
        waiting.unlink(missing_ok=True)


@contextmanager
def _cells(stream: BinaryIO, path: Path) -> Iterator[Write]:
    with _waiting(path) as (write, rows):
        yield write
        names = dict.fromkeys(name for row in rows() for name in row)
        text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
        delimiter = "\t" if compressed.suffix(path) == ".tsv" else ","
        table = csv.DictWriter(text, list(names), "", delimiter=delimiter, lineterminator="\n", quoting=csv.QUOTE_ALL)
        if names:
            table.writeheader()
        table.writerows(rows())
        text.detach()


def _batches(rows: Iterator[dict]) -> Iterator[list[dict]]:
    while batch := list(itertools.islice(rows, _ROWS)):
        yield batch


@contextmanager
def _columns(stream: BinaryIO, path: Path) -> Iterator[Write]:
    import pyarrow
    from pyarrow import parquet

    with _waiting(path) as (write, rows):
        yield write
        schema = pyarrow.schema([])
        try:
            for batch in _batches(rows()):
                names = dict.fromkeys(name for row in batch for name in row)  # pyarrow takes those of the first row
                own = pyarrow.Table.from_pylist([{**dict.fromkeys(names), **row} for row in batch]).schema
                schema = pyarrow.unify_schemas([schema, own], promote_options="permissive")
            with parquet.ParquetWriter(stream, schema) as writer:
                for batch in _batches(rows()):
                    writer.write_table(pyarrow.Table.from_pylist(batch, schema=schema))
        except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError):
            raise ConfigError(f"{path}: the rows have fields of different types; write .jsonl") from None


_WAYS: dict[str, Callable[[BinaryIO, Path], Any]] = {
    ".jsonl": _lines,
    ".json": _array,
    ".csv": _cells,
    ".tsv": _cells,
    ".parquet": _columns,
    ".txt": _documents,
}
