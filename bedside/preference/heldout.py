"""Held-out pairs before and after a training: does the model itself find the chosen answer likelier?

It needs no reference, so that the numbers of DPO, SimPO, ORPO and KTO can be laid side by side. Log-probabilities are
averaged over the tokens of an answer: a sum would prefer the shorter one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import launch, logs
from bedside.data.samples import IGNORED
from bedside.evaluate.statistics import mean_interval, wilson


@dataclass
class Ranked:
    """Mean log-probability a token (nats) of each pair's chosen and rejected answer, in the order of the rows."""

    chosen: list[float]
    rejected: list[float]
    lengths: list[tuple[int, int]]  # tokens of both answers

    @property
    def margins(self) -> list[float]:
        """Chosen less rejected, nats a token."""
        return [good - bad for good, bad in zip(self.chosen, self.rejected, strict=True)]

    @property
    def wins(self) -> float:
        """Pairs whose chosen answer is likelier; a tie counts half."""
        return sum(1.0 if margin > 0 else 0.5 if margin == 0 else 0.0 for margin in self.margins)


def answer_logprob(model: Any, ids: list[int], labels: list[int], device: Any) -> float:
    """Mean log-probability (nats) of a sequence's answer tokens, those whose label is not -100.

    Logits are made at these positions only: `(answer, V)` instead of `(T, V)`.
    """
    import torch

    answer = [index for index, label in enumerate(labels) if label != IGNORED]
    before = torch.tensor([index - 1 for index in answer], device=device)
    inputs = torch.tensor([ids], device=device)
    logits = model(input_ids=inputs, logits_to_keep=before, use_cache=False).logits[0]
    picked = logits.float().log_softmax(-1).gather(-1, inputs[0, answer][:, None])
    return picked.mean().item()


def rank(model: Any, rows: Any) -> Ranked:
    """The model's view of the pairs in `rows`, computed without dropout and without gradients; the mode stays."""
    import torch

    was_training, device = model.training, next(model.parameters()).device
    model.eval()
    found = Ranked([], [], [])
    with torch.inference_mode():
        for row in logs.progress(rows, len(rows), "held-out pairs", "pair"):
            found.chosen.append(answer_logprob(model, row["chosen_ids"], row["chosen_labels"], device))
            found.rejected.append(answer_logprob(model, row["rejected_ids"], row["rejected_labels"], device))
            sizes = [sum(label != IGNORED for label in row[f"{side}_labels"]) for side in ("chosen", "rejected")]
            found.lengths.append((sizes[0], sizes[1]))
    model.train(was_training)
    return found


def moved_right(before: Ranked, after: Ranked) -> float:
    """Pairs that training moved towards the chosen answer: the log-ratio of after and before, summed over the tokens,
    is larger for it than for the rejected one (the implicit reward of Rafailov et al. 2023, eq. 5, with the model
    before as the reference); a tie counts half."""
    count = 0.0
    for index, (chosen, rejected) in enumerate(after.lengths):
        good = (after.chosen[index] - before.chosen[index]) * chosen
        bad = (after.rejected[index] - before.rejected[index]) * rejected
        count += 1.0 if good > bad else 0.5 if good == bad else 0.0
    return count


def table(before: Ranked, after: Ranked) -> str:
    """Before and after as text: win rate with its Wilson interval, margin and their paired change with 95 %."""
    n = len(before.chosen)
    change = [new - old for new, old in zip(after.margins, before.margins, strict=True)]
    low, high = mean_interval(change)

    def share(ranked: Ranked) -> str:
        first, last = wilson(ranked.wins, n)
        return f"{100 * ranked.wins / n:5.1f} %  [{100 * first:.0f}, {100 * last:.0f}]"

    rows = [
        ("chosen answer likelier (a token)", share(before), share(after)),
        ("margin, nats a token", *(f"{sum(r.margins) / n:+.3f}" for r in (before, after))),
        ("chosen answers, nats a token", *(f"{sum(r.chosen) / n:.3f}" for r in (before, after))),
        ("rejected answers, nats a token", *(f"{sum(r.rejected) / n:.3f}" for r in (before, after))),
    ]
    lines = [f"{'held-out pairs: ' + str(n):34}{'before':>22}{'after':>22}", "-" * 78]
    lines += [f"{name:34}{old:>22}{new:>22}" for name, old, new in rows]
    lines.append(f"change of the margin: {sum(change) / n:+.3f}  [{low:+.3f}, {high:+.3f}]")
    right = moved_right(before, after)
    first, last = wilson(right, n)
    lines.append(f"moved towards the chosen answer: {100 * right / n:.1f} %  [{100 * first:.0f}, {100 * last:.0f}]")
    return "\n".join(lines)


class Ranking:
    """The held-out pairs before and after a training, on rank 0; does nothing where none are held out.

    Sharded parameters cannot be read from one rank: under FSDP and ZeRO-3 it does nothing either, and says so.
    """

    def __init__(self, trainer: Any, held_out: Any, directory: Path):
        self.trainer, self.directory = trainer, directory
        sharded = launch.cut_into_shards(trainer)
        if held_out is not None and sharded:
            logs.info("held-out pairs are not ranked while parameters are sharded; the trainer's evaluation is")
        self.rows = held_out if held_out is not None and not sharded and trainer.is_world_process_zero() else None
        self._before: Ranked | None = None

    def _rank(self) -> Ranked:
        trainer = self.trainer
        model = trainer.accelerator.unwrap_model(trainer.model).to(trainer.args.device)
        return rank(model, self.rows)

    def before(self) -> None:
        """Rank them with the model as it is now."""
        if self.rows is not None:
            self._before = self._rank()

    def after(self) -> dict[str, float]:
        """Rank them again, print the table, keep both in heldout_pairs.json; returns what belongs in metrics.json."""
        if self._before is None:
            return {}
        before, after = self._before, self._rank()
        logs.info("\n" + table(before, after))
        n = len(after.chosen)
        content = {
            name: {"chosen": r.chosen, "rejected": r.rejected} for name, r in (("before", before), ("after", after))
        }
        place = [f"{source}:{line}" for source, line in zip(self.rows["source"], self.rows["line"], strict=True)]
        path = self.directory / "heldout_pairs.json"
        path.write_text(json.dumps({"pairs": place, **content}, ensure_ascii=False) + "\n", encoding="utf-8")
        return {
            "heldout_win_rate_before": before.wins / n,
            "heldout_win_rate": after.wins / n,
            "heldout_margin_before": sum(before.margins) / n,
            "heldout_margin": sum(after.margins) / n,
            "heldout_moved_right": moved_right(before, after) / n,
        }
