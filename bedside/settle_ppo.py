"""The flags of PPO against each other: every problem at once, then one meaning each."""

import math
from typing import Any

from bedside import launch, logs, settle_scoring
from bedside.args import AdapterArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.rollouts.alarms import Thresholds
from bedside.settle_pairs import processes_told
from bedside.settle_rollouts import thresholds
from bedside.stage_args import ChatArguments, PPOArguments, RewardArguments, RolloutArguments

# Whole numbers from 1; shares and factors between two ends, which belong to them.
_FROM_1 = (
    "response_length", "total_episodes", "num_ppo_epochs", "num_mini_batches", "rollout_batch_size", "kl_horizon",
)  # fmt: skip
_BETWEEN = {"gamma": (0, 1), "lam": (0, 1), "kl_coef": (0, math.inf), "cliprange_value": (0, math.inf),
            "vf_coef": (0, math.inf), "critic_learning_rate": (0, math.inf), "missing_eos_penalty": (0, math.inf),
            "critic_warmup_rollouts": (0, math.inf)}  # fmt: skip
_ABOVE_0 = ("temperature", "cliprange", "target_kl", "reward_clip")
# Flags of the trainer that mean nothing here, or would mean something wrong: the value that is harmless, and why.
_OTHERS = {
    "neftune_noise_alpha": (None, "noise on the embeddings would part what is sampled from what is trained"),
    "label_smoothing_factor": (0.0, "PPO's loss has no labels"),
    "auto_find_batch_size": (False, "a smaller batch would be another rollout"),
    "torch_compile": (False, "four roles and a growing answer make it compile again and again"),
    "train_sampling_strategy": ("random", "questions come in a random order, new in each epoch"),
}
_USUAL = 64  # answers of a rollout; far fewer make a noisy gradient


def ppo(args: Parsed) -> Thresholds:
    """Settle what only the PPO stage has, in place; returns when the run is to be stopped. ConfigError lists every
    problem."""
    adapter, trainer, own = args[AdapterArguments], args.trainer, args[PPOArguments]
    trainer.setdefault("response_length", 512)
    problems = _ranges(trainer) + _adapter(adapter) + _rewards(args)
    problems += [f"--{name} {trainer[name]}: {why}; drop the flag" for name, (harmless, why) in _OTHERS.items()
                 if trainer.get(name) not in (None, harmless)]  # fmt: skip
    if args[RolloutArguments].max_source_length < 1:
        problems.append(f"--max_source_length {args[RolloutArguments].max_source_length}: expected at least 1")
    if trainer.get("use_vllm") and launch.kind(trainer) in ("fsdp", "zero3"):
        problems.append(
            f"--use_vllm True under {launch.kind(trainer)}: one process holds no whole weights to hand over; use "
            "accelerate/ddp.yaml or accelerate/zero2.yaml"
        )
    if own.reward_model_path and "reward_funcs" not in args.given:
        args[RewardArguments].reward_funcs = None  # a reward model alone, unless more is asked for
    problems += settle_scoring.idle(args, _needs(own, trainer))
    if problems:
        raise ConfigError(problems)
    args.notes += processes_told(trainer) + _length_told(args)
    if "lora_dropout" in args.given and adapter.lora_dropout:
        args.notes.append(
            f"--lora_dropout {adapter.lora_dropout:g} is off: answers are scored and trained by the same function"
        )
    if trainer.get("load_best_model_at_end") or trainer.get("save_strategy") == "best":
        trainer.setdefault("metric_for_best_model", "eval_reward")
        trainer.setdefault("greater_is_better", True)
    return thresholds(args[RolloutArguments])


def _length_told(args: Parsed) -> list[str]:
    """Which of the flags that say how long a run is wins, where several are given."""
    trainer = args.trainer
    said = [name for name in ("max_steps", "total_episodes", "num_train_epochs")
            if name in args.given and trainer.get(name) and trainer[name] > 0]  # fmt: skip
    if len(said) < 2:
        return []
    others = " and ".join(f"--{name} {trainer[name]:g}" for name in said[1:])
    return [f"--{said[0]} {trainer[said[0]]:g} decides how long the run is; {others} has no effect"]


def _ranges(trainer: dict[str, Any]) -> list[str]:
    found = []
    for name in _FROM_1:
        if trainer.get(name) is not None and trainer[name] < 1:
            found.append(f"--{name} {trainer[name]}: expected at least 1")
    for name, (low, high) in _BETWEEN.items():
        if trainer.get(name) is not None and not low <= trainer[name] <= high:
            found.append(f"--{name} {trainer[name]:g}: expected {low} " + (f"to {high}" if high == 1 else "or more"))
    for name in _ABOVE_0:
        if trainer.get(name) is not None and not trainer[name] > 0:
            found.append(f"--{name} {trainer[name]:g}: expected more than 0")
    if trainer.get("cliprange", 0.2) >= 1:
        found.append(f"--cliprange {trainer['cliprange']:g}: expected less than 1; 0.2 is usual")
    return found


def _adapter(adapter: AdapterArguments) -> list[str]:
    found = []
    start = "pissa" if adapter.pissa_init else adapter.init_lora_weights.lower()
    if not adapter.use_peft:
        found.append(
            "--use_peft False: PPO's four roles are adapters of one frozen base; a large --lora_r comes close to full "
            "training"
        )
    if start.startswith(("pissa", "olora")):
        found.append(f"--init_lora_weights {start}: takes weights out of the base that all four roles share; drop it")
    if adapter.lora_modules_to_save:
        found.append(
            f"--lora_modules_to_save {adapter.lora_modules_to_save}: whole modules cannot differ between the roles of "
            "one base; drop it, or train and merge them in supervised_finetuning.py first"
        )
    return found


def _rewards(args: Parsed) -> list[str]:
    if args[PPOArguments].reward_model_path or args[RewardArguments].reward_funcs:
        return []
    return [
        "nothing to reward: give --reward_model_path (a reward model, as reward_modeling.py trains), or "
        "--reward_funcs accuracy format, or both"
    ]


def _needs(own: PPOArguments, trainer: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    """Flags that are read with another one only: which, and whether it is there."""
    model = ("--reward_model_path", bool(own.reward_model_path))
    names = ("reward_model_weight", "reward_clip", "share_reward_base", "reward_template_name")
    adaptive = ("--adaptive_kl True", bool(trainer.get("adaptive_kl")))
    return dict.fromkeys(names, model) | {"target_kl": adaptive, "kl_horizon": adaptive}


def align(config: Any, rows: int) -> None:
    """Settle how long the run is and where its checkpoints fall, in place: between rollouts, because one within a
    rollout would not be resumed exactly. `rows` is the number of questions.

    ConfigError for a run that ends before the policy is trained.
    """
    from bedside.ppo.batches import rollout_size, steps_for

    updates, given = config.num_ppo_epochs * config.num_mini_batches, config.max_steps
    asked = rollout_size(config) * config.world_size
    if rows < asked:
        logs.info(f"a rollout asks {asked} questions and there are {rows}: some come more than once in it")
    rollout = f"a rollout lasts {updates} optimizer steps"
    config.max_steps = _whole("max_steps", given, updates, rollout) if given > 0 else steps_for(config, rows)
    rollouts = config.max_steps // updates
    if config.do_train and rollouts <= config.critic_warmup_rollouts:
        raise ConfigError(
            f"the run has {rollouts} rollout(s) of {asked} answers, and in the first --critic_warmup_rollouts "
            f"{config.critic_warmup_rollouts} only the critic learns: the policy would stay as it is; give more than "
            f"--total_episodes {config.critic_warmup_rollouts * asked}, or --critic_warmup_rollouts 0"
        )
    evaluated = _settle_steps(config, "eval_steps", config.eval_strategy, updates, rollout)
    if evaluated and config.load_best_model_at_end:  # the best is chosen among checkpoints that were evaluated
        rollout = f"--load_best_model_at_end needs an evaluation, every {evaluated} steps, at each checkpoint"
        updates = evaluated
    _settle_steps(config, "save_steps", config.save_strategy, updates, rollout)


def _settle_steps(config: Any, name: str, strategy: Any, unit: int, why: str) -> int | None:
    """Round the steps between evaluations, or checkpoints, up to a multiple of `unit`, in place; None if it is not in
    steps that they come."""
    steps = getattr(config, name)
    if getattr(strategy, "value", strategy) != "steps" or not steps:
        return None
    steps = math.ceil(steps * config.max_steps) if steps < 1 else steps
    setattr(config, name, _whole(name, steps, unit, why))
    return getattr(config, name)


def _whole(name: str, steps: float, unit: int, why: str) -> int:
    """A number of steps that is a multiple of `unit`."""
    whole = math.ceil(steps / unit) * unit
    if whole != steps:
        logs.info(f"--{name} {steps:g} becomes {whole}: {why}")
    return whole


def worth(source: Any, scorer: Any, weight: float) -> dict[str, Any]:
    """What answers are worth, as `lineage.json` keeps it and a resumed run compares it: a reward model, functions."""
    found: dict[str, Any] = {"reward_model": {**source.record(), "weight": weight}} if source else {}
    return found | (dict(zip(scorer.names, scorer.weights, strict=True)) if scorer else {})


def facts(config: Any, rewards: dict[str, Any]) -> dict[str, str]:
    """Lines of the table that tells what is about to run; warns of rollouts so small that their gradient is noise."""
    per_process = config.per_device_train_batch_size * config.gradient_accumulation_steps * config.num_mini_batches
    answers = per_process * config.world_size
    if answers < _USUAL // 4:
        logs.warn(
            f"{answers} answers a rollout make a noisy gradient ({_USUAL} are usual): raise "
            "--gradient_accumulation_steps or --num_mini_batches, which cost no memory in training "
            "(--rollout_batch_size is what sampling costs)"
        )
    model = rewards.get("reward_model")
    place = "an adapter on the policy's base" if model and model["shared"] else "a model of its own"
    told = [f"{model['path']} ({place}) x {model['weight']:g}"] if model else []
    told += [f"{name} x {weight:g}" for name, weight in rewards.items() if name != "reward_model"]
    updates = config.num_ppo_epochs * config.num_mini_batches
    return {
        "rewards": ", ".join(told),
        "rollout": f"{answers} answers of up to {config.response_length} tokens at temperature "
        f"{config.temperature:g}, {updates} optimizer steps on each ({config.num_ppo_epochs} passes)",
    }


def inputs(
    args: Parsed, config: Any, longest: int, rewards: dict[str, Any], reference_id: str | None
) -> dict[str, Any]:
    """What of a run must be the same when it is resumed, beside data, seed and template; `longest` is the longest
    question in tokens."""
    from bedside.ppo.batches import rollout_size

    names = ("num_ppo_epochs", "num_mini_batches", "response_length", "temperature", "kl_coef", "adaptive_kl", "gamma",
             "lam", "missing_eos_penalty", "reward_clip", "critic_warmup_rollouts", "cliprange", "cliprange_value",
             "vf_coef", "critic_learning_rate", "target_kl", "kl_horizon")  # fmt: skip
    return {
        **{name: getattr(config, name) for name in names},
        "rollout": rollout_size(config) * config.world_size,
        "longest_prompt": longest,
        "rewards": rewards,
        "reward_options": settle_scoring.options(args[RewardArguments]),
        "enable_thinking": args[ChatArguments].enable_thinking,
        "reference": reference_id,
    }
