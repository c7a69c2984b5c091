"""Where answers stand in rows of question and answer. Imported late: it needs torch."""

from typing import NamedTuple

import torch


class Places(NamedTuple):
    """Where answers stand: `answer` `(B, T)` is true on their tokens; `before` `(B, n)` is the place in front of each,
    where it is predicted and valued; `there` `(B, n)` says which of those there are."""

    answer: torch.Tensor
    before: torch.Tensor
    there: torch.Tensor


def places_of(mask: torch.Tensor, starts: torch.Tensor, count: int) -> Places:
    """The places of answers from `starts` to the end of each row."""
    places = torch.arange(mask.shape[1], device=mask.device)
    answer = (places >= starts[:, None]) & mask.bool()
    before = starts[:, None] - 1 + torch.arange(count, device=mask.device)
    there = before < mask.sum(1, keepdim=True) - 1
    return Places(answer, before.clamp(max=mask.shape[1] - 2), there)
