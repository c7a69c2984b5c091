"""A chat as an immutable record: asked, answered, asked again, edited; to the engine's messages, to JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace

from bedside.errors import UserError

_ENDS = ("stop", "length", "cancelled", "failed")


class NotAConversation(UserError):
    """A text that is not what `Conversation.to_json` writes."""


@dataclass(frozen=True)
class Turn:
    """A question and what came of it. `finish_reason` is None until an answer has ended; then stop, length, cancelled
    or failed (`error` says why)."""

    question: str
    answer: str = ""
    thought: str | None = None
    finish_reason: str | None = None
    error: str | None = None

    @property
    def stopped(self) -> bool:
        """Whether the user stopped this answer."""
        return self.finish_reason == "cancelled"


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

    def to_json(self) -> str:
        """The record as JSON, read again by `from_json`."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=2)


def _message(role: str, content: str) -> dict:
    return {"role": role, "content": content}


def from_json(text: str) -> Conversation:
    """The record that `to_json` wrote. NotAConversation says what else was found."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise NotAConversation(f"not JSON ({error}); expected a conversation as the page exports it") from None
    if not isinstance(found, dict) or not isinstance(found.get("turns"), list):
        raise NotAConversation("expected an object with `system` and a list `turns`, as the page exports it")
    return Conversation(_text(found, "system", "conversation") or "", tuple(map(_turn, found["turns"])))


def _turn(found: object) -> Turn:
    if not isinstance(found, dict) or not isinstance(found.get("question"), str):
        raise NotAConversation("a turn without `question`; expected the texts question, answer and thought")
    values = {field.name: _text(found, field.name, "turn") for field in fields(Turn)}
    if values["finish_reason"] not in (None, *_ENDS):
        raise NotAConversation(f"finish_reason {values['finish_reason']!r}; expected one of {', '.join(_ENDS)}")
    return Turn(**{**values, "answer": values["answer"] or ""})


def _text(found: dict, name: str, of: str) -> str | None:
    value = found.get(name)
    if value is not None and not isinstance(value, str):
        raise NotAConversation(f"`{name}` of a {of} is {type(value).__name__}; expected text")
    return value
