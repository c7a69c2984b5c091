"""The real vLLM server as a subprocess of its own environment."""

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PYTHON = Path(__file__).resolve().parents[2] / ".serve-venv/bin/python"
_READY_SECONDS = 300
_TAIL = 3000  # characters of the server's log that an assertion shows
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "CUDA_VISIBLE_DEVICES": "",
    "VLLM_HOST_IP": "127.0.0.1",
    "no_proxy": "127.0.0.1",
}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


def _wait(process: subprocess.Popen, url: str, log: Path) -> None:
    end = time.monotonic() + _READY_SECONDS
    while not _ready(url):
        tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:]
        assert process.poll() is None, f"the server ended with {process.returncode}:\n{tail}"
        assert time.monotonic() < end, f"the server was not ready after {_READY_SECONDS} s:\n{tail}"
        time.sleep(0.5)


def _stop(process: subprocess.Popen) -> None:
    """End the server and its engine, which live in a process group of their own."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except ProcessLookupError:
            break
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


@contextmanager
def running(command: list[str], port: int, log: Path) -> Iterator[str]:
    """The URL of the server that `command` starts, ready; it is stopped at the end, whatever happens."""
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(
            command, stdout=sink, stderr=subprocess.STDOUT, env={**os.environ, **_ENVIRONMENT}, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait(process, url, log)
            yield url
        finally:
            _stop(process)


@contextmanager
def serving(model: Path, log: Path, *flags: str, max_model_len: int = 1024) -> Iterator[str]:
    """The URL of a server of `model` that is ready; it is stopped at the end."""
    port = free_port()
    command = [
        str(PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), "--dtype", "bfloat16",
        "--enforce-eager", "--no-enable-chunked-prefill",
        "--max-model-len", str(max_model_len), "--host", "127.0.0.1", "--port", str(port), *flags,
    ]  # fmt: skip
    with running(command, port, log) as url:
        yield url
