"""Files and directories to rows with their origin. Knows syntax, no schema.

`read(path)` yields a `Row` or a `Fault` for every row of a file, and raises DataError where the whole file is
unusable, before anything expensive has started. Lines end in "\\n" only: U+2028 inside a text is text.
"""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from bedside.data import encodings, strict_json, tables
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import ConfigError, DataError

SUFFIXES = (".jsonl", ".json", ".csv", ".tsv")
LONGEST_LINE = 1_000_000  # characters: a dialogue never is that long, a broken export often is


def find(paths: str | list[str]) -> list[Path]:
    """Data files under files and directories, each once; ConfigError says what is missing and what was found."""
    found: dict[Path, Path] = {}
    for name in [paths] if isinstance(paths, str) else paths:
        path = Path(name)
        for file in [path] if path.is_file() else _inside(path):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _inside(path: Path) -> list[Path]:
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or directory; {_nearby(path)}")
    visible = [p for p in path.rglob("*") if not any(part.startswith(".") for part in p.relative_to(path).parts)]
    inside = sorted(p for p in visible if p.is_file())
    data = [p for p in inside if p.suffix.lower() in SUFFIXES and p.name != "dataset_info.json"]
    if not data:
        seen = ", ".join(p.name for p in inside[:5]) or "nothing"
        raise ConfigError(f"{path}: no data file here; expected {', '.join(SUFFIXES)}, found {seen}")
    return data


def _nearby(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir():
        parent = parent.parent
    names = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))
    return f"{parent}/ holds {', '.join(names[:8]) or 'nothing'}{' ...' if len(names) > 8 else ''}"


def read(path: Path | str, encoding: str | None = None, columns: list[str] | None = None) -> Iterator[Row | Fault]:
    """Every row of one file. `encoding` overrides UTF-8; `columns` names the cells of a CSV without a header."""
    path, encoding = Path(path), encodings.checked(encoding)
    stream, line_encoding = encodings.binary(path, encoding)
    with stream:
        head = stream.read(encodings.SAMPLE)
        encodings.refuse_other_things(path, head, whole=len(head) < encodings.SAMPLE)
        if path.suffix.lower() in (".csv", ".tsv"):
            yield from tables.read(path, encoding, columns)
            return
        stream.seek(0)
        if _is_array(head):
            yield from _read_array(path, stream.read(), line_encoding)
        else:
            yield from _read_lines(path, stream, head, line_encoding)


def _is_array(head: bytes) -> bool:
    """True if the file is one JSON array, and not lines of which the first is a (wrong) list."""
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if text[:1] != b"[":
        return False
    first, _, rest = text.partition(b"\n")
    if not rest.strip():
        return True
    try:
        strict_json.parse(first.decode("utf-8", "replace"))
    except strict_json.JsonFault as fault:
        return "deeply" not in fault.detail
    return False


def _read_lines(path: Path, stream, head: bytes, encoding: str | None) -> Iterator[Row | Fault]:
    file, rows, doubted = str(path), 0, False
    for number, raw in enumerate(stream, 1):
        origin = Origin(file, number)
        if number == 1 and raw.startswith(codecs.BOM_UTF8):
            raw = raw[3:]
            yield Fault(origin, "I_BOM", "byte order mark removed")
        if not raw.strip():
            continue
        rows += 1
        if rows == 1 and raw.strip() == b"{":
            raise DataError("E_JSON", str(origin), "an object over several lines; make it one a line: jq -c . FILE")
        result = _parse_line(origin, raw, encoding or "utf-8")
        if isinstance(result, Fault) and result.code == "E_ENCODING" and encoding is None and not doubted:
            doubted = True
            _refuse_chinese_in_another_encoding(head, result)
        yield result
    if not rows:
        raise DataError("E_EMPTY_FILE", file, "no data lines")


def _parse_line(origin: Origin, raw: bytes, encoding: str) -> Row | Fault:
    try:
        text = raw.decode(encoding).strip("\r\n")
    except UnicodeDecodeError as error:
        return Fault(origin, "E_ENCODING", f"byte {error.start} is not {encoding.upper()}")
    if len(text) > LONGEST_LINE:
        return Fault(origin, "W_LONG", f"line of {len(text)} characters, at most {LONGEST_LINE} are read")
    try:
        return Row(origin, strict_json.parse(text))
    except strict_json.JsonFault as fault:
        return Fault(origin, fault.code, fault.detail)


def _refuse_chinese_in_another_encoding(sample: bytes, fault: Fault) -> None:
    if not encodings.mostly_utf8(sample) and encodings.is_gb18030(sample):
        hint = "it reads as Chinese in GB18030: add --encoding gb18030"
        raise DataError("E_ENCODING", str(fault.origin), f"{fault.detail}; {hint}")


def _decode_array(path: Path, raw: bytes, encoding: str | None) -> str:
    raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        hint = "add --encoding gb18030" if encoding is None and encodings.is_gb18030(raw) else "convert it with iconv"
        found = f"byte {error.start} is not {(encoding or 'utf-8').upper()}"
        raise DataError("E_ENCODING", f"{path}:{line}", f"{found}; {hint}") from None


_SPACE = re.compile(r"[ \t\r\n]*")


def _read_array(path: Path, raw: bytes, encoding: str | None) -> Iterator[Row | Fault]:
    """The items of a JSON array; its line numbers are those of each item's first character."""
    file, text = str(path), _decode_array(path, raw, encoding)
    if path.suffix.lower() == ".jsonl":
        yield Fault(Origin(file, 1), "I_JSON_ARRAY", "the file is one JSON array; rows are named by item number")
    position, line, item, counted = text.index("[") + 1, 1, 0, 0
    while True:
        position = _SPACE.match(text, position).end()
        line, counted = line + text.count("\n", counted, position), position
        if text[position : position + 1] == "]" and not item:
            break
        item += 1
        result, position = _item(text, position, Origin(file, line, item))
        yield result
        position = _SPACE.match(text, position).end()
        line, counted = line + text.count("\n", counted, position), position
        if text[position : position + 1] == "]":
            break
        if position >= len(text):
            raise DataError("E_JSON", f"{file}:{line}", "the array is not closed; the file looks cut off")
        if text[position] != ",":
            raise DataError("E_JSON", f"{file}:{line}", f"no comma after item {item}")
        position += 1
    if rest := text[position + 1 :].strip():
        raise DataError("E_JSON", f"{file}:{line}", f"{len(rest)} characters after the array's end")
    if not item:
        raise DataError("E_EMPTY_FILE", file, "no data lines: the array is empty")


def _item(text: str, position: int, origin: Origin) -> tuple[Row | Fault, int]:
    """One item and where it ends; DataError if not even its end can be told."""
    try:
        value, end = strict_json.parse_at(text, position)
    except strict_json.JsonFault as fault:
        end = strict_json.end_of(text, position)
        if end is None:
            line = fault.line if "column" in fault.detail else origin.line
            raise DataError(fault.code, f"{origin.file}:{line}", f"{fault.detail} (item {origin.item})") from None
        return Fault(origin, fault.code, fault.detail), end
    if end - position > LONGEST_LINE:
        detail = f"item of {end - position} characters, at most {LONGEST_LINE} are read"
        return Fault(origin, "W_LONG", detail), end
    return Row(origin, value), end
