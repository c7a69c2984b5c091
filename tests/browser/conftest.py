"""A real headless Chromium, and the pages' servers as subprocesses that say what is scripted.

sh run_tests.sh --browser
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest

REPO = Path(__file__).resolve().parents[2]
_READY_SECONDS = 120
WAIT_MS = 60_000  # for what must come; a machine that is busy may take long
LOAD_MS = 180_000  # for a page with all its scripts, from a server that has just begun
WIDE = (1280, 900)
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "no_proxy": "127.0.0.1"}


@dataclass
class Seen:
    """What a page did that a person would not see."""

    hosts: set[str] = field(default_factory=set)
    dialogs: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return place.getsockname()[1]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except urllib.error.HTTPError:
        return True
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def serving(command: list[str], url: str, log: Path, **environment: str) -> Iterator[str]:
    """`url` once the server that `command` starts answers there; the server ends with the block."""
    with log.open("w", encoding="utf-8") as sink:
        process = subprocess.Popen(
            command, cwd=REPO, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True,
            env={**os.environ, **_ENVIRONMENT, **environment},
        )  # fmt: skip
        try:
            end = time.monotonic() + _READY_SECONDS
            while not _answers(url):
                said = log.read_text(encoding="utf-8", errors="replace")[-3000:]
                assert process.poll() is None, f"the server ended with {process.returncode}:\n{said}"
                assert time.monotonic() < end, f"the server was not ready after {_READY_SECONDS} s:\n{said}"
                time.sleep(0.2)
            yield url
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.fixture(scope="session")
def chromium():
    """The browser; the test is skipped where there is none."""
    pytest.importorskip("playwright", reason="pip install playwright")
    from playwright.sync_api import expect, sync_playwright

    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if not found:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    expect.set_options(timeout=WAIT_MS)
    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium) -> Iterator[Callable]:
    """`visit(url, width, locale)` opens a page of its own; at the end nothing may have left this machine, no dialog
    may have opened and no script of a text may have run. `page.seen` tells what was seen."""
    pages = []

    def opened(url: str, width: int = 1280, locale: str = "en-GB", height: int = 900):
        context = chromium.new_context(
            viewport={"width": width, "height": height}, locale=locale, accept_downloads=True, color_scheme="light"
        )
        context.set_default_timeout(WAIT_MS)
        page, seen = context.new_page(), Seen()
        page.seen = seen
        page.on("request", lambda request: seen.hosts.add(urlsplit(request.url).hostname))
        page.on("websocket", lambda socket: seen.hosts.add(urlsplit(socket.url).hostname))
        page.on("dialog", lambda dialog: (seen.dialogs.append(dialog.message), dialog.dismiss()))
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        pages.append(page)
        page.goto(url, timeout=LOAD_MS)
        return page

    yield opened
    try:
        for page in pages:
            assert page.seen.hosts - {None} == {"127.0.0.1"}
            assert page.seen.dialogs == [] and page.seen.errors == []
            assert page.evaluate("window.hacked") is None
    finally:
        for page in pages:
            page.context.close()


@pytest.fixture
def opened(chromium) -> Iterator[Callable]:
    """`opened(served, size)` opens a Streamlit page; no test may make the browser ask another machine, or open a
    dialog."""
    contexts, elsewhere, dialogs = [], [], []

    def note(request):
        if not request.url.startswith(("http://127.0.0.1:", "ws://127.0.0.1:", "data:", "blob:")):
            elsewhere.append(request.url)

    def open_page(served, size=WIDE):
        context = chromium.new_context(viewport=dict(zip(("width", "height"), size, strict=True)), locale="en-GB")
        contexts.append(context)
        context.on("request", note)
        page = context.new_page()
        page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
        page.set_default_timeout(WAIT_MS)
        page.goto(served.url, timeout=LOAD_MS)
        page.get_by_test_id("stChatInputTextArea").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert (elsewhere, dialogs) == ([], [])


@pytest.fixture(scope="module")
def url(tmp_path_factory) -> Iterator[str]:
    """The gradio page of one model."""
    from tests.browser.gradio_asked import served

    with served(tmp_path_factory) as address:
        yield address


@pytest.fixture(scope="module")
def url_of_two(tmp_path_factory) -> Iterator[str]:
    """The gradio page of two models."""
    from tests.browser.gradio_asked import served

    with served(tmp_path_factory, "--two", "--language", "en") as address:
        yield address


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The Streamlit page of one model."""
    from tests.browser.streamlit_server import serving as streamlit

    with streamlit(tmp_path_factory.mktemp("one") / "log", "en") as served:
        yield served


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The Streamlit page of two models."""
    from tests.browser.streamlit_server import serving as streamlit

    with streamlit(tmp_path_factory.mktemp("two") / "log", "en", "two") as served:
        yield served


def python() -> str:
    """The interpreter of these tests, for their servers."""
    return sys.executable
