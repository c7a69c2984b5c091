"""Held-out documents before and after a training: perplexity, and how sure the change is.

A document is read by itself. Every token but the first of a piece is predicted, its end included; a perplexity is the
exp of the mean over all these tokens, so long documents weigh more. The interval is of a paired bootstrap: documents
are drawn with replacement, each with its losses before and after (Efron and Tibshirani 1993, section 13.3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bedside import launch, logs

if TYPE_CHECKING:
    from bedside.data.corpus import Held

MOST = 1000  # documents that are compared, evenly spread; the trainer's own evaluation takes all
_LOGITS = 1 << 26  # numbers of logits in one forward pass, 256 MB in float32
_DRAWS = 5000


@dataclass
class Losses:
    """Of each document: the summed loss (nats), and over how many tokens, both `(documents,)`."""

    nats: np.ndarray
    tokens: np.ndarray

    @property
    def perplexity(self) -> float:
        """exp of the mean loss of all tokens."""
        return math.exp(min(self.nats.sum() / max(1, self.tokens.sum()), 700.0))


def losses(model: Any, held: Held, pad: int) -> Losses:
    """What `model` loses on each document; its mode stays."""
    import torch
    from torch.nn.functional import cross_entropy

    lengths = held.samples.lengths()
    order = np.argsort(lengths, kind="stable")
    found = Losses(np.zeros(len(held)), np.zeros(len(held), np.int64))
    rows, device = model.get_input_embeddings().weight.shape[0], next(model.parameters()).device
    was_training = model.training
    model.eval()
    begin = 0
    while begin < len(order):
        room = max(1, _LOGITS // rows)
        end = begin + 1
        while end < len(order) and (end + 1 - begin) * lengths[order[end]] <= room:
            end += 1
        chosen = order[begin:end]
        ids = torch.full((len(chosen), int(lengths[chosen[-1]])), pad)
        labels = torch.full_like(ids, -100)
        for row, piece in enumerate(chosen):
            part = torch.from_numpy(
                held.samples.ids[held.samples.offsets[piece] : held.samples.offsets[piece + 1]].copy()
            )
            ids[row, : len(part)] = labels[row, : len(part)] = part
        with torch.inference_mode():
            # Right padding needs no mask: no real token ever looks to its right.
            logits = model(input_ids=ids.to(device)).logits[:, :-1].float()
            nats = cross_entropy(logits.transpose(1, 2), labels[:, 1:].to(device), reduction="none").sum(1)
        np.add.at(found.nats, held.of[chosen], nats.double().cpu().numpy())
        np.add.at(found.tokens, held.of[chosen], lengths[chosen] - 1)
        begin = end
    model.train(was_training)
    return found


def change(before: Losses, after: Losses, seed: int = 0) -> tuple[float, float, float]:
    """Relative change of the perplexity, and the ends of its 95 % interval: -0.1 is a tenth less.

    >>> same = Losses(np.array([10.0, 20.0]), np.array([5, 10]))
    >>> change(same, Losses(same.nats - same.tokens * math.log(2), same.tokens))
    (-0.5, -0.5, -0.5)
    """
    less, tokens = after.nats - before.nats, before.tokens
    draws = np.random.default_rng(seed).integers(0, len(tokens), (_DRAWS, len(tokens)))
    drawn = less[draws].sum(1) / np.maximum(1, tokens[draws].sum(1))
    low, high = np.quantile(drawn, (0.025, 0.975))
    values = (less.sum() / max(1, tokens.sum()), low, high)
    return tuple(round(math.exp(value) - 1, 6) for value in values)


class Comparison:
    """The same held-out documents before and after a training, on rank 0; does nothing without any."""

    def __init__(self, trainer: Any, held: Held | None, pad: int):
        self._model, self._pad, self._before = trainer.model, pad, None
        sharded = launch.cut_into_shards(trainer)
        mine = held is not None and trainer.is_world_process_zero()
        if mine and sharded:
            logs.info("held-out documents are not compared one by one: the model is spread over processes")
        self._held = held.spread(MOST) if mine and not sharded else None

    def before(self) -> None:
        """Measure the model as it is now."""
        if self._held is not None:
            self._before = losses(self._model, self._held, self._pad)

    def after(self) -> dict[str, float]:
        """Measure again, print the table, return the metrics."""
        if self._held is None or self._before is None:
            return {}
        before, after = self._before, losses(self._model, self._held, self._pad)
        least, low, high = change(before, after)
        count, tokens = len(self._held), int(before.tokens.sum())
        logs.info(
            f"\nheld-out documents: {count:,} ({tokens:,} tokens)      before      after      change [95 % interval]\n"
            f"perplexity {before.perplexity:>43.2f} {after.perplexity:>10.2f} {100 * least:>10.1f} % "
            f"[{100 * low:.1f}, {100 * high:.1f}]"
        )
        return {
            "document_perplexity_before": before.perplexity,
            "document_perplexity_after": after.perplexity,
            "document_perplexity_change": least,
            "document_perplexity_change_low": low,
            "document_perplexity_change_high": high,
            "documents_compared": count,
            "document_tokens_compared": tokens,
        }
