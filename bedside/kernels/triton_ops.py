"""Triton kernels of a decoder layer: NF4 to 16 bit, SwiGLU with its LoRA, RMSNorm, rotary positions.

Each is bound by memory, so each reads its inputs once and writes its outputs once. Sums over tokens go through
partial sums in a fixed order, never through atomic additions: a run repeats bit by bit. Imported late: needs Triton.
"""

import triton
import triton.language as tl


@triton.jit
def nf4_dequantise(
    packed, absmax, code, code2, absmax2, offset, out, blocks, NESTED: tl.constexpr, ROWS: tl.constexpr
):  # fmt: skip
    """Blocks of 64 weights from 32 bytes and a scale. `NESTED`: the scales are bytes themselves (double
    quantisation, QLoRA, arXiv 2305.14314, section 3), 256 of them under one float32 scale."""
    block = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = block < blocks
    if NESTED:
        level = tl.load(absmax + block, mask=inside, other=0).to(tl.int32)
        scale = tl.load(code2 + level) * tl.load(absmax2 + block // 256, mask=inside, other=0.0) + tl.load(offset)
    else:
        scale = tl.load(absmax + block, mask=inside, other=0.0)
    at = block[:, None].to(tl.int64) * 32 + tl.arange(0, 32)[None, :]
    byte = tl.load(packed + at, mask=inside[:, None], other=0).to(tl.int32)
    first = tl.load(code + (byte >> 4)) * scale[:, None]
    second = tl.load(code + (byte & 15)) * scale[:, None]
    to = block[:, None].to(tl.int64) * 64 + tl.arange(0, 64)[None, :]
    tl.store(out + to, tl.interleave(first, second).to(out.dtype.element_ty), mask=inside[:, None])


@triton.jit
def swiglu_lora_forward(
    gate, up, low, gate_b, up_b, out, tokens, width, rank,
    RANK: tl.constexpr, TOKENS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """`silu(gate + gate_low @ gate_b.T) * (up + up_low @ up_b.T)`: the adapters of both are added in registers.

    `low (T, 2 rank)` holds gate_low and up_low side by side; `RANK` is the rank rounded up to what a product takes.
    """
    t = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    i = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    r = tl.arange(0, RANK)
    row, column, ranked = t[:, None] < tokens, i[None, :] < width, r[None, :] < rank
    at = t[:, None] * width + i[None, :]
    low_at, b_at = t[:, None] * 2 * rank + r[None, :], i[:, None] * rank + r[None, :]
    g = tl.load(gate + at, mask=row & column, other=0.0).to(tl.float32)
    u = tl.load(up + at, mask=row & column, other=0.0).to(tl.float32)
    low_inside, b_inside = row & ranked, (i[:, None] < width) & ranked
    g = tl.dot(
        tl.load(low + low_at, mask=low_inside, other=0.0),
        tl.trans(tl.load(gate_b + b_at, mask=b_inside, other=0.0)), g, input_precision="ieee",
    )  # fmt: skip
    u = tl.dot(
        tl.load(low + low_at + rank, mask=low_inside, other=0.0),
        tl.trans(tl.load(up_b + b_at, mask=b_inside, other=0.0)), u, input_precision="ieee",
    )  # fmt: skip
    tl.store(out + at, (g * tl.sigmoid(g) * u).to(out.dtype.element_ty), mask=row & column)


@triton.jit
def swiglu_lora_backward(
    d_out, gate, up, low, out_low, gate_b, up_b, down_a, sums, tokens, width, rank, per_part,
    RANK: tl.constexpr, TOKENS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """The way back through `swiglu_lora_forward`, with what the three adapters need of it.

    `d_out` is dL/d(out) without the adapter of the layer after; `out_low (T, R) @ down_a (R, I)` adds that. `gate` and
    `up` are overwritten by their gradients. `sums (parts, 3, I, rank)` receives, of this program's tokens, the
    products out.T @ out_low, d_gate.T @ gate_low and d_up.T @ up_low.
    """
    i = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    part = tl.program_id(1)
    r = tl.arange(0, RANK)
    column, ranked = i[None, :] < width, r[None, :] < rank
    b_inside = (i[:, None] < width) & ranked
    b_at = i[:, None] * rank + r[None, :]
    gate_b_t = tl.trans(tl.load(gate_b + b_at, mask=b_inside, other=0.0))
    up_b_t = tl.trans(tl.load(up_b + b_at, mask=b_inside, other=0.0))
    a = tl.load(down_a + r[:, None] * width + i[None, :], mask=column & (r[:, None] < rank), other=0.0)
    of_down = tl.zeros((WIDTH, RANK), dtype=tl.float32)
    of_gate = tl.zeros((WIDTH, RANK), dtype=tl.float32)
    of_up = tl.zeros((WIDTH, RANK), dtype=tl.float32)
    for start in range(0, per_part, TOKENS):
        t = part.to(tl.int64) * per_part + start + tl.arange(0, TOKENS)
        row = t[:, None] < tokens
        at, low_at = t[:, None] * width + i[None, :], t[:, None] * 2 * rank + r[None, :]
        inside, low_inside = row & column, row & ranked
        low_g = tl.load(low + low_at, mask=low_inside, other=0.0)
        low_u = tl.load(low + low_at + rank, mask=low_inside, other=0.0)
        low_o = tl.load(out_low + t[:, None] * rank + r[None, :], mask=low_inside, other=0.0)
        g = tl.load(gate + at, mask=inside, other=0.0).to(tl.float32)
        u = tl.load(up + at, mask=inside, other=0.0).to(tl.float32)
        d = tl.load(d_out + at, mask=inside, other=0.0).to(tl.float32)
        g = tl.dot(low_g, gate_b_t, g, input_precision="ieee")
        u = tl.dot(low_u, up_b_t, u, input_precision="ieee")
        d = tl.dot(low_o, a, d, input_precision="ieee")
        s = tl.sigmoid(g)
        f = g * s
        kind = gate.dtype.element_ty
        h, d_u, d_g = (f * u).to(kind), (d * f).to(kind), (d * u * (s + f * (1.0 - s))).to(kind)
        tl.store(gate + at, d_g, mask=inside)
        tl.store(up + at, d_u, mask=inside)
        of_down = tl.dot(tl.trans(h), low_o, of_down, input_precision="ieee")
        of_gate = tl.dot(tl.trans(d_g), low_g, of_gate, input_precision="ieee")
        of_up = tl.dot(tl.trans(d_u), low_u, of_up, input_precision="ieee")
    to = sums + part.to(tl.int64) * 3 * width * rank + b_at
    tl.store(to, of_down, mask=b_inside)
    tl.store(to + width * rank, of_gate, mask=b_inside)
    tl.store(to + 2 * width * rank, of_up, mask=b_inside)


@triton.jit
def rms_norm_forward(
    x, more, total, weight, out, inverse, rows, width, epsilon, ADD: tl.constexpr, ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
):  # fmt: skip
    """`weight * (x / rms(x))`, rounded to the dtype before the weight, as transformers does; keeps 1 / rms. With `ADD`
    it is the norm of `total = x + more`."""
    r = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    c = tl.arange(0, WIDTH)
    inside = (r[:, None] < rows) & (c[None, :] < width)
    at = r[:, None] * width + c[None, :]
    value = tl.load(x + at, mask=inside, other=0.0)
    if ADD:
        value = (value + tl.load(more + at, mask=inside, other=0.0)).to(x.dtype.element_ty)
        tl.store(total + at, value, mask=inside)
    value = value.to(tl.float32)
    inv = 1.0 / tl.sqrt(tl.sum(value * value, 1) / width + epsilon)
    w = tl.load(weight + c, mask=c < width, other=0.0)
    normed = (value * inv[:, None]).to(x.dtype.element_ty)
    tl.store(out + at, (normed * w[None, :]).to(out.dtype.element_ty), mask=inside)
    tl.store(inverse + r, inv, mask=r < rows)


@triton.jit
def rms_norm_backward(
    d_out, d_total, x, weight, inverse, d_x, d_weight, rows, width, per_part,
    ADD: tl.constexpr, TRAIN: tl.constexpr, ROWS: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    """dL/dx, with `ADD` added to `d_total`; with `TRAIN` the part of dL/dweight that this program's rows give,
    `(parts, width)`."""
    part = tl.program_id(0)
    c = tl.arange(0, WIDTH)
    w = tl.load(weight + c, mask=c < width, other=0.0).to(tl.float32)
    total = tl.zeros((WIDTH,), dtype=tl.float32)
    for start in range(0, per_part, ROWS):
        r = part.to(tl.int64) * per_part + start + tl.arange(0, ROWS)
        here = (r < rows) & (start + tl.arange(0, ROWS) < per_part)
        inside = here[:, None] & (c[None, :] < width)
        at = r[:, None] * width + c[None, :]
        inv = tl.load(inverse + r, mask=here, other=0.0)[:, None]
        hat = tl.load(x + at, mask=inside, other=0.0).to(tl.float32) * inv
        d = tl.load(d_out + at, mask=inside, other=0.0).to(tl.float32)
        if TRAIN:
            total += tl.sum(d * hat, 0)
        d = d * w[None, :]
        mean = tl.sum(d * hat, 1) / width
        found = inv * (d - hat * mean[:, None])
        if ADD:
            found += tl.load(d_total + at, mask=inside, other=0.0).to(tl.float32)
        tl.store(d_x + at, found.to(d_x.dtype.element_ty), mask=inside)
    if TRAIN:
        tl.store(d_weight + part * width + c, total, mask=c < width)


@triton.jit
def rotary(
    q, k, v, qkv, cos, sin, tokens, heads, kv_heads, q_stride, kv_stride, stride,
    BACK: tl.constexpr, HALF: tl.constexpr, BLOCK: tl.constexpr, TOKENS: tl.constexpr,
):  # fmt: skip
    """Turn pairs `(x[d], x[d + HALF])` of the heads of q and k by the angle of their position, v as it is.

    From `qkv`, heads side by side with `stride` numbers a token, to q, k, v; with `BACK` from q, k, v into `qkv`,
    turned the other way. One program a block of tokens and head. `kv_heads` may be 0.
    """
    t = tl.program_id(0).to(tl.int64) * TOKENS + tl.arange(0, TOKENS)
    head = tl.program_id(1)
    d = tl.arange(0, BLOCK)
    inside = (t[:, None] < tokens) & (d[None, :] < HALF)
    angle = t[:, None] * (2 * HALF) + d[None, :]
    whole = t[:, None] * stride + head * 2 * HALF + d[None, :]
    if head < heads:
        base, at = q, t[:, None] * q_stride + head * 2 * HALF + d[None, :]
    elif head < heads + kv_heads:
        base, at = k, t[:, None] * kv_stride + (head - heads) * 2 * HALF + d[None, :]
    else:
        base, at = v, t[:, None] * kv_stride + (head - heads - kv_heads) * 2 * HALF + d[None, :]
    if BACK:
        source, s_at, target, t_at = base, at, qkv, whole
    else:
        source, s_at, target, t_at = qkv, whole, base, at
    a = tl.load(source + s_at, mask=inside, other=0.0).to(tl.float32)
    b = tl.load(source + s_at + HALF, mask=inside, other=0.0).to(tl.float32)
    kind = target.dtype.element_ty
    if head < heads + kv_heads:
        c = tl.load(cos + angle, mask=inside, other=0.0).to(tl.float32)
        s = tl.load(sin + angle, mask=inside, other=0.0).to(tl.float32)
        if BACK:
            s = -s
        tl.store(target + t_at, (a * c - b * s).to(kind), mask=inside)
        tl.store(target + t_at + HALF, (b * c + a * s).to(kind), mask=inside)
    else:
        tl.store(target + t_at, a.to(kind), mask=inside)
        tl.store(target + t_at + HALF, b.to(kind), mask=inside)
