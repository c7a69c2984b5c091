"""Triton kernel of the cross entropy over a vocabulary. Imported late: needs Triton."""

import triton
import triton.language as tl


@triton.jit
def cross_entropy(
    logits, labels, log_probs, entropies, means, firsts, width,
    GRADIENT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One row of logits `(V,)` a program: the label's log-probability, the entropy in nats, the mean logit, whether
    the label is the likeliest; with `GRADIENT` the row is overwritten by d(log-probability)/d(logits)."""
    row = tl.program_id(0).to(tl.int64)
    at = logits + row * width
    label = tl.load(labels + row)
    columns = tl.arange(0, BLOCK)
    highest = tl.full((BLOCK,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    weighted = tl.zeros((BLOCK,), dtype=tl.float32)
    plain = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, width, BLOCK):
        inside = start + columns < width
        z = tl.load(at + start + columns, mask=inside, other=float("-inf")).to(tl.float32)
        new = tl.maximum(highest, z)
        # A lane that has seen nothing yet has -inf in both; exp(-inf - -inf) would be no number.
        rescale = tl.where(highest == new, 1.0, tl.exp(highest - new))
        e = tl.where(inside, tl.exp(z - new), 0.0)
        total = total * rescale + e
        weighted = weighted * rescale + tl.where(inside, z * e, 0.0)
        plain += tl.where(inside, z, 0.0)
        highest = new
    top = tl.max(highest, 0)
    share = tl.where(highest == float("-inf"), 0.0, tl.exp(highest - top))
    summed = tl.sum(total * share, 0)
    log_sum = top + tl.log(summed)
    of_label = tl.load(at + label).to(tl.float32)
    tl.store(log_probs + row, of_label - log_sum)
    tl.store(entropies + row, log_sum - tl.sum(weighted * share, 0) / summed)
    tl.store(means + row, tl.sum(plain, 0) / width)
    tl.store(firsts + row, (of_label >= top).to(tl.int8))
    if GRADIENT:
        # Every lane has read the label's logit before any of them overwrites it.
        tl.debug_barrier()
        for start in range(0, width, BLOCK):
            inside = start + columns < width
            z = tl.load(at + start + columns, mask=inside, other=float("-inf")).to(tl.float32)
            p = tl.exp(z - log_sum)
            d = tl.where(start + columns == label, 1.0 - p, -p)
            tl.store(at + start + columns, d.to(logits.dtype.element_ty), mask=inside)
