"""A plan as flags of its stage: to paste, or as a recipe."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import Any

from bedside import wholefile
from bedside.errors import ConfigError
from bedside.planner.choose import Plan
from bedside.planner.memory import FULL, LORA, QLORA, SAMPLING

SCRIPTS = {
    "pt": "pretraining.py", "sft": "supervised_finetuning.py", "rm": "reward_modeling.py", "dpo": "dpo_training.py",
    "orpo": "orpo_training.py", "kto": "kto_training.py", "ppo": "ppo_training.py", "grpo": "grpo_training.py",
}  # fmt: skip
_DATA = {"pt": "data/pretrain", "sft": "data/sft", "ppo": "data/grpo", "grpo": "data/grpo"}


# What else a recipe says, as recipes/any_model_*.yaml do: rates and how often is saved. They cost no memory.
_USUAL: dict[str, dict[str, Any]] = {
    "pt": {"learning_rate": "1.0e-4", "lr_scheduler_type": "cosine", "warmup_ratio": 0.05},
    "sft": {"learning_rate": "1.0e-4", "lr_scheduler_type": "cosine", "warmup_ratio": 0.05},
    "rm": {"learning_rate": "5.0e-5", "lr_scheduler_type": "cosine", "warmup_ratio": 0.05},
    "dpo": {"learning_rate": "5.0e-6", "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "beta": 0.1},
    "orpo": {"learning_rate": "2.0e-5", "lr_scheduler_type": "cosine", "warmup_ratio": 0.1},
    "kto": {"learning_rate": "5.0e-6", "lr_scheduler_type": "cosine", "warmup_ratio": 0.1, "beta": 0.1},
    "ppo": {"learning_rate": "1.0e-5", "critic_learning_rate": "5.0e-5", "lr_scheduler_type": "constant_with_warmup",
            "warmup_ratio": 0.05, "kl_coef": 0.05},
    "grpo": {"learning_rate": "1.0e-5", "lr_scheduler_type": "constant_with_warmup", "warmup_ratio": 0.05},
}  # fmt: skip
_FULL_RATES = {
    "pt": "2.0e-5",
    "sft": "2.0e-5",
    "rm": "1.0e-5",
    "dpo": "1.0e-6",
    "orpo": "5.0e-6",
    "kto": "1.0e-6",
    "grpo": "1.0e-6",
}
_SAVING = {"logging_steps": 10, "save_steps": 100, "save_total_limit": 3}


def flags(
    plan: Plan, data: str | None = None, output: str | None = None, epochs: float = 1.0, template: str | None = None
) -> dict[str, Any]:
    """Flags of the stage's script, by name, in the order in which they are read."""
    setting, stage = plan.setting, plan.setting.stage
    found: dict[str, Any] = {
        "model_name_or_path": plan.model.name, "train_file_dir": data or _DATA.get(stage, "data/reward"),
        "output_dir": output or f"outputs-{stage}",
    }  # fmt: skip
    found |= {"template_name": template} if template else {}
    found |= _precision(plan)
    if stage in SAMPLING:
        answer = "response_length" if stage == "ppo" else "max_completion_length"
        found |= {"max_source_length": setting.length, answer: setting.response}
    else:
        found |= {"max_length": setting.length}
    if stage in ("sft", "pt"):
        found |= {"packing": plan.card.bf16}  # without bfloat16 there is no variable-length attention
    found |= {
        "per_device_train_batch_size": setting.rows,
        "per_device_eval_batch_size": setting.rows,
        "gradient_accumulation_steps": plan.accumulation,
        "num_train_epochs": epochs,
    }
    if stage == "ppo":
        found |= {"rollout_batch_size": setting.sampled, "num_ppo_epochs": 2}
    if stage == "grpo":
        together = setting.sampled * setting.gpus
        found |= {"steps_per_generation": setting.sampled // setting.rows, "num_generations": math.gcd(8, together)}
    return found | _memory(plan)


def _precision(plan: Plan) -> dict[str, Any]:
    setting, half = plan.setting, "bf16" if plan.card.bf16 else "fp16"
    name = "bfloat16" if plan.card.bf16 else "float16"
    found: dict[str, Any] = {half: True}
    if setting.precision == FULL:
        return found | {"use_peft": False, "dtype": "float32", "optim": setting.optim}
    if setting.precision == QLORA:
        found |= {"qlora": True}
    if setting.precision == LORA or not plan.card.bf16:
        found |= {"dtype": name}
    if not plan.card.bf16:
        found |= {"attn_implementation": "sdpa"}
    return found | {"lora_r": setting.lora_r, "lora_alpha": 2 * setting.lora_r, "lora_dropout": 0}


def _memory(plan: Plan) -> dict[str, Any]:
    setting = plan.setting
    # `auto` measures what a layer keeps, and checkpoints the layers that must be; with room for all of them, none.
    found: dict[str, Any] = {"gradient_checkpointing": True}
    if setting.whole:
        found |= {"memory_budget_gb": "auto"}
    if setting.offload:
        found |= {"offload_checkpoints": True}
    if setting.embedding_on_host:
        found |= {"embedding_on_host": True}
    if setting.mlp_tile:
        found |= {"mlp_tile": setting.mlp_tile}
    return found


def launcher(plan: Plan) -> str:
    """What stands in front of the script."""
    setting = plan.setting
    if setting.gpus == 1:
        return "python"
    if setting.sharding == "ddp":
        return f"torchrun --nproc_per_node {setting.gpus}"
    return f"accelerate launch --config_file accelerate/{setting.sharding}.yaml --num_processes {setting.gpus}"


def command(plan: Plan, given: dict[str, Any]) -> str:
    """The command to paste, one flag group a line."""
    words = [f"--{name} {shlex.quote(_text(value))}" for name, value in given.items()]
    lines, line = [], f"{launcher(plan)} {SCRIPTS[plan.setting.stage]}"
    for word in words:
        if len(line) + len(word) > 108:
            lines.append(line + " \\")
            line = "   "
        line += f" {word}"
    return "\n".join([*lines, line])


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def yaml(plan: Plan, given: dict[str, Any], path: str, planned_by: str) -> str:
    """The recipe, its head first; `planned_by` is the command that wrote it."""
    setting = plan.setting
    usual = _USUAL[setting.stage] | _SAVING
    if setting.precision == FULL:
        usual["learning_rate"] = _FULL_RATES[setting.stage]
    head = (
        f"# {setting.stage.upper()} of {plan.model.name} on {setting.gpus} x {plan.card.name}: "
        f"{plan.peak / 1e9:.1f} of {plan.card.bytes / 1e9:.1f} GB planned (docs/planning.md).\n#\n"
        f"#   {launcher(plan)} {SCRIPTS[setting.stage]} {path}\n#\n# Written by\n#\n#   {planned_by}\n#\n"
        "# Give your own --train_file_dir; flags override these lines.\n"
    )
    return head + "".join(f"{name}: {_text(value)}\n" for name, value in (given | usual).items())


def written_by(argv: list[str]) -> str:
    """The command that makes a recipe again, without the flag that allowed it to replace one."""
    kept: list[str] = []
    dropping = False
    for word in argv:
        own = word.startswith("--")
        dropping = word.split("=")[0] == "--overwrite" or (dropping and not own)
        kept += [] if dropping else [word]
    return shlex.join(["python", "plan.py", *kept])


def write(text: str, path: str, overwrite: bool) -> None:
    """Write a recipe; ConfigError for a name that is no recipe's, or a file that is there."""
    target = Path(path)
    if target.suffix not in (".yaml", ".yml"):
        raise ConfigError(f"--write {path}: expected a name that ends in .yaml")
    if target.exists() and not overwrite:
        raise ConfigError(f"--write {path}: is there already; choose another name, or add --overwrite True")
    wholefile.write(target, text)
