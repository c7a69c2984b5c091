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
        step = super().prediction_step(model, inputs, *args, **kwargs)
        trained = (inputs["labels"][:, 1:] != -100).sum().to(step[0].device)
        self._nll = self._nll + step[0].detach().double() * trained
        self._trained = self._trained + trained
        return step

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        import torch

        zero = torch.zeros((), dtype=torch.float64, device=self.args.device)
        self._nll, self._trained = zero, zero.clone()
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        totals = self.accelerator.reduce(torch.stack([self._nll, self._trained.double()]), reduction="sum")
        if totals[1] > 0:
            loss = (totals[0] / totals[1]).item()
            output.metrics[f"{metric_key_prefix}_loss"] = loss
            output.metrics[f"{metric_key_prefix}_perplexity"] = math.exp(min(loss, 700.0))
        return output
