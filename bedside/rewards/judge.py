"""A language model as a judge of single answers, a score from 0 to 1 each; `judge_client` asks and remembers.

A judgement that fails or cannot be read is None and counted.
"""

import time
from collections.abc import Callable
from pathlib import Path

import bedside.rewards.rubric as rubric
from bedside.rewards.completion import Completion, parts
from bedside.rewards.judge_client import Client, Form, Settings
from bedside.rewards.reward import Gold, Messages

__all__ = ["Judge", "Settings"]

FORM = Form(
    rubric.verdict,
    f"no single last line SCORE: <0 to {rubric.HIGHEST}>",
    "score",
    float,
    "Mend the judge, or drop the reward",
)


class Judge(Client):
    """Scores batches concurrently; counts tokens, failures and answers from the cache."""

    def __init__(self, settings: Settings, sleep: Callable[[float], None] = time.sleep):
        super().__init__(settings, FORM, sleep)
        self._rubric = Path(settings.rubric).read_text(encoding="utf-8") if settings.rubric else None

    def score(self, completions: list[Completion], golds: list[Gold], messages: list[Messages]) -> list[float | None]:
        """A score from 0 to 1 for each answer; None where the judge gave none. An empty answer is 0 and not asked."""
        answers = [parts(completion).answer for completion in completions]
        chats = [
            rubric.ask(answer, gold, asked, self._rubric) if answer else None
            for answer, gold, asked in zip(answers, golds, messages, strict=True)
        ]
        found = self.verdicts(chats)
        return [score if answer else 0.0 for answer, score in zip(answers, found, strict=True)]
