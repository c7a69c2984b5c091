"""A model gets rows for new tokens: each the mean of the rows of the pieces that it replaces.

A new token's logit is then the mean of its pieces' logits, so it is never the largest: what a greedy answer is does
not change before training. Old rows are untouched.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.errors import LineageError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


@dataclass
class Rows:
    """Rows before and after, how many of the new tokens took rows that lay unused, and what the rest of them is."""

    before: int
    after: int
    spare: int
    added: int
    tied: bool
    parameters: tuple[int, int]

    def line(self) -> str:
        """For people."""
        grown = self.parameters[1] / self.parameters[0] - 1
        unused = self.after - self.before - self.added
        kinds = "one matrix for input and output" if self.tied else "input and output each"
        return (
            f"rows {self.before:,} -> {self.after:,} ({kinds}): {self.spare:,} new tokens in rows that lay unused, "
            f"{self.added:,} in new ones, {unused} to fill up; parameters {self.parameters[0] / 1e6:,.1f} M -> "
            f"{self.parameters[1] / 1e6:,.1f} M (+{grown:.1%})"
        )


def extend(model: PreTrainedModel, pieces: dict[int, list[int]], multiple: int = 8) -> Rows:
    """Give `model` (in place) a row for each new id, the mean of the rows of its pieces; never removes one.

    The number of rows, if it has to grow, becomes a multiple of `multiple`; rows that no token has are the mean of
    all. Raises LineageError if a piece has no row.
    """
    import torch

    before, parameters = model.get_input_embeddings().weight.shape[0], model.num_parameters()
    if (last := max((old for olds in pieces.values() for old in olds), default=0)) >= before:
        raise LineageError(
            f"the tokenizer reaches id {last}, the model has {before} rows: they do not belong together"
        )
    needed = max(pieces, default=before - 1) + 1
    after = before if needed <= before else -(-needed // multiple) * multiple
    tied = model.get_output_embeddings() is None or (
        model.get_output_embeddings().weight is model.get_input_embeddings().weight
    )
    if after > before:
        model.resize_token_embeddings(after, mean_resizing=False)
    with torch.no_grad():
        for weight in _matrices(model):
            _fill(weight, pieces, before)
    spare = sum(number < before for number in pieces)
    return Rows(before, after, spare, len(pieces) - spare, tied, (parameters, model.num_parameters()))


def _matrices(model: PreTrainedModel) -> list[torch.Tensor]:
    """Input rows, output rows and the output's bias, each once."""
    output = model.get_output_embeddings()
    found = [model.get_input_embeddings().weight, getattr(output, "weight", None), getattr(output, "bias", None)]
    return list({id(weight): weight for weight in found if weight is not None}.values())


def _fill(weight: torch.Tensor, pieces: dict[int, list[int]], before: int) -> None:
    import torch

    old = weight[:before].float()
    weight[before:] = old.mean(0).to(weight.dtype)
    for number, olds in pieces.items():
        weight[number] = old[torch.tensor(olds, device=old.device)].mean(0).to(weight.dtype)


def logits_of(model: PreTrainedModel, lines: list[list[int]]) -> list[torch.Tensor]:
    """Logits, `(tokens, rows)` in float32, of each line of ids."""
    import torch

    model.eval()
    device = next(model.parameters()).device
    with torch.no_grad():
        return [model(input_ids=torch.tensor([ids], device=device)).logits[0].float().cpu() for ids in lines]


def compare(before: list[torch.Tensor], after: list[torch.Tensor]) -> dict[str, float]:
    """How far the logits of old tokens moved (the largest difference), and what the new rows take: the mean share of
    probability, and how often one of them is the likeliest."""
    import torch

    moved = max((b - a[:, : b.shape[1]]).abs().max().item() for b, a in zip(before, after, strict=True))
    rows = before[0].shape[1]
    share = torch.cat([a.softmax(-1)[:, rows:].sum(-1) for a in after])
    likeliest = torch.cat([a.argmax(-1) >= rows for a in after])
    return {"moved": moved, "share": share.mean().item(), "likeliest": likeliest.float().mean().item()}


def save(model: PreTrainedModel, directory: Path, **more: Any) -> None:
    """Weights as safetensors in their own precision, config and generation config."""
    model.save_pretrained(directory, max_shard_size="5GB", **more)
