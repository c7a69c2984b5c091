"""A decoder layer whose residual additions are part of its kernels. Imported late: needs torch."""

from __future__ import annotations

import functools
import types
from collections.abc import Callable

import torch

from bedside.kernels import layer_ops, norm
from bedside.kernels.device import as_function

_KNOWN = ("Qwen2DecoderLayer", "Qwen3DecoderLayer", "LlamaDecoderLayer", "MistralDecoderLayer")


def install(layer: torch.nn.Module) -> bool:
    """Give a layer, whose MLP has its fused forward, one that adds where the norms are taken; False if it is not one
    of the known ones, or its norms are not (PEFT's `modules_to_save` wraps them)."""
    if type(layer).__name__ not in _KNOWN or not hasattr(layer.mlp, "prepared"):
        return False
    if not all(type(one).__name__ in norm.KNOWN for one in (layer.input_layernorm, layer.post_attention_layernorm)):
        return False
    layer.forward = types.MethodType(_forward(as_function(layer)), layer)
    return True


def _checkpointed_by_forward() -> bool:
    """Whether transformers checkpoints in the forward of a layer's class, which `install` replaces; 5.17 does it in
    `__call__`, outside."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return "__call__" not in vars(GradientCheckpointingLayer)


def _forward(original: Callable) -> Callable:
    ours_to_checkpoint = _checkpointed_by_forward()

    def fused(self, hidden_states, **kwargs):
        first, second = self.input_layernorm, self.post_attention_layernorm
        shape = hidden_states.shape
        flat = hidden_states.reshape(-1, shape[-1])
        stream, read = layer_ops.AddNorm.apply(flat, None, first.weight, first.variance_epsilon)
        attended, _ = self.self_attn(hidden_states=read.view(shape), **kwargs)
        attended = attended.reshape(flat.shape).to(stream.dtype)
        stream, read = layer_ops.AddNorm.apply(stream, attended, second.weight, second.variance_epsilon)
        return self.mlp(read.view(shape), stream.view(shape))

    def forward(self, hidden_states, *args, **kwargs):
        if args or not self.training or hidden_states.dim() != 3 or kwargs.get("past_key_values") is not None:
            return original(self, hidden_states, *args, **kwargs)
        if ours_to_checkpoint and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(functools.partial(fused, self, **kwargs), hidden_states)
        return fused(self, hidden_states, **kwargs)

    return forward
