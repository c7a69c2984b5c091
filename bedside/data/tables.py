"""CSV and TSV to rows. A row's line is the one it starts on, although a quoted cell may span many."""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from bedside.data import encodings
from bedside.data.rows import Fault, Origin, Row
from bedside.data.strict_json import shown
from bedside.errors import DataError

LONGEST_CELL = 1_000_000  # characters: a dialogue never is that long, an open quote often is


def _decode(path: Path, encoding: str | None) -> tuple[str, Fault | None]:
    """The file's text and a remark if it was not plain UTF-8."""
    stream, encoding = encodings.binary(path, encoding)
    with stream:
        raw = stream.read()
    note = None
    if encoding is None and raw.startswith(codecs.BOM_UTF8):
        raw, note = raw[3:], Fault(Origin(str(path), 1), "I_BOM", "byte order mark removed")
    try:
        return raw.decode(encoding or "utf-8"), note
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        if encoding is None and not encodings.mostly_utf8(raw) and encodings.is_gb18030(raw):
            note = Fault(Origin(str(path), 1), "I_GB18030", f"not UTF-8 (byte {error.start}); read as GB18030")
            try:
                return raw.decode("gb18030"), note
            except UnicodeDecodeError as later:
                error, line = later, raw[: later.start].count(b"\n") + 1
        found = encoding or "UTF-8 or Chinese GB18030"
        raise DataError(
            "E_ENCODING",
            f"{path}:{line}",
            f"byte {error.start} is not {found}; name the file's --encoding, or use iconv",
        ) from None


def _header(cells: list[str], origin: Origin) -> list[str]:
    names = [cell.strip() for cell in cells]
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DataError("E_CSV", str(origin), f"two columns are called {shown(twice)}; rename one")
    return names


def read(path: Path, encoding: str | None, columns: list[str] | None) -> Iterator[Row | Fault]:
    """Every row as an object of its cells; columns without a name are left out.

    Raises DataError where the file cannot be taken apart (a quote left open, two columns of one name).
    """
    text, note = _decode(path, encoding)
    if note:
        yield note
    csv.field_size_limit(LONGEST_CELL)
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    cells = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
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
