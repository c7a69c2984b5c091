"""The trainer of losses on pairs without a reference. Imported late: it needs torch and transformers."""

from typing import Any

import torch
from transformers import Trainer

from bedside.data.samples import IGNORED
from bedside.errors import ConfigError
from bedside.plots import PER_PAIR
from bedside.preference import logprobs, losses
from bedside.preference.losses import PairLoss


class PairTrainer(Trainer):
    """Trains on batches of `PairCollator` (`(2B, T)`, chosen rows first) with the loss that its PairConfig names.

    The loss of an optimizer step is the mean over all its pairs, whatever the number of processes and accumulated
    batches and however they differ in size; that of an evaluation the mean over all held-out pairs, each once.
    Logged under TRL's names: `rewards/chosen`, `rewards/rejected`, `rewards/accuracies`, `rewards/margins`,
    `logps/chosen`, `logps/rejected` (nats a token), `nll_loss`; for ORPO `log_odds_chosen`, `log_odds_ratio`.
    """

    loss_unit = PER_PAIR
    loss_is_scaled_for_ga = True  # transformers 5.23; 5.17 reads model_accepts_loss_kwargs

    def __init__(self, model: Any, args: Any, **more: Any):
        self.pair_loss = losses.of(args)
        if args.label_smoothing_factor:
            factor = f"--label_smoothing_factor {args.label_smoothing_factor:g}"
            raise ConfigError(f"{factor}: has no meaning with --loss_type {args.loss_type}; drop it")
        if args.use_liger_kernel:
            # Liger's fused loss would replace the forward that gives log-probabilities; its layers stay.
            args.liger_kernel_config = {**(args.liger_kernel_config or {}), "fused_linear_cross_entropy": False}
        super().__init__(model=model, args=args, **more)
        if args.n_gpu > 1:
            raise ConfigError(
                f"{args.n_gpu} GPUs are visible to one process; launch with torchrun --nproc_per_node {args.n_gpu}, "
                "add --device_map auto to spread the model, or set CUDA_VISIBLE_DEVICES=0"
            )
        self.model_accepts_loss_kwargs = True
        if args.disable_dropout:
            without_dropout(self.model)
        logprobs.install(self.model)
        if not self.is_deepspeed_enabled:  # ZeRO-3 holds shards, with which nothing can be computed yet
            logprobs.check(self.model)
        self._sums: torch.Tensor | None = None  # of each logged number over the pairs since the last log
        self._pairs = 0
        self._held_out: list[torch.Tensor] = []

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> tuple:
        """The batches of an optimizer step, and how many pairs all processes have in them."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        pairs = torch.tensor(sum(len(batch["input_ids"]) // 2 for batch in batches), device=device)
        return batches, self.accelerator.reduce(pairs, reduction="sum")

    def compute_loss(
        self, model: Any, inputs: dict, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The share of these pairs in the mean over `num_items_in_batch` pairs, or their own mean without it."""
        found = pair_losses(model, inputs, self.pair_loss)
        if self.model.training:
            self._remember(found)
        if num_items_in_batch is None:
            loss = found.loss.mean()
        else:  # processes average their gradients, so each adds its pairs times their number
            loss = found.loss.sum() * self.accelerator.num_processes / num_items_in_batch
        return (loss, found) if return_outputs else loss

    def _remember(self, found: PairLoss) -> None:
        sums = torch.stack([value.double().sum() for value in facts(found).values()])
        self._sums = sums if self._sums is None else self._sums + sums
        self._pairs += len(found.loss)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the means over all pairs since the last log, of all processes, to a line about training."""
        if self._pairs and "loss" in logs:
            count = torch.tensor([float(self._pairs)], dtype=torch.float64, device=self._sums.device)
            totals = self.accelerator.reduce(torch.cat([self._sums, count]), reduction="sum")
            means = (totals[:-1] / totals[-1]).tolist()
            logs |= dict(zip(fact_names(self.pair_loss), means, strict=True))
            self._sums, self._pairs = None, 0
        super().log(logs, start_time)

    def prediction_step(self, model: Any, inputs: dict, *_: Any, **__: Any) -> tuple:
        """The loss of a batch; what is known of each pair is kept, of all processes, rows that fill up left out."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            found = pair_losses(model, inputs, self.pair_loss)
        known = torch.stack([found.loss.detach(), *facts(found).values()], 1).double()
        self._held_out.append(self.accelerator.gather_for_metrics(known).cpu())
        return found.loss.mean().detach(), None, None

    def evaluation_loop(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> Any:
        """The trainer's loop, with means over pairs in place of means over batches."""
        self._held_out = []
        output = super().evaluation_loop(*args, metric_key_prefix=metric_key_prefix, **kwargs)
        if self._held_out:
            means = torch.cat(self._held_out).mean(0).tolist()
            for name, value in zip(("loss", *fact_names(self.pair_loss)), means, strict=True):
                output.metrics[f"{metric_key_prefix}_{name}"] = value
        return output


def pair_losses(model: Any, inputs: dict[str, torch.Tensor], loss: Any) -> PairLoss:
    """The loss of each pair of a `PairCollator` batch, through one forward over both sides."""
    ids, mask = inputs["input_ids"], inputs["completion_mask"]
    labels = ids.masked_fill(mask == 0, IGNORED)
    found = model(input_ids=ids, attention_mask=inputs["attention_mask"], labels=labels, token_logprobs=True)
    sums, counts = found.sum(-1), mask[:, 1:].sum(-1)  # 0 where nothing is trained
    (chosen, rejected), (chosen_count, rejected_count) = sums.chunk(2), counts.chunk(2)
    return loss(chosen, rejected, chosen_count, rejected_count)


def facts(found: PairLoss) -> dict[str, torch.Tensor]:
    """What is logged of each pair, `(B,)` each, in the order of `fact_names`."""
    good, bad = found.rewards_chosen, found.rewards_rejected
    return {
        "rewards/chosen": good,
        "rewards/rejected": bad,
        "rewards/accuracies": (good > bad).to(good.dtype),
        "rewards/margins": good - bad,
        **found.more,
    }


def fact_names(loss: Any) -> list[str]:
    """The names in the order of `facts`."""
    one = torch.ones(1)
    return list(facts(loss(-one, -one, one, one)))


def without_dropout(model: torch.nn.Module) -> None:
    """Switch every dropout layer off, in place, those of adapters too."""
    for layer in model.modules():
        if isinstance(layer, torch.nn.Dropout):
            layer.p = 0.0
