"""What a layer keeps, as measured, and a trainer that leaves layers whole within a budget.

sh run_tests.sh tests/kernels/test_checkpointing.py
"""

import pytest
import torch
from transformers import Trainer, TrainingArguments

from bedside.kernels import budget, checkpointing
from tests.kernels.layers import tiny


def test_what_a_layer_keeps_is_measured_and_nothing_else_changes():
    model = tiny().eval()
    layers = checkpointing.decoder_layers(model)
    for layer in layers:
        layer.gradient_checkpointing = True
    before = torch.get_rng_state()
    found, constant = checkpointing.measured(model, torch.device("cpu"))
    # A plain float32 layer of width 32: less than three times the fused kernels' count, and more than it.
    fused = budget.saved_a_token(budget.shape_of(model.config), 4)
    assert fused < found < 3 * fused and constant == 0
    assert torch.equal(before, torch.get_rng_state())
    assert all(layer.gradient_checkpointing and not layer.training for layer in layers)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def test_an_mlp_that_keeps_nothing_while_it_is_computed_again_is_measured_and_planned():
    from peft import LoraConfig, get_peft_model

    from bedside import kernels

    model = get_peft_model(tiny().to(torch.bfloat16), LoraConfig(r=4, target_modules="all-linear"))
    kernels.install(model, anywhere=True)
    card = torch.device("cpu")
    saved, again = (checkpointing.measured(model, card, replayed).a_token for replayed in (False, True))
    assert 2 * 2 * 96 <= saved - again < 2 * 2 * 96 + 2 * 64  # gate and up, and their share of the adapters
    assert not hasattr(checkpointing.decoder_layers(model)[0], "_gradient_checkpointing_func")


def test_16_bit_copies_of_float32_weights_are_counted_once_a_layer():
    model = tiny().requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        found = checkpointing.measured(model, torch.device("cpu"))
    weights = sum(p.numel() for p in checkpointing.decoder_layers(model)[0].parameters() if p.dim() == 2)
    assert found.constant == pytest.approx(2 * weights, rel=0.05)
    assert found.of(1000) == found.constant + 1000 * found.a_token


def test_dropout_is_part_of_what_is_measured():
    from peft import LoraConfig, get_peft_model

    sizes = []
    for dropout in (0.0, 0.5):
        model = get_peft_model(tiny(), LoraConfig(r=4, lora_dropout=dropout, target_modules="all-linear"))
        sizes.append(checkpointing.measured(model, torch.device("cpu")).a_token)
    assert sizes[1] > 1.1 * sizes[0]


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        ids = (torch.arange(24) * (index + 3)) % 160
        return {"input_ids": ids, "labels": ids}


def trained(tmp_path, wish=None, offloads=False, checkpointed=True, steps=3):
    """Weights after three steps, how many layers stayed whole, and the trainer."""
    model = tiny()
    args = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=2, gradient_accumulation_steps=2, max_steps=steps, report_to="none",
        use_cpu=True, gradient_checkpointing=checkpointed, save_strategy="no", disable_tqdm=True, learning_rate=1e-2,
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=Rows())
    checkpointing.watch(trainer, wish, offloads, tokens=48)
    trainer.train()
    whole = [not layer.gradient_checkpointing for layer in checkpointing.decoder_layers(model)]
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, whole, trainer


def test_a_trainer_keeps_the_last_layers_whole_and_trains_the_same(tmp_path, said):
    plain, _, _ = trained(tmp_path, checkpointed=False)
    chosen = {}
    for gb in ("0.000001", "0.0014", "1"):
        said.clear()
        weights, chosen[gb], _ = trained(tmp_path, gb)
        assert all(torch.equal(plain[name], weights[name]) for name in plain)
        assert len([line for line in said if "memory" in line]) == 1
        if gb == "0.000001":
            assert "are needed for micro-batches of up to 48 tokens with every layer checkpointed" in said[0]
            assert "add --offload_checkpoints True" in said[0]
    assert chosen["0.000001"] == [False] * 4 and chosen["1"] == [True] * 4
    assert chosen["0.0014"] == sorted(chosen["0.0014"]) and 0 < sum(chosen["0.0014"]) < 4


def test_without_a_card_auto_and_the_host_are_said_to_do_nothing(tmp_path, said):
    _, whole, _ = trained(tmp_path, "auto", True, steps=1)
    assert whole == [False] * 4
    assert any("--memory_budget_gb auto: there is no GPU to fill" in line for line in said)
    assert any("--offload_checkpoints: there is no GPU" in line for line in said)


def test_a_model_that_is_not_checkpointed_is_left_alone_with_a_line(tmp_path, said):
    _, whole, _ = trained(tmp_path, "1", checkpointed=False, steps=1)
    assert whole == [True] * 4
    assert said == ["warning: no layer of this model is checkpointed: --memory_budget_gb and --offload_checkpoints do "
                    "nothing here"]  # fmt: skip


def test_without_flags_the_trainer_gets_no_callback(tmp_path):
    _, _, trainer = trained(tmp_path, steps=1)
    assert not any(type(callback).__name__ == "Checkpointing" for callback in trainer.callback_handler.callbacks)
