"""A reward with its name, what it reads of gold, and how it is tested before a run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bedside.rewards.completion import Completion

Gold = dict[str, Any]
Messages = list[dict[str, Any]]
One = Callable[[Completion, Gold, Messages], float | None]
Counts = Callable[[list[int]], list[int]]
Many = Callable[[list[Completion], list[Gold], list[Messages]], list[float | None]]

VERIFIABLE, FORMAT, SHAPING, FOREIGN = "verifiable", "format", "shaping", "foreign"


@dataclass(frozen=True)
class Reward:
    """`score` takes a batch. `role` says how the self-test treats it; `needs` names the fields of gold it reads."""

    name: str
    score: Many
    role: str = VERIFIABLE
    needs: str = "answer"
    most: int | None = None  # rows of its self-test: few for a judge, whose answers are paid for
    # Lines for the end of a run, such as what a judge cost; what it is given adds the counts of all processes.
    told: Callable[[Counts], list[str]] = lambda summed: []


def each(one: One) -> Many:
    """A function of one completion as a function of a batch."""

    def score(completions: list[Completion], golds: list[Gold], messages: list[Messages]) -> list[float | None]:
        return [one(*row) for row in zip(completions, golds, messages, strict=True)]

    return score
