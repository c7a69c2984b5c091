"""The tables of a report: what stands in which row and column, in both languages."""

from __future__ import annotations

from collections.abc import Sequence

import bedside.evaluate.report.numbers as numbers
import bedside.evaluate.report.words as words
from bedside.evaluate.leakage import Leakage
from bedside.evaluate.report.blocks import Cell, Table, plain
from bedside.evaluate.report.content import Content, Row, Section
from bedside.evaluate.report.verdict import direction
from bedside.evaluate.results import Change, Estimate
from bedside.evaluate.said import Said
from bedside.evaluate.task import PERPLEXITY, SHARE, Measure

_EFFECTS = {"Cohen's h": "h", "log ratio (nats a token)": "log ratio"}
MOST_HITS = 200  # leaks that are listed on a page; report.json has all


def number(text: str, mark: str = "") -> Cell:
    """A cell that no language changes."""
    return Cell(plain(text), False, mark)


def label(measure: Measure) -> Said:
    """The measure's name in both languages."""
    return Said(measure.label, measure.zh)


def overview(content: Content) -> Table:
    """Every measure of every task (rows) for every model (columns), with an arrow where a change is clear."""
    rows: list[list[Cell]] = []
    for section in content.sections:
        rows.append([Cell(section.title)])
        for row in section.rows:
            cells = [_of(row, name) for name in content.names]
            rows.append([Cell(label(row.measure)), *cells, number(_items(row.estimates.values()))])
    return Table([words.MEASURE, *map(plain, content.names), words.ITEMS], rows)


def _of(row: Row, name: str) -> Cell:
    return number(numbers.estimate(row.estimates.get(name)), direction(row, name))


def _items(estimates) -> str:
    """How many items stand behind the row; both ends where models were asked differently many."""
    counts = sorted({estimate.n for estimate in estimates})
    return "–".join(f"{count:,}" for count in dict.fromkeys((counts[0], counts[-1]))) if counts else words.NOT_TAKEN


def changes(section: Section, name: str) -> Table | None:
    """The changes of one model in a task, with everything needed to doubt them; None where there are none."""
    found = [(row, row.changes[name]) for row in section.rows if name in row.changes]
    rows = [
        [
            Cell(label(row.measure)),
            number(numbers.value(row.measure, change.before)),
            number(numbers.value(row.measure, change.after)),
            Cell(numbers.change(change)),
            Cell(words.VERDICTS.get(change.verdict, plain(change.verdict)), False, direction(row, name)),
            number(numbers.p_value(change.p)),
            number(numbers.p_value(change.adjusted_p)),
            number(_effect(change.effect, change.effect_name)),
            number(_detectable(row.measure, change)),
            number(f"{change.n:,}"),
        ]
        for row, change in found
    ]
    head = [words.MEASURE, words.BEFORE, words.AFTER, words.CHANGE, words.VERDICT_OF_ONE, words.P_VALUE,
            words.ADJUSTED, words.EFFECT, words.DETECTABLE, words.ITEMS]  # fmt: skip
    return Table(head, rows) if rows else None


def _effect(effect: float | None, name: str) -> str:
    short = _EFFECTS.get(name, name)
    return f"{short} {numbers.signed(f'{effect:.2f}')}" if numbers.finite(effect) else words.NOT_TAKEN


def _detectable(measure: Measure, change: Change) -> str:
    if not numbers.finite(change.detectable):
        return words.NOT_TAKEN
    text = numbers.shift(measure, abs(change.detectable), change.before).removeprefix("+")
    return f"±{text}{' %' if measure.kind in (SHARE, PERPLEXITY) else ''}"


def groups(row: Row, group: str, names: Sequence[str]) -> Table:
    """One measure by the values of a group, for every model."""
    found = row.groups[group]
    rows = [
        [
            number(value or words.NOT_TAKEN),
            *(number(numbers.estimate(by_model.get(name))) for name in names),
            number(_items(by_model.values())),
        ]
        for value, by_model in found.items()
    ]
    return Table([words.group_name(group), *map(plain, names), words.ITEMS], rows)


def clean(content: Content, each: int | None = None) -> Table:
    """The measures of tasks that lost cases (the first `each` of a task, or all), with all items and without those
    that stand in training data."""
    rows: list[list[Cell]] = []
    for section in content.sections:
        left = [row for row in section.rows if row.clean and row.measure.better][:each]
        rows += [[Cell(section.title)]] if left else []
        for row in left:
            for name in content.names:
                if name in row.estimates:
                    pair = [row.estimates[name], row.clean.get(name)]
                    cells = [number(numbers.estimate(one)) for one in pair]
                    counts = f"{pair[1].n if pair[1] else 0:,} / {pair[0].n:,}"
                    rows.append([Cell(label(row.measure)), number(name), *cells, number(counts)])
    return Table([words.MEASURE, words.MODEL, words.EVERY, words.KEPT, words.ITEMS], rows, 2)


def hits(found: Leakage) -> Table:
    """Training rows and the evaluation items that they hold, by file and line."""
    rows = [
        [Cell(plain(hit.place), True), Cell(plain(hit.item), True), Cell(words.HOWS.get(hit.how, plain(hit.how))),
         number(f"{100 * hit.share:.0f} %")]
        for hit in found.hits[:MOST_HITS]
    ]  # fmt: skip
    return Table([words.TRAINING_ROW, words.EVALUATION_ITEM, words.HOW, words.SHARE_HELD], rows, 3)


def searched(found: Leakage) -> list[Table]:
    """What was looked at: training files by rows, evaluated files by items and how many of them leaked."""
    trained = [[Cell(plain(file), True), number(f"{count:,}")] for file, count in found.training.items()]
    asked = [
        [Cell(plain(file), True), number(f"{count:,}"), number(f"{(leaked := found.leaked_in(file)):,}",
         "warn" if leaked else "")]
        for file, count in found.evaluated.items()
    ]  # fmt: skip
    tables = [
        Table([words.TRAINED_FILE, words.ROWS], trained),
        Table([words.EVALUATED_FILE, words.ITEMS, words.LEAKED], asked),
    ]
    return [table for table in tables if table.rows]


def judged(content: Content) -> Table:
    """Win rates of the second model over the first."""
    rows = []
    for one in content.verdicts:
        pair = plain(f"{one.judged.second} > {one.judged.first}")
        clear = _clear(one.estimate)
        net = words.NOT_TAKEN if one.net is None else numbers.signed(f"{100 * one.net:.1f}") + " %"
        rows.append([Cell(pair), number(one.judged.judge), number(rate(one.estimate), clear), number(net),
                     number(f"{one.won:,} / {one.tied:,} / {one.lost:,}"), number(f"{one.estimate.n:,}")])  # fmt: skip
    return Table([words.PAIR, words.JUDGE, words.WIN_RATE, words.NET, words.TALLY, words.ITEMS], rows, 2)


def rate(found: Estimate) -> str:
    """A win rate in per cent with its interval."""
    if found.value is None:
        return words.NOT_TAKEN
    span = f" [{100 * found.low:.1f}, {100 * found.high:.1f}]" if found.low is not None else ""
    return f"{100 * found.value:.1f} %{span}"


def _clear(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return ""
    return "better" if found.low > 0.5 else "worse" if found.high < 0.5 else ""


def records(content: Content) -> Table:
    """What other harnesses measured, as they gave it."""
    rows = []
    for name, found in content.records.items():
        for record in found:
            numbers_of = [record.get(key) for key in ("value", "low", "high")]
            texts = [f"{one:.4g}" if isinstance(one, (int, float)) else words.NOT_TAKEN for one in numbers_of]
            span = f" [{texts[1]}, {texts[2]}]" if words.NOT_TAKEN not in texts[1:] else ""
            count = record.get("n")
            rows.append([number(record.get("task", "")), number(record.get("measure", "")), number(name),
                         number(texts[0] + span), number(f"{count:,}" if isinstance(count, int) else words.NOT_TAKEN),
                         number(record.get("source", ""))])  # fmt: skip
    return Table([words.TASK, words.MEASURE, words.MODEL, words.VALUE, words.ITEMS, words.SOURCE], rows, 3)


def definitions(content: Content) -> Table:
    """What each measure is, and which way is better."""
    rows: list[list[Cell]] = []
    for section in content.sections:
        rows.append([Cell(section.title)])
        for row in section.rows:
            rows.append([Cell(label(row.measure)), Cell(words.KINDS[row.measure.kind]),
                         Cell(words.BETTER[row.measure.better]), number(_method(row))])  # fmt: skip
    return Table([words.MEASURE, words.KIND, words.DIRECTION, words.METHOD], rows, 4)


def _method(row: Row) -> str:
    found = dict.fromkeys(one.method for one in row.estimates.values() if one.method)
    found |= dict.fromkeys(change.test for change in row.changes.values() if change.test)
    return "; ".join(found)


def provenance(content: Content) -> Table:
    """What is known of every model: rows are the facts, columns the models."""
    keys = dict.fromkeys([*words.ABOUT, *(key for about in content.about.values() for key in about)])
    rows = []
    for key in keys:
        cells = [Cell(plain(_lines(content.about[name].get(key))), True) for name in content.names]
        if any(cell.text.en for cell in cells):
            rows.append([Cell(words.ABOUT.get(key, plain(key.replace("_", " ")))), *cells])
    return Table([plain(""), *map(plain, content.names)], rows, 1 + len(content.names))


def _lines(value: object) -> str:
    """A fact as lines of text: one an entry of a dict or a list."""
    if value is None:
        return ""
    if isinstance(value, dict):
        return "\n".join(f"{key}: {_line(one)}" for key, one in value.items())
    if isinstance(value, list):
        return "\n".join(_line(one) for one in value)
    return str(value)


def _line(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(str(one) for one in value.values() if one not in (None, ""))
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
