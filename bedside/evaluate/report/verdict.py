"""What a comparison comes to, in three sentences of plain words, with intervals. What is not clear is not claimed."""

from __future__ import annotations

from collections.abc import Sequence

import bedside.evaluate.report.numbers as numbers
from bedside.evaluate.report.content import Content, Row
from bedside.evaluate.report.numbers import finite
from bedside.evaluate.results import Change
from bedside.evaluate.said import Said
from bedside.evaluate.task import SHARE

NAMED = 3  # changes that are told with their numbers


def sentences(content: Content) -> list[tuple[str, list[Said]]]:
    """For every model after the first its name and what is to be said of it; for a single model its numbers."""
    if len(content.names) == 1:
        return [(content.baseline, _alone(content))]
    return [(name, _compared(content, name)) for name in content.names[1:]]


def _alone(content: Content) -> list[Said]:
    told = [row for section in content.sections for row in section.rows[:1] if content.baseline in row.estimates]
    if not told and content.records:
        return [Said("Nothing is compared: one model was evaluated, by another harness.",
                     "只用其他评测工具评测了一个模型，没有比较。")]  # fmt: skip
    if not told:
        return [Said("No task has a result.", "没有任何任务的结果。")]
    parts = [f"{{}} {numbers.estimate(row.estimates[content.baseline])}" for row in told]
    return [
        Said(
            "Nothing is compared: one model was evaluated. "
            + "; ".join(part.format(_name(content, row).en) for part, row in zip(parts, told, strict=True))
            + ".",
            "只评测了一个模型，没有比较。"
            + "；".join(part.format(_name(content, row).zh) for part, row in zip(parts, told, strict=True))
            + "。",
        )
    ]


def _compared(content: Content, name: str) -> list[Said]:
    rows = [row for row in content.rows if name in row.changes and row.measure.better]
    by_verdict = {word: [row for row in rows if row.changes[name].verdict == word] for word in ("better", "worse")}
    better, worse = by_verdict["better"], by_verdict["worse"]
    first = content.baseline
    if not rows and {name, first} <= content.records.keys():
        return [Said(f"{name} and {first} were measured by another harness: its results stand side by side, without a "
                     "paired test.", f"{name} 与 {first} 由其他评测工具评测，仅并列结果，未做配对检验。")]  # fmt: skip
    if not rows:
        return [Said(f"{name} and {first} share no measured item, so nothing can be compared.",
                     f"{name} 与 {first} 没有共同的已测题目，无法比较。")]  # fmt: skip
    rest = len(rows) - len(better) - len(worse)
    told = [
        Said(
            f"Against {content.baseline}, {name} is clearly better in {len(better)} of {len(rows)} measures, clearly "
            f"worse in {len(worse)}, and {rest} show no clear change (Holm-corrected, 5 %).",
            f"与 {content.baseline} 相比，{name} 在 {len(rows)} 项指标中 {len(better)} 项明显更好，"
            f"{len(worse)} 项明显更差，{rest} 项无明显变化（Holm 校正，5 %）。",
        )
    ]
    if better:
        told.append(_list(content, name, better, Said("Clearest gains: ", "最明显的提升：")))
    told.append(
        _list(content, name, worse, Said("Clearly worse: ", "明显变差：")) if worse else _blind(content, name, rows)
    )
    leaked = [section.title for section in content.sections if any(section.left_out.values())]
    if leaked:
        told.append(
            Said(
                f"These changes include leaked items ({', '.join(title.en for title in leaked)}): see above.",
                f"以上变化包含泄漏的题目（{'、'.join(title.zh for title in leaked)}），见上表。",
            )
        )
    return told


def _list(content: Content, name: str, rows: Sequence[Row], lead: Said) -> Said:
    """The clearest of these changes, one of a task before a second one of any."""
    order = sorted(rows, key=lambda row: (-_size(row.changes[name]), row.task))
    seen: set[str] = set()
    first = [row for row in order if not (row.task in seen or seen.add(row.task))]
    chosen = (first + [row for row in order if row not in first])[:NAMED]
    texts = [_told(content, row, row.changes[name]) for row in chosen]
    more = len(rows) - len(chosen)
    tail = Said(f"; and {more} more.", f"；另有 {more} 项。") if more else Said(".", "。")
    return Said(
        lead.en + "; ".join(text.en for text in texts) + tail.en,
        lead.zh + "；".join(text.zh for text in texts) + tail.zh,
    )


def _blind(content: Content, name: str, rows: Sequence[Row]) -> Said:
    """That nothing is worse is only as good as what would have been seen."""
    unsure = [
        row
        for row in rows
        if row.measure.kind == SHARE and row.changes[name].verdict != "better" and finite(row.changes[name].detectable)
    ]
    if not unsure:
        return Said("No measure is clearly worse.", "没有指标明显变差。")
    row = max(unsure, key=lambda row: row.changes[name].detectable)
    found, label = row.changes[name], _name(content, row)
    points = f"{100 * found.detectable:.0f}"
    return Said(
        f"No measure is clearly worse; but a change of less than {points} points in “{label.en}” would often be "
        f"missed with {found.n:,} items.",
        f"没有指标明显变差；但“{label.zh}”只有 {found.n:,} 题，小于 {points} 个百分点的变化常常看不出来。",
    )


def _told(content: Content, row: Row, change: Change) -> Said:
    label, moved = _name(content, row), numbers.change(change)
    pair = f"{numbers.value(row.measure, change.before)} → {numbers.value(row.measure, change.after)}"
    return Said(f"{label.en}, {pair} ({moved.en})", f"{label.zh} {pair}（{moved.zh}）")


def _name(content: Content, row: Row) -> Said:
    """The measure, with its task where another task has one of the same name."""
    measure = Said(row.measure.label, row.measure.zh)
    if sum(other.measure.label == measure.en for other in content.rows) == 1:
        return measure
    title = next(section.title for section in content.sections if section.name == row.task)
    return Said(f"{measure.en} ({title.en})", f"{measure.zh}（{title.zh}）")


def _size(change: Change) -> float:
    """How far the interval is from no change, in its own half widths: the clearest first, whatever the unit."""
    if not (finite(change.low) and finite(change.high) and finite(change.change)) or change.high == change.low:
        return 0.0
    return abs(change.change) / (change.high - change.low)


def direction(row: Row, name: str) -> str:
    """The arrow of a model's value, better, worse or none: only a change that is clear after correction has one."""
    found = row.changes.get(name)
    return found.verdict if found and row.measure.better and found.verdict in ("better", "worse") else ""
