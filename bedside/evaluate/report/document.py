"""The report in the order in which a reader who doubts it wants it: leaks, verdict, table, changes, cases, failures,
what the measures are, where the numbers come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import bedside.evaluate.report.failures as failures
import bedside.evaluate.report.numbers as numbers
import bedside.evaluate.report.tables as tables
import bedside.evaluate.report.verdict as verdict
import bedside.evaluate.report.words as words
from bedside.evaluate import leakage
from bedside.evaluate.leakage import MANY, SOME
from bedside.evaluate.report.blocks import Block, Folded, Heading, Pair, Picture, Side, Table, Text, plain
from bedside.evaluate.report.cases import Chosen, Shown
from bedside.evaluate.report.content import Content, Section
from bedside.evaluate.said import Said
from bedside.evaluate.task import SHARE, Case, Measure


def blocks(content: Content, pictures: Sequence[Picture] = ()) -> list[Block]:
    """The whole document."""
    drawn = {picture.name: picture for picture in pictures}
    return [
        *_head(content),
        *_overview(content, drawn),
        *_sections(content, drawn),
        *_judged(content, drawn),
        *_records(content),
        *_cases(content),
        *failures.blocks(content),
        *_leakage(content),
        *_definitions(content),
        *_provenance(content),
    ]


def _head(content: Content) -> Iterator[Block]:
    yield Heading(1, words.TITLE)
    yield Text(_compared(content), "note")
    yield from _leak_lines(content)
    yield Heading(2, words.VERDICT, "verdict")
    for name, said in verdict.sentences(content):
        if len(content.names) > 2:
            yield Heading(3, plain(name))
        for sentence in said:
            yield Text(sentence)


def _compared(content: Content) -> Said:
    names = ", ".join(content.names[1:])
    if not names:
        return Said(f"Model: {content.baseline}.", f"模型：{content.baseline}。")
    return Said(f"Compared with {content.baseline}: {names}.", f"以 {content.baseline} 为基准，比较：{names}。")


def _leak_lines(content: Content) -> Iterator[Block]:
    """One line a finding, and of which models it is true; the clean results follow where something leaked."""
    by_words: dict[Said, list[str]] = {}
    severe: set[Said] = set()
    for name, found in content.leakage.items():
        said = leakage.sentences(found)[0]
        by_words.setdefault(said, []).append(name)
        if found and found.severity in (SOME, MANY):
            severe.add(said)
    for said, names in sorted(by_words.items(), key=lambda pair: pair[0] not in severe):
        lead = Said("", "") if len(by_words) == 1 else Said(f"{', '.join(names)}: ", f"{'、'.join(names)}：")
        yield Text(Said(lead.en + said.en, lead.zh + said.zh), "warn" if said in severe else "note")
    if severe and any(row.clean for row in content.rows):
        yield Text(words.CLEAN)
        yield tables.clean(content, 1)


def _overview(content: Content, drawn: dict[str, Picture]) -> Iterator[Block]:
    if not content.sections:
        return
    yield Heading(2, words.OVERVIEW, "measures")
    several = len(content.names) > 1
    yield Text(words.filled(words.LEGEND, baseline=content.baseline) if several else words.ALONE, "note")
    yield tables.overview(content)
    yield from _drawn(drawn, "changes", "stages")


def _drawn(drawn: dict[str, Picture], *names: str) -> Iterator[Block]:
    yield from (drawn[name] for name in names if name in drawn)


def _sections(content: Content, drawn: dict[str, Picture]) -> Iterator[Block]:
    for section in content.sections:
        found = [*_changes(content, section), *_groups(content, section)]
        notes = [*_chance(section), *_notes(section)]
        picture = list(_drawn(drawn, "letters")) if section.name.startswith("choice") else []
        if found or notes or picture:
            yield Heading(2, section.title, f"task-{section.name}")
            yield from [*notes, *found, *picture]


def _changes(content: Content, section: Section) -> Iterator[Block]:
    for name in content.names[1:]:
        table = tables.changes(section, name)
        if not table:
            continue
        lead = words.filled(words.CHANGES, model=name, baseline=content.baseline)
        notes = [
            Text(_change_note(row.measure, change.note, change.unpaired), "note")
            for row in section.rows
            if (change := row.changes.get(name)) and (change.note or change.unpaired)
        ]
        yield from [Heading(3, lead), table, *notes] if len(content.names) == 2 else [Folded(lead, [table, *notes])]


def _change_note(measure: Measure, note: str, unpaired: int) -> Said:
    lost = Said(
        f"{unpaired:,} values that only one of the models has are left out" if unpaired else "",
        f"有 {unpaired:,} 个数值仅一方具有，未计入" if unpaired else "",
    )
    label = tables.label(measure)
    return Said(
        f"{label.en}: {'; '.join(filter(None, [note, lost.en]))}.",
        f"{label.zh}：{'；'.join(filter(None, [note, lost.zh]))}。",
    )


def _chance(section: Section) -> list[Block]:
    return [] if section.chance is None else [Text(words.filled(words.CHANCE, chance=100 * section.chance), "note")]


def _notes(section: Section) -> list[Block]:
    """What estimates say of themselves: values that are no numbers."""
    return [
        Text(Said(f"{name}, {row.measure.label}: {found.note}.", f"{name}，{row.measure.zh}：{found.note}。"), "warn")
        for row in section.rows
        for name, found in row.estimates.items()
        if found.value is None
    ]


def _groups(content: Content, section: Section) -> Iterator[Block]:
    by_group: dict[str, list[Block]] = {}
    for row in section.rows:
        for group in row.groups:
            table = tables.groups(row, group, content.names)
            by_group.setdefault(group, []).extend([Text(tables.label(row.measure)), table])
    for group, inside in by_group.items():
        yield Folded(words.filled(words.GROUPS, group=words.group_name(group)), inside)


def _judged(content: Content, drawn: dict[str, Picture]) -> Iterator[Block]:
    if not content.verdicts:
        return
    yield Heading(2, words.JUDGED, "judged")
    yield Text(words.JUDGED_NOTE, "note")
    yield tables.judged(content)
    yield from _drawn(drawn, "judged")
    for one in content.verdicts:
        for other in one.others:
            label, value = tables.label(other.measure), numbers.estimate(other)
            yield Text(Said(*(f"{one.judged.judge}: {name} {value}" for name in label)), "note")
        for note in one.judged.notes:
            yield Text(plain(f"{one.judged.judge}: {note}"), "note")


def _records(content: Content) -> Iterator[Block]:
    if content.records:
        yield Heading(2, words.RECORDS, "records")
        yield tables.records(content)


def _cases(content: Content) -> Iterator[Block]:
    inside: list[Block] = []
    for section in content.sections:
        for name, chosen in section.chosen.items():
            inside += _compared_cases(content, section, name, chosen)
    if inside:
        yield Heading(2, words.CASES, "cases")
        yield from inside


def _compared_cases(content: Content, section: Section, name: str, chosen: Chosen) -> list[Block]:
    lead = Said(
        f"{section.title.en}: {content.baseline} and {name}", f"{section.title.zh}：{content.baseline} 与 {name}"
    )
    counts = {"n": chosen.n, "better": chosen.better, "worse": chosen.worse, "same": chosen.same}
    note = words.filled(words.CASES_NOTE, measure=tables.label(chosen.measure), seed=content.seed, **counts)
    pairs = [_pair(content.baseline, name, section, one) for one in chosen.shown]
    return [Folded(lead, [Text(note, "note"), *pairs])]


def _pair(first: str, second: str, section: Section, one: Shown) -> Pair:
    shown = {**one.before.shown, **one.after.shown}
    expected = shown.get("expected")
    sides = [_side(name, case, section) for name, case in ((first, one.before), (second, one.after))]
    return Pair(
        words.REASONS[one.why],
        str(shown.get("where") or one.after.id),
        _text(shown.get("question")),
        ", ".join(map(_text, expected)) if isinstance(expected, list) else _text(expected),
        sides,
    )


def _side(name: str, case: Case, section: Section) -> Side:
    """One model's answer, and what was measured on it."""
    told = [row.measure for row in section.rows if case.values.get(row.measure.name) is not None]
    parts = [Said(*(f"{tables.label(one)[at]} {_value(one, case)[at]}" for at in (0, 1))) for one in told]
    note = Said(", ".join(part.en for part in parts), "，".join(part.zh for part in parts))
    return Side(name, _text(case.shown.get("thought")), _text(case.shown.get("answer")), note)


def _value(measure: Measure, case: Case) -> Said:
    """The value of one case: yes or no where a share can say it."""
    value = numbers.of_case(measure, case)
    if measure.kind == SHARE and value in (0.0, 1.0):
        return words.YES if value else words.NO
    return plain(numbers.value(measure, value))


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _leakage(content: Content) -> Iterator[Block]:
    yield Heading(2, words.LEAKAGE, "leakage")
    for name, found in content.leakage.items():
        yield Heading(3, plain(name))
        for said in leakage.sentences(found):
            yield Text(said)
        inside: list[Table] = tables.searched(found) if found else []
        if inside:
            yield Folded(words.LOOKED, inside)
        if found and found.hits and any(row.clean for row in content.rows):
            yield Folded(words.CLEAN, [tables.clean(content)])
        if found and found.hits:
            more = len(found.hits) - tables.MOST_HITS
            note = [Text(words.filled(words.MORE, count=more), "note")] if more > 0 else []
            yield Folded(Said(f"{words.TRAINING_ROW.en}s", words.TRAINING_ROW.zh), [tables.hits(found), *note])


def _definitions(content: Content) -> Iterator[Block]:
    if content.rows:
        yield Heading(2, words.DEFINITIONS, "definitions")
        if len(content.names) > 1:
            yield Text(words.NOTES_ON_CHANGES, "note")
        yield tables.definitions(content)


def _provenance(content: Content) -> Iterator[Block]:
    if any(content.about.values()):
        yield Heading(2, words.PROVENANCE, "provenance")
        yield tables.provenance(content)
