"""The report's pictures: what changed and how surely, every measure from stage to stage, win rates, letters chosen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import bedside.evaluate.report.terminal as terminal
import bedside.evaluate.report.words as words
from bedside.evaluate.report.blocks import Picture
from bedside.evaluate.report.content import Content, Row
from bedside.evaluate.report.drawing import BLUE, COLOURS, GREY, picture
from bedside.evaluate.report.numbers import finite
from bedside.evaluate.results import Change
from bedside.evaluate.said import Said
from bedside.evaluate.task import PERPLEXITY, SHARE

_WIDTH = 7.5  # inches
MOST_PANELS = 12  # measures that are drawn from stage to stage
MOST_ROWS = 40  # changes that one panel holds
Word = Callable[[Said], str]


class Point(NamedTuple):
    """A change to draw: which row of the panel, which model, where it lies and its interval."""

    label: Said
    model: int
    value: float
    low: float
    high: float
    verdict: str


_PANELS = {
    SHARE: Said("change in points of per cent", "变化（个百分点）"),
    PERPLEXITY: Said("change in per cent of the perplexity before", "相对困惑度变化（%）"),
    "mean": Said("change in standard deviations of the differences", "变化（差值标准差的倍数）"),
}


def pictures(content: Content, source: str = "", language: str = "en") -> list[Picture]:
    """The pictures that the content has something for."""
    made = [
        _changes(content, source, language),
        _stages(content, source, language),
        _judged(content, source, language),
        _letters(content, source, language),
    ]
    return [one for one in made if one]


def points(content: Content, kind: str) -> list[Point]:
    """The changes of measures of one kind that have a direction, as the forest plot of that unit shows them."""
    found = []
    for row in content.rows:
        if row.measure.kind != kind or not row.measure.better:
            continue
        for model, name in enumerate(content.names[1:]):
            change = row.changes.get(name)
            scale = _scale(change, kind) if change else None
            if scale:
                low, high = (
                    scale * end if finite(end) else scale * change.change for end in (change.low, change.high)
                )
                label = _label(content, row)
                found.append(Point(label, model, scale * change.change, low, high, change.verdict))
    return found


def _label(content: Content, row: Row, size: int = 46) -> Said:
    """The measure's label, cut to `size` columns; with its task where two measures have the same one, with an arrow
    where lower is better."""
    same = [other for other in content.rows if other.measure.label == row.measure.label]
    title = next(section.title for section in content.sections if section.name == row.task)
    tail = Said(f" ({title.en})", f"（{title.zh}）") if len(same) > 1 else Said("", "")
    arrow = " ↓" if row.measure.better == "lower" else ""
    words_of = (row.measure.label + tail.en, row.measure.zh + tail.zh)
    return Said(*(terminal.short(one, size) + arrow for one in words_of))


def _scale(change: Change, kind: str) -> float | None:
    if not finite(change.change):
        return None
    if kind in (SHARE, PERPLEXITY):
        return 100.0
    return 1 / change.sd if change.sd else None


def _changes(content: Content, source: str, language: str) -> Picture | None:
    panels = {kind: found for kind in _PANELS if (found := points(content, kind))}
    if not panels:
        return None
    sizes = [len({point.label for point in found[: MOST_ROWS * len(content.names)]}) for found in panels.values()]
    models = content.names[1:]
    step = 0.2 + 0.09 * len(models)

    def draw(figure: Any, word: Word) -> None:
        plots = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw={"height_ratios": [n + 1 for n in sizes]})
        for axes, (kind, found) in zip(plots[:, 0], panels.items(), strict=True):
            _forest(axes, found, len(models), word)
            axes.set_xlabel(word(_PANELS[kind]))
        if len(models) > 1:
            dots = [plots[0, 0].plot([], [], "o", markersize=4, color=_colour(at))[0] for at in range(len(models))]
            figure.legend(dots, models, loc="outside upper center", ncols=4, frameon=False)

    height = step * sum(sizes) + 0.7 * len(panels) + (0.6 if len(models) > 1 else 0.2)
    caption = words.filled(words.PLOTS["changes"], baseline=content.baseline)
    return picture("changes", caption, draw, (_WIDTH, height), source, language)


def _forest(axes: Any, found: Sequence[Point], models: int, word: Word) -> None:
    labels = list(dict.fromkeys(point.label for point in found))[:MOST_ROWS]
    for point in found:
        if point.label not in labels:
            continue
        offset = (point.model - (models - 1) / 2) * (0.7 / models)
        clear = point.verdict in ("better", "worse")
        colour = _colour(point.model)
        axes.errorbar(
            [point.value], [labels.index(point.label) + offset],
            xerr=[[max(0.0, point.value - point.low)], [max(0.0, point.high - point.value)]], fmt="o", markersize=4,
            color=colour, markerfacecolor=colour if clear else "none", elinewidth=1,
        )  # fmt: skip
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(labels)), [word(label) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    _bare(axes, "x")


def _colour(model: int) -> str:
    return COLOURS[model % len(COLOURS)]


def _bare(axes: Any, grid: str) -> None:
    axes.grid(axis=grid, alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def shown_measures(content: Content) -> list[Row]:
    """The measures that are drawn from stage to stage: of every task those with a direction, the first ones first."""
    by_rank: list[tuple[int, int, Row]] = []
    for place, section in enumerate(content.sections):
        directed = [row for row in section.rows if row.measure.better and len(row.estimates) > 1]
        by_rank += [(rank, place, row) for rank, row in enumerate(directed)]
    first = sorted(by_rank, key=lambda one: one[:2])[:MOST_PANELS]
    return [row for _, _, row in sorted(first, key=lambda one: (one[1], one[0]))]


def _stages(content: Content, source: str, language: str) -> Picture | None:
    rows = shown_measures(content)
    if len(content.names) < 2 or not rows:
        return None
    columns = min(3, len(rows))
    lines = -(-len(rows) // columns)

    def draw(figure: Any, word: Word) -> None:
        plots = figure.subplots(lines, columns, squeeze=False, sharex=True).ravel()
        for axes in plots[len(rows) :]:
            axes.set_visible(False)
        for axes, row in zip(plots, rows, strict=False):
            _stage(axes, row, content.names)
            axes.set_title(word(_label(content, row, 32)), loc="left", fontsize=8)

    size = (_WIDTH, 1.75 * lines + 0.5)
    return picture("stages", words.PLOTS["stages"], draw, size, source, language)


def _stage(axes: Any, row: Row, names: Sequence[str]) -> None:
    """Values over the models, with their intervals."""
    scale = 100 if row.measure.kind == SHARE else 1
    found = [(place, row.estimates[name]) for place, name in enumerate(names) if name in row.estimates]
    told = [(place, one) for place, one in found if finite(one.value)]
    values = [scale * one.value for _, one in told]
    ends = [
        (one.low if finite(one.low) else one.value, one.high if finite(one.high) else one.value) for _, one in told
    ]
    errors = [[max(0.0, value - scale * low) for value, (low, _) in zip(values, ends, strict=True)],
              [max(0.0, scale * high - value) for value, (_, high) in zip(values, ends, strict=True)]]  # fmt: skip
    axes.errorbar([place for place, _ in told], values, yerr=errors, fmt="o", color=BLUE, markersize=4, elinewidth=1)
    unit = "%" if row.measure.kind == SHARE else row.measure.unit
    axes.set_ylabel(unit)
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.tick_params(labelbottom=True)
    axes.set_xlim(-0.5, len(names) - 0.5)
    _bare(axes, "y")


def _judged(content: Content, source: str, language: str) -> Picture | None:
    found = [one for one in content.verdicts if finite(one.estimate.value)]
    if not found:
        return None

    def draw(figure: Any, word: Word) -> None:
        axes = figure.subplots()
        for place, one in enumerate(found):
            value = 100 * one.estimate.value
            ends = [100 * end if finite(end) else value for end in (one.estimate.low, one.estimate.high)]
            axes.errorbar([value], [place], xerr=[[max(0.0, value - ends[0])], [max(0.0, ends[1] - value)]], fmt="o",
                          color=BLUE, markersize=4)  # fmt: skip
        axes.axvline(50, color=GREY, linewidth=0.8)
        axes.set_yticks(
            range(len(found)),
            [f"{one.judged.second} > {one.judged.first}, {one.judged.judge}" for one in found],
        )
        axes.set_ylim(len(found) - 0.4, -0.6)
        axes.set_xlim(0, 100)
        axes.set_xlabel(word(Said("win rate in per cent, a tie is half a win", "胜率（%，平局计半胜）")))
        _bare(axes, "x")

    return picture("judged", words.PLOTS["judged"], draw, (_WIDTH, 0.35 * len(found) + 0.9), source, language)


def _letters(content: Content, source: str, language: str) -> Picture | None:
    found = next((section.letters for section in content.sections if section.letters), {})
    if not found:
        return None
    every = sorted({letter for counts in found.values() for letter in counts})

    def draw(figure: Any, word: Word) -> None:
        axes = figure.subplots()
        for place, (name, counts) in enumerate(found.items()):
            offset = (place - (len(found) - 1) / 2) * 0.8 / len(found)
            shares = [100 * counts[letter] / counts.total() for letter in every]
            axes.bar([at + offset for at in range(len(every))], shares, 0.75 / len(found), label=name,
                     color=_colour(place))  # fmt: skip
        axes.set_xticks(range(len(every)), every)
        axes.set_ylabel(word(Said("share of the letters chosen, %", "占所选字母的比例（%）")))
        axes.legend(frameon=False)
        _bare(axes, "y")

    return picture("letters", words.PLOTS["letters"], draw, (_WIDTH, 2.6), source, language)
