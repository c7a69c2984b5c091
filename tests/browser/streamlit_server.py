"""A Streamlit page as a subprocess, on a free port of this machine, with its terminal's text."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.browser.conftest import REPO, free_port

APP = Path(__file__).with_name("streamlit_app.py")
_SECONDS = 120


class Served(NamedTuple):
    """Where the page is, and the file that its terminal's text goes to."""

    url: str
    log: Path

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def release(self, name: str, kind: str) -> None:
        """Let the "thought" or the "answer" to a question with "HOLD name" go on."""
        (self.log.parent / f"{name}.{kind}").touch()


def healthy(url: str) -> bool:
    """Whether a Streamlit server answers there."""
    try:
        with urllib.request.urlopen(f"{url}/_stcore/health", timeout=5) as reply:
            return reply.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def process(command: list[str], url: str, log: Path) -> Iterator[Served]:
    """The page that `command` starts, ready at `url`; it is stopped at the end."""
    environment = {**os.environ, "PYTHONPATH": str(REPO), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    with log.open("w", encoding="utf-8") as sink:
        running = subprocess.Popen(command, cwd=REPO, stdout=sink, stderr=subprocess.STDOUT, env=environment)
        served, end = Served(url, log), time.monotonic() + _SECONDS
        try:
            while not healthy(url):
                assert running.poll() is None, f"the page ended with {running.returncode}:\n{served.said()}"
                assert time.monotonic() < end, f"the page is not there after {_SECONDS} s:\n{served.said()}"
                time.sleep(0.2)
            yield served
        finally:
            running.terminate()
            try:
                running.wait(20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


@contextmanager
def serving(log: Path, *words: str, script: Path = APP) -> Iterator[Served]:
    """`streamlit run script -- words`, as a user types it."""
    port = free_port()
    command = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
    if script == APP:  # the configuration beside streamlit_demo.py is found from the directory it is started in
        command += ["--server.address", "127.0.0.1"]
        words = (str(log.parent), *words)
    with process([*command, "--", *words], f"http://127.0.0.1:{port}", log) as served:
        yield served
