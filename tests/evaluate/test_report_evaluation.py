"""Tasks and cases as JSON and back: every value survives, what is none is refused.

sh run_tests.sh tests/evaluate/test_report_evaluation.py
"""

import json
import math

import pytest

from bedside.errors import ConfigError, DataError
from bedside.evaluate import evaluation as records
from bedside.evaluate.task import Case, Task
from tests.evaluate.report_cases import EXAM, evaluation, exam


def again(task: Task) -> Task:
    return records.task_from_json(json.loads(json.dumps(records.task_to_json(task), allow_nan=False)))


def test_a_task_and_its_cases_are_read_back_as_they_were():
    one = evaluation("sft", exam(3), 1.5)
    for task, cases in one.tasks.values():
        assert (again(task).name, again(task).zh, again(task).measures) == (task.name, task.zh, task.measures)
        texts = [json.dumps(records.case_to_json(case), allow_nan=False) for case in cases]
        assert [records.case_from_json(json.loads(text)) for text in texts] == cases


def test_numbers_that_are_not_finite_survive():
    values = {"a": math.inf, "b": -math.inf, "c": math.nan, "d": None, "e": 1.0}
    found = records.case_from_json(json.loads(json.dumps(records.case_to_json(Case("1", values)), allow_nan=False)))
    assert found.values["a"] == math.inf and found.values["b"] == -math.inf and math.isnan(found.values["c"])
    assert found.values["d"] is None and found.values["e"] == 1.0


def test_a_task_that_was_read_can_be_reported_and_not_run():
    task = again(EXAM)
    with pytest.raises(ConfigError, match=r"read from a finished evaluation; run evaluation\.py"):
        task.run(None, [], None)


@pytest.mark.parametrize(("value", "said"), [
    ({}, "x.json: E_EVALUATION holds no task ('measures' is missing); run the evaluation again"),
    ({"name": "t", "title": "t", "zh": "t", "measures": [{"name": "m", "colour": "red"}]}, "holds no task"),
    ({"name": "t", "title": "t", "zh": "t", "measures": [
        {"name": "m", "label": "m", "zh": "m", "kind": "median"}]}, "a measure of unknown kind 'median'; update"),
])  # fmt: skip
def test_what_is_no_task_is_refused(value, said):
    with pytest.raises(DataError) as error:
        records.task_from_json(value, "x.json")
    assert said in str(error.value)


@pytest.mark.parametrize("value", [{"id": "1"}, {"id": "1", "values": {"m": "much"}}, {"id": "1", "values": [1]}])
def test_what_is_no_case_is_refused(value):
    with pytest.raises(DataError, match=r"x.json:3: E_EVALUATION holds no case \(.*\); run the evaluation again"):
        records.case_from_json(value, "x.json:3")
