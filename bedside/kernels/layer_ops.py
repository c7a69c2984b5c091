"""What stands between the products of a decoder layer: SwiGLU, RMSNorm, rotary positions, forward and backward.

Each function runs the Triton kernel where there is one and plain torch elsewhere. Imported late: needs torch.
"""

from __future__ import annotations

import functools

import torch

from bedside.kernels.device import kernels_run_on

PARTS = 16  # programs along the tokens that sum an adapter's gradient; fixed, so that the sum has a fixed order


def _next_power(n: int) -> int:
    return 1 << (n - 1).bit_length()


def swiglu(
    gate: torch.Tensor, up: torch.Tensor, low: torch.Tensor, gate_b: torch.Tensor, up_b: torch.Tensor
) -> torch.Tensor:
    """`silu(gate + low[:, :R] @ gate_b.T) * (up + low[:, R:] @ up_b.T)`: `(T, I), (T, I), (T, 2 R), (I, R), (I, R)`
    to `(T, I)`."""
    rank = gate_b.shape[1]
    if not kernels_run_on(gate):
        g, u = _with_low(gate, up, low, gate_b, up_b)
        return (torch.nn.functional.silu(g) * u).to(gate.dtype)
    import triton

    from bedside.kernels.triton_ops import swiglu_lora_forward

    out = torch.empty_like(gate)
    tokens, width = gate.shape
    grid = (triton.cdiv(tokens, 32), triton.cdiv(width, 128))
    swiglu_lora_forward[grid](
        gate, up, low, gate_b, up_b, out, tokens, width, rank,
        RANK=max(16, _next_power(rank)), TOKENS=32, WIDTH=128, num_warps=4,
    )  # fmt: skip
    return out


def _with_low(gate, up, low, gate_b, up_b) -> tuple[torch.Tensor, torch.Tensor]:
    rank = gate_b.shape[1]
    low = low.float()
    return gate.float() + low[:, :rank] @ gate_b.float().T, up.float() + low[:, rank:] @ up_b.float().T


def swiglu_backward(
    d_out: torch.Tensor, gate: torch.Tensor, up: torch.Tensor, low: torch.Tensor, out_low: torch.Tensor,
    gate_b: torch.Tensor, up_b: torch.Tensor, down_a: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Gradients of gate and up (written over `gate` and `up`), and float32 `(3, I, R)`: `out.T @ out_low`,
    `d_gate.T @ low[:, :R]`, `d_up.T @ low[:, R:]`, which the adapters need.

    dL/d(out) is `d_out + out_low @ down_a`, with `out_low (T, R)` and `down_a (R, I)`.
    """
    rank, (tokens, width) = gate_b.shape[1], gate.shape
    if not kernels_run_on(gate):
        g, u = _with_low(gate, up, low, gate_b, up_b)
        d = d_out.float() + out_low.float() @ down_a.float()
        s = torch.sigmoid(g)
        f = g * s
        h, d_u, d_g = ((f * u).to(gate.dtype), (d * f).to(gate.dtype), (d * u * (s + f * (1 - s))).to(gate.dtype))
        lows = out_low.float(), low[:, :rank].float(), low[:, rank:].float()
        sums = torch.stack([x.float().T @ y for x, y in zip((h, d_g, d_u), lows, strict=True)])
        return gate.copy_(d_g), up.copy_(d_u), sums
    import triton

    from bedside.kernels.triton_ops import swiglu_lora_backward

    per_part = triton.cdiv(triton.cdiv(tokens, PARTS), 32) * 32
    sums = torch.empty((PARTS, 3, width, rank), dtype=torch.float32, device=gate.device)
    padded = max(16, _next_power(rank))
    columns = columns_for(padded, _shared_memory(gate.device))
    swiglu_lora_backward[(triton.cdiv(width, columns), PARTS)](
        d_out, gate, up, low, out_low, gate_b, up_b, down_a, sums, tokens, width, rank, per_part,
        RANK=padded, TOKENS=32, WIDTH=columns, num_warps=4, num_stages=1,
    )  # fmt: skip
    return gate, up, sums.sum(0)


def columns_for(rank: int, memory: int) -> int:
    """Columns that a program of the backward kernel takes, 16 to 128, so that its pieces of three adapters of `rank`
    fit into `memory` bytes of shared memory: at 64 x 128 they take up to 76 KB."""
    return min(128, max(16, (8192 if memory >= 96 << 10 else 4096) // rank))


@functools.cache
def _shared_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return 96 << 10
    return torch.cuda.get_device_properties(device).shared_memory_per_block_optin


class SwiGLU(torch.autograd.Function):
    """`silu(gate) * up` for linears that stay as they are; keeps both, the product is not kept."""

    @staticmethod
    def forward(ctx, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        width = gate.shape[-1]
        flat = gate.reshape(-1, width), up.reshape(-1, width)
        ctx.save_for_backward(*flat)
        ctx.shape = gate.shape
        return swiglu(*flat, *_no_low(flat[0])[:3]).view(gate.shape)

    @staticmethod
    def backward(ctx, d_out: torch.Tensor):
        gate, up = ctx.saved_tensors
        low, b, _, out_low, a = _no_low(gate)
        d_out = d_out.reshape(gate.shape).contiguous()
        d_gate, d_up, _ = swiglu_backward(d_out, gate.clone(), up.clone(), low, out_low, b, b, a)
        return d_gate.view(ctx.shape), d_up.view(ctx.shape)


def _no_low(gate: torch.Tensor, rank: int = 8) -> tuple[torch.Tensor, ...]:
    (tokens, width), new = gate.shape, gate.new_zeros
    b = new(width, rank)
    return new(tokens, 2 * rank), b, b, new(tokens, rank), new(rank, width)


def _norm(x: torch.Tensor, more: torch.Tensor | None, weight: torch.Tensor, epsilon: float):
    """`x (N, H)`, or the sum of x and `more`; its norm; 1 / rms `(N,)` in float32."""
    rows, width = x.shape
    dtype = torch.promote_types(x.dtype, weight.dtype)
    if not kernels_run_on(x):
        total = x if more is None else x + more
        value = total.float()
        inverse = torch.rsqrt(value.pow(2).mean(-1) + epsilon)
        return total, (weight * (value * inverse[:, None]).to(x.dtype)).to(dtype), inverse
    import triton

    from bedside.kernels.triton_ops import rms_norm_forward

    out, inverse = torch.empty_like(x, dtype=dtype), torch.empty(rows, dtype=torch.float32, device=x.device)
    total = x if more is None else torch.empty_like(x)
    size, many = _rows(width)
    rms_norm_forward[(triton.cdiv(rows, many),)](
        x, x if more is None else more, total, weight, out, inverse, rows, width, epsilon,
        ADD=more is not None, ROWS=many, WIDTH=size, num_warps=_warps(size),
    )  # fmt: skip
    return total, out, inverse


def _norm_back(
    d_out: torch.Tensor, d_total: torch.Tensor | None, x: torch.Tensor, weight: torch.Tensor, inverse: torch.Tensor,
    train: bool,
) -> tuple[torch.Tensor, torch.Tensor | None]:  # fmt: skip
    """dL/dx, `d_total` added where there is one, and dL/dweight if it is trained."""
    rows, width = x.shape
    if not kernels_run_on(x):
        hat = x.float() * inverse[:, None]
        d = d_out.float() * weight.float()
        d_x = inverse[:, None] * (d - hat * (d * hat).mean(-1, keepdim=True))
        d_x = d_x if d_total is None else d_x + d_total.float()
        return d_x.to(x.dtype), (d_out.float() * hat).sum(0).to(weight.dtype) if train else None
    import triton

    from bedside.kernels.triton_ops import rms_norm_backward

    size, many = _rows(width)
    programs = min(triton.cdiv(rows, many), 1024)
    per_part = triton.cdiv(triton.cdiv(rows, programs), many) * many
    d_x = torch.empty_like(x)
    parts = torch.zeros((programs, width), dtype=torch.float32, device=x.device) if train else inverse
    rms_norm_backward[(programs,)](
        d_out, d_out if d_total is None else d_total, x, weight, inverse, d_x, parts, rows, width, per_part,
        ADD=d_total is not None, TRAIN=train, ROWS=many, WIDTH=size, num_warps=_warps(size),
    )  # fmt: skip
    return d_x, parts.sum(0).to(weight.dtype) if train else None


class RMSNorm(torch.autograd.Function):
    """`weight * round(x / sqrt(mean(x^2) + epsilon))` over the last axis (arXiv 1910.07467, equation 4)."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        flat, out, inverse = _norm(x.reshape(-1, x.shape[-1]).contiguous(), None, weight, epsilon)
        ctx.save_for_backward(flat, weight, inverse)
        return out.view(x.shape)

    @staticmethod
    def backward(ctx, d_out: torch.Tensor):
        x, weight, inverse = ctx.saved_tensors
        d_flat = d_out.reshape(x.shape).contiguous()
        d_x, d_weight = _norm_back(d_flat, None, x, weight, inverse, ctx.needs_input_grad[1])
        return d_x.view(d_out.shape), d_weight, None


class AddNorm(torch.autograd.Function):
    """`(x + more, RMSNorm(x + more))`, `more` may be None: the residual stream and what the next block reads, both
    `(N, H)`. Their gradients are added in the same kernel that goes back through the norm."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, more: torch.Tensor | None, weight: torch.Tensor, epsilon: float):
        total, out, inverse = _norm(x, more, weight, epsilon)
        ctx.save_for_backward(total, weight, inverse)
        ctx.adds = more is not None
        return total.view_as(total) if more is None else total, out

    @staticmethod
    def backward(ctx, d_total: torch.Tensor, d_out: torch.Tensor):
        x, weight, inverse = ctx.saved_tensors
        train = ctx.needs_input_grad[2]
        d_x, d_weight = _norm_back(d_out.contiguous(), d_total.contiguous(), x, weight, inverse, train)
        return d_x, d_x if ctx.adds else None, d_weight, None


def _rows(width: int) -> tuple[int, int]:
    """A row's tile, and how many rows a program takes so that short rows (heads) fill it."""
    size = _next_power(width)
    return size, max(1, 2048 // size)


def _warps(size: int) -> int:
    return 4 if size <= 2048 else 8 if size <= 8192 else 16


def rotate(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor,
    back: bool = False,
) -> None:  # fmt: skip
    """Fill q `(T, Hq, D)`, k and v `(T, Hkv, D)` from `qkv (T, (Hq + 2 Hkv) D)`, q and k turned by rotary positions;
    with `back` fill `qkv` from them, turned back. All contiguous; `cos`, `sin` `(T, D)` are transformers' own
    (RoFormer, arXiv 2104.09864, equation 34, with halves paired)."""
    (tokens, heads, size), kv_heads = q.shape, k.shape[1]
    if kernels_run_on(q):
        import triton

        from bedside.kernels.triton_ops import rotary

        block = _next_power(size // 2)
        rows = max(1, 4096 // block)
        rotary[(triton.cdiv(tokens, rows), heads + 2 * kv_heads)](
            q, k, v, qkv, cos, sin, tokens, heads, kv_heads, heads * size, kv_heads * size, qkv.stride(0),
            BACK=back, HALF=size // 2, BLOCK=block, TOKENS=rows, num_warps=4,
        )  # fmt: skip
        return
    parts = qkv.view(tokens, -1, size).split([heads, kv_heads, kv_heads], 1)
    for part, own in zip(parts[:2], (q, k), strict=True):
        source, target = (own, part) if back else (part, own)
        x = source.float()
        a, b = x.chunk(2, -1)
        turned = torch.cat([-b, a], -1) * sin.float()[:, None] * (-1 if back else 1)
        target.copy_(x * cos.float()[:, None] + turned)
    (parts[2] if back else v).copy_(v if back else parts[2])


class SplitRotary(torch.autograd.Function):
    """`qkv (T, (Hq + 2 Hkv) D)` to q `(T, Hq, D)`, k and v `(T, Hkv, D)`, q and k turned by their positions."""

    @staticmethod
    def forward(ctx, qkv: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, heads: int, kv_heads: int):
        tokens, size = len(qkv), cos.shape[-1]
        q, k, v = (qkv.new_empty(tokens, count, size) for count in (heads, kv_heads, kv_heads))
        rotate(q, k, v, qkv.contiguous(), cos.contiguous(), sin.contiguous())
        ctx.save_for_backward(cos, sin)
        return q, k, v

    @staticmethod
    def backward(ctx, d_q: torch.Tensor, d_k: torch.Tensor, d_v: torch.Tensor):
        cos, sin = (part.contiguous() for part in ctx.saved_tensors)
        d_q, d_k, d_v = d_q.contiguous(), d_k.contiguous(), d_v.contiguous()
        out = d_q.new_empty(len(d_q), (d_q.shape[1] + 2 * d_k.shape[1]) * cos.shape[-1])
        rotate(d_q, d_k, d_v, out, cos, sin, back=True)
        return out, None, None, None, None


class Rotary(torch.autograd.Function):
    """`x (T, H, D)` turned by rotary positions."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, back=False)

    @staticmethod
    def backward(ctx, d_out: torch.Tensor):
        return _turned(d_out, *ctx.saved_tensors, back=True), None, None


def _turned(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, back: bool) -> torch.Tensor:
    x, out = x.contiguous(), torch.empty(x.shape, dtype=x.dtype, device=x.device)
    none = x.new_empty(len(x), 0, x.shape[-1])
    first, second = (x, out) if back else (out, x)
    rotate(first, none, none, second.view(len(x), -1), cos.contiguous(), sin.contiguous(), back)
    return out
