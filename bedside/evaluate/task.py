"""What a task of an evaluation takes and gives: a subject and items in, one case an item out, measured alike.

A measure is a number of every case; how it is summed up, compared and shown follows from its kind. So every task gets
the same intervals, the same paired tests and the same rows of a report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bedside.answers import Answer, Engine, Sampling

# How the values of a measure are summed up. SHARE: 0 or 1 an item, shown in per cent. MEAN: any number. PERPLEXITY:
# summed nats with `weights` as the number of tokens: exp(sum of nats / sum of tokens).
SHARE, MEAN, PERPLEXITY = "share", "mean", "perplexity"


@dataclass(frozen=True)
class Measure:
    """One number of every case. `better` is "higher", "lower" or None where neither is (a length)."""

    name: str
    label: str
    zh: str
    kind: str = SHARE
    better: str | None = "higher"
    unit: str = ""


@dataclass(frozen=True)
class Case:
    """One item as one model did it. `id` is the item's and pairs the cases of two models.

    A value is None where the measure does not apply to the item (its red flags, where it has none): such a case is
    left out of that measure, for every model alike. `groups` are what results are split by (department, language).
    `shown` is what a reader wants to see: question, expected, thought, answer, where (file:line), finish_reason.
    """

    id: str
    values: dict[str, float | None]
    weights: dict[str, float] = field(default_factory=dict)
    groups: dict[str, str] = field(default_factory=dict)
    shown: dict[str, Any] = field(default_factory=dict)


class Subject(Protocol):
    """The model that is evaluated. `weights` is None where only its answers can be had (a server)."""

    name: str
    engine: Engine
    weights: Weights | None

    def answers(self, chats: Sequence[list[dict]], sampling: Sampling, what: str) -> list[Answer]:
        """Answers in the order of `chats`, from the book of what this model has answered already where it has; shows
        progress as `what`. Long prompts are answered with long ones."""
        ...


@dataclass(frozen=True)
class Weights:
    """A model in this process, for what needs its probabilities: the model, its tokenizer, and how chats become ids
    (data.tokens.Encoding)."""

    model: Any
    tokenizer: Any
    encoding: Any


@dataclass(frozen=True)
class Settings:
    """What is common to the tasks of one evaluation. `options` are the task's own flags, by name."""

    sampling: Sampling
    seed: int = 42
    batch: int = 32
    most: int | None = None  # items of a task, evenly spread; None is all
    enable_thinking: bool | None = None
    system: str | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Task:
    """A kind of examination. `load` raises DataError or ConfigError for files that it cannot read, before any model is
    loaded; `run` gives one case an item, in the order of items; `told` gives the lines of a table of its own, where
    measures and their intervals do not say all of it."""

    name: str
    title: str
    zh: str
    measures: tuple[Measure, ...]
    load: Callable[[str, Settings], list[Any]]
    run: Callable[[Subject, list[Any], Settings], list[Case]]
    file: str | None = None  # what it reads where no file is given
    told: Callable[[Sequence[Case]], list[str]] | None = None


def spread(items: Sequence[Any], most: int | None) -> list[Any]:
    """`most` of the items, evenly spread over their order; all of them where there are no more.

    >>> spread("abcdef", 3)
    ['a', 'c', 'e']
    """
    if most is None or most >= len(items):
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]
