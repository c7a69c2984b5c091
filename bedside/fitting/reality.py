"""After two steps: what the planner says of this run beside what was measured, in a line.

Two, because an optimizer makes its states in the first, and kernels are compiled there.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, NamedTuple

from bedside import launch, logs
from bedside.errors import ConfigError
from bedside.fitting.attempt import Attempt
from bedside.planner import cards, memory, run, shapes, speed
from bedside.planner.memory import SAMPLING

_FAR = 0.15  # of the planned memory: beyond it the line says that the plan cannot be trusted here
_STEPS = 2


class Planned(NamedTuple):
    """GB (1e9 bytes) at the micro-batch that was measured and at the largest, and tokens a second of all processes,
    None where they are not planned."""

    peak_gb: float
    largest_gb: float
    tokens_per_second: float | None


class Measured(NamedTuple):
    """The most memory of a step in GB, None where it cannot be read; tokens a second of the last of the steps; the
    most tokens that a micro-batch had, and their mean."""

    peak_gb: float | None
    tokens_per_second: float | None
    largest: int = 0
    mean: float = 0.0


def compare(plan: Planned | None, measured: Measured, steps: int = _STEPS) -> str:
    """The line; without a plan what was measured alone, and "" if that is nothing.

    >>> compare(None, Measured(8.5, 1234.0))
    'after step 2: peak memory 8.50 GB; 1,234 tokens/s'
    """
    parts = []
    if measured.peak_gb is not None:
        planned = f", planned {plan.peak_gb:.2f} GB ({_off(plan.peak_gb, measured.peak_gb)})" if plan else ""
        parts.append(f"peak memory {measured.peak_gb:.2f} GB{planned}")
        if plan and plan.largest_gb > 1.02 * plan.peak_gb:
            parts.append(f"the largest micro-batch may take {plan.largest_gb:.2f} GB")
    if measured.tokens_per_second is not None:
        planned = f", planned {plan.tokens_per_second:,.0f}" if plan and plan.tokens_per_second else ""
        parts.append(f"{measured.tokens_per_second:,.0f} tokens/s{planned}")
        parts += ["the first step with its preparations included"] if steps == 1 else []
    return f"after step {steps}: {'; '.join(parts)}" if parts else ""


def _off(planned: float, found: float) -> str:
    """How far the plan was from what was found, in percent of what was found."""
    return f"the plan is {abs(100 * (planned / found - 1)):.0f} % {'above' if planned > found else 'below'}"


def far(plan: Planned, measured: Measured) -> bool:
    """Whether more memory was needed than planned, by so much that a plan of other settings would mislead."""
    return measured.peak_gb is not None and measured.peak_gb > (1 + _FAR) * plan.peak_gb


def plan_of(trainer: Any, attempt: Attempt, measured: Measured) -> Planned | None:
    """The planner's numbers for what was measured; None, with a line that says why, where it has none."""
    if attempt.args is None:
        return None
    try:
        return _planned(trainer, attempt, measured)
    except ConfigError as error:
        logs.info(f"no plan for this run: {' '.join(str(error).split())}")
        return None


def _planned(trainer: Any, attempt: Attempt, measured: Measured) -> Planned:
    args, loaded = trainer.args, trainer.accelerator.unwrap_model(trainer.model)
    config = loaded.config.to_dict() | {"quantization_config": None}  # its flags say how it is quantised
    model, card = shapes.from_config(config, "the model", ""), _card(args.device)
    machine = run.Machine(args.world_size, launch.kind(attempt.args.trainer), True, bool(args.bf16))
    adapter = getattr(loaded, "peft_config", None)
    rank = next(iter(adapter.values())).r if adapter else 0
    rows = run.rows_of(trainer.train_dataset)
    setting = run.setting_of(
        attempt.args, attempt.stage, vars(args) | {"optim": args.optim}, rows.longest, _stored(loaded), machine, rank
    )
    setting = replace(setting, whole=_whole(loaded))
    seen = run.of_tokens(setting, measured.largest)
    rate = None
    if attempt.stage not in SAMPLING:
        told = speed.speed_of(
            model, setting, card, rows.document, args.gradient_accumulation_steps, tokens=measured.mean
        )
        rate = told and told.tokens
    return Planned(memory.peak(model, seen) / 1e9, memory.peak(model, setting) / 1e9, rate)


def _card(device: Any) -> cards.Card:
    import torch

    return cards.seen(torch.cuda.get_device_name(device), torch.cuda.get_device_properties(device).total_memory)


def _stored(model: Any) -> Any:
    """The dtype of the base's weights that are not quantised: that of the embedding."""
    return model.get_input_embeddings().weight.dtype


def _whole(model: Any) -> int:
    """Decoder layers that are not checkpointed."""
    from bedside.kernels.kept import decoder_layers

    return sum(not getattr(layer, "gradient_checkpointing", False) for layer in decoder_layers(model))


def _ready(device: Any) -> None:
    """Wait until the GPU has done what it was given."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _peak(device: Any) -> float | None:
    """GB that torch has had allocated at once since the training began; None on a CPU, whose process holds the
    libraries' memory and what they did not give back besides."""
    if device.type != "cuda":
        return None
    import torch

    return torch.cuda.max_memory_allocated(device) / 1e9


def tell(trainer: Any, attempt: Attempt, measured: Measured, steps: int) -> None:
    """Print the line, and a warning where much more memory was needed than planned."""
    gpu = trainer.args.device.type == "cuda"
    plan = plan_of(trainer, attempt, measured) if gpu else None
    if attempt.stage in SAMPLING:  # a step is not only tokens that are trained on
        measured = measured._replace(tokens_per_second=None)
    if text := compare(plan, measured, steps):
        logs.info(text if gpu else f"{text}; on a GPU this line compares memory and speed with the plan")
    if plan is not None and far(plan, measured):
        logs.warn("more memory is used than was planned; leave that much room in other plans for this model")


def watch(trainer: Any, attempt: Attempt) -> None:
    """Tell after two steps, or after the only one."""
    import torch
    from transformers import TrainerCallback

    device = trainer.args.device

    class FirstSteps(TrainerCallback):
        """Counts the tokens of the first steps, and the time and the memory that they took."""

        def on_train_begin(self, args, state, control, **_):
            self.counted, self.step, self.began, self.handle = [], 0, None, None
            if not args.torch_compile:
                model = trainer.accelerator.unwrap_model(trainer.model)
                self.handle = model.get_input_embeddings().register_forward_pre_hook(self.count, with_kwargs=True)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)

        def count(self, _, given, named):
            """Tokens that are trained on: not those of a reference, nor of what is sampled."""
            ids = given[0] if given else named.get("input")
            if torch.is_grad_enabled() and ids is not None:
                self.counted.append(ids.numel())

        def on_step_begin(self, args, state, control, **_):
            if self.step is not None:
                _ready(device)
                self.began, self.before = time.perf_counter(), len(self.counted)

        def on_step_end(self, args, state, control, **_):
            if self.step is None or self.began is None:
                return
            self.step += 1
            if self.step < _STEPS and state.global_step < state.max_steps:
                return
            _ready(device)
            took, tokens = time.perf_counter() - self.began, sum(self.counted[self.before :])
            if self.handle is not None:
                self.handle.remove()
            mean = sum(self.counted) / max(1, len(self.counted))
            rate = args.world_size * tokens / took if tokens else None
            measured = Measured(_peak(device), rate, max(self.counted, default=0), mean)
            tell(trainer, attempt, measured, self.step)
            self.step = None

    trainer.add_callback(FirstSteps())
