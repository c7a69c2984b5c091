"""The flags of GRPO and RLOO against each other: every problem at once, then one meaning each."""

import os
from importlib.util import find_spec
from typing import Any

from bedside import logs, settle, settle_scoring
from bedside.args import AdapterArguments, ModelArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.settle_pairs import dropout_told, moving_reference, smoothing, start_told
from bedside.stage_args import GroupArguments, RewardArguments
from bedside.trainer_flags import flags_of

CONFIGS = {"grpo": "GRPOConfig", "rloo": "RLOOConfig"}
# What we set where TRL's default is another one.
DEFAULTS = {"max_completion_length": 512, "num_generations_eval": 1, "disable_dropout": True}
_BETA = {"grpo": 0.0, "rloo": 0.05}  # TRL's defaults
_UNTOUCHED = {"top_p": 1.0, "top_k": 0, "min_p": None, "repetition_penalty": 1.0}  # of sampling


def grpo(args: Parsed) -> str:
    """Settle what only this stage has, in place; returns the algorithm. ConfigError lists every problem."""
    own, trainer = args[GroupArguments], args.trainer
    others = set(flags_of("GroupConfig")) - set(flags_of(CONFIGS[own.algorithm]))
    other = next(name for name in CONFIGS if name != own.algorithm)
    problems = [
        f"--{name} {trainer[name]}: belongs to --algorithm {other}; drop it, or take that one"
        for name in sorted(others & set(trainer))
    ]
    if not args[RewardArguments].reward_funcs:
        problems.append("nothing to reward: give --reward_funcs, such as accuracy,format")
    for name, value in DEFAULTS.items():
        trainer.setdefault(name, value)
    problems += _sampling(trainer) + _rollout(trainer) + _evaluation(trainer) + smoothing(trainer)
    problems += moving_reference(args[AdapterArguments], trainer) + settle_scoring.idle(args)
    if trainer.get("use_vllm"):
        problems += _vllm(args[ModelArguments])
    if beta(own.algorithm, trainer) < 0:
        problems.append(f"--beta {trainer['beta']:g}: expected at least 0 (0 needs no reference)")
    elif beta(own.algorithm, trainer):
        problems += start_told(args[AdapterArguments])
    if trainer.get("auto_find_batch_size"):
        problems.append("--auto_find_batch_size True: a smaller batch would part the answers to one question; drop it")
    if problems:
        raise ConfigError(problems)
    args.notes += dropout_told(args[AdapterArguments], args.given, trainer)
    return own.algorithm


def beta(algorithm: str, trainer: dict[str, Any]) -> float:
    """The weight of the KL to the reference."""
    given = trainer.get("beta")
    return _BETA[algorithm] if given is None else given


def _sampling(trainer: dict[str, Any]) -> list[str]:
    """Answers are drawn from the policy itself; from anything else its log-probabilities would be wrong."""
    problems = [
        f"--{name} {trainer[name]:g}: answers are drawn from the whole distribution, whose probabilities are trained; "
        "drop it, and use --temperature"
        for name, value in _UNTOUCHED.items()
        if trainer.get(name) not in (None, value)
    ]
    trainer |= _UNTOUCHED
    if trainer.get("temperature", 1.0) <= 0:
        problems.append(f"--temperature {trainer['temperature']:g}: expected more than 0; equal answers teach nothing")
    if trainer["max_completion_length"] < 1:
        problems.append(f"--max_completion_length {trainer['max_completion_length']}: expected at least 1")
    return problems


def _rollout(trainer: dict[str, Any]) -> list[str]:
    """A rollout holds whole groups, and a checkpoint stands between two rollouts."""
    group = trainer.setdefault("num_generations", 8)
    if group < 2:
        return [f"--num_generations {group}: expected at least 2; answers to one question are compared"]
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = trainer.get("per_device_train_batch_size", 8)
    accumulation = trainer.get("gradient_accumulation_steps", 1)
    steps, size = trainer.get("steps_per_generation"), trainer.get("generation_batch_size")
    if steps and size:
        return [f"--steps_per_generation {steps} and --generation_batch_size {size}: give one"]
    steps = steps or (size // (batch * processes) if size else accumulation)
    rollout = size or batch * processes * steps
    if not steps or rollout % group or rollout % (batch * processes):
        return [
            f"a rollout of {rollout} answers (--per_device_train_batch_size {batch} x --gradient_accumulation_steps "
            f"{steps} x {processes} process(es)) does not hold whole groups: expected a multiple of --num_generations "
            f"{group}"
        ]
    lasts = steps * trainer.get("num_iterations", 1)  # micro-batches that it serves
    every = trainer.get("save_steps", 500)
    if trainer.get("save_strategy", "steps") == "steps" and lasts > accumulation and every * accumulation % lasts:
        return [
            f"--save_steps {every:g}: a rollout serves {lasts // accumulation} optimizer steps, and its answers are "
            "not saved; give a multiple of that, so that a run can be resumed"
        ]
    return []


def _evaluation(trainer: dict[str, Any]) -> list[str]:
    group, batch = trainer["num_generations_eval"], trainer.get("per_device_eval_batch_size", 8)
    if trainer.get("eval_strategy", "no") == "no" or batch * int(os.environ.get("WORLD_SIZE", "1")) % group == 0:
        return []
    return [f"--per_device_eval_batch_size {batch}: expected a multiple of --num_generations_eval {group}"]


def _vllm(model: ModelArguments) -> list[str]:
    problems = []
    if find_spec("vllm") is None:
        problems.append("--use_vllm True: vllm is not installed; run `pip install vllm`, or drop the flag")
    if model.load_in_4bit or model.load_in_8bit or model.qlora or model.quantization_bit:
        problems.append(
            "--use_vllm with a quantised base: the trainer library merges the adapter into the base for each rollout "
            "and takes it out again, which a 4-bit or 8-bit base does not survive; drop --use_vllm, or load the base "
            "in bfloat16 (ppo_training.py --use_vllm streams the weights instead)"
        )
    return problems


def config(trainer: dict[str, Any], scorer: Any) -> dict[str, Any]:
    """The trainer config's keywords: without the flags that are ours, and with the weights of the rewards."""
    own = {"max_length", "log_completions", "reward_weights"}
    kept = {name: value for name, value in trainer.items() if name not in own}
    return kept | settle.for_batches(trainer) | {"reward_weights": list(scorer.weights)}


def check_rows(rows: int, config: Any) -> None:
    """ConfigError where there are fewer questions than a rollout asks; a line where some are left over."""
    asked = config.generation_batch_size // config.num_generations
    if rows < asked:
        raise ConfigError(
            f"{rows} question(s) to train on, and a rollout asks {asked}; lower --per_device_train_batch_size or "
            "--gradient_accumulation_steps, or raise --num_generations"
        )
    if rows % asked:
        logs.info(f"a rollout asks {asked} of {rows} questions: {rows % asked} wait in each epoch, others each time")


def inputs(
    config: Any, longest: int, algorithm: str, scorer: Any, rewards: RewardArguments, reference_id: str | None
) -> dict[str, Any]:
    """What of a run must be the same when it is resumed."""
    return {
        "algorithm": algorithm,
        "limits": [longest, config.max_completion_length],
        "rollout": [config.generation_batch_size, config.num_generations, config.num_iterations],
        "temperature": config.temperature,
        "loss": getattr(config, "loss_type", algorithm),
        "beta": config.beta,
        "rewards": dict(zip(scorer.names, scorer.weights, strict=True)),
        "reward_options": settle_scoring.options(rewards),
        "reference": reference_id,
    }


def facts(config: Any, scorer: Any) -> dict[str, str]:
    """Lines of the table that tells what is about to run."""
    rewards = ", ".join(f"{name} x {weight:g}" for name, weight in zip(scorer.names, scorer.weights, strict=True))
    group, size = config.num_generations, config.generation_batch_size
    return {
        "rewards": rewards,
        "rollout": f"{size // group} questions x {group} answers of up to {config.max_completion_length} tokens at "
        f"temperature {config.temperature:g}, used {config.num_iterations} time(s)",
    }
