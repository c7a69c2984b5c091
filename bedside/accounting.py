"""Token-weighted numbers, as a mixin to the left of a trainer: an evaluation loss that a perplexity may be taken of.

`Trainer` averages batch means, so that a short answer weighs as much as a long one; exp() of that is no perplexity.
"""

from __future__ import annotations

import math
from typing import Any


class TokenWeighted:
    """Mixin: `eval_loss` is the mean over all trained tokens, `eval_perplexity` its exp; `num_tokens` counts rows."""

    def compute_loss(self, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        rows = inputs["input_ids"].shape[0] if "attention_mask" not in inputs else 1
        result = super().compute_loss(model, inputs, *args, **kwargs)
        if rows > 1 and self.model.training:
            # TRL counts one row of a batch that comes with positions; these are the others.
            others = (inputs["input_ids"].shape[1] * (rows - 1)) * self.accelerator.num_processes
            self._total_train_tokens += others
        return result

    def prediction_step(self, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        labels = inputs["labels"]
        real = self._real_rows(labels.shape[0])
        if 0 < real < labels.shape[0]:
            labels = labels.clone()
            labels[real:] = -100
        step = super().prediction_step(model, {**inputs, "labels": labels}, *args, **kwargs)
        trained = (labels[:, 1:] != -100).sum().to(step[0].device) * (real > 0)
        self._nll = self._nll + step[0].detach().double() * trained
        self._trained = self._trained + trained
        return step

    def _real_rows(self, rows: int) -> int:
        """How many of this batch's rows are its own: the last batches of several processes are filled up with rows
        from the beginning, which must not count twice."""
        batch = self._batches * self.args.world_size + self.args.process_index
        self._batches += 1
        return min(rows, max(0, self._held_out - batch * self.args.eval_batch_size))

    def evaluation_loop(self, dataloader: Any, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        import torch

        self._held_out, self._batches = self.num_examples(dataloader), 0
        zero = torch.zeros((), dtype=torch.float64, device=self.args.device)
        self._nll, self._trained = zero, zero.clone()
        output = super().evaluation_loop(dataloader, *args, metric_key_prefix=metric_key_prefix, **kwargs)
        totals = self.accelerator.reduce(torch.stack([self._nll, self._trained.double()]), reduction="sum")
        if totals[1] > 0:
            loss = (totals[0] / totals[1]).item()
            output.metrics[f"{metric_key_prefix}_loss"] = loss
            output.metrics[f"{metric_key_prefix}_perplexity"] = math.exp(min(loss, 700.0))
        return output
