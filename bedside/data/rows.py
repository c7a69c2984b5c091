"""A row and where it stands, or what kept it from being read."""

from typing import Any, NamedTuple


class Origin(NamedTuple):
    """Where a row stands. `item` counts from 1 inside a JSON array, and is None in files of lines."""

    file: str
    line: int
    item: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.item is None else f"{self.file}:{self.line} (item {self.item})"


class Row(NamedTuple):
    """One row as read, with its place, and how often it is used (more than once where a mixture says so)."""

    origin: Origin
    value: Any
    times: int = 1


NOT_DRAWN = "NOT_DRAWN"  # the code of a row that a mixture leaves out: capped, not dropped


class Fault(NamedTuple):
    """A row that could not be read (or, with a code that starts with I_, a remark on the file)."""

    origin: Origin
    code: str
    detail: str
