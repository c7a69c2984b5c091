"""The review sheet in a real browser: votes by key and by touch, kept, changed, saved; nothing of a model runs.

sh run_tests.sh --browser -k review
"""

import functools
import http.server
import json
import threading

import pytest

from bedside.evaluate.judging import sheet, votes
from tests.evaluate.judging_pairs import answer, many, question

ATTACK = (
    "<script>window.hacked = 1</script><img src=x onerror=\"window.hacked = 2\"></script><svg onload=alert(1)>"
    "[link](javascript:window.hacked=3) ![pixel](http://198.51.100.7/pixel.png)"
)  # fmt: skip
NAMES = ("base", "tuned")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def place(tmp_path):
    """Where the sheet is written: three plain pairs and one that attacks."""
    questions, first, second = many(3)
    first.append(answer(ATTACK))
    second.append(answer("**Call 120** now.\n\n1. Rest.\n2. " + "A long line of advice. " * 30))
    sheet.write(tmp_path, [*questions, question("q3", ATTACK, reference="gout")], first, second, NAMES)
    return tmp_path


@pytest.fixture
def url(place):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(place)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/review.html"
    server.shutdown()
    server.server_close()


def begin(page, name: str = "Ann") -> None:
    page.locator("#name").fill(name)
    page.locator("#begin").click()
    page.locator("#case").wait_for()


def saved(page, tmp_path) -> str:
    with page.expect_download() as download:
        page.locator("#export").click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return str(path)


def questions_of(place) -> list[str]:
    """The questions in the order of the sheet."""
    return [behind["question"] for behind in json.loads((place / "review_key.json").read_text())["items"].values()]


def test_votes_by_key_are_saved_and_read_back(url, place, visit):
    page = visit(url)
    begin(page)
    for key in ("1", "2", "3", " "):
        page.keyboard.press(key)
    page.locator("#end").wait_for()
    assert page.locator("#count").inner_text() == "4 / 4 · voted 3"
    path = saved(page, place)
    assert path.endswith("votes-Ann.json")
    order, key = questions_of(place), place / "review_key.json"
    sides = {behind["question"]: behind["left"] for behind in json.loads(key.read_text())["items"].values()}
    found = votes.load([path], key)
    assert found.wins == {"Ann": {
        order[0]: float(sides[order[0]] == "second"), order[1]: float(sides[order[1]] == "first"), order[2]: 0.5,
    }}  # fmt: skip


def test_going_back_changes_a_vote_and_a_reload_keeps_it(url, place, visit):
    page = visit(url)
    begin(page)
    page.keyboard.press("1")
    page.keyboard.press("Backspace")
    assert page.locator("#left").evaluate("node => node.classList.contains('chosen')")
    page.keyboard.press("3")
    page.reload()
    assert page.locator("#name").input_value() == "Ann"
    page.locator("#begin").click()
    page.locator("#case").wait_for()
    assert page.locator("#count").inner_text() == "2 / 4 · voted 1"
    assert list(votes.load([saved(page, place)], place / "review_key.json").wins["Ann"].values()) == [0.5]


def test_another_person_in_the_same_browser_begins_anew(url, visit):
    page = visit(url)
    begin(page)
    page.keyboard.press("1")
    page.reload()
    begin(page, "Bo")
    assert page.locator("#count").inner_text() == "1 / 4 · voted 0"


def test_a_name_is_needed(url, visit):
    page = visit(url)
    page.locator("#begin").click()
    assert "name or initials" in page.locator("#unnamed").inner_text() and page.locator("#case").is_hidden()


def test_what_a_model_wrote_is_text(url, place, visit):
    page = visit(url)
    begin(page)
    for _ in range(questions_of(place).index("q3")):
        page.keyboard.press(" ")
    assert page.locator("#question").inner_text() == ATTACK
    assert ATTACK in (page.locator("#left .text").inner_text(), page.locator("#right .text").inner_text())
    assert page.locator("main img, main svg, main a, main script").count() == 0
    page.locator("#reference summary").click()
    assert page.locator("#reference .text").inner_text() == "gout"


def test_both_languages(url, visit):
    page = visit(url, locale="zh-CN")
    page.get_by_text("哪个回答更好？").wait_for()
    page.locator("#language").click()
    page.get_by_text("Which answer is better?").wait_for()
    begin(page)
    assert page.get_by_text("1 is better").is_visible() and page.evaluate("document.documentElement.lang") == "en"


def test_a_telephone_shows_all_of_it_and_votes_by_touch(url, place, visit):
    page = visit(url, width=390, height=780)
    begin(page)
    for _ in range(questions_of(place).index("q3")):
        page.locator("[data-vote=tie]").click()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    left, right = (page.locator(f"#{side}").bounding_box() for side in ("left", "right"))
    assert left["y"] + left["height"] <= right["y"], "one below the other"
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    end = page.locator("#reference").bounding_box()
    assert end["y"] + end["height"] <= page.locator("#keys").bounding_box()["y"], "the buttons hide nothing"
    page.locator("[data-vote=right]").click()
    assert "voted" in page.locator("#count").inner_text()
    assert page.locator("[data-vote=right]").bounding_box()["height"] >= 40


def test_it_works_as_a_file_without_any_server(place, chromium):
    page = chromium.new_page()
    seen = []
    page.on("request", lambda request: seen.append(request.url))
    page.goto((place / "review.html").as_uri())
    begin(page)
    page.keyboard.press("2")
    assert page.locator("#count").inner_text() == "2 / 4 · voted 1"
    assert all(url.startswith(("file:", "data:")) for url in seen)
    page.close()
