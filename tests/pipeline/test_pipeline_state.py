"""What counts as done: the command, what is read, what is needed, and the output itself; how a step is done again.

sh run_tests.sh tests/pipeline/test_pipeline_state.py
"""

import hashlib
import json

import pytest

from bedside.errors import ConfigError
from bedside.pipeline import state, work
from bedside.pipeline.recipes import read_by
from bedside.pipeline.steps import ANSWER, EVALUATION, REPORT, Step


@pytest.fixture
def step(tmp_path):
    """A training whose output is whole."""
    place, rows = tmp_path / "sft", tmp_path / "rows.jsonl"
    place.mkdir()
    rows.write_text("{}\n")
    (place / "adapter_model.safetensors").write_text("weights")
    seal(place)
    return Step("sft", "SFT", ("python", "sft.py"), str(place), needs=("pt",), reads=(str(rows),))


def seal(place, kind="adapter"):
    files = {
        path.name: [path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()]
        for path in place.iterdir()
        if path.is_file() and path.name != "lineage.json"
    }
    manifest = {"schema": 1, "stage": "sft", "kind": kind, "id": "s1:abc", "load": {}, "parents": [], "files": files}
    (place / "lineage.json").write_text(json.dumps(manifest))


def record_of(step, **changes):
    now = state.made_of(step, {"pt": "s1:0"})
    return {"status": state.DONE, "made_of": now, "identity": state.product(step)[0], **changes}


def test_a_step_stands_if_nothing_changed(step):
    assert state.stands(step, record_of(step), state.made_of(step, {"pt": "s1:0"})) == (True, "")


def test_why_a_step_does_not_stand(step, tmp_path):
    record, now = record_of(step), state.made_of(step, {"pt": "s1:0"})
    assert state.stands(step, None, now) == (False, "")
    assert state.stands(step, record_of(step, status=state.BEGUN), now) == (False, "was interrupted")
    assert state.stands(step, record_of(step, status=state.FAILED), now) == (False, "failed")
    assert state.stands(step, record, state.made_of(step, {"pt": "s1:1"})) == (False, "pt was made again")
    assert state.stands(step, record, {**now, "command": ["python", "sft.py", "--seed", "1"]}) == (
        False,
        "its command changed",
    )
    (tmp_path / "rows.jsonl").write_text("[]\n")
    rows = tmp_path / "rows.jsonl"
    assert state.stands(step, record, state.made_of(step, {"pt": "s1:0"})) == (False, f"{rows} changed")


def test_an_output_that_is_not_what_was_made(step, tmp_path):
    record, now = record_of(step), state.made_of(step, {"pt": "s1:0"})
    weights = tmp_path / "sft" / "adapter_model.safetensors"
    weights.write_text("WEIGHTS")
    assert state.stands(step, record, now) == (
        False,
        f"{step.output}: adapter_model.safetensors changed since it was saved",
    )
    weights.unlink()
    assert state.stands(step, record, now) == (False, f"{step.output}: adapter_model.safetensors is missing")
    (tmp_path / "sft" / "lineage.json").unlink()
    assert "not sealed" in state.stands(step, record, now)[1]


def test_another_model_that_is_whole_is_not_the_one_that_was_made(step):
    record = record_of(step, identity="s1:def:0")
    assert state.stands(step, record, state.made_of(step, {"pt": "s1:0"})) == (
        False,
        f"{step.output}: is not what was made there",
    )


def test_an_evaluation_counts_when_all_its_tasks_are_complete(tmp_path):
    step = Step("evaluate-sft", "", (), str(tmp_path), EVALUATION)
    assert state.product(step) == (None, "evaluation.json is missing")
    (tmp_path / "evaluation.json").write_text('{"complete": false}')
    assert state.product(step) == (None, "evaluation.json says that not all tasks are complete")
    (tmp_path / "evaluation.json").write_text('{"compl')
    assert state.product(step)[0] is None
    (tmp_path / "evaluation.json").write_text('{"complete": true}')
    first = state.product(step)[0]
    (tmp_path / "cases").mkdir()
    (tmp_path / "cases/chat.jsonl").write_text("{}\n")
    assert state.product(step)[0] not in (None, first)


def test_a_report_and_an_answer(tmp_path):
    report = Step("report", "", (), str(tmp_path), REPORT)
    answer = Step("answer", "", (), str(tmp_path / "answer.jsonl"), ANSWER)
    assert state.product(report) == (None, "report.json is missing")
    assert state.product(answer) == (None, "is missing")
    (tmp_path / "answer.jsonl").write_text("")
    assert state.product(answer) == (None, "is missing"), "an empty file holds no answer"
    (tmp_path / "answer.jsonl").write_text("{}\n")
    assert state.product(answer)[1] is None


def test_contents_of_folders_and_models(tmp_path):
    (tmp_path / "a.jsonl").write_text("1")
    first = state.content(str(tmp_path))
    (tmp_path / ".hidden").write_text("2")
    assert state.content(str(tmp_path)) == first
    (tmp_path / "b").mkdir()
    (tmp_path / "b/c.jsonl").write_text("3")
    second = state.content(str(tmp_path))
    assert second != first
    (tmp_path / "model.safetensors").write_text("w")
    third = state.content(str(tmp_path))
    (tmp_path / "model.safetensors").write_text("v")
    assert len({first, second, third, state.content(str(tmp_path))}) == 4
    assert state.content(str(tmp_path / "none")) == "nothing"


def test_records_survive_and_are_whole_or_not_at_all(tmp_path):
    kept = state.State(tmp_path)
    kept.model = "models/starter"
    kept.keep("pt", status=state.DONE, seconds=1.5)
    again = state.State(tmp_path)
    assert (again.model, again.steps) == ("models/starter", {"pt": {"status": "done", "seconds": 1.5}})
    assert [path.name for path in tmp_path.iterdir()] == ["pipeline.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema": 1, "steps": 3}', '{"schema": 2, "model": "", "steps": {}}']
)
def test_records_that_cannot_be_read_stop_the_command(tmp_path, text):
    (tmp_path / "pipeline.json").write_text(text)
    with pytest.raises(ConfigError, match="pipeline.json: "):
        state.State(tmp_path)


def test_what_is_added_to_a_command_that_is_given_again(step, tmp_path):
    record, now = record_of(step), state.made_of(step, {"pt": "s1:0"})
    place = tmp_path / "sft"
    begun = {**record, "status": state.BEGUN}
    assert work.again(step, begun, now) == ["--overwrite_output_dir", "True"]
    (place / "checkpoint-20").mkdir()
    assert work.again(step, begun, now) == ["--resume_from_checkpoint", "auto"]
    assert work.again(step, record, now) == ["--overwrite_output_dir", "True"], "done once, and damaged since"
    assert work.again(step, begun, {**now, "command": []}) == ["--overwrite_output_dir", "True"]
    assert work.again(step, None, now) == ["--overwrite_output_dir", "True"]
    assert work.again(Step("new", "", (), str(tmp_path / "new")), None, now) == []


def test_half_a_merge_is_removed_and_a_whole_one_replaced(step, tmp_path):
    place = tmp_path / "merged"
    merge = Step("merge-sft", "", (), str(place))
    place.mkdir()
    (place / "model.safetensors").write_text("half")
    assert work.again(merge, record_of(step), {}) == []
    assert not place.exists()
    place.mkdir()
    seal(place, "merged")
    assert work.again(merge, record_of(step), {}) == ["--overwrite_output_dir", "True"]
    (place / "lineage.json").write_text("{")
    assert work.again(merge, record_of(step), {}) == []


def test_which_data_a_recipe_reads(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.jsonl", "b.jsonl", "c.jsonl"):
        (tmp_path / name).write_text("{}\n")
    (tmp_path / "data").mkdir()
    recipe = tmp_path / "r.yaml"
    recipe.write_text("train_file_dir: a.jsonl,b.jsonl\nvalidation_file_dir: c.jsonl\neval_file: on/the/hub\n")
    assert read_by("r.yaml", []) == ("a.jsonl", "b.jsonl", "c.jsonl")
    flags = ["--train_file_dir", "c.jsonl", "--validation_file_dir", "None", "--choice_files", "a.jsonl", "b.jsonl"]
    assert read_by("r.yaml", flags) == ("c.jsonl", "a.jsonl", "b.jsonl")
    recipe.write_text("dataset: exams\n")
    assert read_by("r.yaml", []) == ("data",)
    for text, told in (("- a\n", "expected `flag: value` lines"), ("a: [", "not YAML")):
        recipe.write_text(text)
        with pytest.raises(ConfigError, match=told):
            read_by("r.yaml", [])
