"""The Streamlit page in a real browser, over an engine whose answers are known: its settings, files, look and start.
(test_streamlit_chat.py talks with it.)

sh run_tests.sh --browser tests/browser/test_streamlit.py
"""

import json
import re
import sys

import pytest
from playwright.sync_api import expect

from bedside.chatpage import texts
from tests.browser import streamlit_server
from tests.browser.conftest import LOAD_MS, WIDE
from tests.browser.streamlit_asked import (
    EN,
    NARROW,
    ZH,
    ask,
    asked,
    button,
    downloaded,
    field,
    finished,
    fits,
    messages,
    settled,
    told,
)

IMAGES = streamlit_server.REPO / "docs" / "images"


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
    settled(page)
    ask(page, "COUNT the settings")
    finished(page)
    name, temperature, tokens, sent = asked(one)[-1]
    assert (name, temperature, tokens) == ("medical-tuned", 0.75, 77)
    assert sent[0] == {"role": "system", "content": "Answer briefly."}


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
    for place in range(page.locator("summary").count()):
        page.locator("summary").nth(place).click()
    expect(page.get_by_text("<script>").first).to_be_visible()
    assert page.evaluate("window.hacked") is None
    main = page.locator(".stMain")
    expect(main.locator("code")).not_to_have_count(0)  # the selectors below look where the texts are
    assert main.locator("img, iframe, script, svg[onload], [onerror], [onload], [onclick]").count() == 0
    hrefs = main.locator("a").evaluate_all("all => all.map(one => one.getAttribute('href'))")
    assert [href for href in hrefs if not re.match("https?://|mailto:|#", href or "#")] == []
    expect(page.get_by_text(EN["disclaimer"])).to_be_visible()
    button(page, EN["edit"]).click()
    expect(page.get_by_role("textbox", name=EN["edit"])).to_be_visible()
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=["1280", "390"])
@pytest.mark.parametrize("language", ["zh", "en"])
def test_it_fits_its_window_and_looks_as_documented(opened, one, language, size):
    page = opened(one, size)
    said = texts.words(language)
    page.get_by_text({"zh": "中文", "en": "English"}[language], exact=True).click()
    expect(page.get_by_text(said["disclaimer"])).to_be_in_viewport(ratio=1)
    fits(page)
    button(page, texts.EXAMPLES[language][1]).click()
    finished(page)
    expect(page.get_by_text(said["disclaimer"])).to_be_in_viewport(ratio=1)
    expect(field(page)).to_be_in_viewport(ratio=1)
    fits(page)
    page.mouse.move(size[0] / 2, size[1] / 2)
    page.mouse.wheel(0, -5000)
    if size == WIDE:
        page.locator("summary").first.click()
    page.wait_for_timeout(1500)  # the fold-out slides
    fits(page)
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"streamlit_{language}_{size[0]}.png")


def test_a_server_that_is_not_there_is_told_on_the_page(chromium, tmp_path):
    url = f"http://127.0.0.1:{streamlit_server.free_port()}"
    script = streamlit_server.REPO / "streamlit_demo.py"
    with streamlit_server.serving(tmp_path / "log", "--server", url, "--language", "en", script=script) as served:
        page = chromium.new_page()
        page.goto(served.url, timeout=LOAD_MS)
        expect(page.get_by_test_id("stAlert")).to_contain_text(url)
        expect(button(page, "Try again")).to_be_visible()
        expect(page.get_by_text(EN["disclaimer"])).to_be_visible()
        page.close()


def test_a_mistyped_flag_is_told_on_the_page(chromium, tmp_path):
    script = streamlit_server.REPO / "streamlit_demo.py"
    with streamlit_server.serving(tmp_path / "log", "--languag", "en", script=script) as served:
        page = chromium.new_page()
        page.goto(served.url, timeout=LOAD_MS)
        expect(page.get_by_test_id("stAlert")).to_contain_text("--languag: unknown flag; did you mean --language?")
        told(served, "error: --languag: unknown flag; did you mean --language?")
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
        page.goto(served.url, timeout=LOAD_MS)
        expect(page.get_by_text(ZH["disclaimer"])).to_be_visible()
        told(served, f"URL: http://127.0.0.1:{port}")
        page.close()
