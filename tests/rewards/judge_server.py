"""A judge's server on this machine, which says what it is told to say."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from bedside.rewards import Completion, judge

ASKED = [{"role": "user", "content": "I have a fever. What is it?"}]


class Server(ThreadingHTTPServer):
    """Replies are taken in turn (the last one stays): a text, the JSON of a whole reply, (status, headers), or a
    function of the request's messages that gives one of these."""

    def __init__(self, *replies):
        super().__init__(("127.0.0.1", 0), Handler)
        self.replies, self.seen, self.together, self.most, self.lock = list(replies), [], 0, 0, threading.Lock()
        self.gate = None
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):  # noqa: N802
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.seen.append((self.path, dict(self.headers), body))
            reply = server.replies.pop(0) if len(server.replies) > 1 else server.replies[0]
            reply = reply(body["messages"]) if callable(reply) else reply
            server.together += 1
            server.most = max(server.most, server.together)
        if server.gate:
            server.gate.wait(5)
        with server.lock:
            server.together -= 1
        status, headers = reply if isinstance(reply, tuple) else (200, {})
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if status == 200:
            usage = {"prompt_tokens": 100, "completion_tokens": 10}
            message = {"choices": [{"message": {"content": reply}}], "usage": usage}
            message = message if isinstance(reply, str) else reply
            self.wfile.write(json.dumps(message).encode())

    def log_message(self, *args):
        pass


@pytest.fixture
def serve():
    made = []

    def start(*replies) -> Server:
        made.append(Server(*replies))
        return made[-1]

    yield start
    for server in made:
        server.shutdown()
        server.server_close()


def make(server: Server, waits: list | None = None, **more) -> judge.Judge:
    """A judge that asks `server`; what it would have waited is appended to `waits`."""
    return judge.Judge(judge.Settings(server.url, "m", **more), (waits if waits is not None else []).append)


def ask(made: judge.Judge, *texts: str) -> list:
    """The judge's scores of answers to one question."""
    return made.score([Completion(text, True) for text in texts], [{}] * len(texts), [ASKED] * len(texts))
