"""A resumed run is bitwise the uninterrupted one: weights and losses, with dropout, shuffling and accumulation.

Eight rows, two a step: an epoch is four steps. From checkpoint-3 the resumed run goes to the epoch's last step and on
into the next epoch.

sh run_tests.sh tests/resume/test_bitwise.py
"""

import shutil

import pytest

from bedside import lineage
from tests.stages.files import losses, same

from . import toys

QLORA = ("--qlora", "True")
WAYS = {
    "sft": ("sft", ()),
    "sft in the second epoch": ("sft", ("--save_steps", "5")),
    "sft packing": ("sft", ("--packing", "True")),
    "sft qlora": ("sft", QLORA),
    "sft qlora packing": ("sft", (*QLORA, "--packing", "True")),
    "sft in full": ("sft", ("--use_peft", "False")),
    "sft bf16 dora": ("sft", ("--bf16", "True", "--use_dora", "True")),
    "pt packing": ("pt", ("--packing", "True")),
    "rm": ("rm", ()),
    "rm qlora": ("rm", QLORA),
    "dpo on an sft adapter": ("dpo", ("--disable_dropout", "False")),
    "dpo qlora on an sft adapter": ("dpo", QLORA),
    "dpo on a base": ("dpo", ("base",)),
    "dpo in full": ("dpo", ("base", "--use_peft", "False")),
    "dpo precomputed": ("dpo", ("--precompute_ref_log_probs", "True")),
    "simpo": ("dpo", ("base", "--loss_type", "simpo")),
    "orpo": ("orpo", ()),
    "kto on an sft adapter": ("kto", ("--per_device_train_batch_size", "2")),
}


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "more"), WAYS.values(), ids=WAYS.keys())
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(fork, sft_adapter, tiny_model_dir, tmp_path, stage, more):
    data = toys.write(stage, tmp_path)
    model = sft_adapter if stage in ("dpo", "kto") and "base" not in more else tiny_model_dir
    steps = "5" if "--save_steps" in more else "3"
    own = ["--save_steps", steps, *(word for word in more if word != "base")]

    def run(output, *words):
        status, said = fork.run(toys.SCRIPTS[stage], toys.flags(stage, model, data, output, *own, *words))
        assert status == 0, said
        return said

    alone, resumed = tmp_path / "alone", tmp_path / "resumed"
    run(alone)
    resumed.mkdir()
    shutil.copytree(alone / f"checkpoint-{steps}", resumed / f"checkpoint-{steps}")
    run(resumed, "--resume_from_checkpoint", "True")
    assert same(resumed, alone)
    assert losses(resumed) == losses(alone)
    assert len(losses(alone)) == 6 and not same(alone, alone / f"checkpoint-{steps}")
    if model is sft_adapter:
        # The reference is the SFT that the run began with, not the checkpoint it went on from.
        assert same(resumed / "ref", sft_adapter) and same(alone / "ref", sft_adapter)
        assert lineage.read(resumed)["reference"]["id"] == lineage.read(sft_adapter)["id"]
