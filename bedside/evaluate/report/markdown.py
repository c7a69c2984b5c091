"""Blocks of a report as Markdown, in one language. Text of models and data is inert: escaped, or fenced as code."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import bedside.evaluate.report.words as words
from bedside.chatpage import safe
from bedside.evaluate.report.blocks import (
    ARROWS,
    Block,
    Cell,
    Folded,
    Heading,
    Names,
    Pair,
    Picture,
    Side,
    Table,
    Text,
)
from bedside.evaluate.said import Said

LANGUAGES = ("en", "zh")
_SPECIAL = re.compile(r"([\\`*_#|~!$]|\](?=[(\[:]))")
_LIST = re.compile(r"^(\s*)([-+]|\d+[.)])(?=\s)")
_MARKS = {"warn": "**{}**", "note": "*{}*"}


def page(blocks: Sequence[Block], language: str = "en") -> str:
    """The whole document; pictures are `plots/NAME.png` beside it."""
    return "\n\n".join(part for part in _parts(blocks, LANGUAGES.index(language)) if part) + "\n"


def escaped(text: str) -> str:
    """`text` as plain words inside Markdown, on one line.

    >>> escaped("a|b <i> *c*")
    'a\\\\|b &lt;i&gt; \\\\*c\\\\*'
    """
    text = " ".join(safe.text(text).split())
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _LIST.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", text))


def code(text: str) -> str:
    """`text` as a span of code, whatever backticks it holds; in a table a bar would end the cell."""
    text = " ".join(safe.text(text).split()).replace("|", "\u2502")
    ticks = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{ticks}{pad}{text}{pad}{ticks}" if text else ""


def fenced(text: str) -> str:
    """`text` as a block of code that ends where it ends."""
    text = safe.text(text)
    ticks = "`" * max(3, max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    return f"{ticks}text\n{text}\n{ticks}"


def _parts(blocks: Sequence[Block], side: int) -> Iterator[str]:
    for block in blocks:
        if isinstance(block, Heading):
            yield f"{'#' * block.level} {escaped(block.text[side])}"
        elif isinstance(block, Text):
            yield _MARKS.get(block.mark, "{}").format(escaped(block.text[side]))
        elif isinstance(block, Table):
            yield _table(block, side)
        elif isinstance(block, Picture):
            yield f"![{escaped(block.caption[side])}](plots/{block.name}.png)"
            yield f"*{escaped(block.source)}*" if block.source else ""
        elif isinstance(block, Pair):
            yield from _pair(block, side)
        elif isinstance(block, Names):
            yield "<br>".join(code(name) for name in block.names)
        elif isinstance(block, Folded):
            yield f"**{escaped(block.summary[side])}**"
            yield from _parts(block.blocks, side)


def _cell(cell: Cell, side: int) -> str:
    text = cell.text[side]
    if cell.code:
        return "<br>".join(code(line) for line in text.splitlines())
    mark = f" {ARROWS[cell.mark]}" if cell.mark in ARROWS else ""
    return "<br>".join(escaped(line) for line in text.splitlines()) + mark


def _table(table: Table, side: int) -> str:
    rule = ["---" if column < table.numbers else "---:" for column in range(len(table.head))]
    rows = [[escaped(name[side]) for name in table.head], rule]
    for row in table.rows:
        cells = [_cell(cell, side) for cell in row]
        if len(row) == 1 and len(table.head) > 1:  # names what follows
            cells = [f"**{cells[0]}**"] + [""] * (len(table.head) - 1)
        rows.append(cells)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _pair(pair: Pair, side: int) -> Iterator[str]:
    where = f" ({code(pair.where)})" if pair.where else ""
    yield f"**{escaped(pair.head[side])}**{where}"
    yield f"{_word(words.QUESTION, side)}:\n\n{fenced(pair.question)}"
    if pair.expected:
        yield f"{_word(words.EXPECTED, side)}: {escaped(pair.expected)}"
    for answer in pair.sides:
        yield from _side(answer, side)


def _side(answer: Side, side: int) -> Iterator[str]:
    note = f" ({escaped(answer.note[side])})" if answer.note[side] else ""
    yield f"**{escaped(answer.name)}**{note}"
    if answer.thought:
        yield f"{_word(words.THOUGHT, side)}:\n\n{fenced(answer.thought)}"
    yield f"{_word(words.ANSWER, side)}:\n\n{fenced(answer.answer)}" if answer.answer else words.NO_ANSWER[side]


def _word(said: Said, side: int) -> str:
    return said[side][:1].upper() + said[side][1:]
