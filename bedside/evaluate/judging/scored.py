"""A reward model as a judge: of two answers the one with the higher score wins."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from bedside import lineage, logs, policy
from bedside.answers import Answer
from bedside.errors import DataError
from bedside.evaluate.judging.questions import Question
from bedside.evaluate.judging.rules import completion_of
from bedside.evaluate.judging.verdicts import Verdict

TIE = 1e-4  # scores that are nearer than this are equal: batches of another width move the last digits
LOADING = {"dtype": "auto", "device_map": None, "cache_dir": None, "trust_remote_code": False}


@dataclass
class RewardModel:
    """Scores answers with its own tokenizer and template, thought included, as in its training. It is looked up at
    once (ConfigError for what is no reward model) and loaded when it is first asked.

    `loading` holds keywords of `models.load_base`.
    """

    path: str
    template_name: str | None = None
    loading: dict[str, Any] = field(default_factory=dict)
    batch: int = 16
    _model: Any = None
    _known: dict[tuple, float | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from bedside.ppo import sources

        here = policy.Origin(lineage.resolve(self.path), self.path)
        self._source = sources.find(self.path, here, "no", {**LOADING, **self.loading})

    @property
    def identity(self) -> str | None:
        """Of its weights."""
        return self._source.id

    def scores(self, questions: Sequence[Question], answers: Sequence[Answer], what: str) -> list[float | None]:
        """A score each; None, and a warning with the question's line, for one that it cannot read (too long). An
        answer is scored once, however many it is compared with."""
        from bedside.ppo.scores import Case

        keys, new = [], {}
        for question, answer in zip(questions, answers, strict=True):
            task = _task(question)
            keys.append((task["prompt"], answer.text, answer.thought, answer.finish_reason))
            if keys[-1] not in self._known:
                new[keys[-1]] = Case(task, [], [], completion_of(answer))
        names, cases = list(new), list(new.values())
        starts = range(0, len(cases), 8 * self.batch)
        for start in logs.progress(starts, len(starts), what, "batch"):
            chosen = slice(start, start + 8 * self.batch)
            self._known |= zip(names[chosen], self._scored(cases[chosen]), strict=True)
        return [self._known[key] for key in keys]

    def _scored(self, cases: list[Any]) -> list[float | None]:
        model = self._loaded()
        try:
            return list(model(cases))
        except DataError as error:
            if len(cases) == 1:
                logs.warn(f"{error}. It has no score here")
                return [None]
        return [score for case in cases for score in self._scored([case])]

    def _loaded(self) -> Any:
        if self._model is None:
            import torch

            from bedside.ppo import sources

            device = "cuda" if torch.cuda.is_available() else "cpu"
            self._model = sources.separate_scores(
                self._source, self.template_name, {**LOADING, **self.loading}, device, self.batch
            )
        return self._model


@dataclass
class RewardJudge:
    """Prefers the higher score; scores within `tie` of each other are a tie, a missing one is no verdict."""

    model: RewardModel
    tie: float = TIE
    name: str = "reward model"
    unscored: int = 0

    def verdicts(
        self, questions: Sequence[Question], first: Sequence[Answer], second: Sequence[Answer]
    ) -> list[Verdict]:
        """One verdict a question."""
        scores = self.model.scores([*questions, *questions], [*first, *second], "scored by the reward model")
        made = []
        for one, other in zip(scores[: len(questions)], scores[len(questions) :], strict=True):
            if one is None or other is None:
                self.unscored += 1
                made.append(Verdict(None, why={"first": one, "second": other}))
                continue
            win = 0.5 if abs(one - other) <= self.tie else float(other > one)
            made.append(Verdict(win, why={"first": one, "second": other}))
        return made

    def told(self) -> list[str]:
        """Whose scores they are."""
        lines = [
            f"judge reward model {self.model.path} ({self.model.identity or 'no lineage'}): the higher score wins, "
            f"scores within {self.tie:g} are a tie; it reads thought and answer, as in its training"
        ]
        if self.unscored:
            lines.append(f"{self.unscored} pairs were too long for the reward model and count for neither side")
        return lines


def _task(question: Question) -> dict[str, Any]:
    file, _, line = question.where.rpartition(":")
    return {"prompt": json.dumps(question.messages, ensure_ascii=False), "source": file or question.id, "line": line}
