"""The start and the end of every stage: output directory, precision, seed; then train, evaluate, save, seal.

Knows no stage by name: it receives a finished trainer.
"""

from __future__ import annotations

import json
import math
import os
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from bedside import fast, guards, launch, logs, manifest, models, plots, policy, settle
from bedside.adapters import trainable_share
from bedside.args import AdapterArguments, ModelArguments, RunArguments
from bedside.cli import Parsed
from bedside.data.ledger import Ledger
from bedside.errors import ConfigError
from bedside.fitting import attempt, reality, retry
from bedside.hub import push
from bedside.kernel_args import KernelArguments
from bedside.outputs import clear_output, prepare_output
from bedside.planner import dryrun
from bedside.stage_args import ChatArguments
from bedside.templates import Template


class Prepared(Protocol):
    """What every stage makes of its rows: a dataset of ids, and the account of the rows."""

    train: Any
    ledger: Ledger


@dataclass
class Start:
    """Where a run begins: its flags, output directory, the model that it starts from, the run that it goes on with."""

    args: Parsed
    stage: str
    output: Path
    origin: policy.Origin
    resume: str | bool | None
    push_to: push.Wish | None = None  # where the finished model is sent

    @property
    def resuming(self) -> bool:
        """Whether --resume_from_checkpoint was given."""
        return bool(self.resume)


def start(args: Parsed, stage: str, tasks: tuple[str, ...] = ("CAUSAL_LM",)) -> Start:
    """Settle the flags of a stage and find what they name; nothing heavy is loaded and nothing removed yet.

    Raises ConfigError and LineageError for flags and directories that contradict each other.
    """
    logs.setup()
    run = args[RunArguments]
    if problems := dryrun.problems(run):
        raise ConfigError(problems)
    settle.training(args, stage)
    fast.settle(args[KernelArguments], args.trainer)
    attempt.settled(args, stage, args.trainer["output_dir"])
    model, adapter = args[ModelArguments], args[AdapterArguments]
    models.check_model_path(model.model_name_or_path)
    wish = args.trainer.pop("resume_from_checkpoint", None)
    output = prepare_output(args.trainer["output_dir"], run.overwrite_output_dir, bool(wish), run.dry_run)
    given = "model_name_or_path" in args.given
    origin = policy.origin_of(model.model_name_or_path, adapter.peft_path, adapter.use_peft, given, tasks)
    return Start(args, stage, output, origin, wish, push.wish_of(args.trainer))


def text_side(args: Parsed, begun: Start) -> tuple[Any, Template]:
    """Tokenizer and template of a stage that trains on chats (see `policy.text_side`)."""
    model, chat = args[ModelArguments], args[ChatArguments]
    return policy.text_side(
        begun.origin, model.tokenizer_name_or_path, settle.loading(model, False), chat.template_name,
        chat.tool_format, chat.allow_template_change,
    )  # fmt: skip


def claim(begun: Start, data: Prepared) -> None:
    """The data is good: an earlier run's files go, if that is wished, and the account of the rows is written. A dry
    run ends here."""
    wishes = begun.args[RunArguments]
    if wishes.dry_run:
        dryrun.end(begun.args, begun.stage, begun.origin, data.train)
    begun.push_to = push.ready(begun.push_to)
    clear_output(begun.output, wishes.overwrite_output_dir, begun.resuming)
    attempt.claimed()
    if logs.rank() == 0:
        data.ledger.write(begun.output)


@contextmanager
def refusals() -> Iterator[None]:
    """Where a trainer is made: what a library says against the flags is a ConfigError, not a traceback."""
    try:
        yield
    except (ValueError, NotImplementedError, ImportError) as error:
        if _raised_here(error):
            raise
        raise ConfigError(f"the trainer refuses these flags: {' '.join(str(error).split())}") from None


def _raised_here(error: BaseException) -> bool:
    """Whether a line of this package raised it: a fault of the program, which its traceback shows best."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return Path(frame.f_code.co_filename).resolve().is_relative_to(Path(__file__).resolve().parent)


def settle_precision(trainer: dict[str, Any]) -> None:
    """Put bf16/fp16 where this machine can compute them, saying what was chosen; ConfigError for what it cannot."""
    import torch

    cuda = torch.cuda.is_available() and not trainer.get("use_cpu")
    if not cuda:
        problems = []
        if trainer.get("ddp_backend") == "nccl":
            problems.append("--ddp_backend nccl: needs CUDA GPUs; use gloo, or drop the flag")
        if trainer.get("tf32"):
            problems.append("--tf32 True: needs an Ampere or newer CUDA GPU; drop the flag")
        if str(trainer.get("optim", "")).startswith("paged_"):
            problems.append(f"--optim {trainer['optim']}: paged optimizers need a CUDA GPU; use adamw_torch")
        if problems:
            raise ConfigError(problems)
        if trainer.get("fp16"):
            logs.warn("--fp16 needs a CUDA GPU; computing in float32 on this CPU (use --bf16 True for bfloat16)")
        trainer["fp16"], trainer["bf16"] = False, bool(trainer.get("bf16"))
        launch.on_cpu(trainer)
        return
    can = torch.cuda.is_bf16_supported(including_emulation=False)
    if trainer.get("bf16") and not can:
        name = torch.cuda.get_device_name()
        raise ConfigError(f"--bf16 True: {name} has no bfloat16; use --fp16 True")
    if not trainer.get("bf16") and not trainer.get("fp16") and "bf16" not in trainer and "fp16" not in trainer:
        trainer["bf16"], trainer["fp16"] = can, not can
        logs.info(f"precision: {'bf16' if can else 'fp16'} (this GPU's best)")
    trainer.setdefault("bf16", False)


def trainer_config(config: type, trainer: dict[str, Any], logging_dir: str | None) -> Any:
    """The trainer's config object from settled flags; seeds everything, because adapters start from random numbers."""
    from transformers import set_seed

    os.environ["TENSORBOARD_LOGGING_DIR"] = logging_dir or str(Path(trainer["output_dir"]) / "runs")
    try:
        made = config(**trainer)
    except (ValueError, ImportError) as error:
        raise ConfigError(f"the trainer refuses these flags: {' '.join(str(error).split())}") from None
    launch.settle_processes(made, trainer)
    attempt.configured(made)
    set_seed(made.seed)
    return made


def train(trainer: Any, resume: Path | None, do_train: bool, do_eval: bool) -> dict[str, Any]:
    """Train and evaluate; returns the metrics, with perplexities of every loss."""
    metrics: dict[str, Any] = {}
    started = time.time()
    if do_train:
        attempt.watch(trainer)
        reality.watch(trainer, attempt.now())
        guards.watch_first_steps(trainer)
        result = trainer.train(resume_from_checkpoint=str(resume) if resume else None)
        metrics |= result.metrics
        if not math.isfinite(metrics.get("train_loss", 0.0)):
            raise ConfigError("the loss is not a number; lower --learning_rate, or use --bf16 instead of --fp16")
    if do_eval and trainer.eval_dataset is not None:
        metrics |= retry.evaluated(trainer, do_train)
    metrics["wall_seconds"] = round(time.time() - started, 1)
    if "train_loss" in metrics and _unit(trainer) == plots.PER_TOKEN:
        metrics["train_perplexity"] = math.exp(min(metrics["train_loss"], 700.0))
    return metrics


def run(
    trainer: Any, args: Parsed, begun: Start, tokenizer: Any, seal: manifest.Sealer, resume: Path | None,
    measures: Sequence[Any] = (),
) -> None:  # fmt: skip
    """Measure, train, measure again, save and seal.

    A measure has `before()` and `after()`, which returns what belongs in metrics.json. One that is `late` takes long
    (it writes answers), and measures again when the model is safe on the disk.
    """
    fast.prepare(trainer, args[KernelArguments], begun.output)
    attempt.doing(attempt.BEFORE)
    for measure in measures:
        measure.before()
    wants = args.trainer
    metrics = train(trainer, resume, bool(wants.get("do_train")), bool(wants.get("do_eval")))
    attempt.doing(attempt.SAVING)
    late = [measure for measure in measures if getattr(measure, "late", False)]
    failed: Exception | None = None
    for measure in measures:
        try:
            metrics |= {} if measure in late else measure.after()
        except Exception as error:  # noqa: BLE001 - raised again once what was trained is on the disk
            failed = failed or error
    save(trainer, begun.output, tokenizer, metrics, seal, args[RunArguments].plot_loss)
    attempt.doing(attempt.AFTER)
    try:
        if failed:
            logs.warn(f"the model is saved in {begun.output}/; what was to be measured after the training failed:")
            raise failed
        for measure in late:
            measure.after()
    finally:  # last, because it may take longer than other processes wait for one another
        push.finished(begun.push_to, begun.output)


def _unit(trainer: Any) -> str:
    """What the trainer's loss is a mean of; trainers of pairs say so by an attribute `loss_unit`."""
    return getattr(trainer, "loss_unit", plots.PER_TOKEN)


def save(
    trainer: Any, directory: Path, tokenizer: Any, metrics: dict[str, Any], seal: manifest.Sealer, plot: bool = True
) -> None:
    """Everything the next stage needs into `directory`: weights, tokenizer, template, stops, metrics, plots, seal."""
    trainer.save_model(str(directory))
    if trainer.args.should_save:
        (directory / "training_args.bin").unlink(missing_ok=True)  # a pickle, with the access token in clear
        tokenizer.save_pretrained(directory)
        seal.settings(directory)
        trainer.save_state()
        write_json(directory / "metrics.json", metrics)
        if plot:
            for path in plots.training_curves(trainer.state.log_history, directory / "plots", _unit(trainer)):
                logs.info(f"curve: {path}")
        # Sharded parameters cannot be probed from one rank.
        sharded = launch.cut_into_shards(trainer)
        seal(directory, metrics, None if sharded else trainer.accelerator.unwrap_model(trainer.model))
        shown = {key: round(value, 4) for key, value in metrics.items() if "loss" in key or "perplexity" in key}
        logs.info(f"saved {directory}/  {'  '.join(f'{key} {value}' for key, value in shown.items())}")
    trainer.accelerator.wait_for_everyone()


def describe(model: Any, how: str, facts: dict[str, Any], config: Any, rows: int) -> None:
    """What is about to run, in one table: the numbers a person checks before leaving it alone for hours."""
    trainable, total = trainable_share(model)
    batch = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.world_size
    steps = config.max_steps if config.max_steps > 0 else math.ceil(math.ceil(rows / batch) * config.num_train_epochs)
    precision = "bf16" if config.bf16 else "fp16" if config.fp16 else "fp32"
    lines = {
        **facts,
        "trained": f"{how}: {trainable:,} of {total:,} parameters ({100 * trainable / max(1, total):.2f} %)",
        "batch": f"{config.per_device_train_batch_size} rows x {config.gradient_accumulation_steps} accumulated x "
        f"{config.world_size} process(es) = {batch}; about {steps} steps",
        "precision": f"{precision}, learning rate {config.learning_rate:g}, "
        f"{getattr(config.lr_scheduler_type, 'value', config.lr_scheduler_type)}",
    }
    for name, value in lines.items():
        logs.info(f"{name:>10}  {value}")


def write_json(path: Path, content: Any) -> None:
    """Readable JSON."""
    path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
