"""The flags that PPO and GRPO share: which rewards, how long questions may be, and when a run is stopped."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bedside import launch, logs, models, rewards
from bedside.cli import Parsed
from bedside.errors import Alarmed, ConfigError
from bedside.policy import Origin
from bedside.rewards import selftest
from bedside.rewards.reward import FORMAT, SHAPING
from bedside.rollouts.alarms import Thresholds
from bedside.settle_scoring import wished
from bedside.stage_args import RewardArguments, RolloutArguments

_FORM = 0.2  # the weight of rewards that look at the form of an answer, beside 1 for those that look at what it says
_SAME = (
    "choice_partial", "length_min", "length_max", "judge_url", "judge_model", "judge_key_variable", "judge_rubric",
    "judge_timeout", "judge_retries", "judge_concurrency", "judge_max_failures", "judge_price_in", "judge_price_out",
)  # fmt: skip


def scorer(own: RewardArguments, output: Path, tasks: Iterable[dict[str, Any]] = ()) -> rewards.Scorer | None:
    """The rewards that are wished, None if there are none; `tasks` (rows of the data) tell which names there are.

    ConfigError lists every problem.
    """
    names = wished(own)
    if not names:
        return None
    weights = _weights(own.reward_weights)
    options = {name: getattr(own, name) for name in _SAME}
    options["judge_cache"] = own.judge_cache or str(output / "judge_cache.jsonl")
    golds = [json.loads(task["gold"]) for task in tasks]
    made = rewards.resolve(names, weights, aliases=own.alias_file, golds=golds, **options)
    if weights:
        return made
    return rewards.Scorer(
        made.rewards, [_FORM if reward.role in (FORMAT, SHAPING) else 1.0 for reward in made.rewards]
    )


def _weights(text: str | None) -> list[float] | None:
    if not text:
        return None
    try:
        return [float(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise ConfigError(f"--reward_weights {text}: expected numbers, one for each of --reward_funcs") from None


def thresholds(own: RolloutArguments) -> Thresholds:
    """When a run is stopped; ConfigError lists every problem."""
    made = Thresholds(
        kl=own.alarm_kl, kl_rise=own.alarm_kl_rise, cut=own.alarm_cut, shrink=own.alarm_shrink,
        hacking=own.alarm_hacking, entropy=own.alarm_entropy, entropy_floor=own.alarm_entropy_floor,
        window=own.alarm_window,
    )  # fmt: skip
    if problems := made.problems():
        raise ConfigError(problems)
    return made


def tested(own: RewardArguments, output: Path, tasks: Any) -> rewards.Scorer | None:
    """The rewards that are wished, once they have told right answers to these tasks from wrong ones; ConfigError with
    the rows where they have not.

    Only rank 0 tests: a judge is paid for once, whatever the number of processes.
    """
    made = scorer(own, output, tasks)

    def tried() -> None:  # findings hold functions, which do not travel to other processes
        if made and logs.rank() == 0:  # before the trainer's config is made, no process knows of the others
            selftest.check(made, tasks)

    launch.once(tried)
    return made


@contextmanager
def costs(scorer: rewards.Scorer | None) -> Iterator[None]:
    """Tell what the rewards cost when what is inside is done or stopped; of all processes where all of them end."""
    try:
        yield
    except Alarmed:  # raised in every process
        tell_costs(scorer)
        raise
    except BaseException:  # perhaps in this process alone: the others would be waited for in vain
        for line in scorer.told() if scorer else []:
            logs.info(line if logs.world_size() == 1 else f"{line} (of this process alone)")
        raise
    tell_costs(scorer)


def tell_costs(scorer: rewards.Scorer | None) -> None:
    """One line for each reward that costs something, over all processes. Every process must call it."""
    for line in scorer.told(_over_processes) if scorer else []:
        logs.info(line)


def _over_processes(counts: list[int]) -> list[int]:
    """The sum of what every process counted; all of them have to call it."""
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return counts
    rows: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(rows, counts)
    return [sum(column) for column in zip(*rows, strict=True)]


def measure() -> rewards.Scorer:
    """What held-out answers are looked at for where no verifiable reward is trained."""
    return rewards.resolve(["accuracy"])


def context_of(origin: Origin, loading: dict[str, Any]) -> int | None:
    """Tokens that question and answer may have together, where the base says so. `loading` holds `cache_dir` and
    `trust_remote_code`; ConfigError for a base that cannot be had with them."""
    resolved = origin.resolved
    config = models.config_of(
        resolved.base, revision=resolved.revision or "main", cache_dir=loading["cache_dir"],
        trust_remote_code=loading["trust_remote_code"],
    )  # fmt: skip
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def longest_prompt(args: Parsed, context: int | None, answer: str) -> int:
    """The longest question in tokens: as wanted, and no more than an answer leaves of the model's context. `answer`
    is the flag of the longest answer.

    ConfigError if the user has asked for a longer one, or if nothing is left.
    """
    wanted, longest = args[RolloutArguments].max_source_length, args.trainer[answer]
    room = wanted if context is None else context - longest
    if room < 1 or "max_source_length" in args.given and wanted > room:
        raise ConfigError(
            f"--max_source_length {wanted} and --{answer} {longest} are more than the model's context of {context} "
            "tokens; lower one of them"
        )
    return min(wanted, room)
