"""What `generate` calls while it writes: draws by seed, stop texts, and a queue of tokens for a reader."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from bedside import draws
from bedside.answers import Sampling
from bedside.written import Written

if TYPE_CHECKING:
    import torch


class SeededDraw:
    """A logits processor that leaves each row one token: the one that the row's seed draws. `sampling.seed` is one
    for all rows, or a tuple of one for each."""

    def __init__(self, prompts: Sequence[list[int]], sampling: Sampling, limit: int):
        self._prompts, self._sampling = prompts, sampling
        self._width = max(map(len, prompts))
        seeds = sampling.seed if isinstance(sampling.seed, tuple) else (sampling.seed,) * len(prompts)
        self._numbers = [draws.numbers(seed, limit) for seed in seeds]

    def of(self, rows: Sequence[int]) -> SeededDraw:
        """The same draws for these rows alone, where the others have left the batch."""
        other = copy.copy(self)
        other._prompts, other._numbers = [self._prompts[row] for row in rows], [self._numbers[row] for row in rows]
        return other

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores `(B, V)` with one finite number a row."""
        import torch

        written = input_ids[:, self._width :].tolist()
        rows = [
            draws.Row(self._sampling, prompt + ids, numbers[len(ids)])
            for prompt, ids, numbers in zip(self._prompts, written, self._numbers, strict=True)
        ]
        drawn = torch.tensor(draws.tokens(scores, rows), device=scores.device)[:, None]
        return torch.full_like(scores, -torch.inf).scatter_(1, drawn, 0.0)


class StopTextsOfRows:
    """A stopping criterion: a row is done when one of its stop texts is written."""

    def __init__(self, written: list[Written]):
        self._written = written

    def __call__(self, ids: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        """`(B,)`, True where the row's text is complete."""
        import torch

        for row, token in zip(self._written, ids[:, -1].tolist(), strict=True):
            list(row.add(token))
        return torch.tensor([row.ended for row in self._written], device=ids.device)


def whole(ids: torch.Tensor, value: bool) -> torch.Tensor:
    """`value` for every row of `ids`: the form in which `generate` is told to stop."""
    import torch

    return torch.full((ids.shape[0],), value, dtype=torch.bool, device=ids.device)


class TokenQueue:
    """The streamer that `generate` writes to: iterates over new token ids, in the reader's thread."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        self._prompt_seen = False

    def put(self, ids: torch.Tensor) -> None:
        """Called by `generate`, with the prompt first."""
        if self._prompt_seen:
            for token in ids.flatten().tolist():
                self._queue.put(token)
        self._prompt_seen = True

    def end(self) -> None:
        """Called by `generate`, and by whoever runs it: the first call counts."""
        self._queue.put(None)

    def __iter__(self) -> Iterator[int]:
        return iter(self._queue.get, None)
