"""What an answer is worth: a reward model's score, verifiable rewards, functions of the user, and their sum."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from bedside import logs, rewards, thoughts
from bedside.data import tokens
from bedside.errors import ConfigError, DataError
from bedside.rewards.completion import Completion
from bedside.rewards.python import WrongScore
from bedside.templates import Template

if TYPE_CHECKING:
    import torch

    from bedside.ppo.rollout import Answers

REWARD_MODEL = "reward_model"  # the name of its score among the rewards
_UNLIMITED = 1 << 40


class Case(NamedTuple):
    """One answer to be scored: its task (a row of `bedside.data.tasks`), its prompt's and its own ids, its text."""

    task: dict[str, Any]
    prompt: list[int]
    ids: list[int]  # without the stop token
    completion: Completion


class RewardModel(Protocol):
    """Scores answers, a number each."""

    def __call__(self, cases: Sequence[Case]) -> list[float]: ...


@dataclass
class SharedReward:
    """The reward adapter on the policy's base. `forward(ids, mask)` gives `(B,)`.

    It reads an answer as in its training, up to the end of the turn: an answer that was cut, or that another stop
    token ended, is given that end.
    """

    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    turn_end: int
    pad: int
    device: Any
    batch: int = 16

    def __call__(self, cases: Sequence[Case]) -> list[float]:
        """Scores in the order of the cases."""
        return _scored([[*case.prompt, *case.ids, self.turn_end] for case in cases], self)


@dataclass
class SeparateReward:
    """A reward model of another base: questions and answers are written anew in its own template and tokenizer."""

    forward: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    tokenizer: Any
    encoding: tokens.Encoding
    pad: int
    device: Any
    batch: int = 16

    @classmethod
    def of(cls, model: Any, tokenizer: Any, template: Template, longest: int | None, batch: int) -> SeparateReward:
        """For a sequence classifier with its tokenizer and template; `longest` is its context in tokens."""

        def forward(ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, 0].float()

        encoding = tokens.encoding_for(tokenizer, template, longest or _UNLIMITED)
        return cls(forward, tokenizer, encoding, tokenizer.pad_token_id, next(model.parameters()).device, batch)

    def __call__(self, cases: Sequence[Case]) -> list[float]:
        """Scores in the order of the cases; an answer that its template refuses is scored as plain text."""
        chats = [self._chat(case, apart=True) for case in cases]
        encoded = list(tokens.encode(chats, self.tokenizer.backend_tokenizer, self.encoding))
        again = [number for number, item in enumerate(encoded) if item.error or not item.samples]
        plain = [self._chat(cases[number], apart=False) for number in again]
        for number, item in zip(
            again, tokens.encode(plain, self.tokenizer.backend_tokenizer, self.encoding), strict=True
        ):
            encoded[number] = item
        rows = []
        for case, item in zip(cases, encoded, strict=True):
            if item.error or not item.samples:
                said = " ".join(item.error or ("it is too long for its context",))
                raise DataError(
                    "E_REWARD", where(case.task), f"the reward model cannot read this conversation: {said}; limit "
                    "--max_source_length and --response_length, or leave the row out"
                )  # fmt: skip
            sample = item.samples[-1]
            rows.append(list(sample.ids[: sample.spans[-1][1]]))
        return _scored(rows, self)

    @staticmethod
    def _chat(case: Case, apart: bool) -> dict:
        found = thoughts.parse(case.completion.text, case.completion.opened)
        turn = {"role": "assistant", "content": (found.answer if apart else case.completion.text.strip()) or "-"}
        if apart and found.thought:
            turn["reasoning_content"] = found.thought
        history = [
            {**message, "train": False} if message["role"] == "assistant" else message
            for message in json.loads(case.task["prompt"])
        ]
        return {"messages": [*history, turn]}


def _scored(rows: list[list[int]], model: SharedReward | SeparateReward) -> list[float]:
    """The scores of rows of ids, in batches of like lengths, padded on the right."""
    import torch

    order = sorted(range(len(rows)), key=lambda number: len(rows[number]))
    found: dict[int, float] = {}
    for start in range(0, len(order), model.batch):
        chosen = order[start : start + model.batch]
        width = max(len(rows[number]) for number in chosen)
        ids = torch.tensor([rows[number] + [model.pad] * (width - len(rows[number])) for number in chosen])
        mask = torch.tensor([[1] * len(rows[number]) + [0] * (width - len(rows[number])) for number in chosen])
        with torch.no_grad():
            scores = model.forward(ids.to(model.device), mask.to(model.device))
        found.update(zip(chosen, scores.float().tolist(), strict=True))
    return [found[number] for number in range(len(rows))]


def where(task: dict[str, Any]) -> str:
    """`file:line` of a task."""
    return f"{task['source']}:{task['line']}"


class Scored(NamedTuple):
    """Of each answer: every reward by its name (None where it says nothing), and what the answer is worth."""

    named: list[dict[str, float | None]]
    total: list[float]


@dataclass
class Scores:
    """The reward of answers: `model_weight` times the reward model's score, clipped, and the verifiable rewards by
    their weights; an answer that was cut loses `missing_eos_penalty`."""

    model: RewardModel | None
    scorer: Any | None  # of bedside.rewards
    model_weight: float = 1.0
    clip: float | None = None
    missing_eos_penalty: float | None = None
    _told: bool = field(default=False, init=False)

    @property
    def names(self) -> list[str]:
        """Of all rewards."""
        return [*([REWARD_MODEL] if self.model else []), *(self.scorer.names if self.scorer else [])]

    def __call__(self, cases: Sequence[Case]) -> Scored:
        """Rewards and totals of the answers, in order; tells once of answers that no reward speaks of."""
        named = self.named(cases)
        self._warn_of_silence(cases, named)
        return Scored(named, [self._total(case, row) for case, row in zip(cases, named, strict=True)])

    def named(self, cases: Sequence[Case]) -> list[dict[str, float | None]]:
        """Every reward of the answers by its name, in order; a reward model's score unclipped."""
        named: list[dict[str, float | None]] = [{} for _ in cases]
        if self.model:
            for row, score in zip(named, self.model(cases), strict=True):
                row[REWARD_MODEL] = score
        if self.scorer:
            golds = [json.loads(case.task["gold"]) for case in cases]
            messages = [json.loads(case.task["prompt"]) for case in cases]
            try:
                rows = self.scorer.score([case.completion for case in cases], golds, messages)
            except WrongScore as error:
                if error.row is None:
                    raise
                raise ConfigError(f"{where(cases[error.row].task)}: {error}") from error
            named = [{**known, **row} for known, row in zip(named, rows, strict=True)]
        return named

    def _total(self, case: Case, row: dict[str, float | None]) -> float:
        total = 0.0
        if self.model:
            score = row[REWARD_MODEL]
            total += self.model_weight * (score if self.clip is None else min(max(score, -self.clip), self.clip))
        if self.scorer:
            total += rewards.total({name: row[name] for name in self.scorer.names}, self.scorer.weights)
        if self.missing_eos_penalty and not case.completion.finished:
            total -= self.missing_eos_penalty
        return total

    def _warn_of_silence(self, cases: Sequence[Case], named: list[dict[str, float | None]]) -> None:
        silent = [case for case, row in zip(cases, named, strict=True) if all(said is None for said in row.values())]
        if silent and not self._told:
            self._told = True
            logs.warn(f"{where(silent[0].task)}: no reward says anything about {len(silent)} of {len(cases)} answers, "
                      "such as this row's, which are trained on as worth 0; add a reward that does (docs/rewards.md), "
                      "such as format, or leave such rows out")  # fmt: skip


def cases_of(answers: Answers, tasks: Sequence[dict[str, Any]], decode: Callable[[list[int]], str]) -> list[Case]:
    """The answers of a rollout as cases."""
    made = []
    for row, task in enumerate(tasks):
        prompt, ids = answers.ids_of(row)
        finished = bool(answers.finished[row])
        ids = ids[:-1] if finished else ids
        completion = Completion(decode(ids), finished, bool(task["opened"]), len(ids) + finished)
        made.append(Case(dict(task), prompt, ids, completion))
    return made
