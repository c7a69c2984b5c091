"""The gated MLP of Llama-shaped decoders as one step, LoRA on all three linears included, over slices of the tokens.

Imported late: needs torch.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch

from bedside.kernels import layer_ops, nf4
from bedside.kernels.device import as_function
from bedside.kernels.linear import (
    PerForward,
    Projection,
    computes,
    gradient_a,
    gradient_b,
    group,
    largest_rank,
    stacked_a,
    why_not,
)  # fmt: skip

_LINEARS = ("gate_proj", "up_proj", "down_proj")


class Ready(NamedTuple):
    """The three projections and their adapters as the kernels take them, of one rank R: `first_a (2 R, H)` of gate
    over up, `gate_b`, `up_b (I, R)`, `down_a (R, I)`, `down_b (H, R)`; zeros where no adapter acts."""

    parts: tuple[Projection, Projection, Projection]
    rank: int
    first_a: torch.Tensor
    gate_b: torch.Tensor
    up_b: torch.Tensor
    down_a: torch.Tensor
    down_b: torch.Tensor

    @property
    def adapters(self) -> list[torch.Tensor | None]:
        """The parameters that get gradients: a, b of gate, up and down."""
        return [tensor for p in self.parts for tensor in (p.a, p.b)]


def ready(parts: Sequence[Projection]) -> Ready:
    """Adapters of gate, up and down, copied into the precision of the products."""
    rank = largest_rank(parts)
    gate, up, down = (group((p,), rank, always=True) for p in parts)
    return Ready(tuple(parts), rank, stacked_a(parts[:2], rank), gate.b, up.b, down.a, down.b)


class LoraMLP(torch.autograd.Function):
    """`residual + down(silu(gate(x)) * up(x))`, `(T, H)` to `(T, H)`; the residual may be None.

    Keeps x and the two base products; the adapters of gate and up are added where the product of the two is formed,
    and in the backward pass the same kernel sums what three adapters need, so that neither the adapters' outputs nor
    the product ever go through memory on their own.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, residual: torch.Tensor | None, mlp: Ready, *adapters):
        gate, up, down = mlp.parts
        low = x @ mlp.first_a.T
        g, u = x @ gate.dense().T, x @ up.dense().T
        h = layer_ops.swiglu(g, u, low, mlp.gate_b, mlp.up_b)
        out = h @ down.dense().T if residual is None else torch.addmm(residual, h, down.dense().T)
        down_low = h @ mlp.down_a.T
        out.addmm_(down_low, mlp.down_b.T)
        ctx.mlp, ctx.used = mlp, False
        ctx.save_for_backward(x, g, u, low, down_low)
        return out

    @staticmethod
    def backward(ctx, d_out: torch.Tensor):
        if ctx.used:
            raise RuntimeError("the MLP's backward pass runs once: it overwrites what it kept; use --fused_mlp False")
        ctx.used = True
        x, g, u, low, down_low = ctx.saved_tensors
        d_x = torch.empty_like(x) if ctx.needs_input_grad[0] else None
        weights = [p.dense for p in ctx.mlp.parts]
        found = _back(ctx.mlp, weights, x, d_out.contiguous(), g, u, low, down_low, d_x)
        return d_x, d_out if ctx.needs_input_grad[1] else None, None, *_gradients(ctx.mlp, found)


def _back(mlp: Ready, weights, x, d_out, g, u, low, down_low, d_x) -> list[torch.Tensor]:
    """dL/dx into `d_x`, if it is wanted; returns what the adapters need: `(3, I, R)`, `(2 R, H)`, `(H, R)`."""
    gate, up, down = weights
    d_g, d_u, sums = layer_ops.swiglu_backward(
        d_out @ down(), g, u, low, d_out @ mlp.down_b, mlp.gate_b, mlp.up_b, mlp.down_a
    )
    d_low = torch.cat([d_g @ mlp.gate_b, d_u @ mlp.up_b], 1)
    if d_x is not None:
        torch.mm(d_g, gate(), out=d_x)
        d_x.addmm_(d_u, up()).addmm_(d_low, mlp.first_a)
    return [sums, d_low.T @ x, d_out.T @ down_low]


def _gradients(mlp: Ready, found: Sequence[torch.Tensor]) -> tuple[torch.Tensor | None, ...]:
    (gate, up, down), rank, (sums, d_a, d_down_b) = mlp.parts, mlp.rank, found
    return (
        gradient_a(gate, d_a[:rank]), gradient_b(gate, sums[1]), gradient_a(up, d_a[rank:]), gradient_b(up, sums[2]),
        gradient_a(down, sums[0].T), gradient_b(down, d_down_b),
    )  # fmt: skip


def lora_mlp(
    x: torch.Tensor, mlp: Ready, recompute: bool = False, tile: int | None = None,
    residual: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """`x (..., H)` through the MLP, plus `residual` of the same shape if given.

    `recompute` keeps x alone for the backward pass, which then goes over `tile` tokens at a time (all if None).
    """
    flat = x.reshape(-1, x.shape[-1])
    with torch.autocast(x.device.type, enabled=False):
        flat = flat.to(mlp.parts[0].dtype)
        if residual is not None and residual.dtype != flat.dtype:  # a stream in float32 stays so
            return residual + lora_mlp(x, mlp, recompute, tile)
        residual = None if residual is None else residual.reshape(flat.shape)
        if not recompute:
            return LoraMLP.apply(flat, residual, mlp, *mlp.adapters).view(x.shape)
        tile = min(tile or len(flat), max(1, len(flat)))
        return TiledOut.apply(TiledBack.apply(flat, mlp, tile, *mlp.adapters), residual, mlp, tile).view(x.shape)


def _weights(parts: Sequence[Projection], tiles: int) -> list[Callable[[], torch.Tensor]]:
    """What gives each dense weight: in one buffer for all, made anew each time, or made once where there are several
    slices."""
    if tiles == 1 or parts[0].state is None:
        return [p.dense for p in parts]
    made = nf4.shared((len(parts), parts[0].shape[0] * parts[0].shape[1]), parts[0].dtype, parts[0].weight.device)
    dense = [p.dense(made[index].view(p.shape)) for index, p in enumerate(parts)]
    return [lambda weight=weight: weight for weight in dense]


class TiledOut(torch.autograd.Function):
    """The output of the MLP, slice by slice, plus the residual; hands its gradient, which has the shape of x, on to
    `TiledBack`."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, residual: torch.Tensor | None, mlp: Ready, tile: int) -> torch.Tensor:
        gate, up, down = _weights(mlp.parts, -(-len(x) // tile))
        out = torch.empty_like(x)
        for start in range(0, len(x), tile):
            piece, into = x[start : start + tile], out[start : start + tile]
            low = piece @ mlp.first_a.T
            h = layer_ops.swiglu(piece @ gate().T, piece @ up().T, low, mlp.gate_b, mlp.up_b)
            if residual is None:
                torch.mm(h, down().T, out=into)
            else:
                torch.addmm(residual[start : start + tile], h, down().T, out=into)
            into.addmm_(h @ mlp.down_a.T, mlp.down_b.T)
        return out

    @staticmethod
    def backward(ctx, d_out: torch.Tensor):
        return d_out, d_out if ctx.needs_input_grad[1] else None, None, None


class TiledBack(torch.autograd.Function):
    """Stands in front of `TiledOut`: keeps x, and does the backward pass of both when the gradient arrives.

    Saved here, x is the last that a checkpointed layer needs again, so its recomputation stops before the MLP: only
    gate and up are computed twice, down is not.
    """

    @staticmethod
    def forward(ctx, x: torch.Tensor, mlp: Ready, tile: int, *adapters: torch.Tensor | None):
        ctx.mlp, ctx.tile = mlp, tile
        ctx.save_for_backward(x)
        return x.view_as(x)

    @staticmethod
    def backward(ctx, d_out: torch.Tensor):
        (x,), mlp, tile = ctx.saved_tensors, ctx.mlp, ctx.tile
        weights = _weights(mlp.parts, -(-len(x) // tile))
        d_out, d_x, totals = d_out.contiguous(), torch.empty_like(x), None
        for start in range(0, len(x), tile):
            piece, d = x[start : start + tile], d_out[start : start + tile]
            low = piece @ mlp.first_a.T
            g, u = piece @ weights[0]().T, piece @ weights[1]().T
            down_low = layer_ops.swiglu(g, u, low, mlp.gate_b, mlp.up_b) @ mlp.down_a.T
            found = _back(mlp, weights, piece, d, g, u, low, down_low, d_x[start : start + tile])
            if tile < len(x):  # sums of slices in float32
                found = [part.float() for part in found]
            totals = found if totals is None else [total.add_(one) for total, one in zip(totals, found, strict=True)]
        return d_x, None, None, *_gradients(mlp, totals)


def install(layer: torch.nn.Module, fused: bool, tile: int | None) -> str | None:
    """Give the MLP of a decoder layer the fused forward; the reason why not all of it, or None.

    Where a linear cannot be fused, its own forward is called and only SwiGLU is one kernel.
    """
    module = getattr(layer, "mlp", None)
    linears = [getattr(module, name, None) for name in _LINEARS]
    silu = type(getattr(module, "act_fn", None)).__name__ in ("SiLUActivation", "SiLU")
    if None in linears or not silu or len(list(module.children())) != 4:
        return f"{type(module).__name__} is no gated MLP with SiLU"
    if not fused:
        return "--fused_mlp False"
    reasons = [reason for linear in linears if (reason := why_not(linear))]
    if any(getattr(getattr(linear, "base_layer", linear), "bias", None) is not None for linear in linears):
        reasons.append("its linears have biases")
    module.decoder_layer = (layer,)  # in a tuple, so that it is no part of the module
    module.prepared = PerForward(linears, ready)
    module.forward = types.MethodType(_forward(as_function(module), not reasons, tile), module)
    return reasons[0] if reasons else None


def _forward(original: Callable, fused: bool, tile: int | None) -> Callable:
    def forward(self, x: torch.Tensor, residual: torch.Tensor | None = None) -> torch.Tensor:
        if not self.training:
            return original(self, x) if residual is None else residual + original(self, x)
        made = self.prepared() if fused else None
        if made is None or not computes(made.parts[0], x):
            gate, up, down = (getattr(self, name) for name in _LINEARS)
            out = down(layer_ops.SwiGLU.apply(gate(x), up(x)))
            return out if residual is None else residual + out
        recompute = bool(getattr(self.decoder_layer[0], "gradient_checkpointing", False))
        return lora_mlp(x, made, recompute, tile, residual)

    return forward
