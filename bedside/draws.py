"""The next token of each row of a batch, every row with its own settings and its own random numbers.

A row's numbers come from its seed and its place in the completion alone: the rows that happen to stand beside it, and
rows that join or leave, change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from bedside.answers import Sampling

if TYPE_CHECKING:
    import torch

_SEEDS = 1 << 63


class Row(NamedTuple):
    """What the next token of one row depends on: settings, prompt and completion so far, its number in [0, 1)."""

    sampling: Sampling
    ids: Sequence[int]
    number: float


def numbers(seed: int, count: int) -> list[float]:
    """`count` numbers in [0, 1) that belong to `seed` (any whole number)."""
    import torch

    source = torch.Generator().manual_seed(seed % _SEEDS)
    return torch.rand(count, generator=source, dtype=torch.float64).tolist()


def tokens(logits: torch.Tensor, rows: Sequence[Row]) -> list[int]:
    """The next token of each row from its logits `(B, V)`, as `generate` orders the steps: repetition penalty,
    temperature, top k, top p, draw."""
    scores = logits.float()
    if any(row.sampling.repetition_penalty != 1.0 for row in rows):
        scores = _less_repetition(scores, rows)
    found = scores.argmax(-1).tolist()
    drawing = [index for index, row in enumerate(rows) if row.sampling.temperature > 0]
    if drawing:
        chosen = [rows[index] for index in drawing]
        for index, token in zip(drawing, _drawn(scores[drawing], chosen), strict=True):
            found[index] = token
    return found


def _less_repetition(scores: torch.Tensor, rows: Sequence[Row]) -> torch.Tensor:
    """Scores whose rows have the tokens of prompt and completion made less likely, each by its own penalty."""
    import torch

    scores = scores.clone()
    for index, row in enumerate(rows):
        penalty = row.sampling.repetition_penalty
        if penalty != 1.0:
            seen = torch.tensor(sorted(set(row.ids)), device=scores.device)
            held = scores[index, seen]
            scores[index, seen] = torch.where(held < 0, held * penalty, held / penalty)
    return scores


def _drawn(scores: torch.Tensor, rows: Sequence[Row]) -> list[int]:
    """One token a row: where the cumulated probability, in the order of the vocabulary, passes the row's number."""
    import torch

    def column(values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=scores.dtype, device=scores.device)[:, None]

    scores = scores / column([row.sampling.temperature for row in rows])
    if any(row.sampling.top_k > 0 or row.sampling.top_p < 1 for row in rows):
        scores = _likeliest(scores, rows, column)
    cumulated = torch.softmax(scores.double(), -1).cumsum(-1)
    at = torch.tensor([row.number for row in rows], dtype=torch.float64, device=scores.device)[:, None]
    place = torch.searchsorted(cumulated, at * cumulated[:, -1:], right=True)
    return place.clamp(max=scores.shape[-1] - 1)[:, 0].tolist()


def _likeliest(scores: torch.Tensor, rows: Sequence[Row], column: Any) -> torch.Tensor:
    """Scores with all but the tokens of each row's top k and top p ruled out; the likeliest is always left."""
    import torch

    ordered, order = scores.sort(-1, descending=True)
    size = scores.shape[-1]
    ranks = torch.arange(size, device=scores.device)[None]
    out = ranks >= column([row.sampling.top_k or size for row in rows])
    chances = torch.softmax(ordered.masked_fill(out, -torch.inf), -1)
    before = chances.cumsum(-1) - chances
    top_p = column([row.sampling.top_p for row in rows])
    out = out | (before >= top_p) & (top_p < 1)
    out[:, 0] = False
    return torch.full_like(scores, -torch.inf).scatter_(1, order, ordered.masked_fill(out, -torch.inf))
