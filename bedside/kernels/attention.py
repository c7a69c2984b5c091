"""Self-attention of Llama-shaped decoders on flat rows of documents: q, k, v with LoRA at once, rotary, varlen.

Imported late: needs torch.
"""

from __future__ import annotations

import types
from collections.abc import Callable

import torch

from bedside.kernels import layer_ops, varlen
from bedside.kernels.device import as_function
from bedside.kernels.linear import PerForward, computes, group, shared_lora, why_not

_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj")
_KNOWN = ("Qwen2Attention", "Qwen3Attention", "LlamaAttention", "MistralAttention")


def install(module: torch.nn.Module, fused_lora: bool) -> str | None:
    """Give an attention module the fused forward for flat rows; the reason why not all of it, or None.

    Whatever is not a flat row in training (generation, padded batches) still goes through its own forward.
    """
    if type(module).__name__ not in _KNOWN:
        return f"{type(module).__name__} is not known"
    if getattr(module, "attention_dropout", 0.0):
        return "attention dropout"
    if not fused_lora:
        return "--fused_lora False"
    reasons = [reason for name in _LINEARS if (reason := why_not(getattr(module, name)))]
    linears = [getattr(module, name) for name in _LINEARS]
    module.prepared = PerForward(linears, lambda parts: (group(parts[:3]), group(parts[3:])))
    module.forward = types.MethodType(_forward(as_function(module), not reasons), module)
    return reasons[0] if reasons else None


def _forward(original: Callable, fused: bool) -> Callable:
    def forward(self, hidden_states, position_embeddings, attention_mask=None, past_key_values=None, **kwargs):
        bounds = kwargs.get("cu_seq_lens_q")
        flat = bounds is not None and past_key_values is None and attention_mask is None
        if not flat or hidden_states.shape[0] != 1 or not self.training:
            return original(
                self, hidden_states=hidden_states, position_embeddings=position_embeddings,
                attention_mask=attention_mask, past_key_values=past_key_values, **kwargs,
            )  # fmt: skip
        x = hidden_states[0]
        cos, sin = (part[0] for part in position_embeddings)
        made = self.prepared() if fused else None
        inputs, output = made if made is not None and computes(made[0].parts[0], x) else (None, None)
        q, k, v = _heads(self, x, inputs, cos, sin)
        window = getattr(self, "sliding_window", getattr(self.config, "sliding_window", None))
        out = varlen.attend(q, k, v, bounds, kwargs["max_length_q"], self.scaling, window).reshape(len(x), -1)
        out = self.o_proj(out) if output is None else shared_lora(out, output)
        return out[None], None

    return forward


def _heads(module, x, inputs, cos, sin):
    """q `(T, Hq, D)`, k and v `(T, Hkv, D)`, with the norms of their heads (Qwen3) and their positions."""
    heads, kv_heads, size = module.config.num_attention_heads, module.config.num_key_value_heads, cos.shape[-1]
    norms = getattr(module, "q_norm", None), getattr(module, "k_norm", None)
    if inputs is not None and norms[0] is None:
        return layer_ops.SplitRotary.apply(shared_lora(x, inputs), cos, sin, heads, kv_heads)
    if inputs is not None:
        q, k, v = shared_lora(x, inputs).split([heads * size, kv_heads * size, kv_heads * size], -1)
    else:
        q, k, v = module.q_proj(x), module.k_proj(x), module.v_proj(x)
    q, k, v = q.reshape(-1, heads, size), k.reshape(-1, kv_heads, size), v.reshape(-1, kv_heads, size)
    if norms[0] is not None:
        q, k = norms[0](q), norms[1](k)
    return layer_ops.Rotary.apply(q, cos, sin), layer_ops.Rotary.apply(k, cos, sin), v
