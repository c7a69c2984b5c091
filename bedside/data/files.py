"""Files and directories to rows with their origin. Knows encodings and syntax, no schema.

`read(path)` yields a `Row` or a `Fault` for every row of a file, and raises DataError where the whole file is
unusable, before anything expensive has started. Lines end in "\\n" only: U+2028 inside a text is text.
"""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bedside.errors import ConfigError, DataError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
LONGEST_LINE = 1_000_000  # characters: a dialogue never is that long, a broken export often is
_SAMPLE = 1 << 20  # bytes looked at to tell an encoding


class Origin(NamedTuple):
    """Where a row stands. `item` counts from 1 inside a JSON array, and is None in files of lines."""

    file: str
    line: int
    item: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.item is None else f"{self.file}:item {self.item}"


class Row(NamedTuple):
    origin: Origin
    value: Any


class Fault(NamedTuple):
    """A row that could not be read (or, with a code that starts with I_, a remark on the file)."""

    origin: Origin
    code: str
    detail: str


def find(paths: str | list[str]) -> list[Path]:
    """Data files under files and directories, sorted; ConfigError says what is missing and what was found."""
    found: list[Path] = []
    for name in [paths] if isinstance(paths, str) else paths:
        path = Path(name)
        if path.is_file():
            found.append(path)
            continue
        if not path.is_dir():
            raise ConfigError(f"{name}: no such file or directory; {_nearby(path)}")
        inside = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
        data = [p for p in inside if p.suffix.lower() in SUFFIXES and p.name != "dataset_info.json"]
        if not data:
            seen = ", ".join(p.name for p in inside[:5]) or "nothing"
            raise ConfigError(f"{name}: no data file here; expected {', '.join(SUFFIXES)}, found {seen}")
        found += data
    return found


def _nearby(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir():
        parent = parent.parent
    names = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))
    return f"{parent}/ holds {', '.join(names[:8]) or 'nothing'}{' ...' if len(names) > 8 else ''}"


def read(path: Path | str, encoding: str | None = None, columns: list[str] | None = None) -> Iterator[Row | Fault]:
    """Every row of one file. `encoding` overrides UTF-8; `columns` names the cells of a CSV without a header."""
    path = Path(path)
    with path.open("rb") as stream:
        head = stream.read(_SAMPLE)
    _refuse_other_things(path, head, encoding)
    if path.suffix.lower() in (".csv", ".tsv"):
        yield from _read_csv(path, encoding, columns)
    elif head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[":
        yield from _read_array(path, encoding)
    else:
        yield from _read_lines(path, head, encoding)


def _refuse_other_things(path: Path, head: bytes, encoding: str | None) -> None:
    """Raise DataError for what is no text file of rows at all."""
    where = str(path)
    if not head.strip().removeprefix(codecs.BOM_UTF8).strip():
        raise DataError("E_EMPTY_FILE", where, "no data lines")
    if head.startswith(b"version https://git-lfs"):
        raise DataError("E_LFS", f"{where}:1", "is a Git LFS pointer, not the data; run `git lfs pull`")
    if head.startswith(b"\x1f\x8b"):
        raise DataError("E_ENCODING", f"{where}:1", "byte 0: the file is gzip; run `gunzip` on it first")
    if head.startswith(b"\x28\xb5\x2f\xfd"):
        raise DataError("E_ENCODING", f"{where}:1", "byte 0: the file is zstd; run `zstd -d` on it first")
    if encoding is None and (head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or head[:200].count(b"\0") > 40):
        raise DataError(
            "E_ENCODING", f"{where}:1", "byte 0: the file looks like UTF-16; convert it: iconv -f UTF-16 -t UTF-8"
        )
    if re.match(rb"\s*(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body)", head, re.IGNORECASE):
        raise DataError("E_JSON", f"{where}:1", "the file is an HTML page, not data; download the raw file")


def _cjk_share(text: str) -> float:
    letters = [c for c in text if not c.isspace()]
    return sum("\u4e00" <= c <= "\u9fff" for c in letters) / max(1, len(letters))


def _is_gb18030(head: bytes) -> bool:
    """True if the sample decodes strictly as GB18030 and reads as Chinese (at least 10 % of its characters)."""
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(head, final=False)
    except UnicodeDecodeError:
        return False
    return _cjk_share(text) >= 0.10


def _mostly_utf8(head: bytes) -> bool:
    """True if at least half of the sample's non-ASCII lines are UTF-8: then a bad byte is that line's fault."""
    lines = [line for line in head.split(b"\n")[:-1] or [head] if not line.isascii()]
    good = 0
    for line in lines:
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            continue
    return bool(lines) and 2 * good >= len(lines)


def _read_lines(path: Path, head: bytes, encoding: str | None) -> Iterator[Row | Fault]:
    file, rows, first_error = str(path), 0, None
    with path.open("rb") as stream:
        for number, raw in enumerate(stream, 1):
            if number == 1 and raw.startswith(codecs.BOM_UTF8):
                raw = raw[3:]
                yield Fault(Origin(file, 1), "I_BOM", "byte order mark removed")
            if not raw.strip():
                continue
            rows += 1
            result = _parse_line(Origin(file, number), raw, head, encoding)
            if isinstance(result, Fault) and result.code == "E_JSON":
                first_error = first_error or result
                if rows == 1 and raw.strip() in (b"{", b"["):
                    raise DataError(
                        "E_JSON", str(result.origin), "an object over several lines; make it one a line: jq -c . FILE"
                    )
            yield result


def _parse_line(origin: Origin, raw: bytes, head: bytes, encoding: str | None) -> Row | Fault:
    try:
        text = raw.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is None and not _mostly_utf8(head):
            kind = "it reads as Chinese in GB18030: add --encoding gb18030" if _is_gb18030(head) else "try iconv"
            raise DataError("E_ENCODING", str(origin), f"byte {error.start} is not UTF-8; {kind}") from None
        return Fault(origin, "E_ENCODING", f"byte {error.start} is not {encoding or 'UTF-8'}")
    except LookupError:
        raise ConfigError(f"--encoding {encoding}: unknown encoding; known ones: utf-8, gb18030, gbk, big5") from None
    if len(text) > LONGEST_LINE:
        return Fault(origin, "W_LONG", f"line of {len(text)} characters, at most {LONGEST_LINE} are read")
    return parse_json(text.strip("\r\n"), origin)


class _Syntax(Exception):
    def __init__(self, code: str, detail: str):
        self.code, self.detail = code, detail


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _Syntax("E_DUPKEY", f"key '{key}' twice in one object")
            seen.add(key)
    return row


def _no_nan(name: str) -> None:
    raise _Syntax("E_NAN", f"{name} is not JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_nan)
_SURROGATE = re.compile("[\ud800-\udfff]")


def parse_json(text: str, origin: Origin) -> Row | Fault:
    """One JSON text, strictly: no NaN, no duplicate keys, no lone surrogates."""
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        return Fault(origin, "E_JSON", f"{error.msg} at column {error.colno}")
    except RecursionError:
        return Fault(origin, "E_JSON", "nested too deeply")
    except _Syntax as error:
        return Fault(origin, error.code, error.detail)
    # A lone \ud83d parses, and crashes the tokenizer an hour later. Pairs are joined by the parser.
    if "\\ud" in text.lower() and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        return Fault(origin, "E_SURROGATE", "a lone surrogate escape (half a character)")
    return Row(origin, value)


def _read_array(path: Path, encoding: str | None) -> Iterator[Row | Fault]:
    """The items of a JSON array; its line numbers are those of each item's first character."""
    file = str(path)
    try:
        text = path.read_bytes().removeprefix(codecs.BOM_UTF8).decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        head = error.object[: error.start]
        hint = "add --encoding gb18030" if _is_gb18030(error.object[:_SAMPLE]) else "convert it with iconv"
        line = head.count(b"\n") + 1
        raise DataError("E_ENCODING", f"{file}:{line}", f"byte {error.start} is not UTF-8; {hint}") from None
    if path.suffix.lower() == ".jsonl":
        yield Fault(Origin(file, 1), "I_JSON_ARRAY", "the file is one JSON array; rows are named by item number")
    skip = re.compile(r"[\s,]*")
    position, line, item, counted = text.index("[") + 1, 1, 0, 0
    while True:
        position = skip.match(text, position).end()
        line += text.count("\n", counted, position)
        counted = position
        if position >= len(text):
            raise DataError("E_JSON", f"{file}:{line}", "the array is not closed; the file looks cut off")
        if text[position] == "]":
            break
        item += 1
        origin = Origin(file, line, item)
        try:
            value, position = _DECODER.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise DataError("E_JSON", f"{file}:{error.lineno}", f"{error.msg} at column {error.colno}") from None
        except RecursionError:
            raise DataError("E_JSON", str(origin), "nested too deeply") from None
        except _Syntax as error:
            yield Fault(origin, error.code, error.detail)
            position = json.JSONDecoder().raw_decode(text, position)[1]
            continue
        if _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
            yield Fault(origin, "E_SURROGATE", "a lone surrogate escape (half a character)")
        else:
            yield Row(origin, value)
    rest = text[position + 1 :].strip()
    if rest:
        raise DataError("E_JSON", f"{file}:{line}", f"{len(rest)} characters after the array's end")


def _decode_csv(path: Path, encoding: str | None) -> tuple[str, Fault | None]:
    raw = path.read_bytes()
    if encoding:
        return raw.decode(encoding), None
    if raw.startswith(codecs.BOM_UTF8):
        return raw[3:].decode("utf-8"), Fault(Origin(str(path), 1), "I_BOM", "byte order mark removed")
    try:
        return raw.decode("utf-8"), None
    except UnicodeDecodeError as error:
        note = Fault(Origin(str(path), 1), "I_GB18030", f"not UTF-8 (byte {error.start}); read as GB18030")
        if _is_gb18030(raw):
            return raw.decode("gb18030"), note
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            "E_ENCODING", f"{path}:{line}", f"byte {error.start} is neither UTF-8 nor Chinese GB18030; name --encoding"
        ) from None


def _read_csv(path: Path, encoding: str | None, columns: list[str] | None) -> Iterator[Row | Fault]:
    file = str(path)
    try:
        text, note = _decode_csv(path, encoding)
    except UnicodeDecodeError as error:
        raise DataError("E_ENCODING", file, f"byte {error.start} is not {encoding}") from None
    if note:
        yield note
    csv.field_size_limit(LONGEST_LINE)
    cells = csv.reader(
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ",", strict=True
    )
    header, start = columns, 0
    while True:
        try:
            row = next(cells, None)
        except csv.Error as error:
            raise DataError(
                "E_CSV", f"{file}:{start + 1}", f"{error} in the row that starts here; is a quote left open?"
            ) from None
        if row is None:
            return
        origin, start = Origin(file, start + 1), cells.line_num
        if not any(cell.strip() for cell in row):
            continue
        if header is None:
            header = [cell.strip() for cell in row]
        elif len(row) != len(header):
            yield Fault(origin, "E_CSV", f"{len(row)} cells, expected {len(header)} ({', '.join(header)})")
        elif "\0" in "".join(row):
            yield Fault(origin, "E_CSV", "holds a NUL byte")
        else:
            yield Row(origin, dict(zip(header, row, strict=True)))
