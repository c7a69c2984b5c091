"""Which questions make a rollout, and which answers a batch. Imported late: it needs torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import Sampler

from bedside.ppo.rollout import Answers


class RolloutSampler(Sampler):
    """Groups of `size` rows, each repeated `repeats` times: once for every batch that is asked for while one rollout
    is trained on. The last group of an epoch is filled up from its beginning, so that no row is left out."""

    def __init__(self, count: int, size: int, repeats: int, seed: int):
        self.count, self.size, self.repeats, self.seed, self.epoch = count, size, repeats, seed, 0

    def set_epoch(self, epoch: int) -> None:
        """The order of rows changes with it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self.count / self.size) * self.size * self.repeats

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(self.count, generator=torch.Generator().manual_seed(self.seed + self.epoch)).tolist()
        for start in range(0, self.count, self.size):
            group = [order[index % self.count] for index in range(start, start + self.size)]
            for _ in range(self.repeats):
                yield from group


class TaskCollator:
    """`input_ids` and `attention_mask` `(B, P)` of prompts, padded on the left, and `index` `(B,)` of their rows."""

    def __init__(self, pad: int):
        self.pad = pad

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        width = max(len(row["prompt_ids"]) for row in rows)
        gaps = [width - len(row["prompt_ids"]) for row in rows]
        ids = [[self.pad] * gap + list(row["prompt_ids"]) for gap, row in zip(gaps, rows, strict=True)]
        mask = [[0] * gap + [1] * (width - gap) for gap in gaps]
        index = [row["index"] for row in rows]
        return {
            "input_ids": torch.tensor(ids), "attention_mask": torch.tensor(mask), "index": torch.tensor(index)
        }  # fmt: skip


def rollout_size(args: Any) -> int:
    """Answers of a rollout in each process."""
    return args.per_device_train_batch_size * args.gradient_accumulation_steps * args.num_mini_batches


def steps_for(args: Any, rows: int) -> int:
    """Optimizer steps in all: of whole rollouts, until `total_episodes` answers are sampled, else for the epochs."""
    size = rollout_size(args) * args.world_size
    episodes = args.total_episodes or math.ceil(rows / size) * size * args.num_train_epochs
    return max(1, math.ceil(episodes / size)) * args.num_ppo_epochs * args.num_mini_batches


def mini_batches(answers: Answers, count: int, size: int, generator: torch.Generator) -> list[list[torch.Tensor]]:
    """Rows of `count` mini-batches, drawn at random, each cut into micro-batches of `size` rows of like length."""
    lengths = answers.prompt_mask.sum(1) + answers.lengths
    order = torch.randperm(len(lengths), generator=generator)
    parts = []
    for rows in order.chunk(count):
        by_length = rows[lengths.cpu()[rows].argsort(stable=True)]
        parts.append(list(by_length.split(size)))
    return parts
