"""An evaluation as JSON and back: every value survives, what is none is refused.

sh run_tests.sh tests/evaluate/test_report_evaluation.py
"""

import json
import math

import pytest

from bedside.errors import ConfigError, DataError
from bedside.evaluate import evaluation as records
from bedside.evaluate.evaluation import Evaluation
from bedside.evaluate.task import Case
from tests.evaluate.report_cases import EXAM, evaluation, exam


def round_trip(value: Evaluation) -> Evaluation:
    return records.from_json(json.loads(json.dumps(records.to_json(value), allow_nan=False)))


def test_an_evaluation_is_read_back_as_it_was():
    one = evaluation("sft", exam(3), 1.5)
    again = round_trip(one)
    assert (again.name, again.about, again.records, again.leakage) == (one.name, one.about, [], None)
    assert again.tasks["exam"][0].measures == EXAM.measures
    assert again.tasks["exam"][1] == one.tasks["exam"][1] and again.tasks["texts"][1] == one.tasks["texts"][1]


def test_numbers_that_are_not_finite_survive():
    values = {"a": math.inf, "b": -math.inf, "c": math.nan, "d": None, "e": 1.0}
    found = records.case_from_json(json.loads(json.dumps(records.case_to_json(Case("1", values)), allow_nan=False)))
    assert found.values["a"] == math.inf and found.values["b"] == -math.inf and math.isnan(found.values["c"])
    assert found.values["d"] is None and found.values["e"] == 1.0


def test_a_task_that_was_read_can_be_reported_and_not_run():
    task = round_trip(evaluation("sft", exam(1))).tasks["exam"][0]
    with pytest.raises(ConfigError, match=r"read from a finished evaluation; run evaluation\.py"):
        task.run(None, [], None)


@pytest.mark.parametrize(("value", "said"), [
    ({}, "x.json: E_EVALUATION is no evaluation of bedside ('schema' is missing); run it again"),
    ({"schema": 2}, "x.json: E_EVALUATION has schema 2, expected 1; update bedside"),
    ({"schema": 1, "name": "a", "about": {}, "tasks": []}, "run it again"),
    ({"schema": 1, "name": "a", "about": {}, "tasks": {"t": {"cases": []}}}, "holds no task"),
    ({"schema": 1, "name": "a", "about": {}, "tasks": {"t": {"name": "t", "title": "t", "zh": "t", "measures": [
        {"name": "m", "label": "m", "zh": "m", "kind": "median"}], "cases": []}}}, "unknown kind 'median'"),
    ({"schema": 1, "name": "a", "about": {}, "tasks": {"t": {"name": "t", "title": "t", "zh": "t", "measures": [],
        "cases": [{"id": "1", "values": {"m": "much"}}]}}}, "holds no case"),
])  # fmt: skip
def test_what_is_no_evaluation_is_refused(value, said):
    with pytest.raises(DataError) as error:
        records.from_json(value, "x.json")
    assert said in str(error.value)
