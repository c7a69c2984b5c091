"""Answers that can be checked: an option, a number with its unit, yes or no, a name; by the rewards of GRPO, greedily.

Which rows they are, and how each kind is read, is docs/rewards.md's. An answer that cannot be read is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bedside import rewards, thoughts
from bedside.answers import Answer
from bedside.data import tasks
from bedside.data.rows import Row
from bedside.evaluate import rows
from bedside.evaluate.task import Case, Measure, Settings, Subject, Task, spread
from bedside.rewards.accuracy import kind_of
from bedside.rewards.completion import Completion


@dataclass(frozen=True)
class Question:
    """A prompt with what a right answer states (`gold`), and the kind by which it is checked."""

    id: str
    where: str
    messages: list[dict]
    gold: dict[str, Any]
    groups: dict[str, str]


def load(path: str, settings: Settings) -> list[Question]:
    """The questions of a file whose answers can be checked; the others are counted. DataError if there is none."""
    found = rows.read(
        path, _question, "questions with an answer that can be checked", settings.options.get("encoding")
    )
    return spread(found, settings.most)


def _question(identifier: str, row: Row) -> Question | None:
    task = tasks.to_task(row.value)
    prompt, gold = task["prompt"], task["gold"]
    checked_by = kind_of(gold, prompt)
    if checked_by is None:
        return None
    groups = rows.groups_of(row.value, prompt[-1]["content"])
    groups["kind"] = str(gold.get("kind") or checked_by)
    return Question(identifier, str(row.origin), prompt, gold, groups)


def run(subject: Subject, items: list[Question], settings: Settings) -> list[Case]:
    """A case a question."""
    answers = subject.answers([item.messages for item in items], settings.sampling, "verifiable questions")
    golds = [item.gold for item in items]
    scorer = rewards.resolve(["accuracy"], golds=golds, aliases=settings.options.get("alias_file"))
    said = [Completion(answer.answer, answer.finish_reason == "stop") for answer in answers]  # a thought is no answer
    scores = scorer.score(said, golds, [item.messages for item in items])
    thinks = subject.engine.thinks and settings.enable_thinking is not False
    return [
        _case(item, answer, score["accuracy"], thinks)
        for item, answer, score in zip(items, answers, scores, strict=True)
    ]


def _case(item: Question, answer: Answer, right: float | None, thinks: bool) -> Case:
    finished = answer.finish_reason == "stop"
    values = {
        "accuracy": right,
        "format": float(thoughts.strict(answer.text, finished)) if thinks else None,
        "finished": float(finished),
    }
    shown = {
        "question": item.messages[-1]["content"],
        "expected": [item.gold["answer"], *(item.gold.get("aliases") or [])],
        "thought": answer.thought,
        "answer": answer.answer,
        "finish_reason": answer.finish_reason,
        "where": item.where,
    }
    return Case(item.id, values, groups=item.groups, shown=shown)


TASK = Task(
    "verifiable",
    "answers that can be checked",
    "可验证的回答",
    (
        Measure("accuracy", "right answer", "回答正确"),
        Measure("format", "thought format, strict", "思考格式（严格）"),
        Measure("finished", "ended by itself", "自行结束"),
    ),
    load,
    run,
    file="data/eval/verifiable.jsonl",
)
