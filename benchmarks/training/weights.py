"""Random weights: straight on the device, layer by layer, in NF4, bfloat16 or float32; or as a model directory.

No 16-bit copy of the whole model exists at any time, so that a peak is that of training.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.training.case import Case
from benchmarks.training.rows import STARTER
from benchmarks.training.shapes import ALPHA, RANK, SHAPES, config_of

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_KINDS = {"nf4": "bfloat16", "bf16": "bfloat16", "fp32": "float32"}


def _meta(name: str, kind: str, attention: str, labels: int | None) -> Any:
    """The model without its weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

    config = config_of(name)
    if labels:
        config.num_labels, config.architectures = labels, ["Qwen2ForSequenceClassification"]
    loader = AutoModelForSequenceClassification if labels else AutoModelForCausalLM
    with torch.device("meta"):
        return loader.from_config(config, dtype=getattr(torch, _KINDS[kind]), attn_implementation=attention)


def build(name: str, kind: str, device: str, attention: str = "sdpa", labels: int | None = None) -> Any:
    """A model of that shape on the device, frozen unless `kind` is fp32; with `labels` a sequence classifier."""
    import torch

    from bedside import models

    torch.manual_seed(0)
    model = _meta(name, kind, attention, labels)
    if kind == "nf4":
        quantise(model, device)
    for module in model.modules():
        for key, given in list(module._parameters.items()):
            if given is not None and given.device.type == "meta":
                drawn = _drawn(given.shape, given.dtype, device, "norm" in type(module).__name__.lower())
                module._parameters[key] = torch.nn.Parameter(drawn, requires_grad=kind == "fp32")
    if SHAPES[name].tied and not labels:
        model.lm_head.weight = model.model.embed_tokens.weight
    model.model.rotary_emb = type(model.model.rotary_emb)(config=model.config).to(device)
    model.config.use_cache = False
    models.keep_nf4_as_loaded(model)
    return model


def _drawn(shape: Any, dtype: Any, device: str, ones: bool) -> Any:
    """Ones for a norm; else normal numbers with a deviation of 0.02."""
    import torch

    if ones:
        return torch.ones(shape, dtype=dtype, device=device)
    return torch.empty(shape, dtype=dtype, device=device).normal_(0, 0.02)


def quantise(model: Any, device: str) -> None:
    """Random NF4 weights with double quantisation in place of the decoder's linear layers on the meta device."""
    import bitsandbytes
    import torch
    from transformers.utils.quantization_config import QuantizationMethod

    for layer in model.model.layers:
        for parent in (layer.self_attn, layer.mlp):
            for key, linear in [(key, child) for key, child in parent.named_children() if key in LINEAR]:
                made = bitsandbytes.nn.Linear4bit(
                    linear.in_features, linear.out_features, linear.bias is not None, torch.bfloat16, True, "nf4",
                    device="meta",
                )  # fmt: skip
                drawn = _drawn(linear.weight.shape, torch.bfloat16, device, False)
                made.weight = bitsandbytes.nn.Params4bit(
                    drawn, requires_grad=False, compress_statistics=True, quant_type="nf4", module=made
                )._quantize(torch.device(device))
                made.bias = linear.bias  # in the model's precision; drawn with what else is on the meta device
                setattr(parent, key, made)
    model.is_loaded_in_4bit = True
    model.quantization_method = QuantizationMethod.BITS_AND_BYTES


def with_adapter(model: Any, dropout: float = 0.0, task: str = "CAUSAL_LM") -> Any:
    """PEFT's model with a new adapter of rank 8 on every linear layer but the head."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, lora_dropout=dropout, target_modules=list(LINEAR), task_type=task
    )  # fmt: skip
    return get_peft_model(model, config)


def _shards(name: str, device: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Files of a bfloat16 model and their tensors, a layer each and one for what is outside the layers."""
    model = _meta(name, "bf16", "sdpa", None)
    groups: dict[str, list[tuple[str, Any]]] = {}
    for key, tensor in model.state_dict().items():
        if SHAPES[name].tied and key == "lm_head.weight":
            continue
        parts = key.split(".")
        groups.setdefault(parts[2] if "layers" in parts else "rest", []).append((key, tensor))
    for number, tensors in enumerate(groups.values(), 1):
        made = {key: _drawn(meta.shape, meta.dtype, device, "norm" in key).cpu() for key, meta in tensors}
        yield f"model-{number:05d}-of-{len(groups):05d}.safetensors", made


def directory(place: Path, name: str, device: str) -> Path:
    """A model directory with random bfloat16 weights and the shipped tokenizer; written once, the index last."""
    import torch
    from safetensors.torch import save_file

    made = place / f"model-{name}"
    index = made / "model.safetensors.index.json"
    if index.is_file():
        return made
    made.mkdir(parents=True, exist_ok=True)
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(STARTER / file, made / file)
    config_of(name).save_pretrained(made)
    torch.manual_seed(0)
    placed, size = {}, 0
    for file, tensors in _shards(name, device):
        save_file(tensors, str(made / file), metadata={"format": "pt"})
        placed |= dict.fromkeys(tensors, file)
        size += sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    index.write_text(json.dumps({"metadata": {"total_size": size}, "weight_map": placed}), encoding="utf-8")
    return made


def ready(case: Case) -> tuple[Path, Case]:
    """The model directory of a case, and the case as if the process had started so much later as writing it took."""
    begun = time.time()
    made = directory(Path(case.work), case.model, case.device)
    return made, replace(case, started=case.started + time.time() - begun)
