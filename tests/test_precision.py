"""What is chosen on a card without bfloat16 (an RTX 2080 Ti), and that float16 training with a scaler is right.

sh run_tests.sh tests/test_precision.py
"""

import pytest
import torch
import transformers.utils
from transformers import Qwen2Config

from bedside import adapters, models, precision, reward_model, runner
from bedside.errors import ConfigError

NF4 = {"bits": 4, "type": "nf4", "double": True}
IDS = torch.tensor([[5, 9, 200, 31, 77, 12, 40, 41], [7, 8, 9, 10, 11, 12, 13, 14]])


@pytest.fixture
def card(monkeypatch):
    """`card(bfloat16)` pretends that there is a GPU. Asked without a word about emulation, torch says yes for all."""

    def pretend(bfloat16: bool) -> None:
        def supported(including_emulation: bool = True) -> bool:
            return bfloat16 or including_emulation

        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "A100" if bfloat16 else "GeForce RTX 2080 Ti")
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (8, 0) if bfloat16 else (7, 5))

    return pretend


@pytest.mark.parametrize(
    ("name", "stored", "quantised", "old", "new"),
    [
        ("auto", "bfloat16", False, "float16", "bfloat16"),
        ("auto", "bfloat16", True, "float16", "bfloat16"),
        ("auto", "float16", True, "float16", "float16"),
        ("auto", "float32", True, "float16", "bfloat16"),
        ("auto", None, True, "float16", "bfloat16"),
        ("auto", "float32", False, "float32", "float32"),
        ("auto", None, False, "float32", "float32"),
        ("float16", "bfloat16", True, "float16", "float16"),
        ("bfloat16", "bfloat16", True, "bfloat16", "bfloat16"),
    ],
)
def test_the_dtype_a_base_is_held_in(card, name, stored, quantised, old, new):
    config = Qwen2Config(dtype=stored)
    card(bfloat16=False)
    assert precision.resolve_dtype(name, config, quantised) == getattr(torch, old)
    card(bfloat16=True)
    assert precision.resolve_dtype(name, config, quantised) == getattr(torch, new)


def test_bfloat16_that_is_asked_for_on_an_old_card_is_warned_of(card, said):
    card(bfloat16=True)
    precision.resolve_dtype("bfloat16", Qwen2Config(), True)
    assert said == []
    card(bfloat16=False)
    precision.resolve_dtype("bfloat16", Qwen2Config(), True)
    assert said == ["warning: --dtype bfloat16: this GPU only emulates it, slowly; --dtype auto takes float16 here"]


def test_4_bit_products_are_computed_in_float16_on_an_old_card(card):
    card(bfloat16=False)
    held = precision.resolve_dtype("auto", Qwen2Config(dtype="bfloat16"), True)
    config = precision.quantisation_config(NF4, held)
    assert config.bnb_4bit_compute_dtype == torch.float16
    assert (config.bnb_4bit_quant_type, config.bnb_4bit_use_double_quant) == ("nf4", True)
    assert precision.quantisation_config(None, held) is None
    assert precision.quantisation_config({"bits": 8}, held).load_in_8bit


def test_the_trainer_gets_fp16_and_with_it_a_scaler(card, said):
    card(bfloat16=False)
    flags: dict = {}
    runner.settle_precision(flags)
    assert flags == {"bf16": False, "fp16": True}
    assert said == ["precision: fp16 (this GPU's best)"]
    card(bfloat16=True)
    flags = {}
    runner.settle_precision(flags)
    assert flags == {"bf16": True, "fp16": False}


def test_flash_attention_is_not_for_an_old_card(card, said, monkeypatch):
    monkeypatch.setattr(transformers.utils, "is_flash_attn_2_available", lambda: True)
    card(bfloat16=True)
    assert models.attention(None, "fa2") == "flash_attention_2"
    assert models.attention(None, None) == "sdpa"
    card(bfloat16=False)
    assert models.attention(None, "fa2") == "sdpa"
    assert said == ["--flash_attn: GeForce RTX 2080 Ti is older than Ampere, where flash attention begins; using "
                    "torch's own attention (sdpa)"]  # fmt: skip
    with pytest.raises(ConfigError, match="2080 Ti is older than Ampere, .*; use --attn_implementation sdpa"):
        models.attention("flash_attention_2", None)


def test_flash_attention_that_is_not_installed(card, monkeypatch):
    monkeypatch.setattr(transformers.utils, "is_flash_attn_2_available", lambda: False)
    card(bfloat16=True)
    with pytest.raises(ConfigError, match="the flash-attn wheel is not installed; use --attn_implementation sdpa"):
        models.attention("flash_attention_2", None)


def trainable(model) -> set[torch.dtype]:
    return {parameter.dtype for parameter in model.parameters() if parameter.requires_grad}


@pytest.mark.parametrize("quantisation", [None, NF4], ids=["lora", "qlora"])
def test_what_is_trained_on_a_float16_base_is_float32(tiny_model_dir, tmp_path, quantisation):
    """A scaler refuses gradients in float16: its first step would end in a ValueError."""
    base = models.load_base(tiny_model_dir, "float16", quantisation)
    assert base.model.norm.weight.dtype == base.get_input_embeddings().weight.dtype == torch.float16
    model = adapters.attach(base, adapters.lora_config(use_dora=True))
    assert trainable(model) == {torch.float32}
    model.save_pretrained(tmp_path)
    again = adapters.continue_adapter(models.load_base(tiny_model_dir, "float16", quantisation), str(tmp_path))
    assert trainable(again) == {torch.float32}


@pytest.mark.parametrize("quantisation", [None, NF4], ids=["lora", "qlora"])
def test_a_reward_model_on_a_float16_base(tiny_model_dir, quantisation):
    base = models.load_base(tiny_model_dir, "float16", quantisation, num_labels=1)
    model, _ = reward_model.start(base, None, "CAUSAL_LM", {"r": 4})
    assert trainable(model) == {torch.float32}
    assert model(input_ids=IDS).logits.dtype == torch.float32


def test_modules_that_are_trained_whole_are_float32_under_autocast(tiny_model_dir):
    base = models.load_base(tiny_model_dir, "float16")
    model = adapters.attach(base, adapters.lora_config(modules_to_save="embed_tokens"))
    assert trainable(adapters.in_float32(model, whole_modules=True)) == {torch.float32}


def steps(dtype: str, tiny_model_dir: str, quantisation: dict | None, scale: float) -> tuple[list, list, list]:
    """Losses, trained weights and scales of three optimizer steps under autocast with a scaler, as the trainer does
    them; in float32 without either."""
    half = dtype == "float16"
    base = models.load_base(tiny_model_dir, dtype, quantisation)
    torch.manual_seed(0)
    model = adapters.attach(base, adapters.lora_config(dropout=0.0)).train()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(weights, lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=half)
    losses, scales = [], []
    for _ in range(3):
        with torch.autocast("cpu", dtype=torch.float16, enabled=half):
            loss = model(input_ids=IDS, labels=IDS).loss
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
        scales.append(scaler.get_scale())
    return losses, [weight.detach().clone() for weight in weights], scales


@pytest.mark.parametrize("quantisation", [None, NF4], ids=["lora", "qlora"])
def test_float16_steps_are_those_of_float32(tiny_model_dir, quantisation):
    losses, weights, scales = steps("float16", tiny_model_dir, quantisation, 2.0**10)
    exact_losses, exact_weights, _ = steps("float32", tiny_model_dir, quantisation, 1.0)
    assert scales == [2.0**10] * 3, "no step was left out"
    assert losses == pytest.approx(exact_losses, rel=2e-3)
    assert {weight.dtype for weight in weights} == {torch.float32}
    moved = torch.cat([weight.flatten() for weight in exact_weights])
    error = torch.cat([(weight - exact).flatten() for weight, exact in zip(weights, exact_weights, strict=True)])
    assert error.norm() < 0.02 * moved.norm()


def test_a_scale_that_is_too_large_costs_steps_and_nothing_else(tiny_model_dir):
    losses, weights, scales = steps("float16", tiny_model_dir, NF4, 2.0**30)
    assert scales == [2.0**29, 2.0**28, 2.0**27]
    assert losses == [losses[0]] * 3, "steps whose gradients overflow are left out"
    assert all(weight.isfinite().all() for weight in weights)
