"""What every engine takes and gives, in this process or on a server: settings in, thought and answer out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Event
from typing import Protocol

from bedside.errors import UserError
from bedside.thoughts import Delta


@dataclass(frozen=True)
class Sampling:
    """How tokens are chosen. Temperature 0 takes the likeliest every time; one of `stop` ends the answer and is not
    part of it; `seed` makes the draws of one request repeatable (None: as they come); a tuple is a seed for each row
    of a batch in this process."""

    max_new_tokens: int = 512
    temperature: float = 0.7
    top_p: float = 0.9
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | tuple[int, ...] | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A finished completion. `finish_reason` is stop (a stop token or text ended it), length or cancelled."""

    text: str
    thought: str | None
    answer: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class EngineFailed(UserError):
    """The engine, or the way to it, broke while it was answering. `again`: the same request may succeed later."""

    def __init__(self, sentence: str, again: bool = False):
        self.again = again
        super().__init__(sentence)


class Engine(Protocol):
    """Answers chats. Messages are `{"role", "content"}`, the last one of the user's; thoughts of earlier answers may
    stand beside them as `reasoning_content` and are treated as the template demands.

    Both methods raise RowError for messages that cannot be answered (E_TEMPLATE, W_OVERLONG) and EngineFailed when the
    engine breaks. Safe to use from several threads.
    """

    name: str
    thinks: bool

    def stream(
        self,
        messages: list[dict],
        sampling: Sampling,
        enable_thinking: bool | None = None,
        cancel: Event | None = None,
    ) -> Iterator[Delta | Answer]:
        """Deltas of thought and answer as they are written, then the whole Answer. Setting `cancel`, or closing the
        iterator, ends it early."""
        ...

    def answer(
        self, conversations: Sequence[list[dict]], sampling: Sampling, enable_thinking: bool | None = None
    ) -> list[Answer]:
        """The answers to several conversations, in their order."""
        ...
