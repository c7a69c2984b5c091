"""A run as the planner counts it: a stage's flags, its rows' lengths and its processes as a `memory.Setting`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from bedside.args import AdapterArguments, ModelArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.kernel_args import KernelArguments
from bedside.kernels import budget
from bedside.planner import memory
from bedside.planner.memory import FULL, LORA, PAIRS, QLORA, QLORA8, SAMPLING, STAGES, Setting
from bedside.planner.shapes import Model
from bedside.ppo import TOGETHER

_ANSWER = {"ppo": "response_length", "grpo": "max_completion_length"}
_COLUMNS = ("input_ids", "chosen_ids", "rejected_ids", "prompt_ids")
_ANSWERS = "completion_ids"
_PARTS = "seq_lengths"  # of the documents in a packed row
_SHARDING = {"single": "none", "ddp": "ddp", "zero1": "ddp", "zero2": "zero2", "zero3": "fsdp2", "fsdp": "fsdp2"}


class Rows(NamedTuple):
    """Rows that are trained on: how many, and their lengths in tokens; of pairs of each side, where answers are drawn
    of the questions. `document` is the mean length of what sees itself in a packed row, else `mean`."""

    count: int
    mean: float
    longest: int
    document: float


class Machine(NamedTuple):
    """What a run computes on: its processes, how they share the work (`launch.kind`), whether the fused kernels and
    16-bit products work there."""

    processes: int = 1
    kind: str = "single"
    gpu: bool = True
    bf16: bool = True


def rows_of(dataset: Any) -> Rows:
    """The lengths of a dataset of token ids, without reading an id."""
    import pyarrow.compute as compute

    table = dataset.data.table
    sizes = [compute.list_value_length(table[name]) for name in _COLUMNS if name in table.column_names]
    if _ANSWERS in table.column_names:  # question and answer stand apart, and are one row
        sizes = [compute.add(sizes[0], compute.list_value_length(table[_ANSWERS]))]
    if not sizes:
        raise ConfigError(f"no plan: the rows have none of the columns {', '.join(_COLUMNS)}")
    total = sum(compute.sum(size).as_py() or 0 for size in sizes)
    longest = max(compute.max(size).as_py() or 0 for size in sizes)
    mean = total / max(1, len(dataset) * len(sizes))
    parts = [compute.list_value_length(table[_PARTS])] if _PARTS in table.column_names else []
    inside = sum(compute.sum(part).as_py() or 0 for part in parts)
    return Rows(len(dataset), mean, longest, total / inside if inside else mean)


def precision_of(model: ModelArguments, adapter: AdapterArguments) -> str:
    """What the flags say of the base: qlora, qlora8, lora or full."""
    if not adapter.use_peft:
        return FULL
    return QLORA if model.load_in_4bit else QLORA8 if model.load_in_8bit else LORA


def _bytes(dtype: Any) -> int:
    """Of one number of a torch dtype or of its name."""
    return 2 if "16" in str(dtype) else 4


def drawn_at_once(stage: str, trainer: Mapping[str, Any], rows: int) -> int:
    """Answers that each process draws at once: GRPO a whole rollout, PPO a part of it."""
    steps = trainer.get("gradient_accumulation_steps") or 1
    if stage == "grpo":
        return rows * (trainer.get("steps_per_generation") or steps)
    rollout = rows * steps * (trainer.get("num_mini_batches") or 1)
    return min(rollout, trainer.get("rollout_batch_size") or TOGETHER)


def setting_of(
    args: Parsed, stage: str, trainer: Mapping[str, Any], longest: int, stored: Any, machine: Machine, lora_r: int
) -> Setting:
    """The setting that a run's flags mean.

    `trainer` holds the trainer's flags with their defaults, `longest` the tokens of the longest row (of a side, of a
    question), `stored` the dtype of the base's file or of the loaded model. How many layers stay whole is decided by
    `filled`. ConfigError for a stage that the planner does not count.
    """
    if stage not in STAGES:
        raise ConfigError(f"{stage} is not planned yet (planned: {', '.join(STAGES)})")
    model, adapter, fast = args[ModelArguments], args[AdapterArguments], args[KernelArguments]
    precision, rows = precision_of(model, adapter), trainer["per_device_train_batch_size"]
    full, held = precision == FULL, _bytes(stored)
    half = bool(trainer.get("fp16")) or bool(trainer.get("bf16", machine.gpu and machine.bf16))
    return Setting(
        stage=stage,
        precision=precision,
        rows=rows,
        length=longest,
        response=trainer[_ANSWER[stage]] if stage in SAMPLING else 0,
        lora_r=lora_r,
        offload=fast.offload_checkpoints and machine.gpu,
        embedding_on_host=fast.embedding_on_host and machine.gpu,
        mlp_tile=fast.mlp_tile if machine.gpu else None,
        optim=str(getattr(trainer["optim"], "value", trainer["optim"])),
        dropout=0.0 if full or stage == "ppo" or trainer.get("disable_dropout") else adapter.lora_dropout,
        gpus=machine.processes,
        sharding=_SHARDING[machine.kind],
        sampled=drawn_at_once(stage, trainer, rows) if stage in SAMPLING else 0,
        kernels=machine.gpu and machine.bf16 and fast.kernels and fast.fused_lora and fast.fused_mlp,
        width=2 if half or held == 2 else 4,
        half=full and held == 2,
        stored=held,
    )


def filled(model: Model, setting: Setting, checkpointing: bool, wish: str | float | None, limit: float) -> Setting:
    """The setting with the layers that stay whole: all without checkpointing, else as many as --memory_budget_gb
    (`wish`: auto is `limit` bytes) leaves room for, none without it."""
    if not checkpointing:
        return replace(setting, whole=model.shape.layers)
    room = budget.wish(wish)
    if room is None:
        return setting
    return replace(
        setting, whole=budget.layers_whole(memory.need(model, setting), limit if room == budget.AUTO else room)
    )


def of_tokens(setting: Setting, tokens: int) -> Setting:
    """The setting with a micro-batch of so many tokens; that of a stage that samples as it is."""
    if setting.stage in SAMPLING:
        return setting
    sides = 2 if setting.stage in PAIRS else 1
    return replace(setting, rows=1, length=max(1, tokens // sides))
