"""Clocks on the device, a count of what batches hold, and the figures of a run."""

from __future__ import annotations

import statistics
import time
from typing import Any

from benchmarks.training.case import Case
from benchmarks.training.shapes import SHAPES, Counted, flops


class Clock:
    """Marks on the device's own clock (the host's without a GPU); only the first step and `seconds` wait for it."""

    def __init__(self, device: str):
        self.cuda, self.marks, self.first = device == "cuda", [], None

    def mark(self) -> None:
        """The end of a step, or the start of the first."""
        import torch

        if not self.cuda:
            self.marks.append(time.perf_counter())
        else:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        if len(self.marks) == 2 and self.first is None:
            if self.cuda:
                torch.cuda.synchronize()
            self.first = time.time()

    def seconds(self) -> list[float]:
        """Of each step."""
        import torch

        pairs = zip(self.marks[:-1], self.marks[1:], strict=True)
        if not self.cuda:
            return [after - before for before, after in pairs]
        torch.cuda.synchronize()
        return [before.elapsed_time(after) / 1e3 for before, after in pairs]


def counted(batch: dict[str, Any], pad: int) -> Counted:
    """What a collator's batch holds, in any of the forms that the measured trainers use.

    `pad` tells padding apart where a batch has no mask; positions that restart at 0 part documents of a row.
    """
    parts = [_part(batch, prefix, pad) for prefix in _prefixes(batch)]
    return Counted(
        *(sum(getattr(part, name) for part in parts) for name in ("real", "computed", "labelled", "squares"))
    )


def _prefixes(batch: dict[str, Any]) -> list[str]:
    """`input_ids` stands alone, or twice with `chosen_` and `rejected_` before it."""
    return [""] if "input_ids" in batch else ["chosen_", "rejected_"]


def _part(batch: dict[str, Any], prefix: str, pad: int) -> Counted:
    import torch

    ids = batch[f"{prefix}input_ids"]
    mask = batch.get(f"{prefix}attention_mask")
    real = mask.bool() if mask is not None and mask.ndim == 2 else ids != pad
    positions = batch.get("position_ids")
    if positions is None:
        sizes = real.sum(-1)
    else:
        starts = (real & (positions == 0)).flatten().cumsum(0)[real.flatten()]
        sizes = torch.bincount(starts)
    if f"{prefix}labels" in batch:
        labelled = batch[f"{prefix}labels"] != -100
    else:
        labelled = batch.get("completion_mask", torch.zeros(1))
    return Counted(int(real.sum()), ids.numel(), int(labelled.sum()), int((sizes.long() ** 2).sum()))


class Counting:
    """A collator that notes what its batches hold."""

    def __init__(self, inner: Any, pad: int):
        self.inner, self.pad, self.seen = inner, pad, []

    def __call__(self, rows: list[dict]) -> dict[str, Any]:
        batch = self.inner(rows)
        self.seen.append(counted(batch, self.pad))
        return batch

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def of_all(seen: list[Counted]) -> list[Counted]:
    """What the batches of all processes held together, step by step."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return seen
    everywhere: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(everywhere, seen)
    return [Counted(*map(sum, zip(*step, strict=True))) for step in zip(*everywhere, strict=False)]


def forget_peak(device: str) -> float | None:
    """Gigabytes at the highest until now; from here on the peak is that of training."""
    import torch

    if device != "cuda":
        return None
    peak = torch.cuda.max_memory_allocated() / 1e9
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return peak


def watch(trainer: Any, case: Case, pad: int) -> Any:
    """Attach clock and count to one of the Trainer's kin; `measured` of what is returned gives the figures."""
    from transformers import TrainerCallback

    clock = Clock(case.device)
    trainer.data_collator = counting = Counting(trainer.data_collator, pad)

    class Marks(TrainerCallback):
        """Marks each optimizer step."""

        def on_train_begin(self, *_, **__):
            self.loading = forget_peak(case.device)

        def on_step_begin(self, *_, **__):
            if not clock.marks:
                clock.mark()

        def on_step_end(self, *_, **__):
            clock.mark()

        def measured(self, loss: float | None) -> dict[str, Any]:
            """The figures of the run, whose mean loss is given."""
            found = figures(case, clock, of_all(counting.seen), self.loading, loss)
            return found | {"losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]}

    marks = Marks()
    trainer.add_callback(marks)
    return marks


def figures(
    case: Case, clock: Clock, seen: list[Counted], loading: float | None, loss: float | None
) -> dict[str, Any]:
    """Rates over the steps behind the first `skip`, and the peaks of all: memory in GB (1e9 bytes)."""
    import torch

    times = clock.seconds()
    if len(times) <= case.skip:
        raise RuntimeError(f"{len(times)} steps were made, and the first {case.skip} do not count")
    seen = seen[: len(times)]  # a loader reads ahead of the step
    work = [_needed(case, batch) for batch in seen]
    kept, spent = seen[case.skip :], times[case.skip :]
    real, computed = sum(batch.real for batch in kept), sum(batch.computed for batch in kept)
    found = {
        "tokens_per_s": statistics.median(batch.real / took for batch, took in zip(kept, spent, strict=True)),
        "mean_tokens_per_s": real / sum(spent),
        "computed_per_s": computed / sum(spent),
        "ms": 1e3 * statistics.median(spent),
        "tokens_per_step": real / len(kept),
        "share_real": real / computed,
        "tflops": sum(work[case.skip :]) / sum(spent) / 1e12 / case.processes,
        "first_step_s": clock.first - case.started,
        "loss": loss,
        "steps": len(kept),
    }
    if case.device == "cuda":
        found |= {
            "peak_gb": torch.cuda.max_memory_allocated() / 1e9,
            "reserved_gb": torch.cuda.max_memory_reserved() / 1e9,
            "loading_gb": loading,
        }
    return found


def _needed(case: Case, batch: Counted) -> float:
    """Operations that a step on this batch needs at this stage."""
    return flops(
        SHAPES[case.model], batch, full=case.full, head=case.stage != "rm", reference=case.stage == "dpo"
    )  # fmt: skip
