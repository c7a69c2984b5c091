"""Memory runs out in every stage but SFT and DPO: --auto_fit True gives the run that the smaller micro-batch gives.

sh run_tests.sh tests/fitting/test_autofit_stages.py
"""

import importlib

import pytest

from bedside.fitting.shortage import OutOfMemory
from tests.fitting.hungry import Hungry, batch, flags
from tests.resume import toys
from tests.stages.files import losses, same

# Rows of the embedding for one row of the stage: a pair is two. Rows of data: pages are packed, so PT takes more.
STAGES = {"pt": (1, 40), "rm": (2, 6), "orpo": (2, 7), "kto": (1, 8), "grpo": (1, 8), "ppo": (1, 8)}
ALSO = {"kto": ["--loss_type", "apo_zero_unpaired"]}


def main(stage):
    return importlib.import_module(toys.SCRIPTS[stage]).main


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_survives_as_the_run_that_began_with_the_smaller_batch(stage, tiny_model_dir, tmp_path, monkeypatch):
    """The second step of rm, orpo is the incomplete one of an epoch: 2 pairs, and 3."""
    each, rows = STAGES[stage]

    def run(name, micro, accumulated, *more):
        more = ["--max_steps", "2", *batch(micro, accumulated), *ALSO.get(stage, []), *more]
        main(stage)(flags(tiny_model_dir, tmp_path, name, *more, stage=stage, rows=rows))
        return losses(tmp_path / name)

    roomy, given = run("roomy", 2, 2), run("given", 1, 4)
    hungry = Hungry(monkeypatch, rows=each)
    assert run("fitted", 2, 2, "--auto_fit", "True") == given
    assert len(hungry.alive) == 2 and len(given) == 2
    assert same(tmp_path / "fitted", tmp_path / "given")
    assert given == pytest.approx(roomy, abs=1e-5)


def test_kto_compares_the_rows_of_a_micro_batch_and_so_keeps_it(tiny_model_dir, tmp_path, monkeypatch):
    hungry = Hungry(monkeypatch, rows=2)
    with pytest.raises(OutOfMemory) as caught:
        main("kto")(flags(tiny_model_dir, tmp_path, "out", *batch(4, 1), "--auto_fit", "True", stage="kto"))
    assert len(hungry.alive) == 2 and set(hungry.seen[-2:]) == {4}
    *_, tried, next_, _ = str(caught.value).splitlines()
    assert tried == "--auto_fit True tried 1 time: --offload_checkpoints True"
    assert next_.startswith("try next (a smaller micro-batch; --loss_type kto compares its rows and changes): ")
