"""The order of prompts: TRL's groups, shuffled for each epoch by seed and epoch alone, so that a resume repeats it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


class EpochOrder:
    """TRL's RepeatSampler with an epoch: its own shuffles from where it stopped, which a resumed run does not know."""

    def __init__(self, groups: Any, seed: int):
        self.groups, self.seed, self.epoch = groups, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by whoever iterates, before each epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        if getattr(self.groups, "generator", None) is not None:
            self.groups.generator.manual_seed(self.seed + self.epoch)
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)
