"""The trainer's flags against each other and against what is installed, and our defaults where they differ."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bedside.hub import push
from bedside.spellings import LEARNING_RATES, SAMPLING, TRAINER_DEFAULTS

_REPORTERS = ("tensorboard", "wandb")
_AT_LEAST = {
    "per_device_train_batch_size": 1,
    "per_device_eval_batch_size": 1,
    "gradient_accumulation_steps": 1,
    "max_length": 1,
    "dataset_num_proc": 1,
    "save_total_limit": 1,
    "learning_rate": 0,
    "warmup_steps": 0,
    "weight_decay": 0,
    "max_grad_norm": 0,
    "neftune_noise_alpha": 0,
    "seed": 0,
}
_MORE_THAN_0 = ("num_train_epochs", "logging_steps", "eval_steps", "save_steps")


def evaluates(trainer: dict[str, Any]) -> bool:
    """Whether these flags ask for an evaluation."""
    return bool(trainer.get("do_eval")) or trainer.get("eval_strategy", "no") not in ("no", None)


def _ranges(trainer: dict[str, Any]) -> list[str]:
    found = []
    for name, least in _AT_LEAST.items():
        if trainer.get(name) is not None and trainer[name] < least:
            found.append(f"--{name} {trainer[name]:g}: expected at least {least}")
    for name in _MORE_THAN_0:
        if trainer.get(name) is not None and trainer[name] <= 0:
            found.append(f"--{name} {trainer[name]:g}: expected more than 0")
    return found


def _reporters(trainer: dict[str, Any]) -> list[str]:
    """Settle --report_to in place; returns problems."""
    wanted = trainer.get("report_to", ["tensorboard" if find_spec("tensorboard") else "none"]) or ["none"]
    wanted = [wanted] if isinstance(wanted, str) else list(wanted)
    if wanted == ["all"]:
        wanted = [name for name in _REPORTERS if find_spec(name)] or ["none"]
    trainer["report_to"] = wanted if wanted != ["none"] else "none"
    problems = []
    for name in wanted:
        if name not in (*_REPORTERS, "none"):
            problems.append(f"--report_to {name}: expected tensorboard, wandb or none")
        elif name != "none" and find_spec(name) is None:
            problems.append(f"--report_to {name}: {name} is not installed; run `pip install {name}`, or use none")
    kept = os.environ.get("WANDB_LOG_MODEL", "false")
    if "wandb" in wanted and kept.lower() not in ("false", "0", ""):
        problems.append(
            f"WANDB_LOG_MODEL={kept}: would send directories of the training to Weights & Biases, pickles among them; "
            "unset it, and send the finished model: --push_to_hub True, or python -m bedside.hub"
        )
    return problems


def _deepspeed(config: Any) -> list[str]:
    if not config:
        return []
    if isinstance(config, str) and not Path(config).is_file():
        return [f"--deepspeed {config}: no such file; give a DeepSpeed JSON file, or drop the flag"]
    if find_spec("deepspeed") is None:
        return ["--deepspeed: deepspeed is not installed; run `pip install deepspeed`, or drop the flag"]
    return []


def check(trainer: dict[str, Any]) -> list[str]:
    """Every problem of the trainer's flags; --report_to and --resume_from_checkpoint are settled in place."""
    problems = _ranges(trainer) + _reporters(trainer) + _deepspeed(trainer.get("deepspeed"))
    if str(trainer.get("resume_from_checkpoint")).lower() in ("false", "no", "0", "none"):
        trainer.pop("resume_from_checkpoint", None)
    if trainer.get("do_train") is False and not evaluates(trainer):
        problems.append("--do_train False without --do_eval True: nothing to do")
    if trainer.get("do_predict"):
        problems.append("--do_predict: use inference.py --data_file for answers")
    if trainer.get("bf16") and trainer.get("fp16"):
        problems.append("--bf16 and --fp16: choose one")
    for name in ("bf16_full_eval", "fp16_full_eval"):
        if trainer.get(name):
            problems.append(
                f"--{name} True: casts the model itself in the evaluation after training, and the rounded weights "
                f"would be saved; --{name[:4]} True evaluates in that precision too"
            )
    problems += push.problems(trainer)
    if trainer.get("use_liger_kernel") and find_spec("liger_kernel") is None:
        problems.append(
            "--use_liger_kernel: liger-kernel is not installed; run `pip install liger-kernel`, or drop it"
        )
    if trainer.get("packing") and "pad_to_multiple_of" in trainer:
        problems.append("--pad_to_multiple_of with --packing True: packed rows are full; drop the flag")
    if trainer.get("load_best_model_at_end") and not evaluates(trainer):
        problems.append("--load_best_model_at_end True: needs --eval_strategy steps (or epoch) to know the best")
    return problems


def fill(trainer: dict[str, Any], held_out: bool, use_peft: bool, stage: str) -> None:
    """Our defaults where the user gave nothing, in place; `held_out` says that rows are set aside for evaluation."""
    for name, value in TRAINER_DEFAULTS.items():
        if trainer.get(name) is None and not (name == "max_length" and stage in SAMPLING):
            trainer[name] = value
    wants_eval = evaluates(trainer)
    if "do_train" not in trainer:
        trainer["do_train"] = not trainer.get("do_eval") or "eval_strategy" in trainer
    if wants_eval or held_out:
        trainer["do_eval"] = wants_eval or trainer.get("do_eval", True)
        if "eval_strategy" not in trainer and trainer.get("eval_steps"):
            trainer["eval_strategy"] = "steps"
    if trainer.get("learning_rate") is None:
        trainer["learning_rate"] = LEARNING_RATES[stage][0 if use_peft else 1]
    if not trainer.get("output_dir"):
        trainer["output_dir"] = f"outputs-{stage}"
