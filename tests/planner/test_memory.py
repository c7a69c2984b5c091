"""The parts of a step's memory.

sh run_tests.sh tests/planner/test_memory.py
"""

from dataclasses import replace

import pytest

from bedside.kernels import budget
from bedside.planner import memory, shapes
from bedside.planner.memory import FULL, LORA, Setting

SEVEN = shapes.model_of("Qwen2.5-7B")


def gb(setting: Setting) -> dict[str, float]:
    return {name: round(size / 1e9, 2) for name, size in memory.parts(SEVEN, setting).items()}


def test_parts_of_qlora_are_what_they_are():
    assert gb(Setting()) == {
        "weights of layers": 3.37, "embeddings and head": 2.18, "adapters": 0.08, "gradients": 0.08, "optimizer": 0.16,
        "dequantised weights": 0.27, "checkpoints": 0.41, "logits and loss": 0.45,
    }  # fmt: skip


@pytest.mark.parametrize("whole", [0, 5, 28])
@pytest.mark.parametrize("rows", [1, 8])
def test_parts_add_up_to_what_the_budget_says(whole, rows):
    setting = Setting(rows=rows, whole=whole)
    assert memory.peak(SEVEN, setting) == pytest.approx(budget.peak(memory.need(SEVEN, setting), whole))


def test_every_way_to_save_memory_saves_some():
    setting = Setting(rows=8)
    whole = memory.peak(SEVEN, setting)
    for changed in ({"offload": True}, {"embedding_on_host": True}, {"precision": "qlora", "rows": 4}):
        assert memory.peak(SEVEN, replace(setting, **changed)) < whole - 1e9
    tiled = replace(setting, offload=True, mlp_tile=4096)
    assert memory.peak(SEVEN, tiled) < memory.peak(SEVEN, replace(tiled, mlp_tile=None))
    assert memory.peak(SEVEN, replace(setting, kernels=False)) > whole


def test_a_tied_embedding_stays_on_the_card():
    tied = shapes.model_of("Qwen3-4B")
    assert memory.peak(tied, Setting(embedding_on_host=True)) == memory.peak(tied, Setting())


def test_full_training_holds_16_bytes_a_number_and_copies():
    assert gb(Setting(precision=FULL))["optimizer"] == 60.92
    assert gb(Setting(precision=FULL))["gradients"] == 30.46
    assert gb(Setting(precision=FULL, half=True))["optimizer"] == 30.46
    assert gb(Setting(precision=FULL, optim="adamw_bnb_8bit"))["optimizer"] == 15.23


def test_shards_are_a_part_of_what_is_cut():
    one = memory.fixed(SEVEN, Setting(precision=FULL))
    two = memory.fixed(SEVEN, Setting(precision=FULL, gpus=4, sharding="zero2"))
    all_cut = memory.fixed(SEVEN, Setting(precision=FULL, gpus=4, sharding="fsdp2"))
    assert two["weights of layers"] == one["weights of layers"]
    assert (two["optimizer"], two["gradients"]) == (one["optimizer"] / 4, one["gradients"] / 4)
    assert all_cut["weights of layers"] == one["weights of layers"] / 4
    assert all_cut["weights gathered from others"] > 2e9


def test_ddp_holds_gradients_twice():
    one = memory.fixed(SEVEN, Setting())
    two = memory.fixed(SEVEN, Setting(gpus=2, sharding="ddp"))
    assert sum(two.values()) - sum(one.values()) == one["gradients"] == 4 * SEVEN.lora(8)


def test_a_reward_model_in_full_trains_no_head_over_words():
    full, rm = (memory.fixed(SEVEN, Setting(stage, FULL)) for stage in ("sft", "rm"))
    head = 152064 * 3584
    assert full["gradients"] - rm["gradients"] == 4 * head
    assert full["16-bit copies of weights"] - rm["16-bit copies of weights"] == 2 * head


@pytest.mark.parametrize("stage", memory.STAGES)
@pytest.mark.parametrize("precision", ["qlora", LORA, FULL])
@pytest.mark.parametrize("name", ["Qwen2.5-7B", "google/gemma-2-9b", "Qwen3-4B"])
def test_more_takes_more(name, precision, stage):
    """More rows, longer ones, a larger rank take no less; shards and every way to save take no more."""
    if stage == "ppo" and precision == FULL:
        pytest.skip("refused")
    model, samples = shapes.model_of(name), stage in memory.SAMPLING
    for rows, length in ((1, 512), (4, 2048), (8, 8192)):
        one = Setting(stage, precision, rows, length, 512 if samples else 0, sampled=8 if samples else 0)
        here = memory.peak(model, one)
        assert sum(memory.parts(model, one).values()) == pytest.approx(here)
        for more in ({"rows": 2 * rows}, {"length": 2 * length}, {"lora_r": 64}, {"kernels": False},
                     {"gpus": 2, "sharding": "ddp"}):  # fmt: skip
            assert memory.peak(model, replace(one, **more)) >= here, more
        for less in ({"offload": True}, {"embedding_on_host": True}):
            assert memory.peak(model, replace(one, **less)) <= here, less
        plain = replace(one, kernels=False, gpus=8)
        shards = memory.peak(model, replace(plain, sharding="fsdp2"))
        assert shards < memory.peak(model, replace(plain, sharding="ddp"))
        assert shards <= memory.peak(model, replace(plain, gpus=2, sharding="fsdp2"))


def test_stages_hold_what_they_hold():
    fixed = {stage: memory.fixed(SEVEN, Setting(stage, length=512, response=512 if stage == "ppo" else 0))
             for stage in ("sft", "rm", "dpo", "ppo")}  # fmt: skip
    one = 4 * SEVEN.lora(8)
    assert fixed["sft"]["adapters"] == one
    assert fixed["dpo"]["adapters"] == 2 * one  # the frozen copy of the adapter is the reference
    assert (fixed["ppo"]["adapters"], fixed["ppo"]["gradients"]) == (4 * one, 2 * one)
    assert fixed["rm"]["embeddings and head"] < fixed["sft"]["embeddings and head"] - 1e9  # no head over words
    full = memory.fixed(SEVEN, Setting("dpo", FULL))
    assert full["reference model"] == 4 * SEVEN.parameters


def test_a_pair_is_two_rows_and_an_answer_is_added_to_its_question():
    assert Setting("dpo", rows=2, length=1024).tokens == 4096
    assert Setting("ppo", rows=2, length=1024, response=512).tokens == 3072


def test_a_long_rollout_is_the_worst_moment():
    small = Setting("ppo", rows=1, length=1024, response=512, sampled=1)
    assert "rollout: cache and drawing" not in memory.parts(SEVEN, small)
    large = replace(small, sampled=64)
    assert memory.parts(SEVEN, large)["rollout: cache and drawing"] == pytest.approx(memory.rollout(SEVEN, large))


def test_layers_are_counted_without_kernels_where_they_do_not_apply():
    gemma = shapes.model_of("google/gemma-2-9b")
    assert memory.fused(SEVEN, Setting()) and memory.fused(SEVEN, Setting(precision=LORA))
    for model, setting in ((gemma, Setting()), (SEVEN, Setting(dropout=0.05)), (SEVEN, Setting(precision=FULL)),
                           (SEVEN, Setting(sharding="fsdp2")), (SEVEN, Setting("ppo"))):  # fmt: skip
        assert not memory.fused(model, setting)
    plain, wet = (memory.kept(SEVEN, Setting(kernels=False, dropout=p))[0].a_token / 7168 for p in (0, 0.05))
    assert plain == pytest.approx(29.5, rel=0.02)  # counted on the real graph of PEFT, in rows of the hidden width
    assert wet == pytest.approx(44.8, rel=0.05)
