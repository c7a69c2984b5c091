"""OpenAI-compatible servers: one whose replies are scripted, and our own over a ChatEngine."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}


class Handler(BaseHTTPRequestHandler):
    """Writes replies; `self.server.work(handler, body)` decides which."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Models, as `models` of the server says: a list of cards, or a function of the handler."""
        models = self.server.models
        if callable(models):
            return models(self)
        return self.json(200, {"object": "list", "data": models})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append({"path": self.path, "headers": dict(self.headers), **body})
        try:
            self.server.work(self, body)
        except OSError:  # the client went away
            self.server.left.set()
            self.close_connection = True

    def json(self, status: int, value: Any, **headers: str) -> None:
        """One JSON reply."""
        raw = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if isinstance(value, str) else "application/json")
        self.send_header("Content-Length", str(len(raw)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        if self.command == "GET":
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(raw)

    def error(self, status: int, message: str, code: str | None = None, **headers: str) -> None:
        """A refusal in OpenAI's shape."""
        self.json(status, {"error": {"message": message, "type": "x", "param": None, "code": code}}, **headers)

    def events(self) -> None:
        """The head of a stream."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def event(self, value: Any) -> None:
        """One event of a stream."""
        raw = b"data: " + (value.encode() if isinstance(value, str) else json.dumps(value).encode()) + b"\n\n"
        self.wfile.write(f"{len(raw):x}\r\n".encode() + raw + b"\r\n")
        self.wfile.flush()

    def delta(self, finish: str | None = None, **delta: str) -> None:
        """One chunk of a completion."""
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        self.event({"id": "1", "object": "chat.completion.chunk", "choices": [choice]})

    def end(self, usage: dict | None = None) -> None:
        """The end of a stream, with the counts first."""
        if usage:
            self.event({"id": "1", "object": "chat.completion.chunk", "choices": [], "usage": usage})
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def whole(self, usage: dict | None = None, finish: str = "stop", **message: str | None) -> None:
        """A completion that is not streamed."""
        choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
        self.json(200, {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage or USAGE})

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Server(ThreadingHTTPServer):
    """`asked` holds the bodies and headers that came, `left` is set when a client closed the connection."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, work: Callable, models: Any):
        super().__init__(("127.0.0.1", 0), Handler)
        self.work, self.models, self.asked, self.left = work, models, [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"


@contextmanager
def running(work: Callable[[Handler, dict], None], models: Any = ({"id": "m"},)) -> Iterator[Server]:
    """A server that answers by `work`, in a thread."""
    server = Server(work, list(models) if isinstance(models, tuple) else models)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def scripted(*steps: Callable[[Handler, dict], None]) -> Callable[[Handler, dict], None]:
    """Work that takes the steps one request after the other; the last one stays."""
    rest, lock = list(steps), threading.Lock()

    def work(handler: Handler, body: dict) -> None:
        with lock:
            step = rest.pop(0) if len(rest) > 1 else rest[0]
        step(handler, body)

    return work


def says(answer: str, thought: str | None = None, usage: dict | None = None) -> Callable[[Handler, dict], None]:
    """A step that answers so, in a stream or not, the thought apart."""

    def step(handler: Handler, body: dict) -> None:
        if not body.get("stream"):
            handler.whole(usage, content=answer, reasoning=thought)
            return
        handler.events()
        for kind, text in (("reasoning", thought or ""), ("content", answer)):
            for piece in (text[i : i + 3] for i in range(0, len(text), 3)):
                handler.delta(**{kind: piece})
        handler.delta("stop")
        handler.end(usage or USAGE)

    return step


def refuses(status: int, message: str = "no", code: str | None = None, **headers: str) -> Callable:
    """A step that refuses."""
    return lambda handler, body: handler.error(status, message, code, **headers)


@contextmanager
def serving(engine: Any) -> Iterator[str]:
    """The URL of fastapi_server_demo.py's server over a ChatEngine, in a thread."""
    import uvicorn

    from bedside.answers import Sampling
    from bedside.serving import app
    from bedside.serving.batched import BatchedEngine

    batched = BatchedEngine(engine)
    made = app.make(batched, app.Settings("tiny", Sampling()))
    web = uvicorn.Server(uvicorn.Config(made, log_level="critical", lifespan="off", timeout_graceful_shutdown=1))
    place = socket.socket()
    place.bind(("127.0.0.1", 0))
    thread = threading.Thread(target=web.run, kwargs={"sockets": [place]}, daemon=True)
    thread.start()
    while not web.started:
        assert thread.is_alive()
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        web.should_exit = True
        thread.join()
        batched.close()
