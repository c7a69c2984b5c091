"""Rewards as TRL calls them: one function for each, so that each is logged; answers are scored once for all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from bedside import logs
from bedside.generate import ChatEngine
from bedside.ppo.scores import Case, Scores, where
from bedside.rewards.completion import Completion

_TASK = ("prompt", "gold", "source", "line", "opened")  # columns of a task that scoring reads


def functions(scorer: Any, engine: ChatEngine) -> list[Callable[..., list[float | None]]]:
    """The functions of a run whose answers the engine's tokenizer writes and its stop tokens end."""
    return TaskRewards(Scores(None, scorer), engine.decode, engine.stop_ids).functions()


class TaskRewards:
    """The functions of a run. `decode` makes text of ids, without special tokens; `stops` end an answer."""

    def __init__(self, scores: Scores, decode: Callable[[list[int]], str], stops: Sequence[int]):
        self.scores, self.decode, self.stops = scores, decode, set(stops)
        self.unscored = 0  # answers that no reward said anything about
        self._of: Any = None
        self._rows: list[dict[str, float | None]] = []

    def functions(self) -> list[Callable[..., list[float | None]]]:
        """In the order of `scores.names`, each called as its reward is."""
        return [self._function(name) for name in self.scores.names]

    def _function(self, name: str) -> Callable[..., list[float | None]]:
        def reward(prompts: list[str], completion_ids: list[list[int]], **columns: Any) -> list[float | None]:
            if self._of is not completion_ids:
                self._of, self._rows = completion_ids, self._scored(completion_ids, {**columns, "prompt": prompts})
            return [row.get(name) for row in self._rows]

        reward.__name__ = name
        return reward

    def _scored(self, completion_ids: list[list[int]], columns: dict[str, list]) -> list[dict[str, float | None]]:
        cases = []
        for index, ids in enumerate(completion_ids):
            task = {name: columns[name][index] for name in _TASK}
            finished = bool(ids) and ids[-1] in self.stops
            kept = ids[:-1] if finished else ids
            completion = Completion(self.decode(kept), finished, bool(task["opened"]), len(ids))
            cases.append(Case(task, list(columns["prompt_ids"][index]), kept, completion))
        rows = self.scores.named(cases)
        for case, row in zip(cases, rows, strict=True):
            if all(value is None for value in row.values()):
                if not self.unscored:
                    logs.warn(f"{where(case.task)}: no reward says anything about this row, so nothing is learnt from "
                              "it; add one that does (docs/rewards.md), such as format")  # fmt: skip
                self.unscored += 1
        return rows
