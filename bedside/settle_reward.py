"""The flags that only reward modelling has, or takes another way: one meaning each, or a sentence."""

from typing import Any

from bedside import settle_pairs
from bedside.args import AdapterArguments
from bedside.cli import Parsed
from bedside.data.judged import Limits
from bedside.errors import ConfigError
from bedside.stage_args import PairArguments


def reward(args: Parsed) -> None:
    """Settle them in place; ConfigError lists every problem.

    The trainer switches dropout off unless told otherwise; who asks for an adapter's dropout has told it otherwise.
    """
    trainer = args.trainer
    problems = settle_pairs.lengths(args[PairArguments], trainer)
    centre = trainer.get("center_rewards_coefficient")
    if centre is not None and centre < 0:
        problems.append(f"--center_rewards_coefficient {centre:g}: expected at least 0; 0.01 is usual")
    if trainer.get("label_smoothing_factor"):
        problems.append("--label_smoothing_factor: the loss of pairs has no such term; drop the flag")
    if problems:
        raise ConfigError(problems)
    args.notes += settle_pairs.processes_told(trainer)
    if "lora_dropout" in args.given and args[AdapterArguments].lora_dropout:
        trainer.setdefault("disable_dropout", False)


def inputs(config: Any, limits: Limits) -> dict[str, Any]:
    """What of a run must be the same when it is resumed, beside data, seed and template."""
    return {"limits": [limits.question, limits.answer], "loss": f"reward, centre {config.center_rewards_coefficient}"}
