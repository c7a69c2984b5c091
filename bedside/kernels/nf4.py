"""4-bit weights back to 16 bit, into one buffer that every layer uses in turn. Imported late: needs torch."""

from __future__ import annotations

from typing import Any

import torch

from bedside.kernels.device import kernels_run_on

_BLOCK, _BLOCK_OF_SCALES, _ROWS = 64, 256, 32
_buffers: dict[tuple[torch.device, torch.dtype], torch.Tensor] = {}


def shared(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    """A tensor of that shape in the one buffer of the device; the next call overwrites it.

    That is safe on one stream: each product is queued before the next weight is.
    """
    count = 1
    for size in shape:
        count *= size
    buffer = _buffers.get((device, dtype))
    if buffer is None or buffer.numel() < count:
        buffer = _buffers[device, dtype] = torch.empty(count, dtype=dtype, device=device)
    return buffer[:count].view(shape)


def release() -> None:
    """Give the buffers back."""
    _buffers.clear()


def dequantise(weight: torch.Tensor, state: Any, out: torch.Tensor | None = None) -> torch.Tensor:
    """The `(out_features, in_features)` weights that `state` (bitsandbytes' QuantState) says are packed in `weight`.

    `out`, contiguous, receives them. Bit for bit what bitsandbytes computes; formats that the kernel does not know
    go to bitsandbytes.
    """
    from bitsandbytes import functional

    if out is None:
        out = torch.empty(tuple(state.shape), dtype=state.dtype, device=weight.device)
    if not (kernels_run_on(weight) and _known(state)):
        return functional.dequantize_4bit(weight, state, out=out) if weight.is_cuda else _plain(weight, state, out)
    import triton

    from bedside.kernels.triton_ops import nf4_dequantise

    nested, blocks = state.nested, out.numel() // _BLOCK
    second = state.state2 if nested else None
    nf4_dequantise[(triton.cdiv(blocks, _ROWS),)](
        weight.view(torch.uint8), state.absmax, state.code, second.code if nested else state.code,
        second.absmax if nested else state.absmax, state.offset if nested else state.absmax, out, blocks,
        NESTED=nested, ROWS=_ROWS, num_warps=2, enable_fp_fusion=False,
    )  # fmt: skip
    return out


def _known(state: Any) -> bool:
    return (
        state.quant_type == "nf4"
        and state.blocksize == _BLOCK
        and (state.shape[0] * state.shape[1]) % _BLOCK == 0
        and (not state.nested or state.state2.blocksize == _BLOCK_OF_SCALES)
    )


def _plain(weight: torch.Tensor, state: Any, out: torch.Tensor) -> torch.Tensor:
    from bitsandbytes import functional

    return out.copy_(functional.dequantize_4bit(weight, state))
