"""Triton kernels of causal attention within documents, forward and backward, with grouped heads. Imported late: needs
Triton.

Softmax is online, in base 2 (FlashAttention-2, arXiv 2307.08691, algorithms 1 and 2). The way back is two kernels: one
for the queries, one for keys and values, which sums over the heads of a group in registers. No sum goes through atomic
additions, so a run repeats bit by bit.

Pointers are of contiguous `(N, H, SIZE)`; a row of queries has `q_row` numbers, one of keys `kv_row`. A tile is a
block of places of one document: `tiles (count, 2)` int32 holds the document and the block's number, -1 where there is
none. Only the blocks on the diagonal are masked; `SPLIT` gives them a loop of their own. `WIDTH` is SIZE rounded up to
a power of two. `tokens`, which changes with every batch, makes Triton compile nothing anew.
"""

import triton
import triton.language as tl


@triton.jit
def _rows(
    source, row, first, length, ROWS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr, CHECK: tl.constexpr
):  # fmt: skip
    """Places `first` and after of one head, `(ROWS, WIDTH)`; with `CHECK` zeros from the document's end on."""
    r, c = tl.arange(0, ROWS)[:, None], tl.arange(0, WIDTH)[None, :]
    # Only the block's beginning may lie further than 32 bits count.
    at = source + tl.cast(first, tl.int64) * row + (r * row + c)
    if SIZE == WIDTH:
        if CHECK:
            return tl.load(at, mask=first + r < length, other=0.0)
        return tl.load(at)
    if CHECK:
        return tl.load(at, mask=(first + r < length) & (c < SIZE), other=0.0)
    return tl.load(at, mask=c < SIZE, other=0.0)


@triton.jit
def _store(target, tile, row, first, length, ROWS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr):
    """The other way: rows within the document only."""
    r, c = tl.arange(0, ROWS)[:, None], tl.arange(0, WIDTH)[None, :]
    inside = first + r < length
    if SIZE < WIDTH:
        inside = inside & (c < SIZE)
    at = target + tl.cast(first, tl.int64) * row + (r * row + c)
    tl.store(at, tile.to(target.dtype.element_ty), mask=inside)


@triton.jit
def _document(bounds, tiles, tile):
    """Where the tile's document begins (int64) and how long it is."""
    document = tl.load(tiles + 2 * tile)
    start = tl.load(bounds + document)
    return start.to(tl.int64), tl.load(bounds + document + 1) - start


@triton.jit
def _attend_block(
    total, highest, norm, tile_q, k, v, row, at, length, queries, scale,
    KEYS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """One block of keys more: `total (QUERIES, WIDTH)` and `norm` are relative to 2 ** `highest`."""
    tile_k = _rows(k, row, at, length, KEYS, SIZE, WIDTH, MASK)
    scores = tl.dot(tile_q, tl.trans(tile_k))
    if MASK:
        keys = at + tl.arange(0, KEYS)
        scores = tl.where(queries[:, None] >= keys[None, :], scores, float("-inf"))
    # A row's first block holds a key that it sees, so `new` is finite.
    new = tl.maximum(highest, tl.max(scores, 1) * scale)
    p = tl.exp2(scores * scale - new[:, None])
    shrink = tl.exp2(highest - new)
    tile_v = _rows(v, row, at, length, KEYS, SIZE, WIDTH, MASK)
    total = tl.dot(p.to(tile_v.dtype), tile_v, total * shrink[:, None])
    return total, new, norm * shrink + tl.sum(p, 1)


@triton.jit(do_not_specialize=["tokens"])
def attention_forward(
    q, k, v, out, lse, bounds, tiles, tokens, q_row, kv_row, scale,
    GROUP: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr,
    SPLIT: tl.constexpr,
):  # fmt: skip
    """A head and a block of queries a program: `out (N, Hq, SIZE)` and, float32 `(Hq, N)`, `lse`: the logarithm, in
    base 2, of the sum that softmax divides by. `scale` is that of the scores, over ln 2."""
    head, tile = tl.program_id(0), tl.program_id(1)
    block = tl.load(tiles + 2 * tile + 1)
    if block < 0:
        return
    start, length = _document(bounds, tiles, tile)
    q_at, kv_at = start * q_row + head * SIZE, start * kv_row + head // GROUP * SIZE
    q, k, v, out = q + q_at, k + kv_at, v + kv_at, out + q_at
    first = block * QUERIES
    queries = first + tl.arange(0, QUERIES)
    tile_q = _rows(q, q_row, first, length, QUERIES, SIZE, WIDTH, True)
    total = tl.zeros((QUERIES, WIDTH), dtype=tl.float32)
    highest = tl.full((QUERIES,), float("-inf"), dtype=tl.float32)
    norm = tl.zeros((QUERIES,), dtype=tl.float32)
    diagonal = 0
    if SPLIT:
        diagonal = first // KEYS * KEYS
        for at in range(0, diagonal, KEYS):
            total, highest, norm = _attend_block(
                total, highest, norm, tile_q, k, v, kv_row, at, length, queries, scale, KEYS, SIZE, WIDTH, False
            )
    for at in range(diagonal, tl.minimum(first + QUERIES, length), KEYS):
        total, highest, norm = _attend_block(
            total, highest, norm, tile_q, k, v, kv_row, at, length, queries, scale, KEYS, SIZE, WIDTH, True
        )
    _store(out, total / norm[:, None], q_row, first, length, QUERIES, SIZE, WIDTH)
    lse_at = lse + head.to(tl.int64) * tokens + start + queries
    tl.store(lse_at, highest + tl.log2(norm), mask=queries < length)


@triton.jit
def _query_block(
    d_q, tile_q, tile_d, of_lse, of_delta, k, v, row, at, length, queries, scale,
    KEYS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """What one block of keys adds to `d_q (QUERIES, WIDTH)`."""
    tile_k = _rows(k, row, at, length, KEYS, SIZE, WIDTH, MASK)
    tile_v = _rows(v, row, at, length, KEYS, SIZE, WIDTH, MASK)
    p = tl.exp2(tl.dot(tile_q, tl.trans(tile_k)) * scale - of_lse[:, None])
    if MASK:
        keys = at + tl.arange(0, KEYS)
        p = tl.where(queries[:, None] >= keys[None, :], p, 0.0)
    d_p = tl.dot(tile_d, tl.trans(tile_v))
    return tl.dot((p * (d_p - of_delta[:, None])).to(tile_k.dtype), tile_k, d_q)


@triton.jit(do_not_specialize=["tokens"])
def attention_d_query(
    q, k, v, out, d_out, lse, delta, d_q, bounds, tiles, tokens, q_row, kv_row, scale, plain_scale,
    GROUP: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr,
    SPLIT: tl.constexpr,
):  # fmt: skip
    """A head and a block of queries a program: `d_q (N, Hq, SIZE)`, and `delta (Hq, N)`, the products of `out` and
    `d_out`, which `attention_d_key_value` reads."""
    head, tile = tl.program_id(0), tl.program_id(1)
    block = tl.load(tiles + 2 * tile + 1)
    if block < 0:
        return
    start, length = _document(bounds, tiles, tile)
    q_at, kv_at = start * q_row + head * SIZE, start * kv_row + head // GROUP * SIZE
    q, k, v, out, d_out, d_q = q + q_at, k + kv_at, v + kv_at, out + q_at, d_out + q_at, d_q + q_at
    first = block * QUERIES
    queries = first + tl.arange(0, QUERIES)
    stat_at = head.to(tl.int64) * tokens + start + queries
    tile_d = _rows(d_out, q_row, first, length, QUERIES, SIZE, WIDTH, True)
    tile_out = _rows(out, q_row, first, length, QUERIES, SIZE, WIDTH, True)
    of_delta = tl.sum(tile_d.to(tl.float32) * tile_out.to(tl.float32), 1)
    tl.store(delta + stat_at, of_delta, mask=queries < length)
    of_lse = tl.load(lse + stat_at, mask=queries < length, other=float("inf"))
    tile_q = _rows(q, q_row, first, length, QUERIES, SIZE, WIDTH, True)
    total = tl.zeros((QUERIES, WIDTH), dtype=tl.float32)
    diagonal = 0
    if SPLIT:
        diagonal = first // KEYS * KEYS
        for at in range(0, diagonal, KEYS):
            total = _query_block(
                total, tile_q, tile_d, of_lse, of_delta, k, v, kv_row, at, length, queries, scale,
                KEYS, SIZE, WIDTH, False,
            )  # fmt: skip
    for at in range(diagonal, tl.minimum(first + QUERIES, length), KEYS):
        total = _query_block(
            total, tile_q, tile_d, of_lse, of_delta, k, v, kv_row, at, length, queries, scale, KEYS, SIZE, WIDTH, True
        )
    _store(d_q, total * plain_scale, q_row, first, length, QUERIES, SIZE, WIDTH)


@triton.jit
def _key_block(
    d_k, d_v, tile_k, tile_v, q, d_out, lse, delta, head, tokens, row, at, length, keys, scale,
    QUERIES: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr, MASK: tl.constexpr,
):  # fmt: skip
    """What one block of queries of one head adds to `d_k` and `d_v` `(KEYS, WIDTH)`."""
    queries = at + tl.arange(0, QUERIES)
    tile_q = _rows(q + head * SIZE, row, at, length, QUERIES, SIZE, WIDTH, True)
    tile_d = _rows(d_out + head * SIZE, row, at, length, QUERIES, SIZE, WIDTH, True)
    stat_at = tl.cast(head, tl.int64) * tokens + queries
    # Past the end of the document 2 ** (0 - inf) is nothing.
    of_lse = tl.load(lse + stat_at, mask=queries < length, other=float("inf"))
    of_delta = tl.load(delta + stat_at, mask=queries < length, other=0.0)
    p = tl.exp2(tl.dot(tile_k, tl.trans(tile_q)) * scale - of_lse[None, :])
    if MASK:
        p = tl.where(queries[None, :] >= keys[:, None], p, 0.0)
    d_p = tl.dot(tile_v, tl.trans(tile_d))
    d_v = tl.dot(p.to(tile_d.dtype), tile_d, d_v)
    d_k = tl.dot((p * (d_p - of_delta[None, :])).to(tile_q.dtype), tile_q, d_k)
    return d_k, d_v


@triton.jit(do_not_specialize=["tokens"])
def attention_d_key_value(
    q, k, v, d_out, lse, delta, d_k, d_v, bounds, tiles, tokens, q_row, kv_row, scale, plain_scale,
    GROUP: tl.constexpr, QUERIES: tl.constexpr, KEYS: tl.constexpr, SIZE: tl.constexpr, WIDTH: tl.constexpr,
    SPLIT: tl.constexpr,
):  # fmt: skip
    """A head of keys and a block of them a program: `d_k` and `d_v` `(N, Hkv, SIZE)`. Blocks are numbered from the
    document's end: its first keys are seen by the most queries."""
    head, tile = tl.program_id(0), tl.program_id(1)
    block = tl.load(tiles + 2 * tile + 1)
    if block < 0:
        return
    start, length = _document(bounds, tiles, tile)
    q_at, kv_at = start * q_row + head * GROUP * SIZE, start * kv_row + head * SIZE
    q, d_out, k, v, d_k, d_v = q + q_at, d_out + q_at, k + kv_at, v + kv_at, d_k + kv_at, d_v + kv_at
    stats = head.to(tl.int64) * GROUP * tokens + start
    lse, delta = lse + stats, delta + stats
    first = (tl.cdiv(length, KEYS) - 1 - block) * KEYS
    keys = first + tl.arange(0, KEYS)
    tile_k = _rows(k, kv_row, first, length, KEYS, SIZE, WIDTH, True)
    tile_v = _rows(v, kv_row, first, length, KEYS, SIZE, WIDTH, True)
    of_k, of_v = tl.zeros((KEYS, WIDTH), dtype=tl.float32), tl.zeros((KEYS, WIDTH), dtype=tl.float32)
    low, high = first // QUERIES * QUERIES, length
    if SPLIT:
        high = tl.minimum(tl.cdiv(first + KEYS, QUERIES) * QUERIES, length)
    # One loop over the blocks of all heads of the group, so that loading never stops between heads.
    steps = tl.cdiv(high - low, QUERIES)
    for step in range(0, GROUP * steps):
        of_k, of_v = _key_block(
            of_k, of_v, tile_k, tile_v, q, d_out, lse, delta, step // steps, tokens, q_row,
            low + step % steps * QUERIES, length, keys, scale, QUERIES, SIZE, WIDTH, True,
        )  # fmt: skip
    if SPLIT:
        steps = tl.cdiv(length - high, QUERIES)
        for step in range(0, GROUP * steps):
            of_k, of_v = _key_block(
                of_k, of_v, tile_k, tile_v, q, d_out, lse, delta, step // steps, tokens, q_row,
                high + step % steps * QUERIES, length, keys, scale, QUERIES, SIZE, WIDTH, False,
            )  # fmt: skip
    _store(d_k, of_k * plain_scale, kv_row, first, length, KEYS, SIZE, WIDTH)
    _store(d_v, of_v, kv_row, first, length, KEYS, SIZE, WIDTH)
