"""An engine that is a server somewhere: asks it, waits for it where it is busy, and says in a sentence why it cannot.

The openai client carries the requests; when to ask again is decided here, because a reply that has begun must not be
asked for a second time, and a server without room is no failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Event
from typing import Any

import bedside.remote.address as address
import bedside.remote.loop as loop
import bedside.remote.protocol as protocol
import bedside.remote.refusals as refusals
from bedside import logs
from bedside.answers import Answer, EngineFailed, Sampling
from bedside.errors import ConfigError
from bedside.remote.protocol import Chunk, Reading
from bedside.thoughts import Delta

_LOOK = 0.05  # seconds between two looks at `cancel` while nothing comes
_CONNECT = 10.0  # seconds
_NAMED = 8  # models that a message lists


@dataclass
class _Plan:
    """One request on its way: its body as this server takes it, and what was tried already."""

    body: dict[str, Any]
    left_out: set[str] = field(default_factory=set)
    tries: int = 0
    begun: bool = False  # a piece of the answer was handed on
    since: float = field(default_factory=time.monotonic)


class RemoteEngine:
    """The model that the server at `url` serves (with or without /v1) under the name `model` (None: its only one).

    `api_key` None takes BEDSIDE_API_KEY, VLLM_API_KEY or OPENAI_API_KEY from the environment. `timeout` is the seconds
    that may pass without a word from the server, and those that a server without room (HTTP 429) is waited for;
    `retries` how often a request is sent again that failed in another way; `at_once` how many of `answer` are under
    way together. ConfigError for an address or a model that is none, EngineFailed if the server does not answer.
    """

    thinks = True  # a server does not say; one whose model has no thoughts takes no notice of enable_thinking

    def __init__(
        self,
        url: str,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float = 600.0,
        retries: int = 5,
        at_once: int = 16,
    ):
        place = address.read(url)
        key = api_key or address.key(place)
        self.url, self.keyed = place.base.removesuffix("/v1"), bool(key)
        self.timeout, self.retries, self.at_once = timeout, retries, at_once
        self._client = _client(place, key, timeout)
        self._refused: set[str] = set()
        self._said: set[str] = set()
        self.name, self.context = loop.submit(self._served(model)).result()

    def stream(
        self,
        messages: list[dict],
        sampling: Sampling,
        enable_thinking: bool | None = None,
        cancel: Event | None = None,
    ) -> Iterator[Delta | Answer]:
        """Deltas of thought and answer as they come, then the whole Answer. Setting `cancel`, or closing the iterator,
        closes the connection, which tells the server to stop."""
        body = protocol.body(self.name, messages, sampling, enable_thinking)
        cancel, reading, chunks = cancel or Event(), Reading(), SimpleQueue()
        future = loop.submit(self._send(body, True, chunks.put))
        future.add_done_callback(lambda _: chunks.put(None))
        try:
            while not cancel.is_set():
                try:
                    part = chunks.get(timeout=_LOOK)
                except Empty:
                    continue
                if part is None:
                    future.result()  # raises what went wrong
                    break
                yield from reading.feed(part)
        finally:
            future.cancel()
        yield from reading.rest()
        yield self._finished(reading, not reading.finish_reason)

    def answer(
        self, conversations: Sequence[list[dict]], sampling: Sampling, enable_thinking: bool | None = None
    ) -> list[Answer]:
        """The answers to several conversations, in their order; the first error of one ends them all."""
        bodies = [protocol.body(self.name, messages, sampling, enable_thinking) for messages in conversations]
        starts = [lambda body=body: loop.submit(self._whole(body)) for body in bodies]
        done = {place: future.result() for place, future in loop.in_flight(starts, self.at_once)}
        return [done[place] for place in range(len(bodies))]

    def ask(
        self,
        messages: list[dict],
        sampling: Sampling,
        enable_thinking: bool | None = None,
        tools: list[dict] | None = None,
    ) -> Future:
        """The future of one Answer, under way when this returns (RowError and EngineFailed come out of it)."""
        return loop.submit(self._asked(messages, sampling, enable_thinking, tools))

    def close(self) -> None:
        """Close the connections."""
        loop.submit(self._client.close()).result()

    async def _asked(self, messages: list[dict], *given: Any) -> Answer:
        return await self._whole(protocol.body(self.name, messages, *given))

    async def _whole(self, body: dict[str, Any]) -> Answer:
        parts: list[Chunk] = []
        await self._send(body, False, parts.append)
        reading = Reading()
        for part in parts:
            list(reading.feed(part))
        return self._finished(reading, False)

    def _finished(self, reading: Reading, cancelled: bool) -> Answer:
        if not cancelled and not reading.counted:
            self._say(f"{self.url}: does not count tokens; the counts shown are those of pieces of text")
        if reading.finish_reason == "content_filter":
            self._say(f"{self.url}: cuts answers off by a filter of its own")
        return reading.answer(cancelled)

    async def _send(self, body: dict[str, Any], stream: bool, take: Callable[[Chunk], None]) -> None:
        """Ask until the reply is whole, and `take` its chunks. Nothing is asked again once a piece was taken."""
        import openai

        if stream:
            body = {**body, "stream": True, "stream_options": {"include_usage": True}}
        kept = {name: value for name, value in body.items() if name not in self._refused}
        plan = _Plan(kept, set(body) - set(kept))
        while True:
            try:
                async for part in self._chunks(plan.body):
                    plan.begun |= bool(part.thought or part.answer)
                    take(part)
            except ValueError as error:
                raise self._no_completion(error) from None
            except (openai.APIError, OSError) as error:
                if plan.begun and stream:
                    raise EngineFailed(
                        f"{self.url}: broke off in the middle of an answer ({refusals.reason(error)})", True
                    ) from None
                await self._mend(error, plan)
            else:
                self._learn(plan, body)
                return

    async def _chunks(self, body: dict[str, Any]) -> AsyncIterator[Chunk]:
        """The chunks of one reply, or the whole of it as one. ConnectionError for a reply without its end."""
        ended = None
        if body.get("stream"):
            async with await self._post(body) as reply:
                async for event in reply:
                    part = protocol.chunk(event)
                    ended = part.finish_reason or ended
                    yield part
        else:
            part = protocol.chunk(await self._post(body))
            ended = part.finish_reason
            if not protocol.broke_off(ended):
                yield part
        if protocol.broke_off(ended):
            raise ConnectionError("the reply has no end")

    async def _post(self, body: dict[str, Any]) -> Any:
        from openai import AsyncStream
        from openai.types.chat import ChatCompletion, ChatCompletionChunk

        if not body.get("stream"):
            return await self._client.post("/chat/completions", body=body, cast_to=ChatCompletion)
        kind = {"cast_to": ChatCompletionChunk, "stream_cls": AsyncStream[ChatCompletionChunk]}
        return await self._client.post("/chat/completions", body=body, stream=True, **kind)

    async def _mend(self, error: Exception, plan: _Plan) -> None:
        """Change what is asked, or wait, so that it can be asked again; raise what is to be told otherwise."""
        fields = refusals.refused_fields(error, plan.body)
        limit = next((name for name in ("max_tokens", "max_completion_tokens") if name in plan.body), None)
        if fields:
            plan.left_out |= set(fields)
            plan.body = {name: value for name, value in plan.body.items() if name not in fields}
        elif refusals.other_limit(error, plan.body):
            plan.body["max_completion_tokens"] = plan.body.pop("max_tokens")
        elif refusals.overlong(error) and limit:
            del plan.body[limit]  # the answer then has what the prompt leaves of the context
        elif refusals.about_the_row(error) and (refusals.overlong(error) or await self._works(plan)):
            raise refusals.row_error(error, plan.body["messages"]) from None
        else:
            await self._wait(error, plan)

    async def _wait(self, error: Exception, plan: _Plan) -> None:
        """Wait as long as the server asks, or longer each time; EngineFailed when that was long or often enough."""
        seconds = refusals.pause(error, plan.tries)
        plan.tries += 1
        if refusals.busy(error):
            left = time.monotonic() - plan.since + seconds <= self.timeout
        else:
            left = plan.tries <= self.retries and seconds <= self.timeout
        if not refusals.again(error) or not left:
            raise refusals.failed(error, self.url, getattr(self, "name", None), self.keyed, plan.tries) from None
        self._say(f"{self.url}: {refusals.reason(error)}; asking again", f"status {refusals.status_of(error)}")
        await asyncio.sleep(seconds)

    async def _works(self, plan: _Plan) -> bool:
        """Whether these settings are taken with another question, so that it is the row that was refused."""
        import openai

        own = {"messages", "tools", "tool_choice", "stream_options"}
        body = {name: value for name, value in plan.body.items() if name not in own}
        body |= {"messages": [{"role": "user", "content": "?"}], "stream": True}
        try:
            async with aclosing(self._chunks(body)) as chunks:
                async for _ in chunks:
                    return True
        except (openai.APIError, OSError, ValueError):
            pass
        return False

    def _learn(self, plan: _Plan, body: dict[str, Any]) -> None:
        """Leave out from now on what this server refuses, and say so where it was asked for."""
        for name in sorted(plan.left_out - self._refused):
            if body.get(name, protocol.OPTIONAL[name]) != protocol.OPTIONAL[name]:
                self._say(f"{self.url}: refuses {name}, which is left out; its answers are drawn without it")
        self._refused |= plan.left_out

    def _say(self, sentence: str, topic: str = "") -> None:
        """Warn once (of each topic)."""
        if (topic or sentence) not in self._said:
            self._said.add(topic or sentence)
            logs.warn(sentence)

    def _no_completion(self, error: Exception) -> EngineFailed:
        return EngineFailed(
            f"{self.url}: what it sent is no chat completion ({error}); expected an OpenAI-compatible server"
        )

    async def _served(self, wanted: str | None) -> tuple[str, int | None]:
        """Name and context of the model to ask."""
        import openai

        try:
            reply = await self._client.get("/models", cast_to=object)
        except openai.APIError as error:
            if wanted and refusals.status_of(error) in (404, 405, 501):  # it has no list, and may have the model
                return wanted, None
            raise refusals.failed(error, self.url, None, self.keyed) from None
        except ValueError as error:
            raise self._no_completion(error) from None
        try:
            cards = {card["id"]: card for card in reply["data"]}
        except (TypeError, KeyError):
            raise ConfigError(f"--server {self.url}: lists no models; expected an OpenAI-compatible server") from None
        names = ", ".join([*cards][:_NAMED]) + (f" and {len(cards) - _NAMED} more" if len(cards) > _NAMED else "")
        if not cards or wanted and wanted not in cards:
            raise ConfigError(f"--served_model {wanted}: {self.url} serves {names or 'no model'}")
        if not wanted and len(cards) > 1:
            raise ConfigError(f"{self.url} serves several models ({names}); choose one with --served_model")
        name = wanted or next(iter(cards))
        return name, cards[name].get("max_model_len")


def _client(place: address.Address, key: str | None, timeout: float) -> Any:
    """The openai client for one address alone: no redirects, no proxy for this machine, no key but this one."""
    import openai

    wire = openai.DefaultAsyncHttpxClient(
        follow_redirects=False,
        trust_env=not place.local,
        timeout=openai.Timeout(timeout, connect=_CONNECT),
    )
    bare = {"OpenAI-Organization": openai.Omit(), "OpenAI-Project": openai.Omit()}  # of the environment
    # The client insists on a key; a server that wants none takes no notice of this one.
    shown = key or "none"
    return openai.AsyncOpenAI(
        api_key=shown, base_url=place.base, max_retries=0, default_headers=bare, http_client=wire
    )
