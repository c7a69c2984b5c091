"""Which step is started first, and how long the rest will take: pure, from what steps need and took before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bedside.pipeline.steps import Step


def expected(steps: Sequence[Step], records: Mapping[str, Mapping[str, Any]]) -> dict[str, float | None]:
    """Seconds that each step will take: as long as it took here before, else the step's own guess, else None."""
    return {step.name: records.get(step.name, {}).get("seconds") or step.seconds for step in steps}


def tails(steps: Sequence[Step], seconds: Mapping[str, float | None]) -> dict[str, float]:
    """Seconds from the start of each step to the end of all that needs it, one after the other (its critical path).

    A step of unknown length counts as a minute.

    >>> steps = [Step("a", "", (), "a"), Step("b", "", (), "b", needs=("a",))]
    >>> tails(steps, {"a": 10.0, "b": 5.0})
    {'b': 5.0, 'a': 15.0}
    """
    found: dict[str, float] = {}
    for step in reversed(steps):
        after = [found[other.name] for other in steps if step.name in other.needs]
        found[step.name] = (seconds[step.name] or 60.0) + max(after, default=0.0)
    return found


def urgent_first(steps: Sequence[Step], seconds: Mapping[str, float | None]) -> list[Step]:
    """The steps in the order in which they are started where several could be: the longest critical path first."""
    tail = tails(steps, seconds)
    return sorted(steps, key=lambda step: -tail[step.name])  # a stable sort keeps the recipe's order among equals


def rest(
    steps: Sequence[Step], seconds: Mapping[str, float | None], over: set[str], took: Mapping[str, float], jobs: int
) -> float | None:
    """Seconds until everything is done: the longest path that is left, or all that is left shared by the lanes,
    whichever is more. None while a step's length is not known. `took` is how long the running ones have run."""
    left = [step for step in steps if step.name not in over]
    if any(seconds[step.name] is None for step in left):
        return None
    remaining = {step.name: max(0.0, seconds[step.name] - took.get(step.name, 0.0)) for step in left}
    path: dict[str, float] = {}
    for step in reversed(left):
        after = [path[other.name] for other in left if step.name in other.needs]
        path[step.name] = remaining[step.name] + max(after, default=0.0)
    return max(max(path.values(), default=0.0), sum(remaining.values()) / jobs)
