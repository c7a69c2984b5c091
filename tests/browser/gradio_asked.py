"""The gradio page as a test sees it: its server, what it asks, and when an answer is there.

What comes from the page's server comes late on a busy machine: everything is waited for.
"""

from playwright.sync_api import expect

from bedside.chatpage import texts
from tests.browser.conftest import free_port, python, serving

EN, ZH = texts.words("en"), texts.words("zh")
_TRIES, _TRY_MS = 30, 2000


def served(tmp_path_factory, *flags: str, **environment: str):
    """A server of the page; use it with `with`."""
    port, log = free_port(), tmp_path_factory.mktemp("gradio") / "server.log"
    command = [python(), "-m", "tests.browser.gradio_server", "--port", str(port), *flags]
    return serving(command, f"http://127.0.0.1:{port}/", log, **environment)


def question(page):
    return page.locator("#question textarea")


def ask(page, text: str) -> None:
    """Type a question and send it."""
    question(page).fill(text)
    page.locator("#send").click()
    taken(page)


def taken(page) -> None:
    """Wait until the page has taken the question out of its field, and shows Stop in place of Send.

    gradio drops what is sent while it still closes the request before: Enter is pressed until it is heard. Pressed too
    often, it sends nothing.
    """
    for _ in range(_TRIES):
        try:
            expect(question(page)).to_have_value("", timeout=_TRY_MS)
            return
        except AssertionError:
            question(page).press("Enter")
    raise AssertionError("the question is still in its field")


def wait_until_answered(page) -> None:
    """Until Send is there again; the question has been taken before."""
    page.locator("#send").wait_for(state="visible")


def bubbles(page, which: str = "#chat0") -> str:
    """All that the chat shows, as a person reads it."""
    return page.locator(which).inner_text()


def boxes(page, *selectors: str) -> list[dict[str, float]]:
    """Where the first element of each selector is, measured at once: a chat scrolls by itself."""
    return page.evaluate(
        "all => all.map(one => document.querySelector(one).getBoundingClientRect().toJSON())", selectors
    )
