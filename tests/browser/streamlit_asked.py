"""The Streamlit page as a test sees it: what it asks, presses, measures and waits for.

What comes from the page's server comes late on a busy machine: everything is waited for, and what belongs together is
measured at once.
"""

import json
import re
import time
from pathlib import Path

from playwright.sync_api import expect

from bedside.chatpage import texts
from tests.browser.conftest import WAIT_MS

EN, ZH = texts.words("en"), texts.words("zh")
NARROW = (390, 844)
_FITS = (
    "Math.max(document.documentElement.scrollWidth, document.querySelector('.stMain').scrollWidth)"
    " <= window.innerWidth"
)


def field(page):
    return page.get_by_test_id("stChatInputTextArea")


def button(page, name: str):
    return page.get_by_role("button", name=name)


def ask(page, question: str) -> None:
    expect(field(page)).to_be_enabled()
    field(page).fill(question)
    field(page).press("Enter")


def messages(page):
    return page.get_by_test_id("stChatMessage")


def finished(page) -> None:
    expect(button(page, EN["retry"]).or_(button(page, ZH["retry"]))).to_be_visible()


def fits(page) -> None:
    """The page is, or becomes, no wider than its window."""
    page.wait_for_function(_FITS)


def columns(page) -> list[dict[str, float]]:
    """Where the columns are, measured at once: the page scrolls by itself."""
    return page.get_by_test_id("stColumn").evaluate_all("all => all.map(one => one.getBoundingClientRect().toJSON())")


def settled(page) -> None:
    """Until what was changed has left the browser: a slider waits for its reader's hand to rest. A timer of the same
    browser, so that it fires after the slider's however busy the machine is."""
    page.evaluate("() => new Promise(done => setTimeout(done, 1000))")


def asked(served) -> list:
    """Name, temperature, most tokens and messages of every question that reached an engine."""
    return [json.loads(line) for line in re.findall(r"^asked (.+)$", served.said(), re.MULTILINE)]


def told(served, text: str, times: int = 1) -> None:
    """Wait until the server's terminal has shown the text so often."""
    end = time.monotonic() + WAIT_MS / 1000
    while served.said().count(text) < times:
        assert time.monotonic() < end, f"{text!r} is not in:\n{served.said()[-3000:]}"
        time.sleep(0.05)


def downloaded(page, name: str) -> tuple[str, str]:
    """Name and text of the file that a button gives."""
    with page.expect_download() as waiting:
        button(page, name).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_text(encoding="utf-8")
