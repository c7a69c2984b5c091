"""The report in a real browser: nothing is loaded, nothing of a model's text runs, in both languages, light and dark,
on a phone and on paper.

sh run_tests.sh --browser -k report
"""

import sys

import pytest

from bedside.evaluate import report
from bedside.evaluate.evaluation import Judged
from bedside.evaluate.task import Case
from tests.browser.conftest import REPO, free_port, serving
from tests.evaluate.report_cases import HOSTILE, evaluation, exam

IMAGE = REPO / "docs/images/report_1280.png"


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """The page of a report over two models, one of which writes what must not run."""
    place = tmp_path_factory.mktemp("report")
    judged = Judged("base", "sft", "rules", [Case(str(n), {"win": float(n % 3 > 0)}) for n in range(30)], [HOSTILE])
    made = [
        evaluation("base", exam(10, missed=8), 1.4),
        evaluation("sft", exam(30, said=HOSTILE), 1.0, hardware=HOSTILE),
    ]
    report.write(place, report.of(made, [judged]))
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(place)]
    with serving(command, f"http://127.0.0.1:{port}/report.html", place / "log") as address:
        yield address


def inked(page) -> str:
    """The colour of the page's text."""
    return page.evaluate("getComputedStyle(document.body).color")


def test_nothing_of_a_text_runs_and_nothing_is_asked_for(url, visit):
    page = visit(url)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    page.get_by_text("window.hacked=1").first.wait_for()
    assert page.locator("script, img, iframe, link").count() == 0
    assert {address for address in asked if "favicon" not in address} == {url}


def test_the_page_has_one_language_at_a_time(url, visit):
    page = visit(url)
    page.get_by_role("heading", name="Evaluation report").wait_for()
    assert "评测报告" not in page.locator("main").inner_text()
    page.get_by_text("中文", exact=True).click()
    page.get_by_role("heading", name="评测报告").wait_for()
    assert "Evaluation report" not in page.locator("main").inner_text()
    assert page.locator("svg").get_by_text("正确率").first.is_visible()
    assert not page.locator("svg").get_by_text("right answer").first.is_visible()


def test_the_language_is_switched_by_the_keyboard(url, visit):
    page = visit(url)
    page.locator("#to-en").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("heading", name="评测报告").wait_for()


def test_dark_is_dark(url, visit):
    page = visit(url)
    light = inked(page)
    page.emulate_media(color_scheme="dark")
    assert inked(page) != light
    assert page.locator("svg").first.evaluate("one => getComputedStyle(one).color") == inked(page)


def test_a_phone_scrolls_tables_not_the_page(url, visit):
    page = visit(url, width=390)
    page.locator("details").evaluate_all("all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = page.locator(".wrap").evaluate_all("all => all.filter(one => one.scrollWidth > one.clientWidth).length")
    assert wide > 0


def test_paper_has_no_switch_and_keeps_to_its_width(url, visit):
    page = visit(url)
    page.emulate_media(media="print", color_scheme="dark")
    assert not page.locator(".bar").is_visible() and not page.locator("nav").is_visible()
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    assert page.pdf().startswith(b"%PDF")


def test_links_lead_to_their_sections(url, visit):
    page = visit(url)
    for link in page.locator("nav a").all():
        assert page.locator(link.get_attribute("href")).count() == 1


def test_what_the_documents_show_is_what_is_seen(url, visit):
    page = visit(url, height=1400)
    page.get_by_role("heading", name="All measures").wait_for()
    IMAGE.parent.mkdir(exist_ok=True)
    page.screenshot(path=IMAGE)
    assert IMAGE.stat().st_size > 20_000
