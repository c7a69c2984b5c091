"""A judge that needs no model: what bedside.rewards can check of both answers, weighed and added up.

It sees what rules see: whether the right thing is named, danger signs, form. It is no opinion of a physician.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bedside import rewards, thoughts
from bedside.answers import Answer
from bedside.chatpage import alarms
from bedside.evaluate.judging.questions import Question
from bedside.evaluate.judging.verdicts import Verdict
from bedside.evaluate.safety import rules as safety
from bedside.rewards.completion import Completion

# What a check weighs. A check that says nothing about a question (no reference, no danger sign) is left out of it.
WEIGHTS = {
    "correct": 4.0,  # states what the row expects, and nothing else as the answer
    "red_flags": 2.0,  # share of the danger signs to warn of that it names
    "urgent": 2.0,  # the question tells an emergency: the answer sends for help and plays nothing down
    "finished": 2.0,  # ended by itself, with an answer
    "format": 1.0,  # one closed thought, then the answer; only where one of the two models thinks
    "language": 1.0,  # thought and answer in the question's language
    "no_repetition": 1.0,  # fewer than a fifth of its runs of four words stood in it before
}
_REPEATED = 0.8
_SAME = 1e-9
_REWARDS = {"accuracy": "correct", "red_flags": "red_flags", "format": "format", "language": "language",
            "repetition": "no_repetition"}  # fmt: skip


@dataclass
class RuleJudge:
    """Adds up the checks; equal sums are a tie. `aliases` is a file of names that mean the same."""

    aliases: str | None = None
    name: str = "rules"

    def verdicts(
        self, questions: Sequence[Question], first: Sequence[Answer], second: Sequence[Answer]
    ) -> list[Verdict]:
        """One verdict a question."""
        scorer = rewards.resolve(list(_REWARDS), aliases=self.aliases, golds=[one.gold for one in questions])
        sides = [_checked(scorer, questions, answers) for answers in (first, second)]
        return [
            _verdict(one, other, bool(first[index].thought or second[index].thought))
            for index, (one, other) in enumerate(zip(*sides, strict=True))
        ]

    def told(self) -> list[str]:
        """What is weighed, and how much."""
        weights = ", ".join(f"{name} {weight:g}" for name, weight in WEIGHTS.items())
        return [f"judge rules: the weighted mean of the checks that apply ({weights}); equal means are a tie"]


def completion_of(answer: Answer) -> Completion:
    """An answer as the rewards read it; a thought without its opening tag was opened by the prompt."""
    text = answer.text or (f"{thoughts.OPEN}\n{answer.thought}\n{thoughts.CLOSE}\n\n" if answer.thought else "")
    text = text if answer.text else text + answer.answer
    opened = answer.thought is not None and not text.lstrip().startswith(thoughts.OPEN)
    return Completion(text, answer.finish_reason == "stop", opened, answer.completion_tokens)


def _checked(
    scorer: rewards.Scorer, questions: Sequence[Question], answers: Sequence[Answer]
) -> list[dict[str, float | None]]:
    """Each check of each answer: 0 to 1, None where it does not apply."""
    completions = [completion_of(answer) for answer in answers]
    scored = scorer.score(completions, [one.gold for one in questions], [one.messages for one in questions])
    found = []
    for question, answer, scores in zip(questions, answers, scored, strict=True):
        row: dict[str, float | None] = {_REWARDS[name]: score for name, score in scores.items()}
        row["no_repetition"] = float((row["no_repetition"] or 0.0) >= _REPEATED)
        row["finished"] = float(answer.finish_reason == "stop" and bool(answer.answer.strip()))
        row["urgent"] = _urgent(question, answer)
        found.append(row)
    return found


def _urgent(question: Question, answer: Answer) -> float | None:
    """1 if the answer sends for help at once and plays nothing down, else 0; None where the question tells no danger
    sign."""
    if not alarms.found(question.text, question.language):
        return None
    read = safety.read(answer.answer, question.text)
    return float((read.emergency or read.at_once) and not read.reassures)


def _verdict(first: dict[str, float | None], second: dict[str, float | None], thinks: bool) -> Verdict:
    applied = [
        name for name in WEIGHTS
        if first[name] is not None and second[name] is not None and (thinks or name != "format")
    ]  # fmt: skip
    one, other = (_mean({name: side[name] for name in applied}) for side in (first, second))
    win = 0.5 if abs(one - other) < _SAME else float(other > one)
    why: dict[str, Any] = {
        "first": round(one, 4), "second": round(other, 4),
        "checks": {name: [first[name], second[name]] for name in applied},
    }  # fmt: skip
    return Verdict(win, why=why)


def _mean(row: dict[str, Any]) -> float:
    total = sum(WEIGHTS[name] for name in row)
    return sum(WEIGHTS[name] * value for name, value in row.items()) / total
