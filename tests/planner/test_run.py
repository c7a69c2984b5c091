"""A run's flags as a setting of the planner.

sh run_tests.sh tests/planner/test_run.py
"""

import pytest
from datasets import Dataset

from bedside.args import AdapterArguments, ModelArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.kernel_args import KernelArguments
from bedside.planner import memory, run, shapes
from bedside.planner.run import Machine, Rows

GPU = Machine()
TRAINER = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "optim": "adamw_torch_fused"}


def parsed(model=None, adapter=None, fast=None) -> Parsed:
    groups = {
        ModelArguments: ModelArguments(**(model or {})),
        AdapterArguments: AdapterArguments(**({"lora_dropout": 0.0} | (adapter or {}))),
        KernelArguments: KernelArguments(**(fast or {})),
    }
    return Parsed(groups, {}, set())


def setting(args=None, stage="sft", trainer=None, stored="torch.bfloat16", machine=GPU) -> memory.Setting:
    return run.setting_of(args or parsed(), stage, TRAINER | (trainer or {}), 100, stored, machine, 8)


def test_flags_of_an_sft():
    found = setting(parsed({"load_in_4bit": True}, None, {"mlp_tile": 4096, "offload_checkpoints": True}))
    assert found == memory.Setting(
        "sft", "qlora", 4, 100, 0, 8, 0, True, False, 4096, "adamw_torch_fused", 0.0, 1, "none", 0, True, 2, False, 2
    )


@pytest.mark.parametrize(
    ("model", "adapter", "precision"),
    [
        ({"load_in_4bit": True}, {}, "qlora"),
        ({"load_in_8bit": True}, {}, "qlora8"),
        ({}, {}, "lora"),
        ({}, {"use_peft": False}, "full"),
    ],
)
def test_what_a_base_is_held_in(model, adapter, precision):
    assert setting(parsed(model, adapter)).precision == precision


def test_numbers_that_are_computed_with():
    cpu = Machine(gpu=False, bf16=False)
    assert setting(stored="float32").width == 2 and setting(stored="float32").stored == 4  # a GPU's default is 16 bits
    assert setting(stored="float32", trainer={"bf16": False, "fp16": False}).width == 4
    assert setting(stored="float32", machine=cpu).width == 4 and not setting(machine=cpu).kernels
    assert setting(parsed(None, {"use_peft": False})).half
    assert not setting(parsed(None, {"use_peft": False}), stored="float32").half


def test_answers_that_are_drawn_at_once():
    ppo = {"response_length": 50, "num_mini_batches": 2, "rollout_batch_size": None}
    assert setting(stage="ppo", trainer=ppo).sampled == 16
    assert setting(stage="ppo", trainer=ppo | {"rollout_batch_size": 8}).sampled == 8
    assert setting(stage="ppo", trainer=ppo | {"gradient_accumulation_steps": 32}).sampled == 64  # of 256
    grpo = {"max_completion_length": 50, "steps_per_generation": None}
    assert setting(stage="grpo", trainer=grpo).sampled == 8
    assert setting(stage="grpo", trainer=grpo | {"steps_per_generation": 4}).sampled == 16
    assert setting(stage="grpo", trainer=grpo).response == 50


@pytest.mark.parametrize(
    ("kind", "sharding"),
    [("single", "none"), ("ddp", "ddp"), ("zero1", "ddp"), ("zero2", "zero2"), ("zero3", "fsdp2"), ("fsdp", "fsdp2")],
)
def test_launchers(kind, sharding):
    found = setting(machine=Machine(2, kind))
    assert (found.gpus, found.sharding) == (2, sharding)


def test_dropout_that_a_stage_switches_off():
    wish = parsed(None, {"lora_dropout": 0.05})
    assert setting(wish).dropout == 0.05
    assert setting(wish, "dpo", {"disable_dropout": True}).dropout == 0.0
    assert setting(wish, "dpo", {"disable_dropout": False}).dropout == 0.05
    assert setting(wish, "ppo", {"response_length": 50}).dropout == 0.0


def test_another_stage_is_refused():
    with pytest.raises(ConfigError, match="classify is not planned yet"):
        setting(stage="classify")


def test_layers_that_stay_whole():
    model = shapes.model_of("Qwen2.5-7B")
    asked = setting(parsed({"load_in_4bit": True}))
    assert run.filled(model, asked, False, None, 0.0).whole == 28
    assert run.filled(model, asked, True, None, 0.0).whole == 0
    assert run.filled(model, asked, True, "auto", 80e9).whole == 28
    some = run.filled(model, asked, True, "7.0", 80e9)
    assert 0 < some.whole < 28 and memory.peak(model, some) <= 7e9


def test_micro_batches_of_so_many_tokens():
    asked = setting()
    assert run.of_tokens(asked, 300).tokens == 300
    assert run.of_tokens(setting(stage="dpo"), 300).tokens == 300
    drawn = setting(stage="grpo", trainer={"max_completion_length": 50})
    assert run.of_tokens(drawn, 300) == drawn


def test_lengths_of_rows():
    rows = Dataset.from_dict({"input_ids": [[1, 2, 3], [4]], "labels": [[1, 2, 3], [4]]})
    assert run.rows_of(rows) == Rows(2, 2.0, 3, 2.0)
    packed = Dataset.from_dict({"input_ids": [[1, 2, 3, 4], [5, 6]], "seq_lengths": [[1, 3], [2]]})
    assert run.rows_of(packed) == Rows(2, 3.0, 4, 2.0)
    pairs = Dataset.from_dict({"chosen_ids": [[1, 2], [3, 4]], "rejected_ids": [[1], [2, 3, 4]]})
    assert run.rows_of(pairs) == Rows(2, 2.0, 3, 2.0)
    apart = Dataset.from_dict({"prompt_ids": [[1, 2], [3]], "completion_ids": [[1], [2, 3, 4]]})
    assert run.rows_of(apart) == Rows(2, 3.5, 4, 3.5)
    with pytest.raises(ConfigError, match="the rows have none of the columns"):
        run.rows_of(Dataset.from_dict({"text": ["a"]}))
