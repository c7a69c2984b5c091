"""The work of evaluation.py on one model: tasks run, kept and told; what is there is told without a model.

sh run_tests.sh tests/evaluate/test_run.py
"""

from types import SimpleNamespace

import pytest

from bedside.answers import Sampling
from bedside.evaluate import pairs_task, run
from bedside.evaluate.candidate import Candidate
from bedside.evaluate.stored import Store, read
from bedside.evaluate.task import Case, Measure, Settings, Task

SETTINGS = Settings(Sampling(8, 0.0))
CASES = [Case("a", {"right": 1.0}), Case("b", {"right": 0.0})]


def task(told=None, name: str = "toy") -> Task:
    return Task(name, "toy", "玩具", (Measure("right", "right", "正确"),), lambda *_: [1, 2], lambda *_: CASES,
                told=told)  # fmt: skip


def subject(*_) -> SimpleNamespace:
    drawn = SimpleNamespace(lost=[], counted=False)
    return SimpleNamespace(draw=lambda number: drawn, engine=None, weights=None)


def evaluated(place, one: Task, make=subject):
    candidate = Candidate("rm", {"base": "q2:1"}, {}, make)
    store = Store(place, "rm", candidate.identity)
    return run.evaluate(candidate, [run.Planned(one, [1, 2], {"files": {}}, [])], store, SETTINGS, {})


def test_a_task_with_a_table_of_its_own_shows_it_once_its_cases_are_kept(tmp_path, said):
    def table(cases):
        assert len(read(tmp_path, whole=False).tasks["toy"][1]) == 2, "kept before it is told"
        return ["report card", f"right {sum(case.values['right'] for case in cases):.0f} of {len(cases)}"]

    evaluated(tmp_path, task(table))
    assert said[0].startswith("rm, toy: 2 cases, ")
    assert said[1:] == ["\nreport card\nright 1 of 2"]


def test_what_is_there_is_told_without_a_model(tmp_path, said):
    evaluated(tmp_path, task(lambda cases: ["report card"]))
    said.clear()
    found = evaluated(tmp_path, task(lambda cases: ["report card"]), lambda *_: pytest.fail("loaded"))
    assert said == ["rm, toy: 2 cases are there already", "\nreport card"]
    assert found.tasks["toy"][1] == CASES


def test_a_task_without_one_tells_its_line_alone(tmp_path, said):
    evaluated(tmp_path, task())
    assert len(said) == 1


def test_the_report_card_is_that_of_pairs():
    assert pairs_task.TASK.told is pairs_task.told
