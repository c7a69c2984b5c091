"""Exact held-out scores, as a mixin to the left of a reward trainer: `class T(Scoring, Sealed, RewardTrainer)`.

The trainer averages the means of batches, so that a last batch of one pair weighs as much as a full one, and of
several processes those that repeat rows to fill it; here every pair is scored once, in its place.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bedside import logs
from bedside.data.samples import IGNORED
from bedside.plots import PER_PAIR
from bedside.reward import plots, report


def scored(dataset: Any, scores: np.ndarray) -> report.Scored:
    """The scores `(B, 2)` of a dataset of pairs with the lengths of its answers and the names of its files."""
    tokens = [
        np.array([sum(label != IGNORED for label in labels) for labels in dataset[f"{side}_labels"]])
        for side in ("chosen", "rejected")
    ]
    files = [str(path).replace("\\", "/").rsplit("/", 1)[-1] for path in dataset["source"]]
    return report.Scored(scores[:, 0], scores[:, 1], *tokens, files)


class Scoring:
    """Mixin: `eval_loss`, `eval_accuracy` (a tie is half right), `eval_margin` and `eval_mean_reward` are means over
    the held-out pairs; `scores` keeps those of the last evaluation, `(B, 2)`, chosen and rejected, as rows stand."""

    scores: np.ndarray | None = None
    loss_unit = PER_PAIR

    def _get_eval_sampler(self, eval_dataset: Any) -> Any:
        from torch.utils.data import SequentialSampler

        return SequentialSampler(eval_dataset)  # grouping by length would lose which score is whose

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """The trainer's, with the rows of an incomplete last batch too: --dataloader_drop_last is about training."""
        drop, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False
        try:
            return super().get_eval_dataloader(*args, **kwargs)
        finally:
            self.args.dataloader_drop_last = drop

    def prediction_step(
        self, model: Any, inputs: dict, prediction_loss_only: bool, ignore_keys: list[str] | None = None
    ) -> tuple:
        """Loss of a batch of pairs; their scores are kept."""
        import torch

        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        pairs = torch.stack(outputs.logits.squeeze(-1).float().chunk(2), dim=1)
        # Without the rows that fill up the last batch of several processes.
        self._collected.append(self.accelerator.gather_for_metrics(pairs).double().cpu().numpy())
        return loss.detach().mean(), None, None

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """The trainer's loop; its means of means are replaced by means over pairs."""
        self._collected: list[np.ndarray] = []
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        self.scores = np.concatenate(self._collected)
        chosen, rejected = self.scores.T
        margin = chosen - rejected
        measured = {
            "loss": report.loss(chosen, rejected, self.args.center_rewards_coefficient),
            "accuracy": report.accuracy(margin)["accuracy"],
            "margin": float(margin.mean()),
            "mean_reward": float(self.scores.mean()),
        }
        output.metrics.update({f"{metric_key_prefix}_{name}": value for name, value in measured.items()})
        self._metrics["eval"].clear()
        return output


@dataclass
class Judge:
    """The report on the held-out pairs, as the trainer's last evaluation scored them; a fresh head knows nothing, so
    there is none before the training."""

    trainer: Scoring
    held_out: Any
    directory: Path
    plot: bool = True

    def before(self) -> None:
        """Nothing: the first scores would be random numbers."""

    def after(self) -> dict[str, Any]:
        """What `metrics.json` says under `reward`, nothing where nothing was evaluated; prints it and draws it."""
        if self.held_out is None or self.trainer.scores is None:
            return {}
        found = scored(self.held_out, self.trainer.scores)
        made = report.report(found)
        for line in report.table(made):
            logs.info(line)
        if self.plot and self.trainer.is_world_process_zero():
            for path in plots.write(found, made, self.directory / "plots"):
                logs.info(f"plot: {path}")
        return {"reward": made}
