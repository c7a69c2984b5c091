"""Everything that a report says, computed once: every page, plot and file that is written reads it from here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import bedside.evaluate.report.cases as chosen_cases
from bedside.evaluate import leakage, results
from bedside.evaluate.evaluation import Evaluation, Judged, check_names
from bedside.evaluate.leakage import Leakage
from bedside.evaluate.report.cases import Chosen
from bedside.evaluate.results import Change, Estimate
from bedside.evaluate.said import Said
from bedside.evaluate.task import Case, Measure, Task

MOST_GROUPS = 60  # values of a group (departments) that get a row; a group of more tells items, not kinds


@dataclass(frozen=True)
class Row:
    """One measure of a task for every model, by name: estimates, changes against the first model, the same without
    leaked items (`clean`, empty where there are none), by group and its values, and the cases that failed."""

    task: str
    measure: Measure
    estimates: dict[str, Estimate]
    changes: dict[str, Change] = field(default_factory=dict)
    clean: dict[str, Estimate] = field(default_factory=dict)
    groups: dict[str, dict[str, dict[str, Estimate]]] = field(default_factory=dict)
    failures: dict[str, list[Case]] = field(default_factory=dict)


@dataclass(frozen=True)
class Section:
    """One task: its measures, and by model the cases that are shown beside the first model's, how many cases there
    are, how many of those are of leaked items (`left_out`), which have no value at all (`unmeasured`),
    how often which letter was chosen (`letters`, of multiple
    choice), and what share of right answers guessing would give (`chance`)."""

    name: str
    title: Said
    rows: list[Row]
    chosen: dict[str, Chosen]
    cases: dict[str, int]
    left_out: dict[str, int]
    unmeasured: dict[str, list[Case]] = field(default_factory=dict)
    letters: dict[str, Counter] = field(default_factory=dict)
    chance: float | None = None


@dataclass(frozen=True)
class Verdicts:
    """Answers of two models judged in pairs, counted. `others` are what else was measured on the judge."""

    judged: Judged
    estimate: Estimate
    won: int
    tied: int
    lost: int
    others: list[Estimate] = field(default_factory=list)

    @property
    def net(self) -> float | None:
        """Wins less losses, as a share of all questions."""
        n = self.won + self.tied + self.lost
        return (self.won - self.lost) / n if n else None


@dataclass(frozen=True)
class Content:
    """A whole report. `names` are the models' in order, the first is the baseline."""

    names: list[str]
    about: dict[str, dict[str, Any]]
    sections: list[Section]
    verdicts: list[Verdicts]
    records: dict[str, list[dict[str, Any]]]
    leakage: dict[str, Leakage | None]
    seed: int = 42

    @property
    def baseline(self) -> str:
        return self.names[0]

    @property
    def rows(self) -> list[Row]:
        """All measures of all tasks, in order."""
        return [row for section in self.sections for row in section.rows]


def of(evaluations: Sequence[Evaluation], judged: Sequence[Judged] = (), seed: int = 42) -> Content:
    """The content of a report over `evaluations`, of which the first is what the others are compared with.

    ConfigError where two have one name, DataError where two cases of a task have one id.
    """
    check_names(evaluations)
    checks = {
        one.name: None if one.leakage is None else leakage.from_json(one.leakage, one.name) for one in evaluations
    }
    places = _leaked(checks.values())
    changes = {one.name: _changes(evaluations[0], one) for one in evaluations[1:]}
    sections = [_section(name, evaluations, changes, places, seed) for name in _tasks(evaluations)]
    return Content(
        [one.name for one in evaluations],
        {one.name: one.about for one in evaluations},
        sections,
        [_verdicts(one) for one in judged],
        {one.name: one.records for one in evaluations if one.records},
        checks,
        seed,
    )


def _leaked(checks: Iterable[Leakage | None]) -> set[str]:
    return {place for check in checks if check for place in check.places}


def _tasks(evaluations: Sequence[Evaluation]) -> list[str]:
    return list(dict.fromkeys(name for one in evaluations for name in one.tasks))


def _changes(first: Evaluation, other: Evaluation) -> dict[tuple[str, str], Change]:
    """Changes by task and measure, corrected together: one comparison of two models is one family."""
    found = results.compare(first.tasks, other.tasks)
    return {(change.task, change.measure.name): change for change in found if change.n}


def _section(
    name: str,
    evaluations: Sequence[Evaluation],
    changes: dict[str, dict[tuple[str, str], Change]],
    places: set[str],
    seed: int,
) -> Section:
    taken = {one.name: one.tasks[name] for one in evaluations if name in one.tasks}
    task: Task = next(iter(taken.values()))[0]
    found = {model: cases for model, (_, cases) in taken.items()}
    clean = {model: leakage.clean(cases, places) for model, cases in found.items()} if places else {}
    left_out = {model: len(found[model]) - len(cases) for model, cases in clean.items()}
    measures = {measure.name: measure for other, _ in taken.values() for measure in other.measures}
    rows = []
    for measure in measures.values():
        estimates = _estimates(measure, found)
        if estimates:
            moved = {
                model: other[name, measure.name] for model, other in changes.items() if (name, measure.name) in other
            }
            rows.append(
                Row(
                    name,
                    measure,
                    estimates,
                    moved,
                    _estimates(measure, clean) if any(left_out.values()) else {},
                    _groups(measure, found) if measure.better else {},
                    {model: chosen_cases.failures(measure, cases) for model, cases in found.items()},
                )
            )
    first = evaluations[0].name
    shown = {
        model: chosen_cases.chosen(task, found[first], cases, seed)
        for model, cases in found.items()
        if first in found and model != first
    }
    counts = {model: len(cases) for model, cases in found.items()}
    title = Said(task.title, task.zh)
    unmeasured = {model: chosen_cases.unmeasured(cases) for model, cases in found.items()}
    letters = {model: told for model, cases in found.items() if (told := chosen_cases.letters(cases))}
    chosen = {model: one for model, one in shown.items() if one}
    chance = _chance([case for cases in found.values() for case in cases])
    return Section(name, title, rows, chosen, counts, left_out, unmeasured, letters, chance)


def _chance(cases: Sequence[Case]) -> float | None:
    told = [case.shown["chance"] for case in cases if isinstance(case.shown.get("chance"), (int, float))]
    return sum(told) / len(told) if told else None


def _estimates(measure: Measure, found: dict[str, list[Case]]) -> dict[str, Estimate]:
    estimates = {model: results.estimate(measure, cases) for model, cases in found.items()}
    return {model: estimate for model, estimate in estimates.items() if estimate.n}


def _groups(measure: Measure, found: dict[str, list[Case]]) -> dict[str, dict[str, dict[str, Estimate]]]:
    """By group (department) and value (cardiology) the estimate of every model; groups that divide nothing are left
    out."""
    names = dict.fromkeys(name for cases in found.values() for case in cases for name in case.groups)
    made: dict[str, dict[str, dict[str, Estimate]]] = {}
    for name in names:
        by_value: dict[str, dict[str, Estimate]] = {}
        for model, cases in found.items():
            for value, estimate in results.by_group(measure, cases, name).items():
                if estimate.n:
                    by_value.setdefault(value, {})[model] = estimate
        if 1 < len(by_value) <= MOST_GROUPS:
            made[name] = dict(sorted(by_value.items()))
    return made


def _verdicts(judged: Judged) -> Verdicts:
    """Who won is what most votes say, where a question has several."""
    values = [value for case in judged.cases if (value := case.values.get("win")) is not None]
    found = [results.estimate(measure, judged.cases) for measure in judged.measures]
    counts = [sum(value > 0.5 for value in values), sum(value == 0.5 for value in values)]
    return Verdicts(judged, found[0], *counts, len(values) - sum(counts), [one for one in found[1:] if one.n])
