"""Rewards of medical answers: `resolve` makes a scorer of names, `total` makes one number of its scores.

No torch here: the self-test (`bedside.rewards.selftest`) runs before anything heavy is loaded.
"""

import difflib
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from bedside.errors import ConfigError
from bedside.rewards import choice, format, judge, number, python, red_flags, style
from bedside.rewards.accuracy import Accuracy, kind_of
from bedside.rewards.completion import Completion
from bedside.rewards.names import Names
from bedside.rewards.reward import FOREIGN, FORMAT, SHAPING, Counts, Gold, Messages, Reward, each

__all__ = ["REWARDS", "Completion", "Options", "Reward", "Scorer", "resolve", "total"]


@dataclass(frozen=True)
class Options:
    """What rewards can be told; docs/rewards.md explains each."""

    aliases: str | None = None  # a file of names that mean the same
    golds: Iterable[Gold] = field(default_factory=tuple)  # of the data: their names are known, so that a list is one
    choice_partial: float = 0.0
    length_min: int = 32
    length_max: int = 512
    judge_url: str | None = None
    judge_model: str | None = None
    judge_key_variable: str = "OPENAI_API_KEY"
    judge_cache: str | None = None
    judge_rubric: str | None = None
    judge_timeout: float = 60.0
    judge_retries: int = 4
    judge_concurrency: int = 8
    judge_max_failures: float = 0.2
    judge_price_in: float = 0.0
    judge_price_out: float = 0.0

    def problems(self) -> list[str]:
        """What is wrong with the options, in sentences."""
        found = []
        if not 0 <= self.choice_partial < 1:
            found.append(f"choice_partial {self.choice_partial:g}: expected 0 to less than 1")
        if not 1 <= self.length_min <= self.length_max:
            found.append(f"length_min {self.length_min}, length_max {self.length_max}: expected 1 <= min <= max")
        return found


def _accuracy(options: Options) -> Reward:
    return Reward("accuracy", each(Accuracy(Names(options.aliases, options.golds), options.choice_partial)))


def _choice(options: Options) -> Reward:
    score = partial(choice.score, partial=options.choice_partial)
    return Reward(
        "choice", each(_only(score, "choice")), needs="answer, and options (or lines A. B. C. in the question)"
    )


def _diagnosis(options: Options) -> Reward:
    return Reward("diagnosis", each(_only(Names(options.aliases, options.golds), "name")), needs="answer, and aliases")


def _number(options: Options) -> Reward:
    return Reward("number", each(_only(number.score, "number")), needs="answer as a number, with unit or in unit")


def _length(options: Options) -> Reward:
    score = partial(style.length, shortest=options.length_min, longest=options.length_max)
    return Reward("length", each(score), SHAPING, "nothing")


def _judge(options: Options) -> Reward:
    if not options.judge_url or not options.judge_model:
        raise ConfigError("reward judge: needs judge_url and judge_model, an OpenAI-compatible server and its model")
    told = {name.removeprefix("judge_"): value for name, value in vars(options).items() if name.startswith("judge_")}
    made = judge.Judge(judge.Settings(**told))
    return Reward("judge", made.score, FOREIGN, "nothing; answer is shown to the judge", 8, made.told)


def _only(score: Callable[..., float | None], kind: str) -> Callable[..., float | None]:
    """A check that says nothing about rows that are checked in another way."""

    def scored(completion: Completion, gold: Gold, messages: Messages) -> float | None:
        return score(completion, gold, messages) if kind_of(gold, messages) == kind else None

    return scored


REWARDS: dict[str, Callable[[Options], Reward]] = {
    "accuracy": _accuracy,
    "format": lambda options: Reward("format", each(format.score), FORMAT, "nothing"),
    "choice": _choice,
    "diagnosis": _diagnosis,
    "number": _number,
    "red_flags": lambda options: Reward("red_flags", each(red_flags.score), needs="red_flags"),
    "length": _length,
    "repetition": lambda options: Reward("repetition", each(style.repetition), SHAPING, "nothing"),
    "language": lambda options: Reward("language", each(style.same_language), SHAPING, "nothing"),
    "judge": _judge,
}


@dataclass(frozen=True)
class Scorer:
    """Rewards with their weights, in order."""

    rewards: tuple[Reward, ...]
    weights: list[float]

    @property
    def names(self) -> list[str]:
        """The names under which the scores are logged."""
        return [reward.name for reward in self.rewards]

    def score(
        self, completions: list[Completion], golds: list[Gold], messages: list[Messages]
    ) -> list[dict[str, float | None]]:
        """For each completion the score of each reward, by name; None where a reward does not apply."""
        columns = [reward.score(completions, golds, messages) for reward in self.rewards]
        return [dict(zip(self.names, row, strict=True)) for row in zip(*columns, strict=True)]

    def told(self, summed: Counts = list) -> list[str]:
        """Lines for the end of a run: what a judge cost. `summed` adds counts of all processes; without it they are
        this one's."""
        return [line for reward in self.rewards for line in reward.told(summed)]


def resolve(names: list[str], weights: list[float] | None = None, **options: Any) -> Scorer:
    """The scorer of these rewards (names of REWARDS, or `file.py:function`); ConfigError lists every problem."""
    told = Options(**options)
    problems = told.problems() + _weight_problems(names, weights)
    found: list[Reward] = []
    for name in names:
        try:
            reward = REWARDS[name](told) if name in REWARDS else python.load(name) if python.is_one(name) else None
        except ConfigError as error:
            problems += error.problems
            continue
        if reward is None:
            near = difflib.get_close_matches(name, REWARDS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            problems.append(f"reward {name}: {hint}known: {', '.join(REWARDS)}, or path/to/file.py:function")
        elif reward.name in [other.name for other in found]:
            problems.append(f"reward {name}: two rewards are called {reward.name}; give each its own name")
        else:
            found.append(reward)
    if problems:
        raise ConfigError(problems)
    return Scorer(tuple(found), [float(weight) for weight in weights] if weights else [1.0] * len(found))


def _weight_problems(names: list[str], weights: list[float] | None) -> list[str]:
    if not names:
        return [f"no reward is named; known: {', '.join(REWARDS)}"]
    if weights is None:
        return []
    if len(weights) != len(names):
        return [f"{len(weights)} reward weights for {len(names)} rewards ({', '.join(names)})"]
    if not all(math.isfinite(weight) for weight in weights) or not any(weights):
        return [f"reward weights {' '.join(map(str, weights))}: expected finite numbers, not all of them 0"]
    return []


def total(row: dict[str, float | None], weights: list[float]) -> float:
    """The weighted sum of the scores that are there.

    >>> total({"accuracy": 1.0, "format": 0.5, "judge": None}, [1.0, 0.2, 3.0])
    1.1
    """
    scores = zip(row.values(), weights, strict=True)
    return sum((weight * score for score, weight in scores if score is not None), start=0.0)
