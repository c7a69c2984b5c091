"""What a report is made of, before it is Markdown or HTML: headings, sentences, tables, pictures, pairs of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from bedside.evaluate.said import Said

ARROWS = {"better": "▲", "worse": "▼"}


def plain(text: object) -> Said:
    """A name or a number, which no language changes."""
    return Said(str(text), str(text))


class Cell(NamedTuple):
    """A cell of a table: its words, whether they are a name of the machine's (a path, a command), and how it is
    marked: "better", "worse", "warn" or ""."""

    text: Said
    code: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Heading:
    """A heading of this level; `anchor` is what links lead to."""

    level: int
    text: Said
    anchor: str = ""


@dataclass(frozen=True)
class Text:
    """A sentence or several; `mark` as of a cell, or "note" for what is small print."""

    text: Said
    mark: str = ""


@dataclass(frozen=True)
class Table:
    """`head` is as long as every row; columns from `numbers` on hold numbers."""

    head: Sequence[Said]
    rows: Sequence[Sequence[Cell]]
    numbers: int = 1


@dataclass(frozen=True)
class Picture:
    """A drawing: its file's name without suffix, what it shows, the SVG, the PNG, and the small print below it."""

    name: str
    caption: Said
    svg: str
    png: bytes
    source: str = ""


@dataclass(frozen=True)
class Side:
    """One model's answer. `note` is what was measured on it."""

    name: str
    thought: str
    answer: str
    note: Said


@dataclass(frozen=True)
class Pair:
    """One question and its answers, side by side."""

    head: Said
    where: str
    question: str
    expected: str
    sides: Sequence[Side]


@dataclass(frozen=True)
class Names:
    """A list of items by their ids (and places)."""

    names: Sequence[str]


@dataclass(frozen=True)
class Folded:
    """Blocks that a reader opens when wanted."""

    summary: Said
    blocks: Sequence[Block] = field(default_factory=list)


Block = Heading | Text | Table | Picture | Pair | Names | Folded
