"""A run killed (SIGKILL) at any point of saving a checkpoint resumes to bitwise the weights of one left alone.

sh run_tests.sh tests/resume/test_kill.py
"""

import json

import pytest

from bedside import lineage
from tests.stages.files import losses, same

from . import toys
from .forks import KILLS

# Killed while checkpoint-4 is saved: the only one before it is checkpoint-2, which must outlive it.
PLAN = ("--max_steps", "5", "--save_steps", "2", "--save_total_limit", "1")
SIGKILL = -9
# Every point where SFT and PPO save, whose trainers save each in their own way; of pairs and of reward models, where
# what is theirs is written: an adapter with its reference, a head, their seals.
POINTS = {"sft": KILLS, "dpo": ("weights", "seal", "rotate"), "rm": ("weights", "seal", "rotate"), "ppo": KILLS}


@pytest.fixture(scope="module")
def left_alone(fork, sft_adapter, tiny_model_dir, tmp_path_factory):
    """For each stage its flags and the output of an uninterrupted run; made when first asked for."""
    made = {}

    def of(stage):
        if stage not in made:
            root = tmp_path_factory.mktemp(stage)
            data = toys.write(stage, root)
            model = sft_adapter if stage in ("dpo", "ppo") else tiny_model_dir

            def argv(output, *more):
                return toys.flags(stage, model, data, output, *PLAN, *more)

            status, said = fork.run(toys.SCRIPTS[stage], argv(root / "alone"))
            assert status == 0, said
            made[stage] = argv, root / "alone"
        return made[stage]

    return of


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "point"), [(stage, point) for stage, points in POINTS.items() for point in points])
def test_a_run_killed_while_saving_resumes_bitwise(fork, left_alone, tmp_path, stage, point):
    argv, alone = left_alone(stage)
    output = tmp_path / "killed"
    status, said = fork.run(toys.SCRIPTS[stage], argv(output), kill=point, step=4)
    assert status == SIGKILL, said
    left = {path.name for path in output.glob("checkpoint-*")}
    assert left == {"checkpoint-2", "checkpoint-4"}
    assert lineage.damage(output / "checkpoint-2") is None
    assert (output / "checkpoint-4" / "lineage.json").is_file() == (point == "rotate")
    assert not (output / "lineage.json").exists()

    status, said = fork.run(toys.SCRIPTS[stage], argv(output, "--resume_from_checkpoint", "True"))
    assert status == 0, said
    used = output / ("checkpoint-4" if point == "rotate" else "checkpoint-2")
    assert lineage.read(output)["resumed_from"] == [str(used)]
    aside = f"{output / 'checkpoint-4'}: not sealed (its saving was interrupted); set aside as broken-checkpoint-4"
    assert (aside in said) == (output / "broken-checkpoint-4").is_dir() == (point != "rotate")
    assert same(output, alone)
    assert losses(output) == losses(alone)
    assert lineage.damage(output) is None
    assert json.loads((output / "trainer_state.json").read_text())["global_step"] == 5
