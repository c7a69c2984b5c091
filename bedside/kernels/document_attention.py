"""Causal attention within the documents of one flat row, by kernels of our own for Hopper cards. Imported late: it
needs torch.

Keys and values may have fewer heads than queries: nothing is repeated, and their gradients are summed over a group
where they are made. `varlen` asks `suits` first; everything else goes through the kernel that comes with torch.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch.utils.weak import WeakTensorKeyDictionary

from bedside.kernels.device import has_triton

_HOPPER = (9, 0)


class Blocks(NamedTuple):
    """How a kernel cuts its work: queries and keys of a block, warps of a program, blocks loaded ahead, and whether
    the blocks without a mask have a loop of their own."""

    queries: int
    keys: int
    warps: int
    stages: int
    split: bool


# 96 is computed as 128.
BLOCKS = {
    ("forward", 64): Blocks(128, 128, 8, 3, True),
    ("forward", 96): Blocks(128, 64, 8, 3, True),
    ("forward", 128): Blocks(64, 64, 4, 3, True),
    ("d_query", 64): Blocks(128, 64, 8, 3, True),
    ("d_query", 96): Blocks(128, 64, 8, 2, True),
    ("d_query", 128): Blocks(64, 32, 4, 3, True),
    ("d_key_value", 64): Blocks(64, 128, 8, 3, True),
    ("d_key_value", 96): Blocks(64, 128, 8, 2, True),
    ("d_key_value", 128): Blocks(64, 128, 8, 2, True),
}


def suits(query: torch.Tensor) -> bool:
    """Whether these `(N, Hq, D)` are for this module: 16 bits on a Hopper card, D of 64, 96 or 128."""
    return (
        query.is_cuda
        and query.dtype in (torch.bfloat16, torch.float16)
        and ("forward", query.shape[-1]) in BLOCKS
        and has_triton()
        and _capability(query.device) == _HOPPER
    )


@functools.cache
def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, cu_seqlens: torch.Tensor, scale: float | None = None
) -> torch.Tensor:
    """Causal attention within each document: `(N, Hq, D), (N, Hkv, D), (N, Hkv, D) -> (N, Hq, D)`.

    `cu_seqlens`, `(documents + 1,)` int32 on the same device, says where documents begin and, last, N. Scores are
    multiplied by `scale`, above 0 (None: one over the root of D). Gradients of the first order only. ValueError for
    shapes or a scale that do not fit.
    """
    (tokens, heads, size), kv_heads = query.shape, key.shape[1]
    if key.shape != (tokens, kv_heads, size) or value.shape != key.shape or heads % kv_heads:
        raise ValueError(f"query {tuple(query.shape)}, key {tuple(key.shape)}, value {tuple(value.shape)} do not fit")
    if ("forward", size) not in BLOCKS:
        raise ValueError(f"heads are {size} wide, expected one of {sorted({width for _, width in BLOCKS})}")
    scale = size**-0.5 if scale is None else scale
    if not scale > 0:
        raise ValueError(f"scale is {scale}, expected a number above 0")
    return _Attention.apply(query, key, value, cu_seqlens, scale)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, query, key, value, bounds, scale):
        query, key, value = query.contiguous(), key.contiguous(), value.contiguous()
        out, lse = run_forward(query, key, value, bounds, scale)
        ctx.save_for_backward(query, key, value, out, lse)
        # The object itself, not what a hook on saved tensors makes of it: its tiles are kept by it.
        ctx.bounds, ctx.scale = bounds, scale
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, d_out):
        query, key, value, out, lse = ctx.saved_tensors
        d_out = d_out.contiguous()
        d_query, delta = run_d_query(query, key, value, out, d_out, lse, ctx.bounds, ctx.scale)
        d_key, d_value = run_d_key_value(query, key, value, d_out, lse, delta, ctx.bounds, ctx.scale)
        return d_query, d_key, d_value, None, None


def run_forward(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, bounds: torch.Tensor, scale: float,
    blocks: Blocks | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The output `(N, Hq, D)` and, float32 `(Hq, N)`, the logarithm in base 2 of what softmax divides by. All
    contiguous."""
    from bedside.kernels.triton_attention import attention_forward

    tokens, heads, size = query.shape
    blocks = blocks or BLOCKS["forward", size]
    out, lse = torch.empty_like(query), query.new_empty(heads, tokens, dtype=torch.float32)
    tiles = tiles_of(bounds, tokens, blocks.queries)
    attention_forward[(heads, len(tiles))](
        query, key, value, out, lse, bounds, tiles, tokens, query.stride(0), key.stride(0), scale / math.log(2),
        **_constants(query, key, blocks),
    )  # fmt: skip
    return out, lse


def run_d_query(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, out: torch.Tensor, d_out: torch.Tensor,
    lse: torch.Tensor, bounds: torch.Tensor, scale: float, blocks: Blocks | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The gradient of the queries `(N, Hq, D)` and, float32 `(Hq, N)`, the products of `out` and `d_out`, which
    `run_d_key_value` needs. All contiguous."""
    from bedside.kernels.triton_attention import attention_d_query

    tokens, heads, size = query.shape
    blocks = blocks or BLOCKS["d_query", size]
    d_query, delta = torch.empty_like(query), torch.empty_like(lse)
    tiles = tiles_of(bounds, tokens, blocks.queries)
    attention_d_query[(heads, len(tiles))](
        query, key, value, out, d_out, lse, delta, d_query, bounds, tiles, tokens, query.stride(0), key.stride(0),
        scale / math.log(2), scale, **_constants(query, key, blocks),
    )  # fmt: skip
    return d_query, delta


def run_d_key_value(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, d_out: torch.Tensor, lse: torch.Tensor,
    delta: torch.Tensor, bounds: torch.Tensor, scale: float, blocks: Blocks | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The gradients of keys and values, both `(N, Hkv, D)`. All contiguous."""
    from bedside.kernels.triton_attention import attention_d_key_value

    tokens, kv_heads, size = key.shape
    blocks = blocks or BLOCKS["d_key_value", size]
    d_key, d_value = torch.empty_like(key), torch.empty_like(value)
    tiles = tiles_of(bounds, tokens, blocks.keys)
    attention_d_key_value[(kv_heads, len(tiles))](
        query, key, value, d_out, lse, delta, d_key, d_value, bounds, tiles, tokens, query.stride(0), key.stride(0),
        scale / math.log(2), scale, **_constants(query, key, blocks),
    )  # fmt: skip
    return d_key, d_value


def _constants(query: torch.Tensor, key: torch.Tensor, blocks: Blocks) -> dict[str, int | bool]:
    """What a kernel is compiled for."""
    (_, heads, size), kv_heads = query.shape, key.shape[1]
    return {
        "GROUP": heads // kv_heads,
        "QUERIES": blocks.queries,
        "KEYS": blocks.keys,
        "SIZE": size,
        "WIDTH": 1 << (size - 1).bit_length(),
        "SPLIT": blocks.split,
        "num_warps": blocks.warps,
        "num_stages": blocks.stages,
    }


# Every layer of a model asks for the same tiles, forward and backward.
_tiles: WeakTensorKeyDictionary = WeakTensorKeyDictionary()


def tiles_of(bounds: torch.Tensor, tokens: int, size: int) -> torch.Tensor:
    """Blocks of `size` places of all documents, `(tokens // size + documents, 2)` int32: the document and the block's
    number in it, the highest numbers first, which are the most work. As many rows as there could be, so that the
    device is not waited for; those left over are last, with the number -1. Kept as long as `bounds`."""
    kept = _tiles.setdefault(bounds, {})
    asked = (bounds._version, tokens, size)
    if asked not in kept:
        kept[asked] = _cut(bounds, tokens, size)
    return kept[asked]


@torch.no_grad()
def _cut(bounds: torch.Tensor, tokens: int, size: int) -> torch.Tensor:
    documents = len(bounds) - 1
    counts = (bounds.diff() + size - 1) // size
    ends = counts.cumsum(0)
    tile = torch.arange(tokens // size + documents, device=bounds.device)
    document = torch.searchsorted(ends, tile, right=True).clamp(max=max(documents - 1, 0))
    block = torch.where(tile < ends[-1:], tile - (ends - counts)[document], -1)
    order = block.argsort(descending=True, stable=True)
    return torch.stack([document, block], 1)[order].to(torch.int32).contiguous()
