"""`--dry_run True` of a stage: what its training takes, told once flags and data are checked; no weight is loaded."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import launch, logs, models, settle
from bedside.args import AdapterArguments, ModelArguments, RunArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.kernel_args import KernelArguments
from bedside.kernels.budget import SHARE
from bedside.planner import cards, choose, memory, recipe, run, shapes, speed, told
from bedside.planner.cards import Card
from bedside.planner.choose import Plan, Wish
from bedside.planner.memory import CONTEXT, QLORA, QLORA8, SAMPLING, Setting
from bedside.planner.run import Machine, Rows
from bedside.planner.shapes import Model
from bedside.policy import Origin
from bedside.trainer_flags import flags_of

_BETTER = 1.05  # times as fast is worth other flags
# Flags that a better plan may change, as `recipe.flags` names them.
_CHANGED = (
    "lora_dropout", "packing", "per_device_train_batch_size", "gradient_accumulation_steps",
    "gradient_checkpointing", "memory_budget_gb", "offload_checkpoints", "embedding_on_host", "mlp_tile", "optim",
    "rollout_batch_size", "steps_per_generation",
)  # fmt: skip
_OFF = {"memory_budget_gb": None, "mlp_tile": None, "offload_checkpoints": False, "embedding_on_host": False}


class Told(Exception):
    """Everything is told: the stage ends here, as it should."""


@dataclass(frozen=True)
class Asked:
    """What a run's flags and data ask for, whatever it would run on."""

    args: Parsed
    stage: str
    trainer: dict[str, Any]
    model: Model
    stored: Any  # dtype of the base's numbers
    lora_r: int
    rows: Rows

    def on(self, card: Card | None) -> Setting:
        """The setting on a card; None is a CPU."""
        run_args, fast = self.args[RunArguments], self.args[KernelArguments]
        processes, kind = run_args.gpus or logs.world_size(), launch.kind(self.args.trainer)
        if processes > 1 and kind == "single":
            kind = "ddp"
        machine = Machine(processes, kind, card is not None, card is not None and card.bf16)
        setting = run.setting_of(
            self.args, self.stage, self.trainer, self.rows.longest, self.stored, machine, self.lora_r
        )
        limit = choose.limit_of(card) if card else 0.0
        checkpointing = bool(self.trainer["gradient_checkpointing"])
        return run.filled(self.model, setting, checkpointing, fast.memory_budget_gb, limit)


def problems(wishes: RunArguments) -> list[str]:
    """What is wrong with the flags of a dry run; ConfigError for a card that nobody knows."""
    found = [] if wishes.gpus is None or wishes.gpus >= 1 else [f"--gpus {wishes.gpus}: expected at least 1"]
    for name in ("gpu", "gpus"):
        if getattr(wishes, name) is not None and not wishes.dry_run:
            found.append(
                f"--{name} says what a dry run is for: add --dry_run True, or drop it (CUDA_VISIBLE_DEVICES chooses "
                "a run's GPUs, torchrun --nproc_per_node their number)"
            )
    if wishes.gpu:
        cards.card(wishes.gpu)
    return found


def end(args: Parsed, stage: str, origin: Origin, train: Any) -> None:
    """Tell what the run would take, and end it: raises Told, or ConfigError where it would not fit."""
    if logs.rank() > 0:
        raise Told
    asked = asked_for(args, stage, origin, train)
    card = _here(args[RunArguments]) or _instead(asked)
    plan = _plan(asked, card)
    samples, epochs = _work(asked, plan)
    sys.stdout.write(told.told(plan, samples, epochs) + "\n")
    if stage in SAMPLING:
        sys.stdout.write(f"       each answer is counted with all its {plan.setting.response} tokens\n")
    _advise(plan, args.as_dict() | asked.trainer)
    raise Told


def asked_for(args: Parsed, stage: str, origin: Origin, train: Any) -> Asked:
    """What the flags and the rows of `train` ask for; ConfigError for a model or a stage that is not counted."""
    model, adapter, resolved = args[ModelArguments], args[AdapterArguments], origin.resolved
    config = models.config_of(
        resolved.base, revision=resolved.revision or model.model_revision, cache_dir=model.cache_dir,
        trust_remote_code=model.trust_remote_code,
    )  # fmt: skip
    shape = shapes.from_config(config.to_dict(), origin.path, f"base {resolved.base}")
    dtype = settle.loading(model, not adapter.use_peft)["dtype"]
    return Asked(
        args, stage, _trainer(args), shape, config.dtype if dtype == "auto" else dtype, _rank(origin, adapter),
        run.rows_of(train),
    )  # fmt: skip


def _trainer(args: Parsed) -> dict[str, Any]:
    """The trainer's flags with their defaults; precision only as given, because its default is the card's best."""
    found = {flag.name: flag.default for flag in flags_of(args.config).values() if flag.name not in ("bf16", "fp16")}
    found |= {name: value for name, value in args.trainer.items() if value is not None}
    return found | {"optim": found["optim"] or "adamw_torch_fused"}


def _rank(origin: Origin, adapter: AdapterArguments) -> int:
    """Of the adapter that is continued, or of a new one."""
    if not origin.resolved.adapter:
        return adapter.lora_r
    return json.loads((Path(origin.resolved.adapter) / "adapter_config.json").read_text(encoding="utf-8"))["r"]


def _here(wishes: RunArguments) -> Card | None:
    """The card that is named, or this machine's; None without either."""
    if wishes.gpu:
        return cards.card(wishes.gpu)
    import torch

    if not torch.cuda.is_available():
        return None
    return cards.seen(torch.cuda.get_device_name(), torch.cuda.get_device_properties(0).total_memory)


def _instead(asked: Asked) -> Card:
    """Where there is no GPU and none is named: the smallest known card that holds the run, or the largest."""
    largest = max(cards.CARDS.values(), key=lambda card: card.bytes)
    holding = cards.smallest(memory.peak(asked.model, asked.on(largest)), CONTEXT, SHARE)
    logs.info(
        f"no GPU here: planned for {(holding or largest).name}, the {'smallest' if holding else 'largest'} of the "
        f"known cards{' that holds this' if holding else ''}; name yours as --gpu 'RTX 4090' or --gpu 11GB"
    )
    size = memory.peak(asked.model, asked.on(None)) / 1e9
    logs.info(f"on this machine's CPU: {size:.1f} GB beside the 1 to 2 GB of the libraries; how long is not told")
    return holding or largest


def _plan(asked: Asked, card: Card) -> Plan:
    """The plan of exactly these flags, whether it fits or not."""
    setting, trainer = asked.on(card), asked.trainer
    steps = trainer["gradient_accumulation_steps"]
    mean = asked.rows.mean + setting.response
    packed = bool(trainer.get("packing"))
    precision = {QLORA8: QLORA}.get(setting.precision, setting.precision)
    batch = setting.rows * steps * setting.gpus
    wish = Wish(
        asked.stage, precision, setting.length, setting.length, setting.response or 512, batch, None, setting.lora_r,
        setting.gpus, mean,
    )  # fmt: skip
    # Rows that are not packed are as long as they are; the kernels lay them end to end.
    real = None if packed or setting.stage not in ("sft", "pt") else setting.rows * mean
    quick = speed.speed_of(
        asked.model, setting, card, asked.rows.document + setting.response, steps, trainer.get("num_ppo_epochs") or 1,
        real,
    )  # fmt: skip
    return Plan(asked.model, card, wish, setting, steps, quick)


def _work(asked: Asked, plan: Plan) -> tuple[int, float]:
    """`(rows or answers, passes)` of the whole run."""
    trainer = asked.trainer
    group = trainer["num_generations"] if asked.stage == "grpo" else 1
    rows = asked.rows.count * group
    if trainer.get("max_steps", -1) > 0:
        taken = trainer["max_steps"] * plan.wish.batch
        return (taken, 1.0) if asked.stage in SAMPLING else (rows, taken / max(1, rows))
    if trainer.get("total_episodes"):
        return trainer["total_episodes"], 1.0
    return rows, trainer["num_train_epochs"]


def _advise(plan: Plan, given: dict[str, Any]) -> None:
    """Print flags that are faster; ConfigError where these do not fit, with those that would."""
    fits = plan.peak <= choose.limit_of(plan.card)
    try:
        best = choose.best(plan.model, plan.card, plan.wish)
    except ConfigError as error:
        if fits:
            return
        raise ConfigError(f"dry run: {error}") from None
    other = _instead_of(plan, best, given)
    if not fits:
        raise ConfigError(f"dry run: this does not fit {plan.card.name}; this would: {other}")
    if other and plan.speed and best.speed and best.speed.tokens > _BETTER * plan.speed.tokens:
        sys.stdout.write(
            f"\nfaster with the same batch ({best.speed.tokens:,.0f} tokens/s instead of {plan.speed.tokens:,.0f}, "
            f"{best.peak / 1e9:.1f} GB): {other}\n"
        )


def _instead_of(plan: Plan, best: Plan, given: dict[str, Any]) -> str:
    """What differs in a better plan: the launcher, and flags; those that it does without are switched off."""
    flags = _OFF | recipe.flags(best)
    words = [f"{recipe.launcher(best)} ..."] if best.setting.sharding != plan.setting.sharding else []
    words += ["--qlora True"] if plan.setting.precision == QLORA8 else []
    changed = [(name, flags[name]) for name in _CHANGED if name in flags and name in given]
    return " ".join(words + [f"--{name} {value}" for name, value in changed if not _same(given[name], value)])


def _same(one: Any, other: Any) -> bool:
    """Whether two values of a flag mean the same, one of them perhaps as text."""
    try:
        return float(one) == float(other)
    except (TypeError, ValueError):
        return str(one) == str(other)
