"""A server that speaks as vLLM does to PPO, on this machine: its worker is ours, its model a dictionary of weights."""

import json
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

from bedside.ppo.vllm_worker import WeightReceiver

CONTEXT = 64


class Worker(WeightReceiver):
    """vLLM's worker as far as weights go: `loaded` holds what arrived, and `breaks` lets the next load break off."""

    def __init__(self, config, model: str, lora_rank: int | None = 16):
        self.model_config = SimpleNamespace(hf_text_config=config, model=model, dtype="torch.float32")
        self.lora_config = SimpleNamespace(max_lora_rank=lora_rank) if lora_rank else None
        self.model_runner = SimpleNamespace(reload_weights=self._reload)
        self.device = SimpleNamespace(type="cuda")
        self.loaded: dict = {}
        self.breaks = False

    def _reload(self, weights_iterator) -> None:
        if self.breaks:
            next(weights_iterator)
            raise RuntimeError("CUDA out of memory")
        self.loaded = dict(weights_iterator)


class _Quiet(ThreadingHTTPServer):
    """A client that has gone away is no error of the server's."""

    def handle_error(self, *address):
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(*address)


class Toy:
    """Answers requests: `says` makes a completion of a body; `refuses` and `hangs_up` are taken before that."""

    def __init__(self, worker: Worker, names: tuple[str, ...] = ("base",)):
        self.worker, self.names = worker, list(names)
        self.adapters: dict[str, str] = {}
        self.asked: list[tuple[str, dict]] = []  # path and body
        self.keys: list[str | None] = []
        self.says: Callable[[dict], dict] = echo
        self.refuses: dict[str, tuple[int, str]] = {}  # path: status and reason
        self.hangs_up: dict[str, int] = {}  # path: how many requests get no answer
        self.resets = True
        self.http = _Quiet(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.port = self.http.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()

    def bodies(self, path: str) -> list[dict]:
        return [body for asked, body in self.asked if asked == path]

    def answer(self, path: str, body: dict) -> tuple[int, object]:
        """Status and JSON."""
        if path == "/v1/models":
            cards = [{"id": name, "parent": None, "max_model_len": CONTEXT} for name in self.names]
            return 200, {"data": cards + [{"id": name, "parent": "base"} for name in self.adapters]}
        if path == "/collective_rpc":
            try:
                return 200, {"results": [getattr(self.worker, body["method"])(**body.get("kwargs", {}))]}
            except (ValueError, OSError, RuntimeError) as error:
                return 500, {"error": {"message": str(error)}}
        if path == "/v1/load_lora_adapter":
            self.adapters[body["lora_name"]] = body["lora_path"]
            return 200, "Success"
        if path == "/v1/unload_lora_adapter":
            known = self.adapters.pop(body["lora_name"], None)
            return (200, "Success") if known else (404, {"error": {"message": "cannot be found"}})
        if path == "/reset_prefix_cache":
            return 200, {"success": self.resets}
        if body["model"] not in (*self.names, *self.adapters):
            return 404, {"error": {"message": f"The model `{body['model']}` does not exist."}}
        return 200, {"choices": [{"prompt_token_ids": body["prompt"], "finish_reason": "length"} | self.says(body)]}

    def _handler(self):
        toy = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_):
                pass

            def do_GET(self):
                self.do_POST()

            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                toy.asked.append((self.path, body))
                toy.keys.append(self.headers.get("Authorization"))
                if toy.hangs_up.get(self.path):
                    toy.hangs_up[self.path] -= 1
                    return
                status, reason = toy.refuses.get(self.path, (0, ""))
                answer = {"error": {"message": reason}} if status else None
                if not status:
                    status, answer = toy.answer(self.path, body)
                text = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
                self.send_response(status)
                if status == 307:
                    self.send_header("Location", reason)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

        return Handler


def echo(body: dict) -> dict:
    """The last token of the prompt, counted up to the limit; earlier rows answer later."""
    time.sleep(0.02 * (5 - min(body["prompt"][0], 5)))
    first = body["prompt"][-1]
    return {"token_ids": [first + place for place in range(body["max_tokens"])]}
