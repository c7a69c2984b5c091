"""From the flags of an evaluation to its judge, before any model answers."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

from bedside.errors import ConfigError
from bedside.evaluate.judging.model import ModelJudge
from bedside.evaluate.judging.rules import RuleJudge
from bedside.evaluate.judging.scored import RewardJudge, RewardModel
from bedside.evaluate.judging.verdicts import Judge
from bedside.rewards.judge_client import Settings

RULES, REWARD, ENDPOINT = "rules", "reward", "endpoint"
NAMES = (RULES, REWARD, ENDPOINT)
_ALSO = {"rule": RULES, "reward_model": REWARD, "rm": REWARD, "llm": ENDPOINT, "model": ENDPOINT, "api": ENDPOINT,
         "openai": ENDPOINT}  # fmt: skip
_OF = {
    "judge_url": ENDPOINT, "judge_model": ENDPOINT, "judge_rubric": ENDPOINT, "judge_cache": ENDPOINT,
    "judge_thoughts": ENDPOINT,
}  # fmt: skip


def judge_of(options: Mapping[str, Any]) -> Judge:
    """The judge that these options ask for: `judge` (rules, reward, endpoint; None: endpoint with `judge_url`, else
    rules), `judge_*` as grpo_training.py has them, `judge_thoughts`, `reward_model_path`, `reward_template_name`,
    `loading`, `alias_file`.

    ConfigError lists every problem: an unknown name, something that is missing, an option that this judge never reads.
    """
    name = _name(options)
    idle = sorted(flag for flag, of in _OF.items() if options.get(flag) and of != name)
    problems = [f"--{flag}: read with --judge {_OF[flag]} only; add it, or drop the flag" for flag in idle]
    if name == ENDPOINT:
        missing = [flag for flag in ("judge_url", "judge_model") if not options.get(flag)]
        problems += [f"--judge endpoint: needs --{flag}" for flag in missing]
    if name == REWARD and not options.get("reward_model_path"):
        problems.append("--judge reward: needs --reward_model_path, as reward_modeling.py trains")
    if problems:
        raise ConfigError(problems)
    if name == RULES:
        return RuleJudge(options.get("alias_file"))
    if name == REWARD:
        return RewardJudge(
            RewardModel(
                options["reward_model_path"],
                options.get("reward_template_name"),
                dict(options.get("loading") or {}),
            )
        )
    return ModelJudge(_settings(options), bool(options.get("judge_thoughts")))


def judges_of(options: Mapping[str, Any]) -> list[Judge]:
    """The judges of `judge` where it is a list, or names joined by commas; each has a vote of its own."""
    wished = options.get("judge")
    told = wished.split(",") if isinstance(wished, str) else list(wished or [None])
    names = [_name({**options, "judge": name and name.strip()}) for name in told]
    if len(set(names)) < len(names):
        raise ConfigError(f"--judge {','.join(names)}: names a judge twice")
    idle = sorted(flag for flag, of in _OF.items() if options.get(flag) and of not in names)
    if idle:
        raise ConfigError([f"--{flag}: read with --judge {_OF[flag]} only; add it, or drop the flag" for flag in idle])
    others = {name: {flag: None for flag, of in _OF.items() if of != name} for name in names}
    return [judge_of({**options, **others[name], "judge": name}) for name in names]


def _name(options: Mapping[str, Any]) -> str:
    told = options.get("judge")
    if not told:
        return ENDPOINT if options.get("judge_url") else RULES
    name = _ALSO.get(told.lower(), told.lower())
    if name in NAMES:
        return name
    if told.startswith(("http://", "https://")):
        raise ConfigError(f"--judge {told}: an address belongs to --judge_url, with --judge_model beside it")
    near = difflib.get_close_matches(name, (*NAMES, *_ALSO), n=1)
    hint = f"did you mean {_ALSO.get(near[0], near[0])}? " if near else ""
    raise ConfigError(f"--judge {told}: {hint}known: {', '.join(NAMES)}")


def _settings(options: Mapping[str, Any]) -> Settings:
    names = [item.name for item in dataclasses.fields(Settings)]
    told = {name: options[f"judge_{name}"] for name in names if options.get(f"judge_{name}") is not None}
    return Settings(**told)
