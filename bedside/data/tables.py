"""CSV and TSV to rows. A row's line is the one it starts on, although a quoted cell may span many."""

import csv
import io
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from bedside.data import compressed, encodings
from bedside.data.rows import Fault, Origin, Row
from bedside.data.strict_json import shown
from bedside.errors import DataError

_NAMES = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
# What hospitals call the columns that Toyhom's tables call ask, answer, title and department.
_CHINESE = {
    "ask": ("问题", "提问", "问", "患者提问", "病人提问", "患者问题", "咨询", "咨询内容", "主诉"),
    "answer": ("回答", "答案", "答复", "答", "医生回答", "医生答复", "医生回复", "回复"),
    "title": ("标题", "主题"),
    "department": ("科室", "所属科室"),
}
LONGEST_CELL = 1_000_000  # characters: a dialogue never is that long, an open quote often is


def _opened(path: Path, encoding: str | None) -> tuple[TextIO, Fault | None]:
    """The file's text as a stream and a remark if it was not plain UTF-8; DataError if it is no text throughout."""
    name, note, error = encodings.settle(path, encoding)
    if error is not None:
        found = encoding or "UTF-8 or Chinese GB18030"
        raise DataError(
            "E_ENCODING",
            f"{path}:{error[1]}",
            f"byte {error[0]} is not {found}; name the file's --encoding, or use iconv",
        )
    stream, _ = encodings.binary(path, encoding)
    return io.TextIOWrapper(stream, name, newline=""), note


def _delimiters(path: Path, header: str) -> tuple[str, str]:
    """What the file's name promises between its cells, and what its header shows: spreadsheets write others too."""
    usual = "\t" if compressed.suffix(path) == ".tsv" else ","
    if usual in header:
        return usual, usual
    return usual, next((mark for mark in _NAMES if mark in header), usual)


def _header(cells: list[str], origin: Origin) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError("E_CSV", str(origin), f"two columns are called {shown(twice)}; rename one")
    return names


def _translated(names: list[str]) -> dict[str, str]:
    """Chinese column names to those that are known, if a question and an answer are among them; else nothing."""
    found = {name: known for known, chinese in _CHINESE.items() for name in names if name in chinese}
    given = list(found.values())
    whole = {"ask", "answer"} <= set(given) and len(set(given)) == len(given) and not set(given) & set(names)
    return found if whole else {}


def read(path: Path, encoding: str | None, columns: list[str] | None) -> Iterator[Row | Fault]:
    """Every row as an object of its cells, read as it is asked for; columns without a name are left out.

    Raises DataError where the file cannot be taken apart (a quote left open, two columns of one name).
    """
    text, note = _opened(path, encoding)
    with text:
        if note:
            yield note
        yield from _rows(path, text, columns)


def _rows(path: Path, text: TextIO, columns: list[str] | None) -> Iterator[Row | Fault]:
    csv.field_size_limit(LONGEST_CELL)
    first_line = text.readline()
    usual, delimiter = _delimiters(path, first_line if columns is None else "")
    if delimiter != usual:
        told = f"cells are separated by {_NAMES[delimiter]}, not by {_NAMES[usual]}"
        yield Fault(Origin(str(path), 1), "I_DELIMITER", told)
    cells = csv.reader(itertools.chain([first_line], text), delimiter=delimiter, strict=True)
    header, start, rows = columns, 0, 0
    while True:
        origin = Origin(str(path), start + 1)
        try:
            row = next(cells, None)
        except csv.Error as error:
            raise DataError(
                "E_CSV", str(origin), f"{error} in the row that starts here; is a quote left open?"
            ) from None
        if row is None:
            break
        first, start = start == 0, cells.line_num
        if not any(cell.strip() for cell in row):
            continue
        if header is None or first and [cell.strip() for cell in row] == columns:
            header = _header(row, origin)
            if columns is None and (known := _translated(header)):
                told = ", ".join(f"{name} is read as {known[name]}" for name in header if name in known)
                yield Fault(origin, "I_HEADER", told)
                header = [known.get(name, name) for name in header]
            continue
        rows += 1
        if len(row) != len(header):
            yield Fault(origin, "E_CSV", f"{len(row)} cells, expected {len(header)}")
        elif "\0" in "".join(row):
            yield Fault(origin, "E_CSV", "holds a NUL byte")
        else:
            yield Row(origin, {name: cell for name, cell in zip(header, row, strict=True) if name})
    if not rows:
        raise DataError("E_EMPTY_FILE", str(path), "no data lines, only a header" if header else "no data lines")
