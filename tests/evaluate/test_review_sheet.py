"""The review sheet that people vote on: blind, in an order of chance, and no text of a model is ever code.

sh run_tests.sh tests/evaluate/test_review_sheet.py
"""

import json
import re

import pytest

from bedside.errors import ConfigError
from bedside.evaluate.judging import sheet
from tests.evaluate.judging_pairs import answer, many, question

NAMES = ("model-base", "model-tuned")


def data_of(html: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="sheet">(.*?)</script>', html, re.DOTALL)[1])


def test_the_page_does_not_tell_whose_an_answer_is(tmp_path):
    page = sheet.write(tmp_path, *many(20), NAMES)
    html = page.read_text(encoding="utf-8")
    assert page == tmp_path / "review.html"
    assert "model-base" not in html and "model-tuned" not in html
    assert not re.search("first|second|base|tuned", json.dumps(data_of(html)))
    made, key = data_of(html), json.loads((tmp_path / "review_key.json").read_text(encoding="utf-8"))
    assert (key["first"], key["second"], key["sheet"]) == (*NAMES, made["sheet"])
    assert {item["id"] for item in made["items"]} == set(key["items"]) and len(key["items"]) == 20
    for item in made["items"]:
        behind = key["items"][item["id"]]
        number = behind["question"].removeprefix("q")
        one = {"first": f"one {number}", "second": f"two {number}"}
        other = "second" if behind["left"] == "first" else "first"
        assert (item["left"], item["right"]) == (one[behind["left"]], one[other])


def test_order_and_sides_are_shuffled_by_the_seed():
    made, key = sheet.sheet(*many(40), NAMES, 1)
    again, _ = sheet.sheet(*many(40), NAMES, 1)
    other, _ = sheet.sheet(*many(40), NAMES, 2)
    assert made == again and made["sheet"] != other["sheet"]
    order = [key["items"][item["id"]]["question"] for item in made["items"]]
    assert order != [f"q{number}" for number in range(40)] and sorted(order) == sorted(f"q{n}" for n in range(40))
    left = [behind["left"] for behind in key["items"].values()]
    assert 8 <= left.count("first") <= 32


def test_pairs_that_are_equal_are_left_out():
    questions, first, second = many(3)
    second[1] = first[1]
    made, key = sheet.sheet(questions, first, second, NAMES, 1)
    assert len(made["items"]) == 2 and key["equal"] == ["q1"]
    with pytest.raises(ConfigError, match="all 3 pairs of answers are equal; there is nothing to compare"):
        sheet.sheet(questions, first, first, NAMES, 1)


def test_what_a_model_writes_never_becomes_markup():
    attack = (
        "</script><script>window.hacked = 1</script><!-- <script> <img src=x onerror=alert(1)> \u2028 {{script-hash}}"
    )
    made, _ = sheet.sheet([question("q", attack)], [answer(attack)], [answer("b")], NAMES, 1)
    html = sheet.page(made)
    assert html.count("<script") == 2 and html.count("</script>") == 2 and "<img src=x" not in html
    assert "\u2028" not in html and "{{" not in html.partition('id="sheet">')[0]
    shown = data_of(html)["items"][0]
    assert attack in (shown["left"], shown["right"]) and shown["question"] == [["user", attack]]


def test_the_page_asks_nothing_of_the_network():
    html = sheet.page(sheet.sheet(*many(1), NAMES, 1)[0])
    assert "default-src 'none'" in html and re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", html)
    assert not re.search(r"https?://|<link rel=\"stylesheet|@import|url\(", html)


def test_thoughts_are_shown_only_where_that_is_wished():
    pair = [question()], [answer("a", "secret one")], [answer("b", "secret two")]
    assert "secret" not in str(sheet.sheet(*pair, NAMES, 1)[0])
    assert "secret one" in str(sheet.sheet(*pair, NAMES, 1, thoughts=True)[0])


def test_characters_that_no_one_sees_are_left_out():
    made, _ = sheet.sheet([question()], [answer("a\u202eb\x00\x1b[31m")], [answer("c\ud800")], NAMES, 1)
    assert {made["items"][0]["left"], made["items"][0]["right"]} == {"ab[31m", "c\ufffd"}
    sheet.page(made).encode("utf-8")


def test_an_earlier_sheet_is_put_aside_because_its_votes_need_its_key(tmp_path, caplog):
    sheet.write(tmp_path, *many(2), NAMES, seed=1)
    old = json.loads((tmp_path / "review_key.json").read_text())["sheet"]
    sheet.write(tmp_path, *many(2), NAMES, seed=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["review.html", "review_key.json"]
    sheet.write(tmp_path, *many(2), NAMES, seed=2)
    assert json.loads((tmp_path / f"review_key-{old}.json").read_text())["sheet"] == old
    assert (tmp_path / f"review-{old}.html").is_file() and (tmp_path / "review.html").is_file()
