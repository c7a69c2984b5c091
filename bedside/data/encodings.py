"""Bytes to text: which encodings we read, how a wrong one is recognised, and which files are no text at all."""

import codecs
import io
import re
from pathlib import Path
from typing import BinaryIO

from bedside.errors import ConfigError, DataError

SAMPLE = 1 << 20  # bytes looked at to tell an encoding
_ASCII = "".join(map(chr, range(0x20, 0x7F))) + "\n"
_MAGIC = (
    (b"\x1f\x8b", "is gzip; run `gunzip` on it first"),
    (b"\x28\xb5\x2f\xfd", "is zstd; run `zstd -d` on it first"),
    (b"BZh", "is bzip2; run `bunzip2` on it first"),
    (b"\xfd7zXZ", "is xz; run `unxz` on it first"),
    (b"PK\x03\x04", "is a zip archive or a spreadsheet; unpack it, or save it as CSV"),
    (b"PAR1", "is parquet; write it as JSONL first (pandas: to_json(orient='records', lines=True))"),
    (b"ARROW1", "is arrow; write it as JSONL first"),
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
        return path.open("rb"), encoding
    try:
        return io.BytesIO(path.read_bytes().decode(encoding).encode()), None
    except UnicodeError as error:
        where = f"byte {error.start} " if isinstance(error, UnicodeDecodeError) else ""
        raise DataError("E_ENCODING", str(path), f"{where}is not {encoding}") from None


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
