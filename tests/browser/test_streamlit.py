"""The Streamlit page in a real browser, over an engine whose every answer is known.

sh run_tests.sh --browser tests/browser/test_streamlit.py
"""

import json
import re
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from bedside.chatpage import texts
from tests.browser import streamlit_server

IMAGES = streamlit_server.REPO / "docs" / "images"
EN, ZH = texts.words("en"), texts.words("zh")
WIDE, NARROW = (1280, 900), (390, 844)
SECONDS = 60_000  # milliseconds that something on the page may take on a busy machine


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    with streamlit_server.serving(tmp_path_factory.mktemp("one") / "log", "en") as served:
        yield served


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with streamlit_server.serving(tmp_path_factory.mktemp("two") / "log", "en", "two") as served:
        yield served


@pytest.fixture
def opened(chromium):
    """Opens a page of a given width; no test may make the browser ask another machine, or open a dialog."""
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
        page.set_default_timeout(SECONDS)
        page.goto(served.url)
        expect(field(page)).to_be_visible(timeout=SECONDS)
        return page

    expect.set_options(timeout=SECONDS)
    yield open_page
    for context in contexts:
        context.close()
    assert (elsewhere, dialogs) == ([], [])


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


def folds(page) -> list[bool]:
    """Whether each fold-out is open, in their order."""
    return page.locator("details").evaluate_all("all => all.map(one => one.open)")


def overflow(page) -> int:
    """By how many pixels the page is wider than its window."""
    return page.evaluate(
        "Math.max(document.documentElement.scrollWidth, document.querySelector('.stMain').scrollWidth)"
        " - window.innerWidth"
    )


def asked(served) -> list:
    """Name, temperature, most tokens and messages of every question that reached an engine."""
    return [json.loads(line) for line in re.findall(r"^asked (.+)$", served.said(), re.MULTILINE)]


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
    assert overflow(page) == 0
    before = one.said().count("ended medical-tuned cancelled")
    button(page, EN["stop"]).click()
    finished(page)
    expect(messages(page).last).to_contain_text(EN["stopped"])
    expect(messages(page).last).to_contain_text("Call an ambulance now.")
    assert one.said().count("ended medical-tuned cancelled") == before + 1
    ask(page, "COUNT after the stop")
    expect(messages(page).last).to_contain_text("answer 1 to COUNT after the stop")


def test_closing_the_window_stops_the_engine(opened, one):
    page = opened(one)
    ask(page, "A window that is closed. HOLD closed")
    expect(messages(page).last).to_contain_text("One side of the face")
    before = one.said().count("ended medical-tuned cancelled")
    page.close()
    other = opened(one)
    for _ in range(600):
        if one.said().count("ended medical-tuned cancelled") > before:
            return
        other.wait_for_timeout(100)
    raise AssertionError("the engine goes on writing to a page that is closed")


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


def test_the_settings_reach_the_engine(opened, one):
    page = opened(one)
    system = page.get_by_role("textbox", name=EN["system_prompt"])
    system.fill("Answer briefly.")
    system.press("Control+Enter")
    page.get_by_role("slider").press("ArrowRight")
    most = page.get_by_role("spinbutton", name=EN["max_new_tokens"])
    most.fill("77")
    most.press("Enter")
    expect(page.get_by_test_id("stSliderThumbValue")).to_have_text("0.75")
    ask(page, "COUNT the settings")
    finished(page)
    name, temperature, tokens, sent = asked(one)[-1]
    assert (name, temperature, tokens) == ("medical-tuned", 0.75, 77)
    assert sent[0] == {"role": "system", "content": "Answer briefly."}


def test_two_models_answer_side_by_side(opened, two):
    page = opened(two)
    ask(page, "COUNT both")
    finished(page)
    left, right = page.get_by_test_id("stColumn").nth(0), page.get_by_test_id("stColumn").nth(1)
    expect(left).to_contain_text("medical-tuned")
    expect(left).to_contain_text("answer 1 to COUNT both")
    expect(right).to_contain_text("Base: answer 1 to COUNT both")
    assert left.bounding_box()["y"] == right.bounding_box()["y"]
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
    ends = re.findall(r"^ended (.+)$", two.said(), re.MULTILINE)
    assert sorted(ends[-2:]) == ["base cancelled", "medical-tuned cancelled"]


def test_two_models_stand_one_above_the_other_on_a_phone(opened, two):
    page = opened(two, NARROW)
    ask(page, "What helps against a cold?")
    finished(page)
    left, right = (page.get_by_test_id("stColumn").nth(place).bounding_box() for place in (0, 1))
    assert right["y"] >= left["y"] + left["height"]
    assert overflow(page) == 0


def downloaded(page, name: str) -> tuple[str, str]:
    with page.expect_download() as waiting:
        button(page, name).click()
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_text(encoding="utf-8")


def test_the_conversation_is_exported(opened, two):
    page = opened(two)
    expect(button(page, EN["export_markdown"])).to_be_disabled()
    ask(page, "COUNT for the file")
    finished(page)
    name, text = downloaded(page, EN["export_markdown"])
    assert re.fullmatch(r"bedside-\d{8}-\d{6}\.md", name)
    assert EN["disclaimer"] in text
    assert "COUNT for the file" in text
    assert "> thought 1" in text
    assert "Base: answer 1 to COUNT for the file" in text
    name, text = downloaded(page, EN["export_json"])
    assert re.fullmatch(r"bedside-\d{8}-\d{6}\.json", name)
    found = json.loads(text)
    assert found["disclaimer"] == EN["disclaimer"]
    assert found["settings"]["temperature"] == 0.7
    first, second = found["conversations"]
    assert (first["model"], second["model"]) == ("medical-tuned", "base")
    assert first["turns"][0]["thought"] == "thought 1"
    assert second["turns"][0]["answer"] == "Base: answer 1 to COUNT for the file"


def test_the_language_changes_even_while_an_answer_is_written(opened, one):
    page = opened(one)
    ask(page, "In two languages. HOLD languages")
    expect(messages(page).last).to_contain_text("One side of the face")
    page.get_by_text("中文", exact=True).click()
    expect(button(page, ZH["stop"])).to_be_visible()
    expect(page.get_by_text(ZH["disclaimer"])).to_be_visible()
    expect(page.get_by_text(ZH["temperature"], exact=True)).to_be_visible()
    one.release("languages", "thought")
    expect(messages(page).last).to_contain_text("Call an ambulance now.")  # it went on
    button(page, ZH["stop"]).click()
    finished(page)
    expect(messages(page).last).to_contain_text(ZH["stopped"])
    button(page, ZH["clear"]).click()
    expect(button(page, texts.EXAMPLES["zh"][0])).to_be_visible()
    expect(page.get_by_text(EN["settings"], exact=True)).to_have_count(0)


def test_danger_signs_show_a_banner_and_denied_ones_do_not(opened, one):
    page = opened(one)
    ask(page, "COUNT: I have chest pain and I am sweating.")
    banner = page.get_by_test_id("stAlert")
    expect(banner).to_contain_text(EN["banner_title"])
    expect(banner).to_contain_text("911")
    finished(page)
    page.get_by_text("中文", exact=True).click()
    expect(banner).to_contain_text(ZH["banner_title"])
    expect(banner).to_contain_text("120")
    button(page, ZH["clear"]).click()
    ask(page, "COUNT: I cough, but have no chest pain.")
    finished(page)
    expect(banner).to_have_count(0)


@pytest.mark.parametrize("of", ["model", "user"])
def test_nothing_in_a_text_is_executed_or_loaded(opened, one, of):
    from tests.browser.cases import ATTACK

    page = opened(one)
    math = "$\\href{javascript:window.hacked=9}{x}$ :red[x] :material/home:"
    ask(page, "ATTACK" if of == "model" else f"COUNT {math} {ATTACK}")
    finished(page)
    for place in range(len(folds(page))):
        page.locator("summary").nth(place).click()
    expect(page.get_by_text("<script>").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    main = page.locator(".stMain")
    assert main.locator("code").count() > 0  # the selectors below look where the texts are
    assert main.locator("img, iframe, script, svg[onload], [onerror], [onload], [onclick]").count() == 0
    hrefs = main.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert [href for href in hrefs if not re.match("https?://|mailto:|#", href or "#")] == []
    expect(page.get_by_text(EN["disclaimer"])).to_be_visible()
    button(page, EN["edit"]).click()
    expect(page.get_by_role("textbox", name=EN["edit"])).to_be_visible()
    assert page.evaluate("window.hacked") is None


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


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_it_fits_its_window_and_looks_as_documented(opened, one, language, size):
    page = opened(one, size)
    said = texts.words(language)
    page.get_by_text({"zh": "中文", "en": "English"}[language], exact=True).click()
    expect(page.get_by_text(said["disclaimer"])).to_be_in_viewport(ratio=1)
    assert overflow(page) == 0
    button(page, texts.EXAMPLES[language][1]).click()
    finished(page)
    expect(page.get_by_text(said["disclaimer"])).to_be_in_viewport(ratio=1)
    expect(field(page)).to_be_in_viewport(ratio=1)
    assert overflow(page) == 0
    page.mouse.move(size[0] / 2, size[1] / 2)
    page.mouse.wheel(0, -5000)
    if size == WIDE:
        page.locator("summary").first.click()
    page.wait_for_timeout(1500)  # the fold-out slides
    assert overflow(page) == 0
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"streamlit_{language}_{size[0]}.png")


def test_a_server_that_is_not_there_is_told_on_the_page(chromium, tmp_path):
    url = f"http://127.0.0.1:{streamlit_server.free_port()}"
    script = streamlit_server.REPO / "streamlit_demo.py"
    with streamlit_server.serving(tmp_path / "log", "--server", url, "--language", "en", script=script) as served:
        page = chromium.new_page()
        page.goto(served.url)
        expect(page.get_by_test_id("stAlert")).to_contain_text(url)
        expect(button(page, "Try again")).to_be_visible()
        expect(page.get_by_text(EN["disclaimer"])).to_be_visible()
        page.close()


def test_a_mistyped_flag_is_told_on_the_page(chromium, tmp_path):
    script = streamlit_server.REPO / "streamlit_demo.py"
    with streamlit_server.serving(tmp_path / "log", "--languag", "en", script=script) as served:
        page = chromium.new_page()
        page.goto(served.url)
        expect(page.get_by_test_id("stAlert")).to_contain_text("--languag: unknown flag; did you mean --language?")
        assert "error: --languag: unknown flag; did you mean --language?" in served.said()
        assert "Traceback" not in served.said()
        page.close()


def test_python_starts_it_too_on_this_machine_only(chromium, tmp_path):
    port = streamlit_server.free_port()
    command = [
        sys.executable,
        "streamlit_demo.py",
        "--port",
        str(port),
        "--language",
        "zh",
        "--server",
        "http://127.0.0.1:9",
    ]
    with streamlit_server.process(command, f"http://127.0.0.1:{port}", tmp_path / "log") as served:
        page = chromium.new_page()
        page.goto(served.url)
        expect(page.get_by_text(ZH["disclaimer"])).to_be_visible()
        assert f"URL: http://127.0.0.1:{port}" in served.said()
        page.close()
