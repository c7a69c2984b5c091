"""One JSON array to its items, read through a window: a file of any size takes the memory of its longest item."""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from bedside.data import compressed, encodings, lines, strict_json
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import DataError

_AHEAD = 2 * lines.LONGEST  # characters that the window holds behind an item's beginning, if the file has as many
_FARTHEST = 64 * lines.LONGEST  # an item that does not end within so many ends the reading
_SPACE = re.compile(r"[ \t\r\n]*")
_COLUMN = re.compile(r"(?<=column )\d+")


class _Window:
    """The text of a stream from `line` (and `column` characters into it) on; what is behind is forgotten."""

    def __init__(self, path: Path, stream: BinaryIO, encoding: str | None):
        self.path, self.stream, self.encoding = path, stream, encoding or "utf-8"
        self.decoder = codecs.getincrementaldecoder(self.encoding)()
        self.guessing = encoding is None
        self.text, self.position, self.line, self.column, self.bytes = "", 0, 1, 0, 0
        self.counted = 0  # up to where the line breaks of `text` are in `line_here`
        self.line_here = 1
        self.ended = False
        self.broken: compressed.Broken | None = None

    def ahead(self, characters: int) -> None:
        """See to it that so many characters follow the position, if the file has them."""
        if self.ended or len(self.text) - self.position >= characters:
            return
        self.here()
        cut = max(self.text.rfind("\n", 0, self.position) + 1, self.position - lines.LONGEST)
        self.column = cut - 1 - self.text.rfind("\n", 0, cut) + (0 if "\n" in self.text[:cut] else self.column)
        self.line += self.text.count("\n", 0, cut)
        parts, size = [self.text[cut:]], len(self.text) - self.position
        self.position, self.counted = self.position - cut, self.counted - cut
        while size < 2 * characters and not self.ended:
            parts.append(self._more())
            size += len(parts[-1])
        self.text = "".join(parts)

    def _more(self) -> str:
        try:
            raw = self.stream.read1(encodings.SAMPLE)
        except compressed.Broken as error:  # told when the items before it have been read
            self.broken, raw = error, b""
        self.ended = not raw
        held = len(self.decoder.getstate()[0])
        try:
            text = self.decoder.decode(raw, final=self.ended and not self.broken)
        except UnicodeDecodeError as error:
            raise self._refusal(raw, error.start - held) from None
        self.bytes += len(raw)
        return text

    def _refusal(self, raw: bytes, start: int) -> DataError:
        with compressed.open_binary(self.path) as stream:
            left, line = self.bytes + start, 1
            while left and (block := stream.read(min(encodings.SAMPLE, left))):
                left, line = left - len(block), line + block.count(b"\n")
        hint = "add --encoding gb18030" if self.guessing and encodings.is_gb18030(raw) else "convert it with iconv"
        found = f"byte {self.bytes + start} is not {self.encoding.upper()}"
        return DataError("E_ENCODING", f"{self.path}:{line}", f"{found}; {hint}")

    def here(self) -> int:
        """The number of the line that the position is in."""
        self.line_here += self.text.count("\n", self.counted, self.position)
        self.counted = self.position
        return self.line_here

    def skip_space(self) -> str:
        """Move to the next character that is no space; it is returned, empty at the end of the file."""
        while True:
            self.ahead(1)
            self.position = _SPACE.match(self.text, self.position).end()
            if self.broken and self.position == len(self.text):
                raise self.broken
            if self.position < len(self.text) or self.ended:
                return self.text[self.position : self.position + 1]

    def place(self, fault: strict_json.JsonFault) -> tuple[int, str]:
        """Line and detail of a fault as they are in the file, not in the window."""
        if fault.line > 1 or not self.column:
            return self.line + fault.line - 1, fault.detail
        return self.line, _COLUMN.sub(lambda found: str(int(found[0]) + self.column), fault.detail)


def read(path: Path, stream: BinaryIO, encoding: str | None) -> Iterator[Row | Fault]:
    """Every item with the line of its first character and its number.

    Raises DataError where the array itself is broken, or its text is not in the encoding.
    """
    file, window, item = str(path), _Window(path, stream, encoding), 0
    window.ahead(1)
    window.position = window.text.index("[") + 1
    while not (window.skip_space() == "]" and not item):
        item += 1
        yield _item(window, Origin(file, window.here(), item))
        following = window.skip_space()
        if following == "]":
            break
        if not following:
            raise DataError("E_JSON", f"{file}:{window.here()}", "the array is not closed; the file looks cut off")
        if following != ",":
            raise DataError("E_JSON", f"{file}:{window.here()}", f"no comma after item {item}")
        window.position += 1
    window.position += 1
    if window.skip_space():
        raise DataError("E_JSON", f"{file}:{window.here()}", "more text after the array's end")
    if not item:
        raise DataError("E_EMPTY_FILE", file, "no data lines: the array is empty")


def _item(window: _Window, origin: Origin) -> Row | Fault:
    """The item at the window's position, which moves behind it; DataError if not even its end can be told."""
    wanted = _AHEAD
    while True:
        window.ahead(wanted)
        begin = window.position
        try:
            value, end = strict_json.parse_at(window.text, begin)
        except strict_json.JsonFault as found:
            fault, end = found, strict_json.end_of(window.text, begin)
            if end is None and not window.ended and wanted < _FARTHEST:
                wanted *= 2
                continue
            if end is None and window.broken:
                raise window.broken from None
            if end is None:
                line, detail = window.place(fault)
                line = line if "column" in detail else origin.line
                raise DataError(fault.code, f"{origin.file}:{line}", f"{detail} (item {origin.item})") from None
            window.position = end
            return Fault(origin, fault.code, window.place(fault)[1])
        window.position = end
        return _unless_long(value, end - begin, origin)


def _unless_long(value: Any, characters: int, origin: Origin) -> Row | Fault:
    if characters > lines.LONGEST:
        detail = f"item of {characters} characters, at most {lines.LONGEST} are read"
        return Fault(origin, "W_LONG", detail)
    return Row(origin, value)
