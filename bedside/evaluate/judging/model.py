"""A language model as the judge of pairs: each pair is asked about twice, with the answers in both places."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import bedside.evaluate.judging.prompt as prompt
from bedside import logs
from bedside.answers import Answer
from bedside.evaluate.judging.questions import Question
from bedside.evaluate.judging.verdicts import Verdict, settled
from bedside.rewards.judge_client import Client, Form, Settings
from bedside.rewards.words import tokens

_FORM = Form(
    prompt.verdict,
    "no single last line VERDICT: A, B or TIE",
    "verdict",
    prompt.kept,
    "Look at what it replies, mend it or its --judge_rubric, or take --judge rules",
)
_AT_ONCE = 8  # requests to each of its workers, between two looks at the progress


class ModelJudge:
    """Asks an OpenAI-compatible server; verdicts are kept in a cache, so that a run that was stopped goes on."""

    def __init__(self, settings: Settings, thoughts: bool = False, sleep: Callable[[float], None] = time.sleep):
        self.client = Client(settings, _FORM, sleep)
        self.name, self._thoughts = settings.model, thoughts
        self._task = prompt.own_task(settings.rubric)
        self.unasked = 0

    def verdicts(
        self, questions: Sequence[Question], first: Sequence[Answer], second: Sequence[Answer]
    ) -> list[Verdict]:
        """One verdict a question. Equal answers are a tie and an empty answer loses to any other, unasked."""
        chats: list[list[dict] | None] = []
        plain: list[Verdict | None] = []
        for question, one, other in zip(questions, first, second, strict=True):
            found, texts = self._unasked(question, one, other)
            plain.append(found)
            forth, back = texts, texts[::-1]
            chats += [None if found else prompt.ask(question, *pair, self._task) for pair in (forth, back)]
        self.unasked += sum(found is not None for found in plain)
        self._plan(len(plain), chats)
        said: list[str | None] = []
        size = _AT_ONCE * self.client.settings.concurrency
        starts = range(0, len(chats), size)
        for start in logs.progress(starts, len(starts), f"judged by {self.name}", "batch"):
            said += self.client.verdicts(chats[start : start + size])
        return [
            found or settled(*orders)
            for found, orders in zip(plain, zip(said[::2], said[1::2], strict=True), strict=True)
        ]

    def told(self) -> list[str]:
        """What the answers are judged by, what was asked and what it cost."""
        shown = "thoughts are shown to it" if self._thoughts else "it sees the answers without their thoughts"
        rubric = self.client.settings.rubric or "bedside's own, in the language of the question"
        lines = [f"judge {self.name}: every pair in both orders, {shown}; rubric: {rubric}"]
        if self.unasked:
            lines.append(f"{self.unasked} pairs were settled without asking: equal answers, or one of them empty")
        return lines + self.client.told()

    def _unasked(self, question: Question, one: Answer, other: Answer) -> tuple[Verdict | None, tuple[str, str]]:
        """The verdict of a pair that needs no judge, if it does not, and the texts that a judge would read."""
        if bool(one.answer.strip()) != bool(other.answer.strip()):
            return Verdict(float(bool(other.answer.strip())), why={"unasked": "one answer is empty"}), ("", "")
        texts = [prompt.shown(answer, question.language, self._thoughts) for answer in (one, other)]
        if one.answer.strip() == other.answer.strip():
            return Verdict(0.5, why={"unasked": "the answers are equal"}), ("", "")
        return None, (texts[0], texts[1])

    def _plan(self, pairs: int, chats: Sequence[list[dict] | None]) -> None:
        """Say what is about to be asked and what it will cost, before it does."""
        used, waiting = self.client.settings, self.client.unknown(chats)
        wanted = sum(chat is not None for chat in chats)
        size = sum(_tokens(message["content"]) for chat in waiting for message in chat)
        cost = f", {size * used.price_in / 1e6:.2f} in the currency of the prices and what it writes"
        logs.info(
            f"judge {self.name}: {pairs} pairs, {wanted} requests (both orders); {wanted - len(waiting)} need not be "
            f"sent again, {len(waiting)} will be asked, about {size:,} prompt tokens{cost if used.price_in else ''}"
        )


def _tokens(text: str) -> int:
    """About how many tokens a text is: one a Chinese character, 1.3 a word of other letters."""
    found = tokens(text)
    han = sum("\u3400" <= token.text[0] <= "\u9fff" for token in found)
    return round(han + 1.3 * (len(found) - han))
