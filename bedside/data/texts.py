"""Plain text to rows `{"text": ...}`: one document a line, or documents with a blank line between them."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bedside.data import encodings, lines
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import ConfigError, DataError

DOCUMENTS = ("line", "blank_line")


def read(path: Path, encoding: str | None = None, documents: str = "line") -> Iterator[Row | Fault]:
    """Every document of the file, with the line it begins on.

    Chinese in GB18030 is recognised as in tables; else a line that is not UTF-8 is a Fault, and with
    `documents="blank_line"` the document that it stands in. Raises DataError for a file without text.
    """
    if documents not in DOCUMENTS:
        raise ConfigError(f"--txt_documents {documents}: expected {' or '.join(DOCUMENTS)}")
    name, note, error = encodings.settle(path, encoding)
    if error and encoding is not None:
        raise DataError("E_ENCODING", f"{path}:{error[1]}", f"byte {error[0]} is not {encoding}")
    if note:
        yield note
    stream, _ = encodings.binary(path, encoding)
    found = False
    with stream:
        decoded = _decoded(str(path), stream, "utf-8" if name in (None, "utf-8-sig") else name)
        for item in decoded if documents == "line" else _joined(decoded):
            if not isinstance(item, Row) or item.value["text"]:
                found = True
                yield item
    if not found:
        raise DataError("E_EMPTY_FILE", str(path), "no data lines")


def _decoded(file: str, stream: BinaryIO, encoding: str) -> Iterator[Row | Fault]:
    """Every line; the text of a blank one is empty."""
    for number, raw, characters in encodings.split(stream, encoding, lines.LONGEST):
        origin = Origin(file, number)
        if characters is not None:
            yield too_long(origin, characters)
            continue
        try:
            text = raw.decode(encoding).strip("\r\n")
        except UnicodeDecodeError as error:
            yield Fault(origin, "E_ENCODING", f"byte {error.start} is not {encoding.upper()}")
            continue
        if number == 1:
            text = text.removeprefix("\ufeff")
        if "\0" in text:
            yield Fault(origin, "E_ENCODING", "holds a NUL byte")
        elif len(text) > lines.LONGEST:
            yield too_long(origin, len(text))
        else:
            yield Row(origin, {"text": text if text.strip() else ""})


def too_long(origin: Origin, characters: int) -> Fault:
    """The fault of a line with more characters than are read."""
    return Fault(origin, "W_LONG", f"line of {characters} characters, at most {lines.LONGEST} are read")


def _joined(decoded: Iterator[Row | Fault]) -> Iterator[Row | Fault]:
    """Lines to documents that end at a blank line. A document with a line that cannot be read is that line's fault."""
    begin, texts, fault, size = None, [], None, 0
    for item in decoded:
        blank = isinstance(item, Row) and not item.value["text"]
        if not blank:
            begin = begin or item.origin
            if isinstance(item, Fault):
                fault = fault or item
            elif size <= lines.LONGEST:
                texts.append(item.value["text"])
            size += len(item.value["text"]) + 1 if isinstance(item, Row) else 0
        elif begin:
            yield _document(begin, texts, fault, size)
            begin, texts, fault, size = None, [], None, 0
    if begin:
        yield _document(begin, texts, fault, size)


def _document(begin: Origin, texts: list[str], fault: Fault | None, size: int) -> Row | Fault:
    if fault:
        return fault
    if size - 1 > lines.LONGEST:
        return Fault(begin, "W_LONG", f"document of {size - 1} characters, at most {lines.LONGEST} are read")
    return Row(begin, {"text": "\n".join(texts)})
