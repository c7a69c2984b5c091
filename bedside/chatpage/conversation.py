"""A chat as an immutable record: asked, answered, asked again, edited, and as the engine's messages."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Turn:
    """A question and what came of it. `finish_reason` is None until an answer has ended; then stop, length, cancelled
    or failed (`error` says why)."""

    question: str
    answer: str = ""
    thought: str | None = None
    finish_reason: str | None = None
    error: str | None = None


@dataclass(frozen=True)
class Conversation:
    """The system prompt ("" for none) and the turns, oldest first. Every change makes a new record."""

    system: str = ""
    turns: tuple[Turn, ...] = ()

    def asked(self, question: str) -> Conversation:
        """With a new question, unanswered, at the end."""
        return replace(self, turns=(*self.turns, Turn(question.strip())))

    def answered(
        self, answer: str, thought: str | None = None, finish_reason: str = "stop", error: str | None = None
    ) -> Conversation:
        """With this as the answer to the last question. ValueError if nothing was asked."""
        if not self.turns:
            raise ValueError("no question to answer")
        turn = replace(self.turns[-1], answer=answer, thought=thought, finish_reason=finish_reason, error=error)
        return replace(self, turns=(*self.turns[:-1], turn))

    def retried(self) -> Conversation:
        """The last question unanswered again."""
        return self.edited(len(self.turns) - 1, self.turns[-1].question) if self.turns else self

    def edited(self, index: int, question: str) -> Conversation:
        """The question of turn `index` (from 0) replaced; its answer and all that followed are dropped.

        IndexError for a turn that is not there.
        """
        if not 0 <= index < len(self.turns):
            raise IndexError(f"turn {index} of {len(self.turns)}")
        return replace(self, turns=self.turns[:index]).asked(question)

    def with_system(self, system: str | None) -> Conversation:
        """With another system prompt."""
        return replace(self, system=(system or "").strip())

    def messages(self) -> list[dict]:
        """What the engine answers: the system prompt, earlier questions with their answers, the last question.

        Thoughts are left out. So are earlier questions that got no answer: a template takes turns in pairs.
        """
        opening = [{"role": "system", "content": self.system}] if self.system else []
        said = []
        for turn in self.turns[:-1]:
            if turn.answer:
                said += [_message("user", turn.question), _message("assistant", turn.answer)]
        return [*opening, *said, *(_message("user", turn.question) for turn in self.turns[-1:])]


def _message(role: str, content: str) -> dict:
    return {"role": role, "content": content}
