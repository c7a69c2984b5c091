"""An evaluation as a directory: written, read, continued, and refused where it cannot be compared.

sh run_tests.sh tests/evaluate/test_stored.py
"""

import json
import math

import pytest

from bedside.answers import Sampling
from bedside.errors import ConfigError, DataError
from bedside.evaluate import run, stored
from bedside.evaluate.stored import Store
from bedside.evaluate.task import MEAN, PERPLEXITY, Case, Measure, Settings, Task

MEASURES = (Measure("right", "right", "正确"), Measure("ppl", "ppl", "困惑度", PERPLEXITY, "lower"))
TASK = Task("toy", "toy", "玩具", MEASURES, lambda path, settings: [1], lambda subject, items, settings: [])
CASES = [
    Case("a", {"right": 1.0, "ppl": 3.5}, {"ppl": 2.0}, {"language": "zh"}, {"question": "发热\ud83d？"}),
    Case("b", {"right": None, "ppl": math.inf}),
]
IDENTITY = {"base": "q2:1", "adapter": None}


def settings(**changes) -> Settings:
    return Settings(Sampling(64, 0.0), **changes)


def made(tmp_path, text: str = "{}\n", name: str = "data.jsonl", **changes) -> dict:
    (tmp_path / name).write_text(text)
    return stored.made_of([str(tmp_path / name)], [1, 2], settings(**changes), 1, ("choice_by",))


def whole(tmp_path, name: str, made_of: dict, cases=CASES, task: Task = TASK) -> str:
    store = Store(tmp_path / name, name, IDENTITY)
    store.keep(task, made_of, cases)
    store.write(complete=True, about={"model": name, "command": "python evaluation.py"})
    return str(tmp_path / name)


def test_what_is_written_is_read_again(tmp_path):
    place = whole(tmp_path, "sft", made(tmp_path))
    found = stored.read(place)
    task, cases = found.tasks["toy"]
    assert (found.name, found.about["model"], cases) == ("sft", "sft", CASES)
    assert (task.measures, task.zh) == (TASK.measures, "玩具")
    assert stored.tasks_of(place) == ["toy"] and stored.is_one(place)


def test_a_task_that_is_there_is_not_run_again(tmp_path):
    whole(tmp_path, "sft", made(tmp_path))
    assert Store(tmp_path / "sft", "sft", IDENTITY).done(TASK, made(tmp_path)) == CASES


@pytest.mark.parametrize(
    "changes",
    [{"seed": 7}, {"most": 1}, {"system": "Be brief."}, {"enable_thinking": False}, {"options": {"choice_by": ["x"]}}],
)
def test_other_settings_run_it_again(tmp_path, changes):
    whole(tmp_path, "sft", made(tmp_path))
    assert Store(tmp_path / "sft", "sft", IDENTITY).done(TASK, made(tmp_path, **changes)) is None


def test_other_data_or_measures_run_it_again(tmp_path):
    whole(tmp_path, "sft", made(tmp_path))
    store = Store(tmp_path / "sft", "sft", IDENTITY)
    assert store.done(TASK, made(tmp_path, text='{"changed": 1}\n')) is None
    other = Task("toy", "toy", "玩具", (Measure("right", "right", "正确", MEAN),), TASK.load, TASK.run)
    assert store.done(other, made(tmp_path)) is None


def test_other_words_for_a_measure_run_nothing_again(tmp_path):
    place = whole(tmp_path, "sft", made(tmp_path))
    measures = (MEASURES[1], Measure("right", "right answer", "回答正确"))  # and another order
    store = Store(place, "sft", IDENTITY)
    assert store.done(Task("toy", "toy", "玩具", measures, TASK.load, TASK.run), made(tmp_path)) == CASES
    store.write(complete=True)
    assert stored.read(place).tasks["toy"][0].measures == measures


def test_cases_that_were_edited_are_made_again(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("bedside.logs.warn", told.append)
    place = whole(tmp_path, "sft", made(tmp_path))
    path = tmp_path / "sft" / "cases" / "toy.jsonl"
    path.write_text(path.read_text().replace('"right": 1.0', '"right": 0.0'))
    assert Store(place, "sft", IDENTITY).done(TASK, made(tmp_path)) is None
    assert "not as it was written" in told[0]


def test_a_task_with_lost_answers_is_not_complete(tmp_path):
    store = Store(tmp_path / "sft", "sft", IDENTITY)
    store.keep(TASK, made(tmp_path), CASES, lost=1)
    assert Store(tmp_path / "sft", "sft", IDENTITY).done(TASK, made(tmp_path)) is None


def test_another_model_is_refused_and_replaced_when_asked(tmp_path):
    place = whole(tmp_path, "sft", made(tmp_path))
    with pytest.raises(ConfigError, match=r"another model's evaluation: base \(q2:1 then, q2:2 now\).*overwrite"):
        Store(place, "other", {**IDENTITY, "base": "q2:2"})
    assert Store(place, "other", {**IDENTITY, "base": "q2:2"}, overwrite=True).content["tasks"] == {}


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="holds no evaluation, so it is not overwritten"):
        Store(tmp_path / "notes", "m", IDENTITY, overwrite=True)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(ConfigError, match="holds a model; choose another directory"):
        Store(tmp_path / "model", "m", IDENTITY)


def test_an_evaluation_that_was_stopped_is_not_compared(tmp_path):
    store = Store(tmp_path / "sft", "sft", IDENTITY)
    store.keep(TASK, made(tmp_path), CASES)
    store.write(about={"command": "python evaluation.py --seed 1"})
    with pytest.raises(ConfigError, match="stopped before its end; .*: python evaluation.py --seed 1"):
        stored.read(tmp_path / "sft")
    assert stored.read(tmp_path / "sft", whole=False).name == "sft"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "complete": true, "tasks": 3}'])
def test_a_damaged_evaluation_is_told(tmp_path, text):
    (tmp_path / "evaluation.json").write_text(text)
    with pytest.raises((DataError, ConfigError), match=r"damaged|is no evaluation|stopped before its end"):
        stored.read(tmp_path)


def test_damaged_cases_are_told_with_their_line(tmp_path):
    place = whole(tmp_path, "sft", made(tmp_path))
    path = tmp_path / "sft" / "cases" / "toy.jsonl"
    path.write_text(path.read_text() + "{\n")
    with pytest.raises(DataError, match=r"cases/toy\.jsonl:3: E_EVALUATION no JSON"):
        stored.read(place)
    path.unlink()
    with pytest.raises(DataError, match="not there; run the evaluation again"):
        stored.read(place)


def test_evaluations_of_other_settings_are_not_compared(tmp_path):
    first = whole(tmp_path, "a", made(tmp_path))
    stored.check_comparable([first, whole(tmp_path, "b", made(tmp_path))])
    with pytest.raises(ConfigError, match="task toy has --seed 42 in one and 7 in the other\nevaluate both with"):
        stored.check_comparable([first, whole(tmp_path, "c", made(tmp_path, seed=7))])
    with pytest.raises(ConfigError, match=r"other data \(data.jsonl and data.jsonl: their contents differ\)"):
        stored.check_comparable([first, whole(tmp_path, "d", made(tmp_path, text="[]\n"))])


def test_a_file_that_was_moved_is_the_same_and_thinking_may_differ(tmp_path):
    first = whole(tmp_path, "a", made(tmp_path))
    second = whole(tmp_path, "b", made(tmp_path, name="moved.jsonl", enable_thinking=False))
    stored.check_comparable([first, second])


def test_an_earlier_evaluation_fits_or_is_refused_before_the_work(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("bedside.logs.warn", told.append)
    place = whole(tmp_path, "a", made(tmp_path))
    stored.check_fits(place, {"toy": made(tmp_path), "more": made(tmp_path)})
    assert "was not asked the task more" in told[0]
    with pytest.raises(ConfigError, match="--compare_with .*task toy has --max_eval_samples None in one and 3"):
        stored.check_fits(place, {"toy": made(tmp_path, most=3)})


def test_settings_of_sampling_belong_to_tasks_that_ask(tmp_path):
    made(tmp_path)
    found = stored.made_of([str(tmp_path / "data.jsonl")], [1], settings(), 1, (), asks=False)
    assert "max_new_tokens" not in found and "seed" in found
    assert json.loads(json.dumps(found)) == found


def test_the_mean_of_several_answers_counts():
    runs = [[Case("a", {"x": 1.0, "y": None, "z": None}, shown={"answer": "one"})],
            [Case("a", {"x": 0.0, "y": 3.0, "z": None}, shown={"answer": "two"})]]  # fmt: skip
    (found,) = run.averaged(runs)
    assert found.values == {"x": 0.5, "y": 3.0, "z": None}
    assert found.shown == {"answer": "one", "other_answers": ["two"]}
