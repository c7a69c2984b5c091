"""A conversation on the gradio page in a real browser: thoughts, stopping, asking again, two models.

sh run_tests.sh --browser tests/browser/test_gradio_chat.py
"""

import re

from playwright.sync_api import expect

from bedside.chatpage import alarms, texts
from tests.browser.gradio_asked import EN, ZH, ask, boxes, bubbles, question, taken, wait_until_answered


def test_the_thought_is_open_while_it_is_written_and_closes_when_the_answer_begins(url, visit):
    page = visit(url)
    ask(page, "PAUSED: my mother is 67 and her speech is slurred.")
    fold = page.locator("#chat0 .thought-group")
    fold.get_by_text(EN["thinking"]).wait_for()
    page.get_by_text("One side of the face droops").wait_for()
    assert fold.get_by_text("One side of the face droops").is_visible()
    page.get_by_text("Call an ambulance now.").wait_for()
    page.wait_for_function("!document.querySelector('#chat0').innerText.includes('One side of the face droops')")
    assert page.locator("#stop").is_visible()  # the answer is still being written
    wait_until_answered(page)
    assert "slurred or missing" in bubbles(page) and "One side of the face" not in bubbles(page)
    page.locator("#chat0").get_by_text(EN["thought"], exact=True).click()
    page.get_by_text("One side of the face droops").wait_for()
    assert page.locator("#chat0 table").count() == 1 and page.locator("#chat0 ol li").count() == 3


def test_a_danger_sign_puts_the_banner_above_the_answer(url, visit):
    page = visit(url, locale="zh-CN")
    page.get_by_text(ZH["disclaimer"]).wait_for()
    ask(page, "胸口压榨样疼痛，出冷汗")
    banner = page.locator("#chat0 .alarm")
    banner.wait_for()
    expect(banner).to_have_text(alarms.banner(alarms.found("胸口压榨样疼痛，出冷汗", "zh"), "zh"))
    expect(banner).to_contain_text("120")
    wait_until_answered(page)
    page.get_by_text("请立即拨打 120。", exact=True).wait_for()
    banner_box, answer_box = boxes(page, "#chat0 .alarm", "#chat0 strong")
    assert banner_box["top"] < answer_box["top"]
    ask(page, "没有胸痛 COUNT")
    page.get_by_text("answer 1 to 没有胸痛 COUNT").wait_for()
    assert banner.count() == 1


def test_the_disclaimer_is_always_there(url, visit):
    page = visit(url, locale="zh-CN")
    page.get_by_text(ZH["disclaimer"]).wait_for()
    ask(page, "COUNT always")
    page.get_by_text("answer 1 to COUNT always").wait_for()
    assert page.get_by_text(ZH["disclaimer"]).is_visible()


def test_stop_keeps_what_was_written_and_the_next_question_works(url, visit):
    page = visit(url)
    ask(page, "SLOW one")
    page.get_by_text(re.compile("word word word")).wait_for()
    page.locator("#stop").click()
    page.get_by_text(EN["stopped"], exact=True).wait_for()
    wait_until_answered(page)
    assert 3 <= bubbles(page).count("word") < 400
    ask(page, "COUNT after stop")
    page.get_by_text("answer 1 to COUNT after stop").wait_for()


def test_retry_edit_and_clear(url, visit):
    page = visit(url)
    ask(page, "COUNT retried")
    page.get_by_text("answer 1 to COUNT retried").wait_for()
    wait_until_answered(page)
    page.locator("#retry").click()
    page.get_by_text("answer 2 to COUNT retried").wait_for()
    wait_until_answered(page)
    assert "answer 1" not in bubbles(page)
    page.locator("#edit").click()
    expect(question(page)).to_have_value("COUNT retried")
    ask(page, "COUNT edited")
    page.get_by_text("answer 1 to COUNT edited").wait_for()
    wait_until_answered(page)
    assert "retried" not in bubbles(page)
    page.locator("#clear").click()
    page.get_by_text(EN["empty"]).wait_for()
    assert "edited" not in bubbles(page)


def test_an_engine_that_breaks_is_told_in_a_sentence(url, visit):
    page = visit(url)
    ask(page, "BREAK it")
    page.get_by_text("closed the connection. “Answer again” tries once more.").wait_for()
    wait_until_answered(page)
    assert "Traceback" not in page.content()


def test_an_example_asks_itself(url, visit):
    page = visit(url)
    page.get_by_text(texts.EXAMPLES["en"][3]).first.click()
    page.get_by_text("Call an ambulance now.").wait_for()


def test_buttons_without_a_conversation_do_no_harm(url, visit):
    page = visit(url)
    for button in ("#retry", "#edit", "#clear", "#send"):
        page.locator(button).click()
    question(page).fill("COUNT by enter")
    question(page).press("Enter")
    taken(page)
    page.get_by_text("answer 1 to COUNT by enter").wait_for()
    assert page.get_by_text("Error").count() == 0


def test_two_models_answer_side_by_side(url_of_two, visit):
    page = visit(url_of_two)
    ask(page, "COUNT both")
    page.locator("#chat1").get_by_text("Base: answer 1 to COUNT both").wait_for()
    page.locator("#chat0").get_by_text("answer 1 to COUNT both").wait_for()
    left, right = boxes(page, "#chat0", "#chat1")
    assert left["top"] == right["top"] and right["left"] >= left["right"]
    assert page.locator("#chat0").get_by_text("medical-tuned").is_visible()
    assert page.locator("#chat1").get_by_text("base", exact=True).is_visible()
    wait_until_answered(page)
    ask(page, "SLOW both")
    page.locator("#chat1").get_by_text(re.compile("word word")).wait_for()
    page.locator("#stop").click()
    for chat in ("#chat0", "#chat1"):
        page.locator(chat).get_by_text(EN["stopped"], exact=True).wait_for()


def test_two_people_do_not_see_each_other(url, visit):
    first, second = visit(url), visit(url)
    ask(first, "COUNT mine")
    ask(second, "COUNT yours")
    first.get_by_text("to COUNT mine").wait_for()
    second.get_by_text("to COUNT yours").wait_for()
    assert "yours" not in bubbles(first) and "mine" not in bubbles(second)
