"""Two models on the same tokens: the numbers, from log-probabilities. Pure functions over arrays and lists.

Log-probabilities are kept as float16, which is what two models of one vocabulary are compared in: rounding moves a
token's KL by less than 1e-3 of its size, and equal models come out at exactly 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bedside.evaluate.statistics import Change, mean_interval, paired_change


@dataclass(frozen=True)
class Row:
    """One held-out answer: its tokens, their summed negative log-likelihood (nats), and against another model how many
    likeliest tokens agree and the summed KL(other || this), None where nothing was compared."""

    tokens: int
    nll: float
    agree: int | None = None
    kl: float | None = None


def row_of(logprobs: np.ndarray, labels: np.ndarray, other: np.ndarray | None = None) -> Row:
    """The Row of log-probabilities `(T, V)` at labels `(T,)`, beside the `other` model's `(T, V)`.

    >>> row_of(np.array([[0.0, -9.0]]), np.array([0]), np.array([[0.0, -9.0]]))
    Row(tokens=1, nll=-0.0, agree=1, kl=0.0)
    """
    nll = float(-logprobs[np.arange(len(labels)), labels].astype(np.float64).sum())
    if other is None:
        return Row(len(labels), nll)
    agree = int((logprobs.argmax(-1) == other.argmax(-1)).sum())
    wide, reference = logprobs.astype(np.float32), other.astype(np.float32)
    kl = float((np.exp(reference) * (reference - wide)).sum(-1, dtype=np.float64).sum())
    return Row(len(labels), nll, agree, max(kl, 0.0))


def perplexity(rows: Sequence[Row]) -> float:
    """Token-weighted, of all rows."""
    total = sum(row.tokens for row in rows)
    return math.exp(min(sum(row.nll for row in rows) / max(1, total), 700.0))


@dataclass(frozen=True)
class Agreement:
    """Over all tokens: how many, the share with the same likeliest token with its 95 % interval (rows resampled), and
    the mean KL(before || after) in nats."""

    tokens: int
    share: float
    low: float
    high: float
    kl: float


def agreement(after: Sequence[Row]) -> Agreement:
    """The Agreement of rows that were compared. The interval is of the rows' mean share, as tokens of one answer are
    not independent."""
    total = sum(row.tokens for row in after)
    low, high = mean_interval([row.agree / row.tokens for row in after])
    share, kl = sum(row.agree for row in after) / total, sum(row.kl for row in after) / total
    return Agreement(total, share, low, high, kl)


def nll_change(before: Sequence[Row], after: Sequence[Row]) -> Change:
    """The rows' mean negative log-likelihood a token, before and after, paired."""
    return paired_change([row.nll / row.tokens for row in before], [row.nll / row.tokens for row in after])
