"""A resumed run must be the same run: what changed stops it with a sentence, or is told.

sh run_tests.sh tests/resume/test_changes.py
"""

import json
import re
import shutil

import pytest

from bedside import checkpoints, lineage
from bedside.errors import ConfigError
from tests.stages.files import same

from . import toys


@pytest.fixture(scope="module")
def runs(fork, sft_adapter, tiny_model_dir, tmp_path_factory):
    """For each stage: its flags by data and output, its data file, and its output with checkpoint-2; made when asked
    for."""
    made = {}

    def of(stage):
        if stage not in made:
            root = tmp_path_factory.mktemp(stage)
            data = toys.write(stage, root)
            model = sft_adapter if stage == "dpo" else tiny_model_dir

            def argv(output, *more, data=data):
                return toys.flags(stage, model, data, output, "--max_steps", "3", *more)

            status, said = fork.run(toys.SCRIPTS[stage], argv(root / "out"))
            assert status == 0, said
            made[stage] = argv, data, root / "out"
        return made[stage]

    return of


@pytest.fixture
def resume(fork, runs, tmp_path):
    """Resume a stage from its checkpoint-2 with other flags; returns the exit status and what was said."""

    def of(stage, *more, data=None, wish="True"):
        argv, own, alone = runs(stage)
        output = tmp_path / "out"
        output.mkdir(exist_ok=True)
        shutil.copytree(alone / "checkpoint-2", output / "checkpoint-2", dirs_exist_ok=True)
        words = argv(output, *more, "--resume_from_checkpoint", *([wish] if wish else []), data=data or own)
        return fork.run(toys.SCRIPTS[stage], words)

    return of


CHANGES = [
    ("sft", ("--seed", "8"), "seed was 7 in that run and is 8 now"),
    ("sft", ("--packing", "True"), "packing was False in that run and is True now"),
    ("sft", ("--max_length", "90"), "max_length was 96 in that run and is 90 now"),
    ("sft", ("--template_name", "chatml"), "template was [0-9a-f]{16} in that run and is [0-9a-f]{16} now"),
    ("sft", ("--mask_history", "True"), "mask_history was False in that run and is True now"),
    ("sft", ("--max_train_samples", "4"), "rows was .*'kept': 8.* in that run and is .*'kept': 4.* now"),
    ("dpo", ("--beta", "0.2"), r"beta was 0\.1 in that run and is 0\.2 now"),
    ("dpo", ("--loss_type", "ipo"), "loss was sigmoid in that run and is ipo now"),
    ("dpo", ("--max_source_length", "40"), r"limits was \[None, None\] in that run and is \[40, None\] now"),
    ("orpo", ("--orpo_beta", "0.5"), r"beta was 0\.1 in that run and is 0\.5 now"),
    ("pt", ("--packing", "False"), "packing was True in that run and is False now"),
]


@pytest.mark.parametrize(
    ("stage", "more", "why"), CHANGES, ids=[" ".join([stage, *more]) for stage, more, _ in CHANGES]
)
def test_another_run_does_not_resume_this_one(resume, stage, more, why):
    status, said = resume(stage, *more)
    assert status == 2, said
    assert _found(f"error: .*checkpoint-2: {why}; a resumed run .* or add --force_resume True", said)
    assert "Traceback" not in said


def _found(pattern, said):
    return re.search(pattern, said)


@pytest.mark.parametrize("stage", ["sft", "dpo"])
def test_other_data_stops_and_force_goes_on(resume, runs, tmp_path, stage):
    _, data, _ = runs(stage)
    other = tmp_path / data.name
    other.write_text(data.read_text().replace("Drink water", "Drink tea"), encoding="utf-8")
    status, said = resume(stage, data=other)
    assert status == 2 and _found(f"data was .*{data.name}.* in that run and is .* now", said), said
    status, said = resume(stage, "--force_resume", "True", data=other)
    assert status == 0, said


def test_without_a_value_and_with_a_path(resume, runs, tmp_path):
    _, _, alone = runs("sft")
    status, said = resume("sft", wish=None)  # --resume_from_checkpoint as the last word
    assert status == 0, said
    assert same(tmp_path / "out", alone)
    elsewhere = runs("sft")[2] / "checkpoint-2"
    shutil.rmtree(tmp_path / "out")
    status, said = resume("sft", wish=str(elsewhere))
    assert status == 0, said
    assert same(tmp_path / "out", alone)
    assert lineage.read(tmp_path / "out")["resumed_from"] == [str(elsewhere)]


def test_a_path_that_is_not_there_or_damaged_is_not_replaced_by_another(resume, tmp_path):
    status, said = resume("sft", wish=str(tmp_path / "nothing"))
    assert status == 2
    assert _found("--resume_from_checkpoint .*nothing: no such directory; give True to take the newest good one", said)
    (tmp_path / "empty").mkdir()
    status, said = resume("sft", wish=str(tmp_path / "empty"))
    assert status == 2 and "empty: not sealed (its saving was interrupted); give True" in said


def test_batch_and_rate_go_on_with_a_line(resume):
    status, said = resume("sft", "--learning_rate", "1e-4")
    assert status == 0, said
    assert "learning_rate was 0.001 and is 0.0001 now; the schedule of the old run goes on" in said


def test_the_number_of_processes_is_part_of_the_run(runs):
    _, _, alone = runs("sft")
    inputs = json.loads((alone / "checkpoint-2" / "lineage.json").read_text())["inputs"]
    assert checkpoints.to_resume("True", str(alone), inputs).name == "checkpoint-3"
    with pytest.raises(ConfigError, match="world_size was 1 in that run and is 2 now"):
        checkpoints.to_resume("True", str(alone), {**inputs, "world_size": 2})
