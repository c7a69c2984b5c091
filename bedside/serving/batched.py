"""The engine that answers several chats in one batch: `answers.Engine` over the scheduler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from queue import SimpleQueue
from threading import Event
from typing import Any

from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.generate import ChatEngine, Prompt
from bedside.serving.scheduler import Request, Scheduler
from bedside.thoughts import Delta


class BatchedEngine:
    """A ChatEngine whose chats share the model's steps. It owns the model from now on, until `close`."""

    def __init__(self, engine: ChatEngine, **limits: Any):
        self._engine = engine
        self.scheduler = Scheduler(engine, **limits)

    @property
    def name(self) -> str:
        """What the model is called."""
        return self._engine.name

    @property
    def thinks(self) -> bool:
        """Whether the template knows thoughts."""
        return self._engine.thinks

    @property
    def context(self) -> int:
        """Tokens that prompt and completion of one chat may have together."""
        return min(self._engine.context or self.scheduler.max_tokens, self.scheduler.max_tokens)

    def prompt(self, messages: list[dict], enable_thinking: bool | None = None, tools: list | None = None) -> Prompt:
        """As ChatEngine.prompt; RowError W_OVERLONG also for what `max_tokens` does not hold."""
        prompt = self._engine.prompt(messages, enable_thinking, tools)
        if len(prompt.ids) >= self.context:
            raise RowError("W_OVERLONG", f"the prompt has {len(prompt.ids)} tokens, the cache holds {self.context}")
        return prompt

    def submit(
        self,
        prompt: Prompt,
        sampling: Sampling,
        put: Callable[[Delta | Answer | EngineFailed], Any],
        cancel: Event | None = None,
        patient: bool = False,
    ) -> Request:
        """Queue a prompt (see Scheduler.submit); it may use what it leaves of the context."""
        limit = min(sampling.max_new_tokens, self.context - len(prompt.ids))
        return self.scheduler.submit(prompt, sampling, limit, put, cancel, patient)

    def stream(
        self,
        messages: list[dict],
        sampling: Sampling,
        enable_thinking: bool | None = None,
        cancel: Event | None = None,
    ) -> Iterator[Delta | Answer]:
        """Deltas of thought and answer as they are written, then the whole Answer; see answers.Engine."""
        pieces: SimpleQueue = SimpleQueue()
        request = self.submit(self.prompt(messages, enable_thinking), sampling, pieces.put, cancel)
        try:
            while True:
                piece = pieces.get()
                if isinstance(piece, EngineFailed):
                    raise piece
                yield piece
                if isinstance(piece, Answer):
                    return
        finally:
            request.gone.set()

    def answer(
        self, conversations: Sequence[list[dict]], sampling: Sampling, enable_thinking: bool | None = None
    ) -> list[Answer]:
        """The answers to several conversations, in their order; waits for room in the queue."""
        prompts = [self.prompt(messages, enable_thinking) for messages in conversations]
        queues = [SimpleQueue() for _ in prompts]
        requests: list[Request] = []
        try:
            for prompt, pieces in zip(prompts, queues, strict=True):
                requests.append(self.submit(prompt, sampling, pieces.put, patient=True))
            return [_last(pieces) for pieces in queues]
        finally:
            for request in requests:
                request.gone.set()

    def close(self) -> None:
        """Let go of the model; who still waits gets EngineFailed."""
        self.scheduler.close()


def _last(pieces: SimpleQueue) -> Answer:
    """The Answer at the end of these pieces."""
    while True:
        piece = pieces.get()
        if isinstance(piece, EngineFailed):
            raise piece
        if isinstance(piece, Answer):
            return piece
