"""What is known of one model after its evaluation: who it is, and the cases of every task; and back from JSON.

`Judged` is a comparison of two models that needs the answers of both, so it belongs to neither.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bedside.errors import ConfigError, DataError
from bedside.evaluate.task import MEAN, PERPLEXITY, SHARE, Case, Measure, Task

SCHEMA = 1
_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}  # JSON has no words for them


@dataclass(frozen=True)
class Evaluation:
    """One model, evaluated. `tasks` are by name, each with its cases in the order of the items.

    `about` says where the numbers come from. A report knows these keys and shows any other as it is: `command` (text),
    `model` (path or address), `lineage` (id), `parents` (list of `{"id", "stage", "path", "how"}`), `base`,
    `template`, `precision`, `data` (`{file: sha256}`), `settings` (dict), `versions` (dict), `hardware`, `commit`,
    `date`.
    `records` are results that came without cases, as lm-evaluation-harness gives them: dicts with `task`, `measure`,
    `value`, `low`, `high`, `n`, `source` (a share is 0 to 1). `leakage` is what `leakage.check` found, as JSON.
    """

    name: str
    about: dict[str, Any] = field(default_factory=dict)
    tasks: dict[str, tuple[Task, list[Case]]] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)
    leakage: dict[str, Any] | None = None


@dataclass(frozen=True)
class Judged:
    """Answers of two models to the same questions, judged in pairs: cases have the value `win` of `second` over
    `first` (1, 0.5 a tie, 0). `judge` names who judged; `notes` are sentences that belong beside the number (position
    bias, agreement, cost, what a win is)."""

    first: str
    second: str
    judge: str
    cases: list[Case]
    notes: list[str] = field(default_factory=list)
    measures: tuple[Measure, ...] = (Measure("win", "win rate", "胜率", MEAN),)


def task_to_json(task: Task) -> dict[str, Any]:
    """What tells how a task's cases are read: its names and measures."""
    return {
        "name": task.name,
        "title": task.title,
        "zh": task.zh,
        "measures": [dataclasses.asdict(measure) for measure in task.measures],
    }


def task_from_json(value: Mapping[str, Any], where: str = "an evaluation") -> Task:
    """The task as it was when its cases were made. It can be reported, not run again; DataError for what is none."""
    try:
        measures = tuple(Measure(**measure) for measure in value["measures"])
        strange = sorted({measure.kind for measure in measures} - {SHARE, MEAN, PERPLEXITY})
        if strange:
            raise DataError("E_EVALUATION", where, f"has a measure of unknown kind {strange[0]!r}; update bedside")
        return Task(value["name"], value["title"], value["zh"], measures, _not_again, _not_again)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError("E_EVALUATION", where, f"holds no task ({_said(error)}); run the evaluation again") from None


def case_to_json(case: Case) -> dict[str, Any]:
    """A case as one JSON object; empty parts are left out."""
    values = {name: _number_out(value) for name, value in case.values.items()}
    weights = {name: _number_out(value) for name, value in case.weights.items()}
    found = {"id": case.id, "values": values, "weights": weights, "groups": case.groups, "shown": case.shown}
    return {key: part for key, part in found.items() if key in ("id", "values") or part}


def case_from_json(value: Mapping[str, Any], where: str = "an evaluation") -> Case:
    """What `case_to_json` wrote; DataError names `where`."""
    try:
        values = {name: _number_in(number) for name, number in value["values"].items()}
        weights = {name: _number_in(number) for name, number in value.get("weights", {}).items()}
        return Case(str(value["id"]), values, weights, dict(value.get("groups", {})), dict(value.get("shown", {})))
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise DataError("E_EVALUATION", where, f"holds no case ({_said(error)}); run the evaluation again") from None


def check_names(evaluations: Sequence[Evaluation]) -> None:
    """ConfigError where two evaluations have one name: their rows could not be told apart."""
    names = [evaluation.name for evaluation in evaluations]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"two evaluations are called {twice[0]}; give each a name of its own")


def _not_again(*_: Any) -> Any:
    raise ConfigError("this task was read from a finished evaluation; run evaluation.py to take it again")


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _number_out(value: float | None) -> float | str | None:
    return str(float(value)) if value is not None and not math.isfinite(value) else value


def _number_in(value: float | str | None) -> float | None:
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    return float(value) if isinstance(value, bool) else _NUMBERS[value]
