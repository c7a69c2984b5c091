"""What a stage is doing at this moment, in plain values: all that is known of it once memory has run out.

Nothing here holds a model, a trainer or a tensor, so that an attempt that failed can be told without keeping it.
"""

from __future__ import annotations

import time
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside import launch
from bedside.args import RunArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError

READING, LOADING = "reading the data", "loading the model"
BEFORE, AFTER = "measuring before the training", "measuring after the training"
TRAINING, SAVING = "training", "measuring and saving"


@dataclass
class Attempt:
    """One run of a stage. `resumes` is the checkpoint that it was told by name to go on from, `batch` are numbers of
    its trainer's config, `shape` rows and tokens of its last forward pass, `stays` why the input embedding cannot go
    to the host."""

    stage: str = ""
    args: Parsed | None = None
    output: Path | None = None
    claimed: bool = False  # from here on what lies in `output` is this run's
    doing: str = READING
    batch: dict[str, int] = field(default_factory=dict)
    step: int | None = None
    shape: tuple[int, int] | None = None
    stays: str | None = "the model is not loaded"
    resumes: Path | None = None
    began: float = field(default_factory=time.time)  # seconds of the clock that files are dated by


_NOW: ContextVar[Attempt | None] = ContextVar("attempt", default=None)


def begin() -> Attempt:
    """A new attempt, which `now` gives from here on."""
    attempt = Attempt()
    _NOW.set(attempt)
    return attempt


def now() -> Attempt:
    """The attempt that goes on; one that nobody looks at where nobody began one."""
    return _NOW.get() or Attempt()


def settled(args: Parsed, stage: str, output: str) -> None:
    """Note what a stage is asked for; ConfigError for flags of batches that fit themselves and cannot here."""
    trainer, problems = args.trainer, []
    if trainer.get("auto_find_batch_size"):
        problems.append(
            "--auto_find_batch_size True: shrinks the batch of an optimizer step with the micro-batch, which is "
            "another training; use --auto_fit True, which accumulates more instead"
        )
    if args[RunArguments].auto_fit and launch.kind(trainer) != "single":
        problems.append(
            "--auto_fit True under a launcher: where one process runs out of memory, the others wait for it in a "
            "collective operation and cannot begin again; find the settings on one GPU, then drop the flag"
        )
    if problems:
        raise ConfigError(problems)
    attempt = now()
    attempt.stage, attempt.args, attempt.output = stage, args, Path(output)
    wish = str(trainer.get("resume_from_checkpoint") or "")
    if wish.lower() not in ("", "true", "auto", "latest", "false", "none"):
        attempt.resumes = Path(wish)


def claimed() -> None:
    """The output directory is this run's; the model is loaded next."""
    now().claimed, now().doing = True, LOADING


def configured(config: Any) -> None:
    """Note what the trainer's config says of batches."""
    now().batch = {
        "rows": config.per_device_train_batch_size,
        "accumulation": config.gradient_accumulation_steps,
        "eval_rows": config.per_device_eval_batch_size,
        "checkpointing": int(bool(config.gradient_checkpointing)),
    }


def doing(what: str) -> None:
    """Note what the stage does next."""
    now().doing = what


def watch(trainer: Any) -> None:
    """The training begins: note its step, and the rows and tokens of each forward pass."""
    from transformers import TrainerCallback

    from bedside.kernels import host_embedding

    attempt = now()
    attempt.doing = TRAINING

    class Steps(TrainerCallback):
        """Counts the step that is being made."""

        def on_step_begin(self, args, state, control, **_):
            attempt.step = state.global_step + 1

    def look(_: Any, given: tuple, named: dict) -> None:
        ids = given[0] if given else named.get("input")
        if getattr(ids, "ndim", 0) == 2:
            attempt.shape = (ids.shape[0], ids.shape[1])

    trainer.add_callback(Steps())
    model = trainer.accelerator.unwrap_model(trainer.model)
    attempt.stays = host_embedding.refusal(model)
    if not trainer.args.torch_compile:  # a hook would part what is compiled
        model.get_input_embeddings().register_forward_pre_hook(look, with_kwargs=True)
