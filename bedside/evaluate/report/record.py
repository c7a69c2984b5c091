"""The numbers of a report as JSON, and as scalars: the same values that the pages print, at full precision."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import bedside.evaluate.report.verdict as verdict
from bedside.evaluate import leakage
from bedside.evaluate.report.cases import Chosen
from bedside.evaluate.report.content import Content, Row, Section
from bedside.evaluate.report.failures import place
from bedside.evaluate.results import Change, Estimate

SCHEMA = 1


def of(content: Content) -> dict[str, Any]:
    """The whole report; a number that is not finite is null. Cases that are shown are named by their ids."""
    return {
        "schema": SCHEMA,
        "baseline": content.baseline,
        "models": content.names,
        "about": _plain(content.about),
        "verdict": {name: [said._asdict() for said in told] for name, told in verdict.sentences(content)},
        "leakage": {name: None if one is None else leakage.to_json(one) for name, one in content.leakage.items()},
        "tasks": {section.name: _section(section) for section in content.sections},
        "judged": [
            {"first": one.judged.first, "second": one.judged.second, "judge": one.judged.judge, "won": one.won,
             "tied": one.tied, "lost": one.lost, "net": one.net, "win_rate": _estimate(one.estimate),
             "others": {found.measure.name: _estimate(found) for found in one.others}, "notes": one.judged.notes}
            for one in content.verdicts
        ],
        "records": _plain(content.records),
        "seed": content.seed,
    }  # fmt: skip


def scalars(content: Content, name: str) -> Iterator[tuple[str, float]]:
    """Tag and value of everything that a curve over stages can show, for one model."""
    for row in content.rows:
        found = row.estimates.get(name)
        for part, value in (
            ("", found and found.value),
            ("_low", found and found.low),
            ("_high", found and found.high),
        ):
            if value is not None and math.isfinite(value):
                yield f"{row.task}/{row.measure.name}{part}", value
    for one in content.records.get(name, []):
        for part in ("value", "low", "high"):
            if isinstance(one.get(part), (int, float)) and math.isfinite(one[part]):
                ending = "" if part == "value" else f"_{part}"
                yield f"{one.get('source', 'others')}/{one.get('task')}/{one.get('measure')}{ending}", one[part]
    for one in content.verdicts:
        if one.judged.second == name and one.estimate.value is not None:
            yield f"judged/{one.judged.judge} over {one.judged.first}", one.estimate.value


def _section(section: Section) -> dict[str, Any]:
    return {
        "title": section.title._asdict(),
        "cases": section.cases,
        "chance": section.chance,
        "left_out_as_leaked": section.left_out,
        "unmeasured": {name: [place(case) for case in cases] for name, cases in section.unmeasured.items() if cases},
        "measures": {row.measure.name: _row(row) for row in section.rows},
        "shown": {name: _chosen(chosen) for name, chosen in section.chosen.items()},
    }


def _row(row: Row) -> dict[str, Any]:
    return {
        "measure": dataclasses.asdict(row.measure),
        "estimates": {name: _estimate(found) for name, found in row.estimates.items()},
        "changes": {name: _change(found) for name, found in row.changes.items()},
        "without_leaked": {name: _estimate(found) for name, found in row.clean.items()},
        "groups": {
            group: {
                value: {name: _estimate(found) for name, found in by_model.items()}
                for value, by_model in inside.items()
            }
            for group, inside in row.groups.items()
        },
        "failures": {
            name: [place(case, row.measure) for case in cases] for name, cases in row.failures.items() if cases
        },
    }


def _chosen(chosen: Chosen) -> dict[str, Any]:
    return {
        "by": chosen.measure.name,
        "better": chosen.better,
        "worse": chosen.worse,
        "same": chosen.same,
        "cases": [{"id": one.after.id, "why": one.why, "gain": _number(one.gain)} for one in chosen.shown],
    }


def _estimate(found: Estimate) -> dict[str, Any]:
    return _fields(found, "measure")


def _change(found: Change) -> dict[str, Any]:
    return _fields(found, "measure", "task")


def _fields(found: Estimate | Change, *but: str) -> dict[str, Any]:
    fields = [field.name for field in dataclasses.fields(found) if field.name not in but]
    return {name: _number(getattr(found, name)) for name in fields}


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    """What others put into the report as JSON can say it."""
    if isinstance(value, dict):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return _number(value) if isinstance(value, (str, int, float, type(None))) else str(value)
