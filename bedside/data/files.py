"""Files and directories to rows with their origin. Knows syntax, no schema.

`read(path)` yields a `Row` or a `Fault` for every row of a file, and raises DataError where the whole file is
unusable. Rows are read as they are asked for, so that memory does not grow with the file. Lines end in "\\n" only:
U+2028 inside a text is text.
"""

import codecs
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bedside.data import arrays, columnar, compressed, encodings, lines, strict_json, tables, texts
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import ConfigError, DataError

TABLES = (".csv", ".tsv")
TEXTS = (".txt",)
SUFFIXES = (".jsonl", ".json", *TABLES, *columnar.SUFFIXES)  # of files of rows; TEXTS hold documents
_PACKABLE = (".jsonl", ".json", *TABLES, *TEXTS)
_ACCOUNTS = ".ledger"  # of folders in which a command lists what became of rows
_NOT_ROWS = ("dataset_info.json", "state.json", "dataset_dict.json")


def suffix(path: Path | str) -> str:
    """The suffix that tells how a file is read: `.jsonl` of `rows.jsonl.gz`."""
    return compressed.suffix(path)


def find(paths: str | list[str], texts: bool = False, split: str | None = None) -> list[Path]:
    """Data files under files and directories, each once; ConfigError says what is missing and what was found.

    A folder written by `save_to_disk` gives its shards, of a dictionary of splits those of `split` (default: train).
    In other directories `.txt` files count only with `texts`: beside rows they are mostly notes.
    """
    found: dict[Path, Path] = {}
    for name in [paths] if isinstance(paths, str) else paths:
        path = Path(name)
        for file in [path] if path.is_file() else _inside(path, texts, split):
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _inside(path: Path, texts: bool, split: str | None) -> list[Path]:
    if not path.is_dir():
        raise ConfigError(f"{path}: no such file or directory; {_nearby(path)}")
    seen: list[Path] = []
    data = _data_files(path, texts, split, seen)
    if not data:
        names = ", ".join(p.name for p in sorted(seen)[:5]) or "nothing"
        wanted = SUFFIXES + (TEXTS if texts else ())
        raise ConfigError(f"{path}: no data file here; expected {', '.join(wanted)}, found {names}")
    return data


def _data_files(directory: Path, texts: bool, split: str | None, seen: list[Path]) -> list[Path]:
    """The data files below a directory in order of their paths; every file is added to `seen`."""
    if columnar.is_saved(directory):
        return columnar.shards(directory, split)
    data: list[Path] = []
    for path in sorted(directory.iterdir()):
        if path.name.startswith(".") or path.suffix == _ACCOUNTS:
            continue
        if path.is_dir() and not path.is_symlink():
            data += _data_files(path, texts, split, seen)
        elif path.is_file():
            seen.append(path)
            known = suffix(path) in (_PACKABLE if compressed.is_packed(path) else SUFFIXES + TEXTS)
            if known and path.name not in _NOT_ROWS and (texts or suffix(path) not in TEXTS):
                data.append(path)
    return data


def _nearby(path: Path) -> str:
    parent = path.parent
    while not parent.is_dir():
        parent = parent.parent
    names = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))
    return f"{parent}/ holds {', '.join(names[:8]) or 'nothing'}{' ...' if len(names) > 8 else ''}"


def read(
    path: Path | str, encoding: str | None = None, columns: list[str] | None = None, documents: str = "line"
) -> Iterator[Row | Fault]:
    """Every row of one file. `encoding` overrides UTF-8; `columns` names the cells of a CSV without a header;
    `documents` says how a .txt file is divided: `line` or `blank_line`."""
    path = Path(path)
    if path.is_dir():
        for file in find(str(path), texts=True):
            yield from read(file, encoding, columns, documents)
    else:
        yield from _told(path, _read(path, suffix(path), encodings.checked(encoding), columns, documents))


def read_text(path: Path | str, encoding: str | None = None, documents: str = "line") -> Iterator[Row | Fault]:
    """Every document of one file of plain text, whatever it is called."""
    yield from _told(Path(path), _read(Path(path), TEXTS[0], encodings.checked(encoding), None, documents))


def _told(path: Path, items: Iterator[Row | Fault]) -> Iterator[Row | Fault]:
    """The items; DataError that names the row reached if the packed file ends early or is damaged."""
    origin = None
    try:
        for item in items:
            origin = item.origin
            yield item
    except compressed.Broken as error:
        reached = f"after {origin}" if origin else "no row could be read"
        raise DataError("E_ARCHIVE", str(origin or path), f"{error} ({reached}); fetch the file again") from None


def _read(
    path: Path, kind: str, encoding: str | None, columns: list[str] | None, documents: str
) -> Iterator[Row | Fault]:
    if kind in columnar.SUFFIXES:
        if compressed.is_packed(path):
            raise DataError("E_ARCHIVE", str(path), f"{kind} files are packed inside; unpack the file first")
        yield from columnar.read(path)
        return
    stream, line_encoding = encodings.binary(path, encoding)
    with stream:
        head = stream.read(encodings.SAMPLE)
    encodings.refuse_other_things(path, head, whole=len(head) < encodings.SAMPLE)
    if kind in TABLES:
        yield from tables.read(path, encoding, columns)
    elif kind in TEXTS:
        yield from texts.read(path, encoding, documents)
    else:
        stream, _ = encodings.binary(path, encoding)
        with stream:
            yield from _read_json(path, stream, head, line_encoding)


def _read_json(path: Path, stream: BinaryIO, head: bytes, encoding: str | None) -> Iterator[Row | Fault]:
    if not _is_array(head):
        yield from _read_lines(path, stream, head, encoding)
        return
    if head.startswith(codecs.BOM_UTF8):
        stream.read(len(codecs.BOM_UTF8))
    if suffix(path) == ".jsonl":
        yield Fault(Origin(str(path), 1), "I_JSON_ARRAY", "the file is one JSON array; rows are named by item number")
    yield from arrays.read(path, stream, encoding)


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


def _read_lines(path: Path, stream: BinaryIO, head: bytes, encoding: str | None) -> Iterator[Row | Fault]:
    file, rows, doubted, name = str(path), 0, False, encoding or "utf-8"
    for number, raw, characters in encodings.split(stream, name, lines.LONGEST):
        origin = Origin(file, number)
        if number == 1 and raw.startswith(codecs.BOM_UTF8):
            raw = raw[3:]
            yield Fault(origin, "I_BOM", "byte order mark removed")
        if characters is None and not raw.strip():
            continue
        rows += 1
        if rows == 1 and raw.strip() == b"{":
            raise DataError("E_JSON", str(origin), "an object over several lines; make it one a line: jq -c . FILE")
        result = lines.parse(origin, raw, name) if characters is None else texts.too_long(origin, characters)
        if isinstance(result, Fault) and result.code == "E_ENCODING" and encoding is None and not doubted:
            doubted = True
            lines.refuse_another_encoding(head, result)
        yield result
    if not rows:
        raise DataError("E_EMPTY_FILE", file, "no data lines")
