"""What the measures of every task are called: short enough for a column of the terminal, and no two alike.

sh run_tests.sh tests/evaluate/test_labels.py
"""

import pytest

from bedside.evaluate import registry, report
from bedside.evaluate.evaluation import Evaluation
from bedside.evaluate.task import Case

TASKS = [registry.get(name) for name in registry.TASKS]


@pytest.mark.parametrize("task", TASKS, ids=[task.name for task in TASKS])
def test_a_label_fits_a_column_and_is_the_only_one(task):
    labels = [measure.label for measure in task.measures]
    assert [label for label in labels if len(label) > 30] == []
    assert len(set(labels)) == len(labels)
    assert len({measure.zh for measure in task.measures}) == len(labels)


def columns(task: str, **values) -> list[str]:
    """The labels that the terminal shows of two cases with these values."""
    described = registry.get(task)
    everything = dict.fromkeys((measure.name for measure in described.measures), None)
    cases = [Case(str(number), {**everything, **values}) for number in range(2)]
    text = report.terminal.table(report.of([Evaluation("sft", {}, {task: (described, cases)})]))
    return [measure.label for measure in described.measures if measure.label in text]


def test_a_chat_shows_format_and_whether_the_condition_was_found():
    values = dict.fromkeys(("strict", "named", "diagnosis", "finished", "lenient", "language"), 1.0)
    assert columns("chat", **values) == [
        "thought format, strict", "condition named in the answer", "condition stated as the answer",
    ]  # fmt: skip


def test_a_choice_shows_both_ways_of_asking():
    both = {"accuracy": 1.0, "accuracy_likelihood": 0.5, "parsed": 1.0, "consistent": 1.0, "probability": 0.25}
    assert columns("choice", **both) == [
        "multiple choice, right", "choice by likelihood, right", "choice answer readable",
    ]  # fmt: skip
    by_text = {"accuracy_likelihood": 0.5, "accuracy_normalised": 0.5, "probability": 0.25}
    assert columns("choice", **by_text) == [
        "choice by likelihood, right", "choice by likelihood per byte", "probability of right option",
    ]  # fmt: skip
