"""The flags of speed against the trainer's, and where the kernels are put.

sh run_tests.sh tests/test_fast.py
"""

from types import SimpleNamespace

import pytest

from bedside import fast, kernels
from bedside.errors import ConfigError
from bedside.kernel_args import KernelArguments


def test_wishes_that_cannot_be_are_told_together():
    wishes = KernelArguments(mlp_tile=0, profile=-1)
    with pytest.raises(ConfigError) as told:
        fast.settle(wishes, {})
    assert "--mlp_tile 0: expected a number of tokens, such as 4096" in str(told.value)
    assert "--profile -1: expected a number of steps, such as 3" in str(told.value)


def test_a_budget_without_checkpointing_is_refused():
    with pytest.raises(ConfigError, match="drop --gradient_checkpointing False"):
        fast.settle(KernelArguments(memory_budget_gb="auto"), {"gradient_checkpointing": False})


def test_liger_takes_the_place_of_what_it_does_itself():
    wishes = KernelArguments()
    fast.settle(wishes, {"use_liger_kernel": True})
    assert (wishes.kernels, wishes.fused_lora, wishes.fused_mlp, wishes.fused_norm) == (True, True, False, False)


def test_a_compiled_model_keeps_its_own_layers():
    wishes = KernelArguments()
    fast.settle(wishes, {"torch_compile": True})
    assert wishes.kernels is False


@pytest.mark.parametrize(
    ("wishes", "trainer", "why"),
    [
        ({"kernels": False}, {}, "--kernels False"),
        ({"fused_mlp": False}, {}, "--fused_mlp False"),
        ({}, {"gradient_checkpointing": False}, "--gradient_checkpointing False"),
        ({}, {"use_liger_kernel": True}, "--use_liger_kernel"),
    ],
)
def test_a_tile_of_an_mlp_that_nothing_cuts_is_refused(wishes, trainer, why):
    with pytest.raises(ConfigError, match=f"--mlp_tile 4096 cuts a checkpointed, fused MLP; drop it, or {why}"):
        fast.settle(KernelArguments(mlp_tile=4096, **wishes), trainer)
    fast.settle(KernelArguments(mlp_tile=4096), {})


@pytest.mark.parametrize("flag", [{"entropy_coef": 0.01}, {"use_adaptive_entropy": True}])
def test_a_run_that_trains_the_entropy_keeps_the_trainers_loss(flag):
    wishes = KernelArguments()
    fast.settle(wishes, flag)
    assert wishes.chunked_loss is False
    fast.settle(wishes := KernelArguments(), {"entropy_coef": 0.0})
    assert wishes.chunked_loss is True


def test_the_kernels_go_into_the_model_and_its_reference(monkeypatch, tmp_path):
    got = []
    monkeypatch.setattr(kernels, "install", lambda model, *wishes: got.append((model, wishes)))
    trainer = SimpleNamespace(
        model="policy", ref_model="reference", train_dataset=SimpleNamespace(column_names=["chosen_ids"]),
        args=SimpleNamespace(per_device_train_batch_size=2, max_length=64, device=None),
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
    )  # fmt: skip
    fast.prepare(trainer, KernelArguments(chunked_loss=False, mlp_tile=4096), tmp_path)
    wanted = (True, True, True, False, True, 4096)
    assert got == [("policy", wanted), ("reference", wanted)]
    got.clear()
    fast.prepare(trainer, KernelArguments(kernels=False), tmp_path)
    assert got == []


@pytest.mark.parametrize(
    ("given", "columns", "tokens"),
    [
        ({"max_length": 512}, ["input_ids"], 512),
        ({"max_length": 512}, ["chosen_ids", "rejected_ids"], 1024),
        ({"response_length": 100, "max_prompt_length": 28}, ["input_ids"], 128),
        ({"max_completion_length": 100}, ["prompt"], 1124),
    ],
)
def test_the_longest_row_counts_both_sides_and_the_answer(given, columns, tokens):
    trainer = SimpleNamespace(args=SimpleNamespace(**given), train_dataset=SimpleNamespace(column_names=columns))
    assert fast.longest(trainer) == tokens
