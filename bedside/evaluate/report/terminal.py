"""The report's table for a terminal: a line a model, as many columns of measures as fit, then the next block."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence

import bedside.evaluate.report.numbers as numbers
import bedside.evaluate.report.tables as tables
import bedside.evaluate.report.verdict as verdict
from bedside.chatpage import safe
from bedside.evaluate import leakage
from bedside.evaluate.report.blocks import ARROWS
from bedside.evaluate.report.content import Content, Row

WIDTH = 110
EACH = 3  # measures of a task that a terminal shows
_NAME, _GAP = 24, 2
_MOST = 40  # results of another harness


def table(content: Content, width: int = WIDTH, each: int = EACH) -> str:
    """Models as rows, the first `each` directed measures of every task as columns, with 95 % intervals."""
    rows = [row for section in content.sections for row in _main(section.rows, each)]
    if not rows:
        return "" if content.records else "no task has a result"
    lead = max(6, min(_NAME, max(_width(shown(name)) for name in content.names)))
    columns = [_column(content, row) for row in rows]
    lines, block, used = [], [], lead
    for column in columns:
        size = max(map(_width, column)) + _GAP
        if block and used + size > width:
            lines += [*_block(content, block, lead), ""]
            block, used = [], lead
        block.append(column)
        used += size
    lines += _block(content, block, lead)
    if len(content.names) > 1:
        first = shown(content.baseline)
        lines.append(f"{ARROWS['better']} clearly better, {ARROWS['worse']} clearly worse than {first} "
                     "(Holm-corrected); [95 % interval]")  # fmt: skip
    return "\n".join(lines)


def text(content: Content, width: int = WIDTH) -> str:
    """Leaks, the verdict and the table, as the commands print them at the end."""
    lines = []
    for name, found in content.leakage.items():
        first = leakage.sentences(found)[0]
        lines += _wrapped(f"{shown(name)}: {first.en}", width)
    for block in (table(content, width), "\n".join(_others(content))):
        lines += ["", block] if block else []
    lines.append("")
    if any(row.clean for row in content.rows):
        lines += ["without the items that stand in training data:", *_clean(content), ""]
    for one in content.verdicts:
        rate = tables.rate(one.estimate)
        who = shown(f"{one.judged.second} over {one.judged.first}, judged by {one.judged.judge}")
        lines += _wrapped(f"{who}: win rate {rate}, won {one.won}, tied {one.tied}, lost {one.lost}", width)
    for _, told in verdict.sentences(content):
        lines += [line for said in told for line in _wrapped(said.en, width)]
    return "\n".join(lines)


def _main(rows: Sequence[Row], each: int) -> list[Row]:
    """The first rows with a direction; of a task that has none the first."""
    return [row for row in rows if row.measure.better][:each] or list(rows[:1])


def _column(content: Content, row: Row) -> list[str]:
    """Head (task, measure, items) and one cell a model."""
    counts = sorted({found.n for found in row.estimates.values()})
    n = f"n = {counts[0]:,}" + (f" to {counts[-1]:,}" if len(counts) > 1 else "")
    cells = []
    for name in content.names:
        mark = ARROWS.get(verdict.direction(row, name), "")
        cells.append(f"{numbers.estimate(row.estimates.get(name))} {mark}".rstrip())
    return [row.task, short(row.measure.label, 30), n, *cells]


def _block(content: Content, columns: list[list[str]], lead: int) -> list[str]:
    names = ["", "", "", *(short(shown(name), lead) for name in content.names)]
    sizes = [max(map(_width, column)) for column in columns]
    lines = []
    for at, name in enumerate(names):
        cells = [_left(column[at], size) for column, size in zip(columns, sizes, strict=True)]
        lines.append((_left(name, lead) + " " * _GAP + (" " * _GAP).join(cells)).rstrip())
    rule = "-" * (lead + sum(sizes) + _GAP * len(sizes))
    return [*lines[:3], rule, *lines[3:]]


def _others(content: Content) -> list[str]:
    """What another harness measured, as it gave it: a line a result."""
    made = tables.records(content)
    rows = [[shown(cell.text.en) for cell in row] for row in made.rows]
    head = [shown(name.en) for name in made.head]
    sizes = [max(map(_width, column)) for column in zip(head, *rows, strict=True)]
    lines = [(" " * _GAP).join(map(_left, row, sizes)).rstrip() for row in [head, *rows[:_MOST]]]
    more = [f"and {len(rows) - _MOST:,} more, in report.md"] if len(rows) > _MOST else []
    return [lines[0], "-" * (sum(sizes) + _GAP * (len(sizes) - 1)), *lines[1:], *more] if rows else []


def _clean(content: Content) -> list[str]:
    found = []
    for section in content.sections:
        for row in _main([row for row in section.rows if row.clean], 1):
            for name in content.names:
                if name in row.clean:
                    before, after = (numbers.estimate(one[name]) for one in (row.estimates, row.clean))
                    found.append(f"  {section.name}, {row.measure.label}, {shown(name)}: {before} -> {after}, "
                                 f"{row.clean[name].n:,} of {row.estimates[name].n:,} items")  # fmt: skip
    return found


def shown(name: str) -> str:
    """A name on one line, without what would steer a terminal."""
    return " ".join(safe.text(name).split())


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(shown(text), width, break_long_words=False, break_on_hyphens=False)


def _width(text: str) -> int:
    """Columns that a terminal takes: a Chinese character is two wide."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text
    )


def _left(text: str, size: int) -> str:
    return text + " " * max(0, size - _width(text))


def short(text: str, size: int) -> str:
    """The text, cut where it takes more columns of a terminal than `size`."""
    if _width(text) <= size:
        return text
    kept = ""
    for char in text:
        if _width(kept + char) > size - 1:
            break
        kept += char
    return kept + "…"
