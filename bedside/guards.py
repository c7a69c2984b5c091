"""Checks of a run that looks plausible and trains nothing, or compares with the wrong model. Cheap, at the start."""

from __future__ import annotations

from typing import Any

from bedside import logs
from bedside.errors import ConfigError
from bedside.plots import PER_PAIR

TOLERANCE, TOLERANCE_HALF = 1e-4, 5e-3  # of a step-0 loss, in float32 and where a 16-bit precision rounds
_SAMPLED = 64  # numbers looked at in each trained tensor
_PATIENCE = 3  # optimizer steps with a learning rate above 0 in which something must move
_OVERFLOWS = 24  # steps that a float16 scaler may leave out at the start while it looks for its scale, from 2^16 down


def sampled(model: Any) -> dict[str, Any]:
    """A few numbers of every trained tensor, on the CPU; nothing of tensors that are elsewhere (ZeRO-3 shards)."""
    kept = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad or not parameter.numel():
            continue
        data = parameter.detach()
        data = getattr(data, "_local_tensor", data).reshape(-1)  # of a DTensor this rank's part
        if data.numel():
            kept[name] = data[:: max(1, data.numel() // _SAMPLED)].float().cpu().clone()
    return kept


def moved(before: dict[str, Any], after: dict[str, Any]) -> bool:
    """Whether any of the numbers changed."""
    return any(not bool((before[name] == after[name]).all()) for name in before.keys() & after.keys())


def watch_first_steps(trainer: Any) -> None:
    """Stop the run with ConfigError if no trained tensor changes in its first steps.

    A stacked or frozen adapter logs a plausible loss for hours and writes what it was given. A trainer with steps that
    rightly change nothing says by an attribute `patience` how many of them may follow one another at the start.
    """
    from transformers import TrainerCallback

    patience = getattr(trainer, "patience", _PATIENCE)
    reasons = getattr(trainer, "no_change", "all gradients are 0, or the adapter is not the active one")

    class Watch(TrainerCallback):
        """Compares a sample of the trained tensors before the first step with the same after it."""

        def on_train_begin(self, args, state, control, model=None, **_):
            self.before, self.steps, self.left_out, self.done = sampled(model), 0, 0, False

        def on_pre_optimizer_step(self, args, state, control, **_):
            # The rate that this step uses; in a warm-up the first one may be 0.
            self.rate = max(group["lr"] for group in trainer.optimizer.param_groups)

        def on_step_end(self, args, state, control, model=None, **_):
            if self.done or not self.before:
                return
            if getattr(trainer.accelerator, "optimizer_step_was_skipped", False):
                self.left_out += 1  # float16 gradients overflowed: the scale is halved, and nothing should move
                if self.left_out >= _OVERFLOWS:
                    raise ConfigError(
                        f"the gradients of the first {self.left_out} steps are not numbers, at whatever scale; lower "
                        "--learning_rate, or compute in float32: --fp16 False --bf16 False --dtype float32"
                    )
                return
            self.steps += getattr(self, "rate", 1) > 0
            if not self.steps:
                return
            self.done = moved(self.before, sampled(model))
            if not self.done and self.steps >= patience:
                raise ConfigError(
                    f"no trained tensor changed in {self.steps} steps: nothing is being trained (the learning rate is "
                    f"{self.rate:g}; {reasons})"
                )

    trainer.add_callback(Watch())


class CheckedStart:
    """Mixin to the left of a trainer: the first loss of a new run must be `loss_at_start` (None: not known).

    Policy and reference are the same model then, so anything else is a wrong reference. Raises ConfigError.
    """

    loss_at_start: float | None = None
    loss_unit = PER_PAIR

    def compute_loss(self, model: Any, inputs: dict, *args: Any, **kwargs: Any) -> Any:
        result = super().compute_loss(model, inputs, *args, **kwargs)
        expected, self.loss_at_start = self.loss_at_start, None
        if expected is None or self.state.global_step or not self.model.training:
            self.loss_at_start = expected if not self.model.training else None
            return result
        loss = (result[0] if isinstance(result, tuple) else result).item()
        limit = TOLERANCE_HALF if self.args.bf16 or self.args.fp16 else TOLERANCE
        if not abs(loss - expected) <= limit * max(1.0, expected):
            raise ConfigError(
                f"the loss before the first step is {loss:.5f}, expected {expected:.5f}: policy and reference are not "
                "the same model; check --model_name_or_path and --peft_path"
            )
        logs.info(f"loss before the first step: {loss:.6f}, as it must be while policy and reference are equal")
        return result
