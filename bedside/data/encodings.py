"""Bytes to text: which encodings we read, how a wrong one is recognised, and which files are no text at all."""

import codecs
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from bedside.data import compressed
from bedside.data.rows import Fault, Origin
from bedside.errors import ConfigError, DataError

SAMPLE = 1 << 20  # bytes looked at to tell an encoding
_ASCII = "".join(map(chr, range(0x20, 0x7F))) + "\n"
_MAGIC = (
    (b"\x1f\x8b", "is gzip; call it .gz, as in rows.jsonl.gz"),
    (b"\x28\xb5\x2f\xfd", "is zstd; call it .zst, as in rows.jsonl.zst"),
    (b"BZh", "is bzip2; run `bunzip2` on it first"),
    (b"\xfd7zXZ", "is xz; run `unxz` on it first"),
    (b"PK\x03\x04", "is a zip archive or a spreadsheet; unpack it, or save it as CSV"),
    (b"PAR1", "is parquet; call it .parquet"),
    (b"ARROW1", "is arrow; call it .arrow"),
    (b"%PDF", "is PDF; extract its text first"),
)


def checked(encoding: str | None) -> str | None:
    """`encoding` if Python can read files in it; ConfigError otherwise."""
    if encoding is None:
        return None
    try:
        codecs.lookup(encoding)
        _ASCII.encode(encoding)
    except (LookupError, ValueError):
        raise ConfigError(f"--encoding {encoding}: unknown encoding; known ones: utf-8, gb18030, gbk, big5") from None
    return encoding


def binary(path: Path, encoding: str | None) -> tuple[BinaryIO, str | None]:
    """The file as a stream of lines that end in the byte 10, and the encoding of each line (None: UTF-8).

    Encodings in which ASCII is not ASCII (UTF-16) are decoded at once; DataError if that fails.
    """
    if encoding is None or _ASCII.encode(encoding) == _ASCII.encode():
        return compressed.open_binary(path), encoding
    try:
        with compressed.open_binary(path) as stream:
            return io.BytesIO(stream.read().decode(encoding).encode()), None
    except UnicodeError as error:
        where = f"byte {error.start} " if isinstance(error, UnicodeDecodeError) else ""
        raise DataError("E_ENCODING", str(path), f"{where}is not {encoding}") from None


def has_mark(path: Path, encoding: str | None) -> bool:
    """True if the file begins with UTF-8's byte order mark."""
    stream, name = binary(path, encoding)
    with stream:
        return name is None and stream.read(3) == codecs.BOM_UTF8


def refuse_other_things(path: Path, head: bytes, whole: bool) -> None:
    """Raise DataError for what is no text file of rows, from its first bytes (`whole`: there are no more)."""
    where = f"{path}:1"
    if whole and not head.removeprefix(codecs.BOM_UTF8).strip():
        raise DataError("E_EMPTY_FILE", str(path), "no data lines")
    if head.startswith(b"version https://git-lfs"):
        raise DataError("E_LFS", where, "is a Git LFS pointer, not the data; run `git lfs pull`")
    for magic, remedy in _MAGIC:
        if head.startswith(magic):
            raise DataError("E_ENCODING", where, f"byte 0: the file {remedy}")
    if head[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) or head[:200].count(b"\0") > 40:
        raise DataError(
            "E_ENCODING",
            where,
            "byte 0: the file looks like UTF-16; add --encoding utf-16, or run iconv -f UTF-16 -t UTF-8",
        )
    if re.match(rb"(?:\xef\xbb\xbf)?\s*<(?:!doctype|html|head|body)", head, re.IGNORECASE):
        raise DataError("E_JSON", where, "the file is an HTML page, not data; download the raw file")


def _cjk_share(text: str) -> float:
    letters = [c for c in text if not c.isspace()]
    return sum("\u4e00" <= c <= "\u9fff" for c in letters) / max(1, len(letters))


def is_gb18030(sample: bytes) -> bool:
    """True if the sample decodes strictly as GB18030 and reads as Chinese (at least 10 % of its characters)."""
    try:
        text = codecs.getincrementaldecoder("gb18030")().decode(sample[:SAMPLE], final=False)
    except UnicodeDecodeError:
        return False
    return reads_as_chinese(text)


def reads_as_chinese(text: str) -> bool:
    """True if at least 10 % of the characters are Chinese."""
    return _cjk_share(text) >= 0.10


def mostly_utf8(sample: bytes) -> bool:
    """True if at least half of the sample's non-ASCII lines are UTF-8: then a bad byte is that line's fault."""
    lines = [line for line in sample.split(b"\n") if not line.isascii()]
    good = 0
    for line in lines:
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            continue
    return 2 * good >= len(lines)


def _first_error(stream: BinaryIO, encoding: str) -> tuple[int, int] | None:
    """Byte (from 0) and line (from 1) of the first thing in the stream that is not `encoding`; None if all is."""
    decoder, before, line = codecs.getincrementaldecoder(encoding)(), 0, 1
    while True:
        try:
            chunk = stream.read(SAMPLE)
        except compressed.Broken:  # told when its rows are read, with the row
            return None
        held = len(decoder.getstate()[0])  # bytes of a character that the last chunk ended in
        try:
            decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            return before - held + error.start, line + chunk.count(b"\n", 0, max(0, error.start - held))
        if not chunk:
            return None
        before, line = before + len(chunk), line + chunk.count(b"\n")


def _reads_as_chinese(path: Path, line: int) -> bool:
    """True if the file's text from this line on is Chinese in GB18030, rather than UTF-8 with slips."""
    with compressed.open_binary(path) as stream:
        for _ in range(line - 1):
            stream.readline()
        sample = stream.read(SAMPLE)
    return not mostly_utf8(sample) and is_gb18030(sample)


def settle(path: Path, encoding: str | None) -> tuple[str | None, Fault | None, tuple[int, int] | None]:
    """How a file of text is decoded, a remark if that is not plain UTF-8, and where (byte, line) it cannot be.

    The whole file is looked at, strictly. The encoding is the named one, or UTF-8, or GB18030 for a file that is
    Chinese in it to its end; None if it is neither. The text begins after a byte order mark.
    """
    stream, name = binary(path, encoding)
    with stream:
        error = _first_error(stream, name or "utf-8")
    note = None
    if name is None and has_mark(path, encoding):
        note = Fault(Origin(str(path), 1), "I_BOM", "byte order mark removed")
    if error is None:
        return name or "utf-8-sig", note, None
    if encoding is not None or not _reads_as_chinese(path, error[1]):
        return None, note, error
    with compressed.open_binary(path) as stream:
        later = _first_error(stream, "gb18030")
    note = Fault(Origin(str(path), 1), "I_GB18030", f"not UTF-8 (byte {error[0]}); read as GB18030")
    return (None if later else "gb18030"), note, later


def split(stream: BinaryIO, encoding: str, longest: int) -> Iterator[tuple[int, bytes, int | None]]:
    """Every line as number, bytes and None; of one with far more than `longest` characters, their number instead.

    A line of any size is read in pieces, so that memory stays small.
    """
    number, limit = 0, 4 * longest + 2  # bytes: no encoding takes more than four for a character
    while raw := stream.readline(limit):
        number += 1
        if len(raw) < limit or raw.endswith(b"\n"):
            yield number, raw, None
            continue
        decoder, characters = codecs.getincrementaldecoder(encoding)("replace"), 0
        while raw:
            characters += len(decoder.decode(raw).rstrip("\r\n"))
            raw = b"" if raw.endswith(b"\n") else stream.readline(limit)
        yield number, b"", characters
