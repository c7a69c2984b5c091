"""Files that are packed with gzip or zstd, as streams of bytes: nothing is unpacked to disk or held whole."""

import io
import zlib
from pathlib import Path
from typing import Any, BinaryIO

from bedside.errors import ConfigError

SUFFIXES = (".gz", ".zst")
_CHUNK = 1 << 14  # packed bytes read at once: what compresses a thousandfold stays small in memory
_GZIP = (lambda: zlib.decompressobj(wbits=31), zlib.error)


class Broken(Exception):
    """A packed file that ends early or is damaged; the text says which."""


def suffix(path: Path | str) -> str:
    """The suffix that tells a file's format, in lower case: of `rows.jsonl.gz` it is `.jsonl`."""
    path = Path(path)
    return Path(path.stem if path.suffix.lower() in SUFFIXES else path.name).suffix.lower()


def is_packed(path: Path | str) -> bool:
    """True for the suffixes of files that `open_binary` unpacks."""
    return Path(path).suffix.lower() in SUFFIXES


def open_binary(path: Path | str) -> BinaryIO:
    """The file's bytes, unpacked if its suffix says so; reading raises Broken where the packed data is at fault."""
    path = Path(path)
    if not is_packed(path):
        return path.open("rb")
    new, fault = _GZIP if path.suffix.lower() == ".gz" else _zstd()
    return io.BufferedReader(_Unpacked(path.open("rb"), new, fault), 1 << 20)


def _zstd() -> tuple[Any, type[Exception]]:
    """What makes a zstd decoder, and the error it raises; ConfigError if the library is missing."""
    try:
        import zstandard
    except ImportError:
        raise ConfigError("files that end in .zst need zstandard: pip install zstandard, or unpack them") from None
    return zstandard.ZstdDecompressor().decompressobj, zstandard.ZstdError


class _Unpacked(io.RawIOBase):
    """A packed stream read as its contents: one frame after the other, each to its end."""

    def __init__(self, packed: BinaryIO, new: Any, fault: type[Exception]):
        self.packed, self.new, self.fault = packed, new, fault
        self.decoder: Any = None  # of the frame that is being read; None between two frames
        self.waiting = b""  # packed bytes that follow the frame that ended
        self.ready = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            chunk = self.waiting or self.packed.read(_CHUNK)
            self.waiting = b""
            if self.decoder is None and chunk and not (chunk := chunk.lstrip(b"\0")):
                continue  # padding behind a frame is allowed
            if not chunk:
                if self.decoder is not None:
                    raise Broken("the packed data ends early; the file is cut off")
                return 0
            self.ready = memoryview(self._unpack(chunk))
        count = min(len(buffer), len(self.ready))
        buffer[:count] = self.ready[:count]
        self.ready = self.ready[count:]
        return count

    def _unpack(self, chunk: bytes) -> bytes:
        try:
            self.decoder = self.decoder or self.new()
            made = self.decoder.decompress(chunk)
        except self.fault as error:
            raise Broken(f"the packed data is damaged ({error})") from None
        if self.decoder.eof:
            self.waiting, self.decoder = self.decoder.unused_data, None
        return made

    def close(self) -> None:
        self.packed.close()
        super().close()
