"""A resumed run is bitwise the uninterrupted one: weights and losses, with dropout, shuffling and accumulation.

Eight rows, two a step: an epoch is four steps. From checkpoint-3 the resumed run goes to the epoch's last step and on
into the next epoch.

sh run_tests.sh tests/resume/test_bitwise.py
"""

import shutil

import pytest

from bedside import lineage
from tests.stages.files import history, losses, same

from . import toys

QLORA = ("--qlora", "True")
WAYS = {
    "sft": ("sft", ()),
    "sft in the second epoch": ("sft", ("--save_steps", "5")),
    "sft packing": ("sft", ("--packing", "True")),
    "sft qlora": ("sft", QLORA),
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
    "grpo on an sft adapter": ("grpo", ("--beta", "0.1")),
    "grpo qlora on an sft adapter": ("grpo", (*QLORA, "--beta", "0.1")),
    "grpo over two epochs": ("grpo", ("base", "--gradient_accumulation_steps", "4")),
    "grpo, each rollout used three times": ("grpo", ("base", "--num_iterations", "3")),
    "rloo": ("grpo", ("base", "--algorithm", "rloo")),
}


@pytest.mark.slow
@pytest.mark.parametrize(("stage", "more"), WAYS.values(), ids=WAYS.keys())
def test_a_resumed_run_is_bitwise_the_uninterrupted_one(fork, sft_adapter, tiny_model_dir, tmp_path, stage, more):
    data = toys.write(stage, tmp_path)
    model = sft_adapter if stage in ("dpo", "kto", "grpo") and "base" not in more else tiny_model_dir
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


# A rollout lasts three steps where it is used three times, and two where it has two mini-batches.
PPO = {
    "rollouts used three times": ("3", ("--num_ppo_epochs", "3", "--adaptive_kl", "True", "--kl_horizon", "8")),
    "two mini-batches": ("4", ("--num_mini_batches", "2", "--num_ppo_epochs", "1")),
    "4-bit": ("3", QLORA),
    "a shared reward model": ("3", ("--reward_model_path", "{reward}", "--num_ppo_epochs", "3")),
}


@pytest.fixture(scope="module")
def reward_adapter(fork, tiny_model_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("rm")
    argv = toys.flags("rm", tiny_model_dir, toys.write("rm", root), root / "out", "--save_strategy", "no")
    status, said = fork.run("reward_modeling", argv)
    assert status == 0, said
    return root / "out"


def measured(directory):
    """What a run logged, without the clock."""
    return [{name: value for name, value in line.items() if not name.startswith(("train_runtime", "train_s"))}
            for line in history(directory)]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("way", PPO)
def test_a_resumed_ppo_is_bitwise_the_uninterrupted_one(fork, sft_adapter, reward_adapter, tmp_path, way):
    (steps, more), data = PPO[way], toys.write("ppo", tmp_path)
    own = ["--save_steps", steps, *(word.format(reward=reward_adapter) for word in more)]

    def run(output, *words):
        status, said = fork.run("ppo_training", toys.flags("ppo", sft_adapter, data, output, *own, *words))
        assert status == 0, said

    alone, resumed = tmp_path / "alone", tmp_path / "resumed"
    run(alone)
    shutil.copytree(alone / f"checkpoint-{steps}", resumed / f"checkpoint-{steps}")
    shutil.copy(alone / "samples.jsonl", resumed)  # as an interrupted run leaves it: with later answers
    run(resumed, "--resume_from_checkpoint", "True")
    assert same(resumed, alone) and not same(alone, alone / f"checkpoint-{steps}")
    for place in ("critic/adapter_model.safetensors", "critic/value_head.safetensors", "ppo_state.json"):
        assert (resumed / "checkpoint-6" / place).read_bytes() == (alone / "checkpoint-6" / place).read_bytes()
    assert (resumed / "samples.jsonl").read_bytes() == (alone / "samples.jsonl").read_bytes()
    assert measured(resumed)[:-1] == measured(alone)[:-1]  # the last line sums up what this process has done
