"""The OpenAI-compatible server over the engine of this process: routes, refusals, streams.

All that a reply waits for (pieces of the answer, the client hanging up, the time being over) comes through one queue.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import shlex
import time
import uuid
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.serving import protocol
from bedside.serving.batched import BatchedEngine
from bedside.serving.scheduler import Busy
from bedside.thoughts import Delta

_RETRY_SECONDS = 2
_SILENCE_SECONDS = 15  # after which a stream shows proxies that it lives
_GONE, _LATE = "gone", "late"


class Settings(NamedTuple):
    """What a server promises: its model's name, what requests leave open, and the bounds."""

    model: str
    defaults: Sampling
    max_tokens_limit: int = 4096
    system: str | None = None
    enable_thinking: bool | None = None
    key: str | None = None
    max_bytes: int = 1 << 20
    timeout: float = 600.0


class _Refused(Exception):
    """A reply that is an error: its status, OpenAI's JSON, and headers."""

    def __init__(self, status: int, body: dict, headers: dict | None = None):
        self.status, self.body, self.headers = status, body, headers or {}
        super().__init__(status)


def make(engine: BatchedEngine, settings: Settings) -> FastAPI:
    """The application. It answers chats for /v1/chat/completions and lists its one model; nothing else is open."""
    app = FastAPI(title="bedside", docs_url=None, redoc_url=None, openapi_url=None)
    model = {"id": settings.model, "object": "model", "created": int(time.time()), "owned_by": "bedside",
             "max_model_len": engine.context}  # fmt: skip
    for kind, told in ((_Refused, _told), (HTTPException, _told_http), (Exception, _told_bug)):
        app.add_exception_handler(kind, told)

    @app.get("/health")
    async def health() -> Response:
        scheduler = engine.scheduler
        if scheduler.failed:
            return JSONResponse({"status": "dead", "detail": scheduler.failed}, 503)
        return JSONResponse({"status": "ok", "running": scheduler.running, "waiting": scheduler.waiting})

    @app.get("/v1/models")
    async def models(request: Request) -> dict:
        _allow(request, settings.key)
        return {"object": "list", "data": [model]}

    @app.get("/v1/models/{name:path}")
    async def one_model(request: Request, name: str) -> dict:
        _allow(request, settings.key)
        _known(name, settings.model)
        return model

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        _allow(request, settings.key)
        wanted = await _read(request, settings)
        job = await _Job.begin(engine, wanted, request, settings.timeout)
        head = (f"chatcmpl-{uuid.uuid4().hex}", settings.model, int(time.time()))
        if wanted.stream:
            chunks = protocol.Chunks(*head, wanted.usage)
            headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
            return StreamingResponse(_events(job, chunks), media_type="text/event-stream", headers=headers)
        answer = await job.answer()
        return JSONResponse(protocol.reply(answer, *head)) if answer else Response(status_code=499)

    return app


def greeting(settings: Settings, address: tuple) -> str:
    """What is told when the server is ready: where it is, and a command that asks it something."""
    host = f"[{address[0]}]" if ":" in address[0] else address[0]
    url = f"http://{host}:{address[1]}/v1"
    key = ' -H "Authorization: Bearer $BEDSIDE_API_KEY"' if settings.key else ""
    question = {"model": settings.model, "messages": [{"role": "user", "content": "头晕怎么办？"}]}
    return (
        f"ready: {url} serves {settings.model}; Ctrl-C stops it. Try:\n"
        f"  curl {url}/chat/completions -H 'Content-Type: application/json'{key} \\\n"
        f"    -d {shlex.quote(json.dumps(question, ensure_ascii=False))}"
    )


def _allow(request: Request, key: str | None) -> None:
    """Raise _Refused unless the request shows the key (where there is one)."""
    given = request.headers.get("authorization", "")
    if key and not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
        sentence = "no valid API key; send Authorization: Bearer KEY with the server's BEDSIDE_API_KEY"
        body = protocol.failure(sentence, "invalid_request_error", "invalid_api_key")
        raise _Refused(401, body, {"WWW-Authenticate": "Bearer"})


def _known(name: str | None, served: str) -> None:
    if name not in (None, "", served):
        sentence = f"the model {name!r} is not here; this server serves {served!r}"
        raise _Refused(404, protocol.failure(sentence, "invalid_request_error", "model_not_found", "model"))


async def _read(request: Request, settings: Settings) -> protocol.Asked:
    """The request as it is meant; raises _Refused."""
    raw = await _body(request, settings)
    try:
        body = json.loads(raw)
        json.dumps(body, ensure_ascii=False).encode()  # a lone surrogate is no text
    except (ValueError, RecursionError):
        raise _bad("the body is no JSON in UTF-8") from None
    try:
        wanted = protocol.asked(
            body, settings.defaults, settings.max_tokens_limit, settings.system, settings.enable_thinking
        )
    except protocol.BadRequest as error:
        raise _bad(str(error), field=error.field) from None
    _known(wanted.model, settings.model)
    return wanted


async def _body(request: Request, settings: Settings) -> bytes:
    """The body, which may have `max_bytes` and must come in time."""
    declared = request.headers.get("content-length", "")
    found = bytearray()
    try:
        async with asyncio.timeout(settings.timeout):
            too_large = declared.isdigit() and int(declared) > settings.max_bytes
            if not too_large:
                async for chunk in request.stream():
                    found += chunk
                    if too_large := len(found) > settings.max_bytes:
                        break
    except TimeoutError:
        sentence = f"the request did not come within {settings.timeout:g} s"
        raise _Refused(408, protocol.failure(sentence, "timeout", "timeout")) from None
    if too_large:
        sentence = f"the request is larger than {settings.max_bytes} bytes, which is the most this server reads"
        raise _Refused(413, protocol.failure(sentence, "invalid_request_error", "request_too_large"))
    return bytes(found)


def _bad(sentence: str, code: str | None = None, field: str | None = None) -> _Refused:
    return _Refused(400, protocol.failure(sentence, "invalid_request_error", code, field))


class _Job:
    """A request that the engine has taken, and the queue of what happens to it."""

    def __init__(self, timeout: float):
        self._loop, self.happened, self.timeout = asyncio.get_running_loop(), asyncio.Queue(), timeout
        self.request: Any = None

    @classmethod
    async def begin(cls, engine: BatchedEngine, wanted: protocol.Asked, http: Request, timeout: float) -> _Job:
        """Hand the request to the engine; raises _Refused for one that it does not take."""
        job = cls(timeout)
        try:
            # In a thread: a long chat takes the template and the tokenizer a while.
            prompt = await run_in_threadpool(engine.prompt, wanted.messages, wanted.enable_thinking)
            job.request = engine.submit(prompt, wanted.sampling, job._put)
        except RowError as error:
            code = "context_length_exceeded" if error.code == "W_OVERLONG" else None
            raise _bad(error.detail, code, "messages") from None
        except Busy as error:
            body = protocol.failure(str(error), "rate_limit_error", "queue_full")
            raise _Refused(429, body, {"Retry-After": str(_RETRY_SECONDS)}) from None
        except EngineFailed as error:
            raise _Refused(503, protocol.failure(str(error), "server_error", "engine_failed")) from None
        job._watcher = asyncio.create_task(job._watch(http))
        job._clock = job._loop.call_later(timeout, job.happened.put_nowait, _LATE)
        return job

    def _put(self, piece: Delta | Answer | EngineFailed) -> None:
        """Called in the model's thread."""
        self._loop.call_soon_threadsafe(self.happened.put_nowait, piece)

    async def _watch(self, http: Request) -> None:
        """Let the engine stop as soon as the client hangs up, whoever else is looking."""
        while (await http.receive())["type"] != "http.disconnect":
            pass
        self.request.gone.set()
        self.happened.put_nowait(_GONE)

    def end(self) -> None:
        """Nobody waits any more."""
        self.request.gone.set()
        self._watcher.cancel()
        self._clock.cancel()

    async def answer(self) -> Answer | None:
        """The whole answer; None if the client hung up. Raises _Refused."""
        try:
            while True:
                piece = await self.happened.get()
                if isinstance(piece, Answer):
                    return piece
                if piece == _GONE:
                    return None
                if not isinstance(piece, Delta):
                    late = piece == _LATE
                    raise _Refused(504 if late else 503, self.failure(piece))
        finally:
            self.end()

    def failure(self, piece: Any) -> dict:
        """What went wrong, in OpenAI's shape."""
        if piece == _LATE:
            return protocol.failure(f"no answer within {self.timeout:g} s", "timeout", "timeout")
        return protocol.failure(str(piece), "server_error", "engine_failed")


async def _events(job: _Job, chunks: protocol.Chunks) -> AsyncIterator[str]:
    """A reply as server-sent events. One that breaks off ends in an error event, without [DONE]."""
    try:
        yield _event(chunks.start())
        while True:
            try:
                async with asyncio.timeout(_SILENCE_SECONDS):
                    piece = await job.happened.get()
            except TimeoutError:
                yield ": still waiting\n\n"
                continue
            if isinstance(piece, Delta):
                yield _event(chunks.of(piece))
            elif isinstance(piece, Answer):
                for chunk in chunks.end(piece):
                    yield _event(chunk)
                yield "data: [DONE]\n\n"
                return
            else:
                if piece != _GONE:
                    yield _event(job.failure(piece))
                return
    finally:
        job.end()


def _event(data: dict) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def _told(_: Request, error: _Refused) -> Response:
    return JSONResponse(error.body, error.status, error.headers)


async def _told_http(_: Request, error: HTTPException) -> Response:
    """No such route, or not with this method."""
    sentence = f"{error.detail}; this server has /v1/chat/completions, /v1/models and /health"
    return JSONResponse(protocol.failure(sentence, "invalid_request_error", error.status_code), error.status_code)


async def _told_bug(_: Request, error: Exception) -> Response:
    return JSONResponse(protocol.failure("an error in the server; its log has it", "server_error"), 500)
