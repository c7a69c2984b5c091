"""The speed of training: fused linears with LoRA, flat batches, one kernel where torch runs many.

Nothing here changes what is computed beyond the rounding of 16-bit numbers, and whatever is not known to be safe keeps
the path it had. Light to import: torch and Triton come with `install`.
"""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from bedside import logs


def install(
    model: Any,
    fused_lora: bool = True,
    fused_mlp: bool = True,
    fused_norm: bool = True,
    fused_loss: bool = True,
    flat: bool = True,
    mlp_tile: int | None = None,
    anywhere: bool = False,
) -> list[str]:
    """Put the fast paths into `model` (a PeftModel, a causal LM or a classifier, on its device), in place.

    They are for CUDA; `anywhere` puts them in on the CPU too, where they compute the same (tests). `mlp_tile` is how
    many tokens a checkpointed MLP takes at a time. Returns what was done in lines for people, which are logged.
    """
    from bedside.kernels import device, head
    from bedside.kernels import flat as batches

    causal = model.get_base_model() if hasattr(model, "get_base_model") else model
    reason = _nowhere(model, anywhere)
    if reason:
        return _told([f"kernels: off: {reason}"]) if reason != _ON_CPU else []
    body = batches.body_of(model)
    body.register_forward_pre_hook(_new_pass)
    lines = _layers(body, fused_lora, fused_mlp, fused_norm, mlp_tile)
    if flat:
        lines.append(batches.install(model))
    if fused_loss and causal.get_output_embeddings() is not None:
        why = head.install(causal)
        lines.append(f"chunked loss: off: {why}" if why else "chunked loss: on, its gradient made in the forward pass")
    if not device.has_triton():
        lines.append("kernels: Triton is not installed, so torch's own operations are used in their place")
    return _told(lines)


def _new_pass(*_: Any) -> None:
    from bedside.kernels.linear import PerForward

    PerForward.passes += 1


_ON_CPU = "the model is on the CPU"


def _nowhere(model: Any, anywhere: bool) -> str | None:
    """Why no fast path is put in at all, or None."""
    if os.environ.get("ACCELERATE_USE_FSDP") == "true":
        return "FSDP cuts the weights that they read"
    if any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        return "ZeRO-3 cuts the weights that they read"
    places = {parameter.device for parameter in model.parameters()}
    if not anywhere and not any(place.type == "cuda" for place in places):
        return _ON_CPU
    if len({place for place in places if place.type == "cuda"}) > 1:
        return "the model is spread over several GPUs"
    return None


def _layers(body: Any, fused_lora: bool, fused_mlp: bool, fused_norm: bool, tile: int | None) -> list[str]:
    from bedside.kernels import attention, decoder, mlp, norm

    layers = list(getattr(body, "layers", ()))
    lines = []
    for name, wanted, install_one in (
        ("attention", fused_lora, lambda layer: attention.install(getattr(layer, "self_attn", None), fused_lora)),
        ("MLP", fused_mlp, lambda layer: mlp.install(layer, fused_mlp, tile)),
    ):
        if not layers or not wanted:
            continue
        kept = Counter(reason for layer in layers if (reason := install_one(layer)))
        whole = len(layers) - kept.total()
        why = "; ".join(f"{count} only in part: {reason}" for reason, count in kept.items())
        lines.append(f"fused {name}: {whole} of {len(layers)} layers" + (f" ({why})" if why else ""))
    if fused_norm:
        count = sum(norm.install(module) for module in body.modules())
        if count:
            lines.append(f"fused RMSNorm: {count}")
        if fused_mlp:
            for layer in layers:
                decoder.install(layer)
    return lines


def _told(lines: list[str]) -> list[str]:
    for line in lines:
        logs.info(line)
    return lines
