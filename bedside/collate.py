"""Rows to tensors. Packed rows carry positions instead of a mask: they restart where a sample begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bedside.data.samples import IGNORED

if TYPE_CHECKING:
    import torch


@dataclass
class PackedCollator:
    """`input_ids`, `labels`, `position_ids`, each `(B, T)`, for rows of several samples (`seq_lengths`).

    Attention is told apart by positions that restart at 0 (transformers builds the block mask from them, a varlen
    kernel its sequence bounds), so samples of one row never see each other; padding is a sample of its own.
    """

    pad_id: int

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        batch = {
            "input_ids": torch.full((len(rows), longest), self.pad_id),
            "labels": torch.full((len(rows), longest), IGNORED),
            "position_ids": torch.zeros((len(rows), longest), dtype=torch.long),
        }
        for index, row in enumerate(rows):
            length = len(row["input_ids"])
            batch["input_ids"][index, :length] = torch.tensor(row["input_ids"])
            batch["labels"][index, :length] = torch.tensor(row["labels"])
            positions = torch.cat([torch.arange(n) for n in (*row["seq_lengths"], longest - length)])
            batch["position_ids"][index] = positions
        # A sample's first token has nothing before it but its neighbour's end.
        batch["labels"][batch["position_ids"] == 0] = IGNORED
        return batch
