"""Attention inside the documents of one flat row, through the kernel that comes with torch. Imported late: it needs
torch.

The rows of a batch laid end to end need no mask that is as long as it is wide, and nothing is computed for padding.
Where that kernel does not run (the CPU, float32, cards before the A100), each document is attended by torch's own
attention, one after another: the same numbers, in more calls.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from bedside.kernels import document_attention

NAME = "bedside_varlen"  # what a model's config calls this attention
_WIDEST = 256  # the widest head that the kernel takes
_TILE = 128  # its backward pass rounds each document up to as many places
_AMPERE = (8, 0)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_seqlens: torch.Tensor,
    max_length: int,
    scale: float | None = None,
    window: int | None = None,
) -> torch.Tensor:
    """Causal attention within each document: `(N, Hq, D), (N, Hkv, D), (N, Hkv, D) -> (N, Hq, D)`.

    `cu_seqlens`, `(documents + 1,)` int32, says where documents begin and, last, where the row ends; the longest has
    `max_length` tokens. Scores are multiplied by `scale` (None: one over the root of D). A token sees itself and the
    `window - 1` before it, or all before it.
    """
    device = query.device.type
    if torch.is_autocast_enabled(device):  # which torch's own attention would follow too
        wanted = torch.get_autocast_dtype(device)
        query, key, value = (part.to(wanted) for part in (query, key, value))
    window = None if window is None or window >= max_length else window
    if window is None and (scale is None or scale > 0) and document_attention.suits(query):
        return document_attention.attend(query, key, value, cu_seqlens, scale)
    found = _kernel()
    if found is not None and takes(query, len(cu_seqlens) - 1):
        call, parameters = found
        more = keywords(parameters, scale, window, query.shape[-1])
        if more is not None:
            return _through_kernel(call, query, key, value, cu_seqlens, max_length, more, "enable_gqa" in parameters)
    return _one_by_one(query, key, value, cu_seqlens, scale, window)


@functools.cache
def _kernel() -> tuple[Callable, frozenset[str]] | None:
    """torch's function and what its parameters are called; None before torch 2.10, and off CUDA."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return (varlen_attn, frozenset(inspect.signature(varlen_attn).parameters)) if torch.version.cuda else None


def takes(query: torch.Tensor, documents: int) -> bool:
    """Whether the kernel runs on these `(N, H, D)`: its places must be counted in 32 bits."""
    tokens, heads, width = query.shape
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and width % 8 == 0
        and width <= _WIDEST
        and (tokens + _TILE * documents) * heads * width < 1 << 31
        and _capability(query.device) >= _AMPERE
    )


@functools.cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def keywords(parameters: frozenset[str], scale: float | None, window: int | None, width: int) -> dict[str, Any] | None:
    """What causal attention is asked for by: torch 2.10 has `is_causal`, later ones a window; None for a window or a
    scale that this torch cannot express."""
    more: dict[str, Any] = {}
    if "window_size" in parameters:
        more["window_size"] = (-1 if window is None else window - 1, 0)
    elif window is None and "is_causal" in parameters:
        more["is_causal"] = True
    else:
        return None
    if scale is not None and "scale" in parameters:
        more["scale"] = scale
    elif scale is not None and abs(scale * width**0.5 - 1) > 1e-6:
        return None
    return more | ({"enable_gqa": True} if "enable_gqa" in parameters else {})


def _through_kernel(call, query, key, value, cu_seqlens, max_length, more, groups_said) -> torch.Tensor:
    """The kernel's answer. Before torch 2.12 no parameter says whether keys may have fewer heads: they are repeated,
    unless that torch was seen to take them."""
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1 and not groups_said and not _takes_groups(call, query.device, query.dtype, tuple(more.items())):
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    return call(query, key, value, cu_seqlens, cu_seqlens, max_length, max_length, **more)


@functools.cache
def _takes_groups(call: Callable, device: torch.device, dtype: torch.dtype, more: tuple) -> bool:
    """Whether the kernel gives what repeated keys would give, and its gradients, seen on sixteen tokens."""
    draw = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(16, heads, 64, generator=draw).to(device, dtype) for heads in (4, 2, 2))
    bounds = torch.tensor([0, 6, 16], dtype=torch.int32, device=device)
    options = {name: part for name, part in more if name != "scale"}

    def run(repeats: int) -> tuple[torch.Tensor, ...]:
        parts = [part.clone().requires_grad_() for part in (query, key, value)]
        k, v = (part.repeat_interleave(repeats, 1) if repeats > 1 else part for part in parts[1:])
        found = call(parts[0], k, v, bounds, bounds, 10, 10, **options)
        return found, *torch.autograd.grad(found.float().square().sum(), parts)

    try:
        with torch.enable_grad(), torch.autocast(device.type, enabled=False):
            return all(torch.allclose(a, b, atol=0.05, rtol=0.05) for a, b in zip(run(1), run(2), strict=True))
    except (RuntimeError, ValueError):
        return False


def _one_by_one(query, key, value, cu_seqlens, scale, window) -> torch.Tensor:
    """Each document by `scaled_dot_product_attention`."""
    repeats = query.shape[1] // key.shape[1]
    if repeats > 1:  # kernels of older cards take no groups
        key, value = key.repeat_interleave(repeats, 1), value.repeat_interleave(repeats, 1)
    pieces = []
    for start, end in pairwise(cu_seqlens.tolist()):
        q, k, v = (part[start:end].transpose(0, 1)[None] for part in (query, key, value))
        band = None if window is None or end - start <= window else _band(end - start, window, query.device)
        out = scaled_dot_product_attention(q, k, v, attn_mask=band, is_causal=band is None, scale=scale)
        pieces.append(out[0].transpose(0, 1))
    return torch.cat(pieces)


def _band(length: int, window: int, device: torch.device) -> torch.Tensor:
    """True where a token sees another, `(length, length)`: itself and the `window - 1` before it."""
    places = torch.arange(length, device=device)
    apart = places[:, None] - places
    return (apart >= 0) & (apart < window)


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    sliding_window: int | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    max_length_q: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """The same in the shapes of transformers: `(1, Hq, N, D), (1, Hkv, N, D) -> (1, N, Hq, D)`.

    ValueError for anything but a flat row with its bounds: a mask is not looked at here, nor is there dropout.
    """
    if cu_seq_lens_q is None or attention_mask is not None or dropout or query.shape[0] != 1:
        raise ValueError(f"{NAME} is for one flat row with cu_seq_lens_q, without mask and dropout")
    parts = (part[0].transpose(0, 1) for part in (query, key, value))
    return attend(*parts, cu_seq_lens_q, max_length_q, scaling, sliding_window)[None], None


def register() -> str:
    """Let a config name this attention; again does no harm. No mask function is registered: transformers then makes
    no mask for it."""
    from transformers import AttentionInterface

    AttentionInterface.register(NAME, attention)
    return NAME
