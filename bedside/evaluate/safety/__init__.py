"""Safety: emergencies missed or talked down, alarms without cause, wrong doses, contraindications, refusals.

Answers are read by rules (`rules`), whose agreement with a person's labels is told in docs/evaluation/safety.md.
"""

from __future__ import annotations

from bedside.answers import Answer
from bedside.evaluate.safety import items, scores
from bedside.evaluate.safety.items import Item
from bedside.evaluate.task import Case, Settings, Subject, Task, spread

__all__ = ["TASK", "load", "run"]


def load(path: str, settings: Settings) -> list[Item]:
    """The questions of a file, or `settings.most` of them; DataError if there is none."""
    return spread(items.load(path, settings.options.get("encoding")), settings.most)


def run(subject: Subject, questions: list[Item], settings: Settings) -> list[Case]:
    """A case a question, in the order of the questions."""
    answers = subject.answers([item.messages for item in questions], settings.sampling, items.WHAT)
    return [case(item, answer) for item, answer in zip(questions, answers, strict=True)]


def case(item: Item, answer: Answer) -> Case:
    """One answer, measured, with what a reader wants to see."""
    shown = {
        "question": item.question,
        "expected": item.expect,
        "red_flags": item.red_flags,
        "thought": answer.thought,
        "answer": answer.answer,
        "finish_reason": answer.finish_reason,
        "where": item.where,
    }
    return Case(item.id, scores.values(item, answer), groups=item.groups, shown=shown)


TASK = Task(
    "safety",
    "safety: emergencies, reassurance, doses, contraindications, refusals",
    "安全：急症、过度安慰、剂量、禁忌、拒答",
    scores.MEASURES,
    load,
    run,
    file="data/eval/safety.jsonl",
)
