"""A stage that tells what to try when memory runs out, and with --auto_fit True tries it: `@fitted` above `main`.

An attempt begins the whole stage anew with other flags, in the same process. So it is, by construction, the run that
these flags would have given from the start: the same seed, adapter, order of rows and schedule. It goes on from the
newest sealed checkpoint, if this run has made one.
"""

from __future__ import annotations

import functools
import gc
import shlex
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from bedside import checkpoints, logs
from bedside.args import AdapterArguments, ModelArguments, RunArguments
from bedside.cli import Parsed
from bedside.fitting import attempt as attempts
from bedside.fitting import shortage as shortages
from bedside.fitting.attempt import Attempt
from bedside.fitting.remedies import OTHER, Remedy, Settings, remedies, smaller
from bedside.fitting.shortage import OutOfMemory, Shortage
from bedside.flagtable import spellings, table
from bedside.kernel_args import KernelArguments
from bedside.planner.dryrun import Told
from bedside.planner.run import drawn_at_once
from bedside.spellings import TRAINER_ALIASES

TRIES = 3
_LENGTHS = ("max_length", "max_prompt_length", "response_length", "max_completion_length")
_ALSO = {"use_peft": ("finetuning_type",), "memory_budget_gb": ()}


class Failed(NamedTuple):
    """An attempt that ran out of memory, without anything that it held."""

    shortage: Shortage
    attempt: Attempt
    checkpoint: Path | None


def fitted(main: Callable[..., Any]) -> Callable[..., Any]:
    """`main(argv)` of a stage that ends in a sentence when memory runs out, or fits itself if the flags say so.

    Raises OutOfMemory, whose text names the next setting as a command.
    """

    @functools.wraps(main)
    def fits(argv: list[str] | None = None) -> Any:
        words, tried = list(sys.argv[1:] if argv is None else argv), []
        script = _script(main, argv)
        while True:
            outcome = _attempted(main, words)
            if not isinstance(outcome, Failed):
                return outcome
            _free()
            open_ = offered(outcome)
            if not _goes_on(outcome, open_, len(tried)):
                raise OutOfMemory(sentence(outcome, script, words, tried))
            logs.warn(f"{shortages.told(outcome.shortage, outcome.attempt)}{_saved(outcome)}")
            logs.warn(f"--auto_fit, try {len(tried) + 1} of {TRIES}: {open_[0]} ({open_[0].why})")
            tried.append(str(open_[0]))
            words = again(words, open_[0], outcome)

    return fits


def _script(main: Callable[..., Any], argv: list[str] | None) -> str:
    """The script as it was typed, or its name where another program called it."""
    name = Path(main.__globals__.get("__file__", "SCRIPT.py")).name
    typed = sys.argv[0] if argv is None else name
    return typed if Path(typed).name == name else name


def _attempted(main: Callable[..., Any], words: list[str]) -> Any:
    """What `main` returns, or Failed. The error, and with it every frame that holds a tensor, ends here."""
    attempt = attempts.begin()
    try:
        return main(words)
    except Told:
        return None
    except Exception as error:
        if not shortages.is_shortage(error):
            raise
        return Failed(shortages.found(error, attempt), attempt, shortages.kept(attempt))


def _free() -> None:
    """Give back what the failed attempt held: models, trainers and hooks refer to one another in circles.

    A run that a logger keeps open would take the next attempt's steps for its own, which it has seen before.
    """
    gc.collect()
    wandb = sys.modules.get("wandb")
    if wandb is not None and getattr(wandb, "run", None) is not None:
        wandb.finish(exit_code=1)
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _goes_on(failed: Failed, open_: list[Remedy], tries: int) -> bool:
    args = failed.attempt.args
    return bool(args and args[RunArguments].auto_fit and open_ and open_[0].exact and tries < TRIES)


def offered(failed: Failed) -> list[Remedy]:
    """What may be tried next, what leaves the training as it was first."""
    if failed.attempt.args is None or failed.shortage.moment == OTHER:
        return []
    found = remedies(settings_of(failed.attempt, failed.shortage), failed.shortage.moment)
    return sorted(found, key=lambda remedy: not remedy.exact)


def settings_of(attempt: Attempt, shortage: Shortage) -> Settings:
    """The settings of an attempt, from its settled flags."""
    args: Parsed = attempt.args
    model, adapter, speed, trainer = args[ModelArguments], args[AdapterArguments], args[KernelArguments], args.trainer
    losses = trainer.get("loss_type") or (["kto"] if attempt.stage == "kto" else [])
    losses = (losses,) if isinstance(losses, str) else tuple(losses)
    pissa = adapter.init_lora_weights.lower().startswith(("pissa", "olora"))
    batch = attempt.batch or {"rows": 1, "accumulation": 1, "eval_rows": 1, "checkpointing": 1}
    accumulated = {"gradient_accumulation_steps": batch["accumulation"]}
    return Settings(
        rows=batch["rows"],
        accumulation=batch["accumulation"],
        eval_rows=batch["eval_rows"],
        lengths={name: trainer[name] for name in _LENGTHS if trainer.get(name)},
        gpu=shortage.gpu,
        checkpointing=bool(batch["checkpointing"]),
        budget=str(speed.memory_budget_gb).lower() not in ("none", ""),
        tiles=speed.kernels and speed.fused_mlp,
        mlp_tile=speed.mlp_tile,
        offload=speed.offload_checkpoints,
        embedding_on_host=speed.embedding_on_host,
        stays=attempt.stays,
        quantised=model.load_in_4bit or model.load_in_8bit,
        peft=adapter.use_peft,
        quantisable=not pissa and not adapter.peft_path,
        losses=losses,
        least=2 if attempt.stage == "kto" and "kto" in losses else 1,
        sampled_for=trainer.get("steps_per_generation"),
        depends=_depends(attempt.stage, trainer),
        host=shortage.beside_gpu and not trainer.get("use_cpu"),
        workers=trainer.get("dataloader_num_workers") or 0,
        eval_group=trainer.get("num_generations_eval") or 1,
        reference_rows=trainer.get("precompute_ref_batch_size") or batch["rows"],
        together=drawn_at_once("ppo", trainer | accumulated, batch["rows"]) if attempt.stage == "ppo" else None,
    )


def _depends(stage: str, trainer: dict[str, Any]) -> tuple[str, ...]:
    """Flags by which a step depends on how its rows are cut into micro-batches."""
    found = []
    if trainer.get("dataloader_drop_last") and stage not in ("ppo", "grpo"):  # those cut whole rollouts
        found.append("--dataloader_drop_last True")
    if trainer.get("neftune_noise_alpha"):
        found.append(f"--neftune_noise_alpha {trainer['neftune_noise_alpha']:g}")
    if trainer.get("entropy_coef"):
        found.append(f"--entropy_coef {trainer['entropy_coef']:g}")
    if trainer.get("use_adaptive_entropy"):
        found.append("--use_adaptive_entropy True")
    if (trainer.get("top_entropy_quantile") or 1.0) < 1:
        found.append(f"--top_entropy_quantile {trainer['top_entropy_quantile']:g}")
    return tuple(found)


def with_flags(words: Iterable[str], flags: dict[str, str], groups: tuple[type, ...] = ()) -> list[str]:
    """`words` of a command line with these flags in place of what it said of them, in whatever spelling.

    >>> with_flags(["a.yaml", "--micro-batch-size=4", "--seed", "7"], {"per_device_train_batch_size": "2"})
    ['a.yaml', '--seed', '7', '--per_device_train_batch_size', '2']
    """
    own = {spelling: flag.name for spelling, flag in spellings(table(groups, None)).items()}
    trainers = {alias: name for name, aliases in TRAINER_ALIASES.items() for alias in aliases}
    gone = set(flags) | {other for name in flags for other in _ALSO.get(name, ())}
    kept, dropping = [], False
    for word in words:
        if word.startswith("--") and len(word) > 2:
            spelled = word[2:].partition("=")[0].replace("-", "_")
            dropping = own.get(spelled, trainers.get(spelled, spelled)) in gone
        if not dropping:
            kept.append(word)
    return kept + [part for name, value in flags.items() for part in (f"--{name}", value)]


def again(words: list[str], remedy: Remedy, failed: Failed) -> list[str]:
    """The command line of the next attempt."""
    flags = dict(remedy.flags)
    attempt, groups = failed.attempt, tuple(failed.attempt.args.groups)
    if failed.checkpoint is not None and remedy.exact:
        flags["resume_from_checkpoint"] = str(failed.checkpoint) if attempt.resumes else "True"
    elif failed.checkpoint is not None:  # another training: it cannot go on from there, and must not replace it
        flags["output_dir"] = f"{attempt.output}-again"
        flags |= {"resume_from_checkpoint": "None"} if "resume_from_checkpoint" in attempt.args.given else {}
    elif attempt.claimed and attempt.output is not None and checkpoints.numbered(attempt.output):
        flags["overwrite_output_dir"] = "True"  # one that was not finished
    return with_flags(words, flags, groups)


def _saved(failed: Failed) -> str:
    return f"; {failed.checkpoint} is sealed" if failed.checkpoint is not None else ""


def sentence(failed: Failed, script: str, words: list[str], tried: list[str]) -> str:
    """What ran out, what is on the disk, and the next setting to try as a command; a line each."""
    attempt, open_ = failed.attempt, offered(failed)
    lines = [shortages.told(failed.shortage, attempt)]
    if attempt.doing == attempts.AFTER:
        return "\n".join([*lines, f"the trained model is saved in {attempt.output}/"])
    kept = f"{failed.checkpoint} is sealed" if failed.checkpoint is not None else "no checkpoint was made yet"
    lines.append(f"on the disk: {kept}")
    if tried:
        lines.append(f"--auto_fit True tried {len(tried)} time{'s' if len(tried) > 1 else ''}: {', '.join(tried)}")
    if failed.shortage.moment == OTHER:
        lines.append("no flag of batches helps here; end what else uses this memory, or take a larger machine")
        if failed.checkpoint is not None and attempt.args is not None:
            on = with_flags(words, {"resume_from_checkpoint": str(failed.checkpoint)}, tuple(attempt.args.groups))
            lines.append(f"then go on from there: {_start()}{shlex.join([script, *on])}")
        return "\n".join(lines)
    if not open_:
        larger = "a larger card" if failed.shortage.gpu else "a machine with more memory"
        lines.append(f"nothing that needs less memory is left to try; take a smaller model, or {larger}")
        return "\n".join(lines)
    lines.append(f"try next ({open_[0].why}): {_start()}{shlex.join([script, *again(words, open_[0], failed)])}")
    if open_[1:]:
        lines.append(f"and after that, in this order: {', '.join(map(str, open_[1:]))}")
    return "\n".join(lines)


def _start() -> str:
    return "with the same launcher: " if logs.world_size() > 1 else "python "


def evaluated(trainer: Any, trained: bool) -> dict[str, float]:
    """`trainer.evaluate()`, with fewer rows at a time where memory does not hold a batch: means over rows stay.

    After a training (`trained`) an evaluation that fits in no way costs the model nothing: a warning, and no numbers.
    """
    while True:
        try:
            return trainer.evaluate()
        except Exception as error:
            if not shortages.behind(error) or logs.world_size() > 1:
                raise
            group = getattr(trainer.args, "num_generations_eval", None) or 1
            part = smaller(trainer.args.per_device_eval_batch_size, group, group)
            if part is None and not trained:
                raise
        _free()
        if part is None:
            logs.warn("memory ran out in the evaluation, one row at a time; the model is saved without its numbers")
            return {}
        logs.warn(f"memory ran out in the evaluation; again with --per_device_eval_batch_size {part}")
        trainer.args.per_device_eval_batch_size = part
