"""A conversation on the Streamlit page in a real browser: thoughts, stopping, asking again, two models.

sh run_tests.sh --browser tests/browser/test_streamlit_chat.py
"""

from playwright.sync_api import expect

from bedside.chatpage import texts
from tests.browser.streamlit_asked import (
    EN,
    NARROW,
    ask,
    asked,
    button,
    columns,
    finished,
    fits,
    messages,
    told,
)


def test_the_thought_is_open_until_the_answer_begins(opened, one):
    page = opened(one)
    ask(page, "My mother's face droops and her speech is slurred. HOLD first")
    thought = page.locator("details").first
    expect(thought).to_have_attribute("open", "")
    expect(thought).to_contain_text(EN["thinking"])
    expect(thought).to_contain_text("One side of the face droops")
    expect(button(page, EN["stop"])).to_be_visible()
    one.release("first", "thought")
    expect(thought).to_contain_text(EN["thought"])
    expect(thought).not_to_have_attribute("open", "")
    expect(button(page, EN["stop"])).to_be_visible()  # it closed while the answer was still being written
    one.release("first", "answer")
    finished(page)
    expect(button(page, EN["stop"])).to_have_count(0)
    last = messages(page).last
    expect(last.locator("strong")).to_have_text("Call an ambulance now.")
    expect(last.locator("table")).to_contain_text("one corner of the mouth hangs")


def test_a_thought_that_the_reader_opens_stays_open(opened, one):
    page = opened(one)
    one.release("reader", "thought")
    ask(page, "What is a stroke? HOLD reader")
    thought = page.locator("details").first
    expect(thought).to_contain_text(EN["thought"])  # the answer has begun
    thought.locator("summary").click()
    expect(thought).to_have_attribute("open", "")
    expect(thought.get_by_text("One side of the face")).to_be_visible()
    one.release("reader", "answer")
    finished(page)
    expect(messages(page).last.locator("table")).to_be_visible()
    expect(thought).to_have_attribute("open", "")


def test_stop_ends_the_engine_and_keeps_what_was_written(opened, one):
    page = opened(one, NARROW)
    one.release("stopped", "thought")
    ask(page, "Tell me about stopping. HOLD stopped")
    expect(messages(page).last).to_contain_text("Call an ambulance now.")
    expect(button(page, EN["stop"])).to_be_in_viewport(ratio=1)
    fits(page)
    before = one.said().count("ended medical-tuned cancelled")
    button(page, EN["stop"]).click()
    finished(page)
    expect(messages(page).last).to_contain_text(EN["stopped"])
    expect(messages(page).last).to_contain_text("Call an ambulance now.")
    told(one, "ended medical-tuned cancelled", before + 1)
    ask(page, "COUNT after the stop")
    expect(messages(page).last).to_contain_text("answer 1 to COUNT after the stop")


def test_closing_the_window_stops_the_engine(opened, one):
    page = opened(one)
    ask(page, "A window that is closed. HOLD closed")
    expect(messages(page).last).to_contain_text("One side of the face")
    before = one.said().count("ended medical-tuned cancelled")
    page.close()
    told(one, "ended medical-tuned cancelled", before + 1)


def test_retry_asks_again_and_replaces_the_answer(opened, one):
    page = opened(one)
    ask(page, "COUNT retried")
    finished(page)
    expect(messages(page).last).to_contain_text("answer 1 to COUNT retried")
    button(page, EN["retry"]).click()
    expect(messages(page).last).to_contain_text("answer 2 to COUNT retried")
    finished(page)
    expect(messages(page)).to_have_count(2)
    assert asked(one)[-1][3] == [{"role": "user", "content": "COUNT retried"}]


def test_edit_replaces_the_last_question(opened, one):
    page = opened(one)
    ask(page, "COUNT kept")
    finished(page)
    ask(page, "COUNT mistyped")
    expect(messages(page).last).to_contain_text("answer 1 to COUNT mistyped")
    finished(page)
    button(page, EN["edit"]).click()
    editor = page.get_by_role("textbox", name=EN["edit"])
    expect(editor).to_have_value("COUNT mistyped")
    button(page, "Cancel").click()
    expect(messages(page).nth(2)).to_contain_text("COUNT mistyped")
    button(page, EN["edit"]).click()
    editor.fill("COUNT corrected")
    page.get_by_role("button", name=EN["send"]).filter(has_text=EN["send"]).click()
    expect(messages(page).last).to_contain_text("answer 1 to COUNT corrected")
    finished(page)
    expect(page.get_by_text("mistyped")).to_have_count(0)
    expect(editor).to_have_count(0)
    contents = [message["content"] for message in asked(one)[-1][3]]
    assert contents == ["COUNT kept", "answer 1 to COUNT kept", "COUNT corrected"]


def test_clear_brings_the_examples_back(opened, one):
    page = opened(one)
    example = texts.EXAMPLES["en"][3]
    button(page, example).click()
    finished(page)
    expect(messages(page).first).to_contain_text(example)
    expect(page.get_by_text(EN["empty"])).to_have_count(0)
    button(page, EN["clear"]).click()
    expect(messages(page)).to_have_count(0)
    expect(button(page, example)).to_be_visible()


def test_two_models_answer_side_by_side(opened, two):
    page = opened(two)
    ask(page, "COUNT both")
    finished(page)
    left, right = page.get_by_test_id("stColumn").nth(0), page.get_by_test_id("stColumn").nth(1)
    expect(left).to_contain_text("medical-tuned")
    expect(left).to_contain_text("answer 1 to COUNT both")
    expect(right).to_contain_text("Base: answer 1 to COUNT both")
    first, second = columns(page)[:2]
    assert first["top"] == second["top"]
    ask(page, "COUNT again")
    expect(messages(page).last).to_contain_text("Base: answer 1 to COUNT again")
    finished(page)
    heard = {name: messages[1]["content"] for name, _, _, messages in asked(two) if len(messages) == 3}
    assert heard == {"medical-tuned": "answer 1 to COUNT both", "base": "Base: answer 1 to COUNT both"}
    two.release("both", "thought")
    ask(page, "Both at once. HOLD both")
    expect(messages(page).last).to_contain_text("Base: Call an ambulance now.")
    button(page, EN["stop"]).click()
    finished(page)
    for name in ("medical-tuned", "base"):  # the page does not wait for an engine that is slow to heed it
        told(two, f"ended {name} cancelled")


def test_two_models_stand_one_above_the_other_on_a_phone(opened, two):
    page = opened(two, NARROW)
    ask(page, "What helps against a cold?")
    finished(page)
    first, second = columns(page)[:2]
    assert second["top"] >= first["bottom"]
    fits(page)


def test_an_engine_that_breaks_tells_why_and_may_be_asked_again(opened, one):
    page = opened(one)
    ask(page, "BREAK the case of a stroke")
    finished(page)
    expect(messages(page).last).to_contain_text(f"{EN['failed']}: the server at 127.0.0.1:9 closed the connection")
    expect(messages(page).last).to_contain_text("Call an ambulance")  # what had come is kept
    button(page, EN["retry"]).click()
    finished(page)
    expect(messages(page)).to_have_count(2)


def test_an_answer_cut_by_the_limit_says_so(opened, one):
    page = opened(one)
    ask(page, "COUNT CUT")
    finished(page)
    expect(messages(page).last).to_contain_text(EN["cut"])
