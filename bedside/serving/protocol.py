"""OpenAI's chat completions as records: a request's JSON to what the engine takes, answers to a reply's JSON.

Fields that would change the answer and cannot be honoured are refused with a sentence; none is ignored silently.
"""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bedside.answers import Answer, Sampling
from bedside.data.conversation import RowError, check_conversation
from bedside.thoughts import Delta

# Names for the sender's own book-keeping: they change no answer.
_BOOKKEEPING = {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key",
                "prompt_cache_retention", "parallel_tool_calls"}  # fmt: skip
# What is not offered, and the values with which it asks for nothing.
_NOT_OFFERED = {
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "response_format": ({"type": "text"},),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "audio": (),
    "modalities": (["text"],),
    "prediction": (),
    "web_search_options": (),
}
_INSTEAD = {
    "tools": "this server calls no tools; vllm_deployment.sh serves templates that do",
    "logprobs": "this server gives no log-probabilities; vllm_deployment.sh serves a model with them",
    "response_format": 'this server writes text only; leave it out, or give {"type": "text"}',
    "presence_penalty": "not offered; repetition_penalty is",
    "frequency_penalty": "not offered; repetition_penalty is",
}


class BadRequest(Exception):
    """A request that is refused: the sentence, and the field that is to blame."""

    def __init__(self, sentence: str, field: str | None = None):
        self.field = field
        super().__init__(sentence)


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")


class _Part(_Strict):
    type: Literal["text"]
    text: str


class _Message(_Strict):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part] | None = None
    name: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    refusal: None = None  # what the official client sends back of an answer that it got
    tool_calls: None = None
    function_call: None = None
    audio: None = None
    annotations: None = None


class _StreamOptions(_Strict):
    include_usage: bool = False
    include_obfuscation: bool = False


class _TemplateSwitches(_Strict):
    enable_thinking: bool | None = None


class _Body(_Strict):
    model: str | None = None
    messages: list[_Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    top_k: int | None = Field(None, ge=-1)
    repetition_penalty: float | None = Field(None, gt=0)
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = Field(None, ge=1)
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    chat_template_kwargs: _TemplateSwitches | None = None
    reasoning_effort: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_what_asks_for_nothing(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        neutral = {
            name for name, value in body.items() if name in _NOT_OFFERED and value in (None, *_NOT_OFFERED[name])
        }
        return {name: value for name, value in body.items() if name not in _BOOKKEEPING | neutral}


class Asked(NamedTuple):
    """A request as the engine takes it, and how the reply is wanted."""

    messages: list[dict]
    sampling: Sampling
    enable_thinking: bool | None
    model: str | None
    stream: bool
    usage: bool


def asked(body: Any, defaults: Sampling, limit: int, system: str | None, thinking: bool | None) -> Asked:
    """Read a request's JSON. `defaults` are for what it leaves open, `limit` is the most tokens it may ask for,
    `system` the turn of chats that bring none. Raises BadRequest."""
    if not isinstance(body, dict):
        raise BadRequest('the body is no JSON object; expected {"model": ..., "messages": [...]}')
    try:
        read = _Body.model_validate(body)
    except ValidationError as error:
        raise _refusal(error) from None
    if read.n not in (None, 1):
        raise BadRequest(f"n is {read.n}; this server writes one answer a request, so leave n at 1", "n")
    if read.reasoning_effort not in (None, "none"):
        sentence = 'thinking has no degrees here; give "none", or chat_template_kwargs {"enable_thinking": true}'
        raise BadRequest(f"reasoning_effort: {sentence}", "reasoning_effort")
    switch = read.chat_template_kwargs.enable_thinking if read.chat_template_kwargs else None
    if read.reasoning_effort == "none":
        if switch:
            raise BadRequest("reasoning_effort none contradicts enable_thinking true; give one", "reasoning_effort")
        switch = False
    stream = bool(read.stream)
    if read.stream_options and not stream:
        raise BadRequest("stream_options: only with stream true", "stream_options")
    usage = bool(read.stream_options and read.stream_options.include_usage)
    thinking = thinking if switch is None else switch
    return Asked(_messages(read, system), _sampling(read, defaults, limit), thinking, read.model, stream, usage)


def _refusal(error: ValidationError) -> BadRequest:
    """The first thing that is wrong, as a sentence."""
    first = error.errors(include_url=False, include_input=False)[0]
    names = [str(part) for part in first["loc"]]
    field = names[0] if names else None
    if first["type"] == "extra_forbidden":
        if field in _NOT_OFFERED:
            return BadRequest(f"{field}: {_INSTEAD.get(field, 'not offered by this server; leave it out')}", field)
        known = {"chat_template_kwargs": _TemplateSwitches, "stream_options": _StreamOptions, "messages": _Message}
        fields = (known.get(names[0], _Body) if len(names) > 1 else _Body).model_fields
        near = difflib.get_close_matches(names[-1], fields, n=1)
        hint = f"did you mean {near[0]}?" if near else "leave it out"
        return BadRequest(f"{'.'.join(names)}: unknown field; {hint}", field)
    if "tool_calls" in names or "function_call" in names:
        return BadRequest(f"{'.'.join(names)}: {_INSTEAD['tools']}", field)
    if names[:1] == ["messages"] and names[-1] == "role":
        return BadRequest(f"{'.'.join(names)}: expected system, developer, user or assistant", field)
    if names[-1:] == ["type"] and "_Part" in "".join(names):
        return BadRequest(f"{'.'.join(names[:3])}: this server reads text parts only", field)
    if names[:1] == ["messages"] and "content" in names:
        return BadRequest(f'{".".join(names[:3])}: expected a text, or a list of {{"type": "text"}} parts', field)
    return BadRequest(f"{'.'.join(names)}: {first['msg'][0].lower()}{first['msg'][1:]}", field)


def _messages(body: _Body, system: str | None) -> list[dict]:
    """Messages as the template takes them; RowError's sentence as BadRequest."""
    found = []
    for message in body.messages:
        content = message.content
        if isinstance(content, list):
            content = "\n".join(part.text for part in content)  # as vLLM joins them
        role = "system" if message.role == "developer" else message.role
        thought = message.reasoning if message.reasoning is not None else message.reasoning_content
        if thought is not None and role != "assistant":
            raise BadRequest(f"a {role} message has no reasoning; only an assistant's has", "messages")
        if not (content or "").strip() and role == "user":
            raise BadRequest("a user message is empty", "messages")
        found.append({"role": role, "content": content or "", **({"reasoning_content": thought} if thought else {})})
    if system and found[0]["role"] != "system":
        found.insert(0, {"role": "system", "content": system})
    try:
        check_conversation({"messages": found}, answered=False)
    except RowError as error:
        raise BadRequest(error.detail, "messages") from None
    if found[-1]["role"] != "user":
        raise BadRequest("the last message is not the user's, so there is nothing to answer", "messages")
    return found


def _sampling(body: _Body, defaults: Sampling, limit: int) -> Sampling:
    if body.max_tokens and body.max_completion_tokens and body.max_tokens != body.max_completion_tokens:
        raise BadRequest("max_tokens and max_completion_tokens differ; give one", "max_tokens")
    tokens = body.max_completion_tokens or body.max_tokens or defaults.max_new_tokens
    if tokens > limit:
        raise BadRequest(f"max_tokens is {tokens}; this server writes at most {limit}", "max_tokens")
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    if len(stop) > 16 or any(not text or len(text) > 200 for text in stop):
        raise BadRequest("stop: expected at most 16 texts of 1 to 200 characters", "stop")
    named = {name: getattr(body, name) for name in ("temperature", "top_p", "top_k", "repetition_penalty", "seed")}
    named = {name: value for name, value in named.items() if value is not None}
    named["top_k"] = max(0, named.get("top_k", defaults.top_k))  # vLLM's -1 is all
    return replace(defaults, max_new_tokens=tokens, stop=tuple(stop), **named)


def usage(answer: Answer) -> dict:
    """Tokens of prompt and completion."""
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.completion_tokens,
        "total_tokens": answer.prompt_tokens + answer.completion_tokens,
    }


def reply(answer: Answer, name: str, model: str, created: int) -> dict:
    """A whole chat.completion; the thought stands in `reasoning`, as vLLM names it."""
    message = {"role": "assistant", "content": answer.answer, "reasoning": answer.thought}
    choice = {"index": 0, "message": message, "finish_reason": answer.finish_reason, "logprobs": None}
    return {"id": name, "object": "chat.completion", "created": created, "model": model, "choices": [choice],
            "usage": usage(answer)}  # fmt: skip


class Chunks:
    """The chunks of one streamed reply."""

    def __init__(self, name: str, model: str, created: int, with_usage: bool):
        self._head = {"id": name, "object": "chat.completion.chunk", "created": created, "model": model}
        self._with_usage, self._answered = with_usage, ""

    def start(self) -> dict:
        """The first chunk, which names the role."""
        return self._chunk({"role": "assistant", "content": ""})

    def of(self, delta: Delta) -> dict:
        """A piece of thought or answer. Where what was sent as content turns out to be the thought, one chunk says so
        (`was_thought`) and sends it again as reasoning."""
        if delta.kind == "was_thought":
            return self._chunk({"reasoning": self._answered, "was_thought": True})
        self._answered += delta.text if delta.kind == "answer" else ""
        return self._chunk({"reasoning" if delta.kind == "thought" else "content": delta.text})

    def end(self, answer: Answer) -> list[dict]:
        """The last chunks: why it ended, and the usage if it was asked for."""
        last = [self._chunk({}, answer.finish_reason)]
        if self._with_usage:
            last.append({**self._head, "choices": [], "usage": usage(answer)})
        return last

    def _chunk(self, delta: dict, reason: str | None = None) -> dict:
        choice = {"index": 0, "delta": delta, "finish_reason": reason, "logprobs": None}
        return {**self._head, "choices": [choice], **({"usage": None} if self._with_usage else {})}


def failure(sentence: str, kind: str, code: str | int | None = None, field: str | None = None) -> dict:
    """An error in OpenAI's shape."""
    return {"error": {"message": sentence, "type": kind, "param": field, "code": code}}
