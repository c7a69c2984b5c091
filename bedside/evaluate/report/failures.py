"""The failures of a report: for every share the items that did not do well, and the items that have no value."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import bedside.evaluate.report.words as words
from bedside.evaluate.report.blocks import Block, Folded, Heading, Names, Text, plain
from bedside.evaluate.report.content import Content, Row, Section
from bedside.evaluate.said import Said
from bedside.evaluate.task import SHARE, Case, Measure

MOST_NAMES = 100  # failures that are listed on a page; report.json has all


def blocks(content: Content) -> Iterator[Block]:
    """The section of the report; nothing where nothing failed."""
    inside = [
        _failed(section, row) for section in content.sections for row in section.rows if any(row.failures.values())
    ]
    inside += [block for section in content.sections for block in _unmeasured(section)]
    if inside:
        yield Heading(2, words.FAILURES, "failures")
        yield from inside


def _failed(section: Section, row: Row) -> Folded:
    """The items that failed one measure, by model."""
    failed = {name: cases for name, cases in row.failures.items() if cases}
    counts = [
        words.filled(words.FAILED, model=name, count=len(cases), n=row.estimates[name].n)
        for name, cases in failed.items()
    ]
    summary = Said(
        f"{section.title.en}, {row.measure.label}: {', '.join(one.en for one in counts)}",
        f"{section.title.zh}，{row.measure.zh}：{'，'.join(one.zh for one in counts)}",
    )
    inside: list[Block] = []
    for name, cases in failed.items():
        inside += [Text(plain(name)), *_names(cases, row.measure)]
    return Folded(summary, inside)


def place(case: Case, measure: Measure | None = None) -> str:
    """`file:line` of a case, with its id where that says more, and its value where it is neither 0 nor 1."""
    where = str(case.shown.get("where") or "")
    named = where if case.id in where or not case.id else f"{case.id} {where}".strip()
    value = case.values.get(measure.name) if measure and measure.kind == SHARE else None
    return named if value in (None, 0.0, 1.0) else f"{named} ({100 * value:.0f} %)"


def _names(cases: Sequence[Case], measure: Measure | None = None) -> list[Block]:
    """The places of the first cases: a file once, then the lines in it."""
    by_file: dict[str, list[str]] = {}
    for case in cases[:MOST_NAMES]:
        file, colon, line = place(case, measure).rpartition(":")
        by_file.setdefault(file + colon, []).append(line)
    more = len(cases) - MOST_NAMES
    listed: list[Block] = [Names([file + ", ".join(lines) for file, lines in by_file.items()])]
    return [*listed, Text(words.filled(words.MORE, count=more), "note")] if more > 0 else listed


def _unmeasured(section: Section) -> Iterator[Block]:
    for name, cases in section.unmeasured.items():
        if cases:
            why = Counter(str(case.shown.get("failed") or "") for case in cases)
            reasons = "; ".join(f"{count:,} {reason}" for reason, count in why.most_common(5) if reason)
            tail = f" ({reasons})" if reasons else ""
            summary = Said(
                f"{name}: {len(cases):,} of {section.cases[name]:,} items of {section.title.en} have no value{tail}",
                f"{name}：{section.title.zh} {section.cases[name]:,} 题中有 {len(cases):,} 题没有数值{tail}",
            )
            yield Folded(summary, _names(cases))
