"""After the first step: what the plan said beside what was measured, in a line."""

from __future__ import annotations

import time
from typing import Any, NamedTuple, Protocol

from bedside import logs
from bedside.fitting.attempt import Attempt
from bedside.kernel_args import KernelArguments

_FAR = 0.15  # of the planned memory: beyond it the line says that the plan cannot be trusted here


class Numbers(Protocol):
    """What is compared: the largest memory of a step in GB (1e9 bytes), and tokens a second."""

    peak_gb: float
    tokens_per_second: float


class Measured(NamedTuple):
    """The first step as it was; None where it cannot be measured."""

    peak_gb: float | None
    tokens_per_second: float | None


def compare(plan: Numbers | None, measured: Measured) -> str:
    """The line; without a plan what was measured alone, and "" if that is nothing.

    >>> compare(None, Measured(8.5, 1234.0))
    'after step 1: peak memory 8.50 GB; 1,234 tokens/s, the first step with its preparations included'
    """
    parts = []
    if measured.peak_gb is not None:
        planned = f", planned {plan.peak_gb:.2f} GB ({_off(plan.peak_gb, measured.peak_gb)})" if plan else ""
        parts.append(f"peak memory {measured.peak_gb:.2f} GB{planned}")
    if measured.tokens_per_second is not None:
        planned = f", planned {plan.tokens_per_second:,.0f}" if plan else ""
        first = "the first step with its preparations included"
        parts.append(f"{measured.tokens_per_second:,.0f} tokens/s{planned}, {first}")
    return f"after step 1: {'; '.join(parts)}" if parts else ""


def _off(planned: float, found: float) -> str:
    """How far the plan was from what was found, in percent of what was found."""
    return f"the plan is {abs(100 * (planned / found - 1)):.0f} % {'above' if planned > found else 'below'}"


def far(plan: Numbers, measured: Measured) -> bool:
    """Whether more memory was needed than planned, by so much that a plan of other settings would mislead."""
    return measured.peak_gb is not None and measured.peak_gb > (1 + _FAR) * plan.peak_gb


def plan_of(trainer: Any, attempt: Attempt) -> Numbers | None:
    """The planner's numbers for this run; None where it has none for such a model or machine."""
    try:
        from bedside.planner import plan_of_run
    except ImportError:
        return None
    if attempt.args is None:
        return None
    model = trainer.accelerator.unwrap_model(trainer.model)
    try:
        return plan_of_run(model.config, attempt.stage, trainer.args, attempt.args[KernelArguments])
    except Exception as error:  # noqa: BLE001 - a plan is a courtesy, and no reason to end a training
        logs.info(f"no plan for this run: {' '.join(str(error).split())[:200]}")
        return None


def watch(trainer: Any, plan: Numbers | None) -> None:
    """Print the comparison after the first step. Without a plan and a GPU there is nothing to compare."""
    device = trainer.args.device
    if plan is None and device.type != "cuda":
        return
    import torch
    from transformers import TrainerCallback

    class FirstStep(TrainerCallback):
        """Counts the tokens of one step, and the time and the memory that it took."""

        def on_train_begin(self, args, state, control, **_):
            model = trainer.accelerator.unwrap_model(trainer.model)
            self.tokens, self.began, self.handle = 0, None, None
            if not args.torch_compile:
                self.handle = model.get_input_embeddings().register_forward_pre_hook(self.count, with_kwargs=True)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)

        def count(self, _, given, named):
            """Tokens that are trained on: not those of a reference, nor of what is sampled."""
            ids = given[0] if given else named.get("input")
            self.tokens += ids.numel() if torch.is_grad_enabled() and ids is not None else 0

        def on_step_begin(self, args, state, control, **_):
            self.began = time.perf_counter() if self.began is None else self.began

        def on_step_end(self, args, state, control, **_):
            if self.began is None or self.handle is False:
                return
            measured = Measured(_peak(device), self._speed(args.world_size))
            if self.handle is not None:
                self.handle.remove()
            self.handle = False
            logs.info(compare(plan, measured))
            if plan is not None and far(plan, measured):
                logs.warn("more memory is used than was planned; leave that much room in other plans for this model")

        def _speed(self, processes):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            took = time.perf_counter() - self.began
            return processes * self.tokens / took if self.tokens else None

    trainer.add_callback(FirstStep())


def _peak(device: Any) -> float | None:
    """GB that torch has had allocated at once; on a CPU the most that this process has held."""
    if device.type == "cuda":
        import torch

        return torch.cuda.max_memory_allocated(device) / 1e9
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
