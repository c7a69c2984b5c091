"""Settings that need less memory than the ones that failed, in the order in which they are tried.

Numbers and names only: nothing here knows a trainer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

# Where in a stage memory runs out; a smaller micro-batch mends only one of them.
LOADING, TRAINING, OPTIMIZER = "loading", "training", "optimizer"
EVALUATING, MEASURING, OTHER = "evaluating", "measuring", "other"
REFERENCE, SAMPLING, WORKERS = "reference", "sampling", "workers"
# Losses that compare the rows of a micro-batch with one another, and those that are a mean over all of its tokens,
# so that a short row weighs less beside a long one: in a smaller micro-batch both are other losses.
OF_A_BATCH = frozenset(("kto", "bco", "aot", "aot_unpaired", "bco_pair"))
OVER_TOKENS = frozenset(("sft", "bnpo"))
_TILE, _SHORTEST = 4096, 256


@dataclass(frozen=True)
class Settings:
    """What is on: the micro-batch and how often it is accumulated, rows of an evaluation, and the flags of memory.

    `lengths` are the flags that bound the tokens of a row, `stays` why the embedding cannot go to the host, `depends`
    other flags by which a step depends on how its rows are cut into micro-batches.
    """

    rows: int
    accumulation: int
    eval_rows: int = 8
    lengths: dict[str, int] = field(default_factory=dict)
    gpu: bool = True
    checkpointing: bool = True
    budget: bool = False
    tiles: bool = True  # whether there is an MLP of ours that could go over tiles
    mlp_tile: int | None = None
    offload: bool = False
    embedding_on_host: bool = False
    stays: str | None = None
    quantised: bool = False
    peft: bool = True
    quantisable: bool = True
    losses: tuple[str, ...] = ()
    least: int = 1  # rows that a micro-batch must have
    sampled_for: int | None = None  # --steps_per_generation, where it is given
    depends: tuple[str, ...] = ()
    host: bool = False  # host memory ran out, of a process that computes on a GPU
    workers: int = 0  # processes that read the data
    eval_group: int = 1  # rows of an evaluation that belong together
    reference_rows: int = 1  # rows of a forward pass whose log-probabilities are kept as the reference's
    together: int | None = None  # answers that PPO draws at once


class Remedy(NamedTuple):
    """Flags to set, and whether the training stays what it was: the same rows in the same order, the same loss."""

    flags: dict[str, str]
    exact: bool
    why: str

    def __str__(self) -> str:
        return " ".join(f"--{name} {value}" for name, value in self.flags.items())


def smaller(rows: int, least: int = 1, group: int = 1) -> int | None:
    """The largest number of rows, at most half as many, in which `rows` can be cut evenly, `group` of them staying
    together; None if there is none.

    >>> [smaller(rows) for rows in (8, 6, 3, 7, 1)]
    [4, 3, 1, 1, None]
    """
    return next((part for part in range(rows // 2, least - 1, -1) if rows % part == 0 and part % group == 0), None)


def remedies(settings: Settings, moment: str) -> list[Remedy]:
    """What may help where memory ran out at `moment`, best first; only what is not on already."""
    if moment == OTHER:
        return []
    if moment == WORKERS:
        return _workers(settings)
    steps = _at_once(settings, moment)
    if settings.host:
        steps += _micro_batch(settings) if moment == TRAINING and settings.offload else []
        return steps + _off_the_host(settings) + _smaller_model(settings)
    if moment == TRAINING:
        steps = _micro_batch(settings) + _activations(settings) + _host(settings)
    elif moment in (OPTIMIZER, MEASURING):
        steps = _host(settings)
    steps += _smaller_model(settings)
    return steps + (_shorter(settings) if moment in (TRAINING, SAMPLING) else [])


def _at_once(settings: Settings, moment: str) -> list[Remedy]:
    """Fewer rows in a pass that computes no gradient: of an evaluation, a reference, or answers that are drawn."""
    if moment == EVALUATING:
        part = smaller(settings.eval_rows, settings.eval_group, settings.eval_group)
        return [Remedy({"per_device_eval_batch_size": str(part)}, True, "fewer rows at once")] if part else []
    if moment == REFERENCE:
        part = smaller(settings.reference_rows)
        return [Remedy({"precompute_ref_batch_size": str(part)}, True, "fewer rows at once")] if part else []
    if moment == SAMPLING and settings.together and settings.together > 1:
        half = str(settings.together // 2)
        return [Remedy({"rollout_batch_size": half}, True, "fewer answers are drawn at once; they stay the same")]
    return []


def _micro_batch(settings: Settings) -> list[Remedy]:
    part = smaller(settings.rows, settings.least)
    if part is None:
        return []
    times = settings.rows // part
    flags = {
        "per_device_train_batch_size": str(part),
        "gradient_accumulation_steps": str(settings.accumulation * times),
    }
    if settings.sampled_for:
        flags["steps_per_generation"] = str(settings.sampled_for * times)
    changes = _changes(settings)
    if changes:
        return [Remedy(flags, False, f"a smaller micro-batch; {changes}")]
    return [Remedy(flags, True, "a smaller micro-batch, accumulated more often: the same effective batch")]


def _changes(settings: Settings) -> str:
    """What a smaller micro-batch changes in the training, in words; "" if nothing."""
    for losses, what in ((OF_A_BATCH, "compares its rows"), (OVER_TOKENS, "is a mean over its tokens")):
        named = ", ".join(sorted(losses & set(settings.losses)))
        if named:
            return f"--loss_type {named} {what} and changes"
    return f"what {' and '.join(settings.depends)} does depends on it and changes" if settings.depends else ""


def _workers(settings: Settings) -> list[Remedy]:
    if not settings.workers:
        return []
    return [Remedy({"dataloader_num_workers": "0"}, True, "the process that trains reads the data itself")]


def _off_the_host(settings: Settings) -> list[Remedy]:
    """What leaves host memory, where the GPU's did not run out."""
    found = []
    if settings.offload:
        found.append(Remedy({"offload_checkpoints": "False"}, True, "checkpoints stay in the GPU's memory"))
    if settings.embedding_on_host:
        found.append(Remedy({"embedding_on_host": "False"}, True, "the input embedding stays in the GPU's memory"))
    return found + _workers(settings)


def _activations(settings: Settings) -> list[Remedy]:
    found = []
    if settings.budget:
        found.append(Remedy({"memory_budget_gb": "None"}, True, "every layer is checkpointed"))
    if not settings.checkpointing:
        found.append(Remedy({"gradient_checkpointing": "True"}, True, "activations are computed again"))
    tokens = settings.rows * sum(settings.lengths.values())
    if settings.gpu and settings.tiles and settings.mlp_tile is None and tokens > _TILE:
        found.append(Remedy({"mlp_tile": str(_TILE)}, True, "a checkpointed MLP goes over tiles"))
    if settings.gpu and not settings.offload:
        found.append(Remedy({"offload_checkpoints": "True"}, True, "checkpoints wait in host memory"))
    return found


def _host(settings: Settings) -> list[Remedy]:
    if not settings.gpu or settings.embedding_on_host or settings.stays:
        return []
    return [Remedy({"embedding_on_host": "True"}, True, "the input embedding waits in host memory")]


def _smaller_model(settings: Settings) -> list[Remedy]:
    if not settings.peft:
        return [Remedy({"use_peft": "True"}, False, "an adapter is trained instead of every parameter")]
    if settings.quantised or not settings.quantisable:
        return []
    return [Remedy({"qlora": "True"}, False, "the frozen base is held in 4 bit, which changes the numbers a little")]


def _shorter(settings: Settings) -> list[Remedy]:
    longest = max(settings.lengths, key=lambda name: settings.lengths[name], default=None)
    if longest is None or settings.lengths[longest] // 2 < _SHORTEST:
        return []
    half = str(settings.lengths[longest] // 2)
    return [Remedy({longest: half}, False, "shorter rows; what does not fit is counted in the ledger")]
