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


@dataclass
class PairCollator:
    """`input_ids`, `attention_mask` and `completion_mask`, each `(2B, T)`, padded right: chosen rows, then rejected.

    `completion_mask` is 1 on the tokens of answers; `multiple` rounds T up. What the reference said of a pair,
    computed in advance, is passed on as `ref_chosen_logps` and `ref_rejected_logps`, `(B,)`.
    """

    pad_id: int
    multiple: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        sides = [(row[f"{side}_ids"], row[f"{side}_labels"]) for side in ("chosen", "rejected") for row in rows]
        longest = max(len(ids) for ids, _ in sides)
        shape = (len(sides), longest + -longest % (self.multiple or 1))
        batch = {"input_ids": torch.full(shape, self.pad_id)}
        batch |= {name: torch.zeros(shape, dtype=torch.long) for name in ("attention_mask", "completion_mask")}
        for index, (ids, labels) in enumerate(sides):
            batch["input_ids"][index, : len(ids)] = torch.tensor(ids)
            batch["attention_mask"][index, : len(ids)] = 1
            batch["completion_mask"][index, : len(ids)] = (torch.tensor(labels) != IGNORED).long()
        for name in ("ref_chosen_logps", "ref_rejected_logps"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows], dtype=torch.float32)
        return batch


class ReadyRows:
    """Mixin to the left of one of TRL's trainers: rows are ids already, which it leaves as they are."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset


@dataclass
class LabelledCollator:
    """`input_ids`, `attention_mask`, `completion_mask`, each `(B, T)`, padded right, and `label`, `(B,)`.

    The same three under `KL_` for questions with their partners' answers, where rows have partners; these are cut at
    `max_length`. `multiple` rounds T up. What the reference said of rows, computed in advance, is passed on.
    """

    pad_id: int
    max_length: int | None = None
    multiple: int | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        import torch

        batch = {"label": torch.tensor([bool(row["label"]) for row in rows])}
        for prefix in ("", "KL_") if "KL_completion_ids" in rows[0] else ("",):
            ids = [[*row["prompt_ids"], *row[f"{prefix}completion_ids"]][: self.max_length] for row in rows]
            longest = max(map(len, ids))
            shape = (len(rows), longest + -longest % (self.multiple or 1))
            tensors = {"input_ids": torch.full(shape, self.pad_id)}
            tensors |= {name: torch.zeros(shape, dtype=torch.long) for name in ("attention_mask", "completion_mask")}
            for index, (row, whole) in enumerate(zip(rows, ids, strict=True)):
                start, labels = len(row["prompt_ids"]), torch.tensor(row[f"{prefix}completion_labels"])
                tensors["input_ids"][index, : len(whole)] = torch.tensor(whole)
                tensors["attention_mask"][index, : len(whole)] = 1
                tensors["completion_mask"][index, start : len(whole)] = (labels != IGNORED)[
                    : len(whole) - start
                ].long()
            batch |= {prefix + name: tensor for name, tensor in tensors.items()}
        for name in ("ref_logps", "ref_KL_logps"):
            if name in rows[0]:
                batch[name] = torch.tensor([row[name] for row in rows], dtype=torch.float32)
        return batch


class LabelledRows:
    """Mixin to the left of TRL's KTO trainer: rows are ids already, and get partners within each batch."""

    def _prepare_dataset(self, dataset: Any, _: Any, args: Any, name: str) -> Any:
        from bedside.data.unpaired import with_partners

        if args.loss_type == "apo_zero_unpaired":
            return dataset
        train = name == "train"
        return with_partners(dataset, args.per_device_train_batch_size if train else args.per_device_eval_batch_size)
