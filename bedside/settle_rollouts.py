"""The flags that PPO and GRPO share: which rewards, how long questions may be, and when a run is stopped."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bedside import rewards
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.policy import Origin
from bedside.rewards import selftest
from bedside.rewards.reward import FORMAT, SHAPING
from bedside.rollouts.alarms import Thresholds
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
    names = [name.strip() for name in (own.reward_funcs or "").split(",") if name.strip()]
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
    the rows where they have not."""
    made = scorer(own, output, tasks)
    if made:
        selftest.check(made, tasks)
    return made


def measure() -> rewards.Scorer:
    """What held-out answers are looked at for where no verifiable reward is trained."""
    return rewards.resolve(["accuracy"])


def context_of(origin: Origin) -> int | None:
    """Tokens that question and answer may have together, where the base says so."""
    from transformers import AutoConfig

    resolved = origin.resolved
    config = AutoConfig.from_pretrained(resolved.base, revision=resolved.revision or "main")
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
