"""Cross entropy and log-probabilities from hidden states, without the logits of a whole batch.

A tile of tokens is multiplied with the head, scored, and where a gradient will be needed multiplied back at once: two
products with the head a token instead of the three of recomputation. What stays is one row of hidden size per token.
Imported late: needs torch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from bedside.kernels.device import kernels_run_on

_TILE, _SMALL_TILE = 1024, 256  # tokens; 311 and 78 MB of 16-bit logits over 152,064 words


class Scored(NamedTuple):
    """Of every labelled token, `(N,)`: log-probability in nats (float32, with gradient), entropy in nats, mean logit,
    whether it was the likeliest (bool); the last three without gradient: a backward pass through the entropy is an
    error, not a zero."""

    log_probs: torch.Tensor
    entropy: torch.Tensor
    mean_logit: torch.Tensor
    is_top1: torch.Tensor


def tile_for(tokens: int) -> int:
    """Tokens whose logits exist at a time: fewer in small batches, which are small because memory is short."""
    return _TILE if tokens > 4096 else _SMALL_TILE


def _score(logits: torch.Tensor, labels: torch.Tensor, gradient: bool) -> tuple[torch.Tensor, ...]:
    """The four of `Scored`; with `gradient`, `logits (N, V)` become d(log-probability)/d(logits) in place."""
    rows, width = logits.shape
    if kernels_run_on(logits) and rows:
        from bedside.kernels.triton_loss import cross_entropy

        log_probs, entropy, mean = torch.empty(3, rows, dtype=torch.float32, device=logits.device)
        first = torch.empty(rows, dtype=torch.int8, device=logits.device)
        block = min(4096, 1 << (width - 1).bit_length())
        cross_entropy[(rows,)](
            logits, labels, log_probs, entropy, mean, first, width, GRADIENT=gradient, BLOCK=block, num_warps=8
        )
        return log_probs, entropy, mean, first.bool()
    z = logits.float()
    of_label = z.gather(1, labels[:, None])[:, 0]
    log_p = z.log_softmax(-1)
    found = log_p.gather(1, labels[:, None])[:, 0]
    p = log_p.exp()
    entropy, mean, first = -(p * log_p.clamp(min=-1e4)).sum(-1), z.mean(-1), of_label >= z.amax(-1)
    if gradient:
        logits.copy_(p.neg_().scatter_add_(1, labels[:, None], torch.ones_like(of_label)[:, None]))
    return found, entropy, mean, first


class HeadScores(torch.autograd.Function):
    """`Scored` of `hidden (N, H)` under a frozen head `weight (V, H)` for `labels (N,)`."""

    @staticmethod
    def forward(ctx, hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, tile: int, temperature: float):
        ctx.set_materialize_grads(False)
        need = ctx.needs_input_grad[0]
        back = torch.empty_like(hidden) if need else None
        pieces = []
        for start in range(0, max(1, len(hidden)), tile):
            rows = slice(start, start + tile)
            logits = _logits(hidden[rows], weight, temperature)
            pieces.append(_score(logits, labels[rows], need))
            if need:
                torch.mm(logits, weight, out=back[rows])
            del logits
        found = [torch.cat(parts) for parts in zip(*pieces, strict=True)]
        ctx.mark_non_differentiable(*found[2:])
        ctx.back, ctx.temperature = back, temperature
        return tuple(found)

    @staticmethod
    def backward(ctx, d_log_probs: torch.Tensor | None, d_entropy: torch.Tensor | None, *_):
        if d_entropy is not None:
            raise RuntimeError("the chunked loss has no gradient of the entropy; use --chunked_loss False")
        if d_log_probs is None:
            return None, None, None, None, None
        if ctx.back is None:
            raise RuntimeError("the loss's backward pass runs once: its gradient was made in the forward pass")
        back, ctx.back = ctx.back, None
        return back.mul_((d_log_probs / ctx.temperature)[:, None]), None, None, None, None


def _logits(hidden: torch.Tensor, weight: torch.Tensor, temperature: float) -> torch.Tensor:
    """`hidden (N, H) @ weight.T / temperature`, `(N, V)`; divided before it is rounded to 16 bit."""
    if temperature == 1.0:
        return hidden @ weight.T
    return torch.addmm(hidden.new_zeros(()), hidden, weight.T, beta=0.0, alpha=1 / temperature)


def score(
    hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, tile: int | None = None, temperature: float = 1.0
) -> Scored:
    """`Scored` of `hidden (N, H)` under the head `weight (V, H)`, which gets no gradient, for `labels (N,)`, of logits
    that are divided by `temperature`.

    Every label must be an id of the vocabulary: leave ignored tokens out before.
    """
    with torch.autocast(hidden.device.type, enabled=False):
        hidden, tile = hidden.to(weight.dtype), tile or tile_for(len(hidden))
        return Scored(*HeadScores.apply(hidden, weight.detach(), labels, tile, temperature))


def nll_sum(hidden: torch.Tensor, weight: torch.Tensor, labels: torch.Tensor, tile: int | None = None) -> torch.Tensor:
    """Sum of `-log p(label)` in nats over all N tokens, a scalar with gradient for `hidden (N, H)`."""
    return -score(hidden, weight, labels, tile).log_probs.sum()
