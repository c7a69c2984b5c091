"""Our conversations as OpenAI's chat protocol writes them, and its replies as thought and answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from bedside import thoughts
from bedside.answers import Answer, Sampling
from bedside.data import control
from bedside.data.conversation import RowError, check_conversation
from bedside.thoughts import Delta

# Fields that some servers know and others refuse, with the value that changes nothing where there is one. They are
# sent all the same: a server fills what is left open from the model's generation_config.
OPTIONAL = {
    "top_k": 0,
    "repetition_penalty": 1.0,
    "min_p": 0.0,
    "chat_template_kwargs": None,
    "seed": None,
    "stream_options": {"include_usage": True},
}
_ENDS = {"length": "length", "max_tokens": "length", "cancelled": "cancelled"}
_BROKEN = ("abort", "error")  # the server gave the answer up


class Chunk(NamedTuple):
    """A piece of a reply, or a whole one."""

    thought: str = ""
    answer: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    was_thought: bool = False  # all that came as answer so far was the thought, which `thought` repeats


def body(
    model: str, messages: list[dict], sampling: Sampling, enable_thinking: bool | None, tools: list | None = None
) -> dict[str, Any]:
    """The request, but for `stream`. Control tokens in the messages are neutralised, as in training.

    Raises RowError for messages that no template takes.
    """
    messages, tools, _ = control.neutralised(messages, tools)
    check_conversation({"messages": messages, "tools": tools}, answered=False)
    if messages[-1]["role"] not in ("user", "tool"):
        raise RowError("E_ROLE_ORDER", f"the prompt ends with {messages[-1]['role']}, expected user")
    made: dict[str, Any] = {
        "model": model,
        "messages": as_protocol(messages),
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "repetition_penalty": sampling.repetition_penalty,
        "min_p": 0.0,
    }
    if sampling.seed is not None:
        made["seed"] = sampling.seed
    if sampling.stop:
        made["stop"] = list(sampling.stop)
    if enable_thinking is not None:
        made["chat_template_kwargs"] = {"enable_thinking": enable_thinking}
    if tools:  # calls are left in the text, as the model writes them
        made |= {"tools": tools, "tool_choice": "none"}
    return made


def as_protocol(messages: list[dict]) -> list[dict]:
    """Messages as the protocol has them: calls with ids and their arguments as text.

    Thoughts are left out, as thinking templates leave them out of history; those since the last question, between
    calls of tools, go along.
    """
    last = max(i for i, message in enumerate(messages) if message["role"] == "user")
    written, calls = [], []
    for index, message in enumerate(messages):
        made = {"role": message["role"], "content": message.get("content") or ""}
        if message.get("reasoning_content") and index > last:
            made["reasoning_content"] = message["reasoning_content"]
        if message.get("tool_calls"):
            calls = [f"call_{index}_{number}" for number in range(len(message["tool_calls"]))]
            made["tool_calls"] = [_call(call, name) for call, name in zip(message["tool_calls"], calls, strict=True)]
        if message["role"] == "tool":
            made["tool_call_id"] = calls.pop(0) if calls else f"call_{index}"
        written.append(made)
    return written


def _call(call: dict, name: str) -> dict:
    function = call.get("function", call)
    arguments = function.get("arguments") or {}
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return {"id": name, "type": "function", "function": {"name": function["name"], "arguments": text}}


def chunk(reply: Any) -> Chunk:
    """What a reply of the openai client, or a chunk of one, holds. ValueError for what is none."""
    choices, usage = getattr(reply, "choices", None), getattr(reply, "usage", None)
    if choices is None and usage is None:
        raise ValueError("no choices in the reply")
    counts = (getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None))
    if not choices:  # the last chunk of a stream, with the usage
        return Chunk("", "", None, *counts)
    part = getattr(choices[0], "delta", None) or getattr(choices[0], "message", None)
    thought = getattr(part, "reasoning", None) or getattr(part, "reasoning_content", None) or ""
    told = bool(getattr(part, "was_thought", False))  # our own server says so
    return Chunk(thought, getattr(part, "content", None) or "", choices[0].finish_reason, *counts, told)


class Reading:
    """One reply, chunk by chunk: the deltas of each, and at the end the Answer.

    A thought that the server gives apart is put back between its tags, so that every reply is read in one way.
    """

    def __init__(self) -> None:
        self.finish_reason: str | None = None
        self._splitter, self._pieces = thoughts.Splitter(), []
        self._thinking = self._apart = False
        self._counts: list[int | None] = [None, None]
        self._chunks = 0

    def feed(self, part: Chunk) -> Iterator[Delta]:
        """The deltas that this chunk makes certain."""
        self.finish_reason = part.finish_reason or self.finish_reason
        for place, count in enumerate((part.prompt_tokens, part.completion_tokens)):
            self._counts[place] = count if count is not None else self._counts[place]
        self._chunks += bool(part.thought or part.answer)
        if part.was_thought:
            yield from self._add("</think>")
        elif part.thought:
            if not self._thinking and not self._pieces:
                self._thinking = self._apart = True
                yield from self._add("<think>\n")
            yield from self._add(part.thought)
        if part.answer:
            if self._thinking:
                self._thinking = False
                yield from self._add("\n</think>\n\n")
            yield from self._add(part.answer)

    def _add(self, text: str) -> Iterator[Delta]:
        self._pieces.append(text)
        yield from self._splitter.feed(text)

    def rest(self) -> Iterator[Delta]:
        """What was held back."""
        yield from self._splitter.flush()

    @property
    def counted(self) -> bool:
        """Whether the server said how many tokens there were."""
        return None not in self._counts

    def answer(self, cancelled: bool = False) -> Answer:
        """The whole Answer. Where the server did not count (a stream that was cancelled), chunks stand for tokens."""
        text = "".join(self._pieces)
        parts = thoughts.parse(text)
        if self._apart:  # servers cut blanks differently, so the tags stand as they do in training
            text = f"<think>\n{parts.thought}" + (f"\n</think>\n\n{parts.answer}" if parts.closed else "")
        reason = "cancelled" if cancelled else _ENDS.get(self.finish_reason or "", "stop")
        prompt, completion = self._counts
        completion = self._chunks if completion is None else completion
        return Answer(text, parts.thought, parts.answer, reason, prompt or 0, completion)


def broke_off(finish_reason: str | None) -> bool:
    """Whether a reply that ended so is no answer."""
    return finish_reason is None or finish_reason in _BROKEN
