"""The gradio page in a real browser, over an engine that says what is scripted: its settings, files, look and
limits. (test_gradio_chat.py talks with it.)

sh run_tests.sh --browser -k gradio
"""

import json
import re

import pytest
from playwright.sync_api import expect

from bedside.chatpage import texts
from tests.browser.conftest import REPO
from tests.browser.gradio_asked import EN, ZH, ask, boxes, question, served, wait_until_answered

IMAGES = REPO / "docs/images"


def test_the_language_of_the_whole_page_is_switched(url, visit):
    page = visit(url, locale="zh-CN")
    page.get_by_text(ZH["disclaimer"]).wait_for()
    ask(page, "COUNT language")
    page.get_by_text(ZH["thought"], exact=True).wait_for()
    wait_until_answered(page)
    page.get_by_text("English", exact=True).click()
    page.get_by_text(EN["disclaimer"]).wait_for()
    page.locator("#chat0").get_by_text(EN["thought"], exact=True).wait_for()
    own = ["中文", EN["language"]]  # the switch's own words
    page.wait_for_function(
        "own => !/[\\u4e00-\\u9fff]/.test(own.reduce((all, one) => all.replaceAll(one, ''), document.body.innerText))",
        arg=own,
    )
    expect(question(page)).to_have_attribute("placeholder", EN["question_hint"])
    page.get_by_text("中文", exact=True).click()
    page.get_by_text(ZH["disclaimer"]).wait_for()
    expect(page.locator("#retry")).to_have_text(ZH["retry"], use_inner_text=True)


@pytest.mark.parametrize(("button", "ending"), [("#export_markdown", "md"), ("#export_json", "json")])
def test_export_holds_the_conversation(url, visit, tmp_path, button, ending):
    page = visit(url)
    ask(page, "COUNT export")
    page.get_by_text("to COUNT export").wait_for()
    wait_until_answered(page)
    with page.expect_download() as download:
        page.locator(button).click()
    assert re.fullmatch(rf"bedside-\d{{8}}-\d{{6}}\.{ending}", download.value.suggested_filename)
    download.value.save_as(tmp_path / "file")
    text = (tmp_path / "file").read_text(encoding="utf-8")
    assert EN["disclaimer"] in text and "COUNT export" in text and "medical-tuned" in text
    if ending == "json":
        found = json.loads(text)
        assert found["conversations"][0]["turns"][0]["thought"].startswith("thought ")
        assert found["settings"]["max_new_tokens"] == 512
    else:
        assert "> thought " in text


def test_nothing_is_exported_before_a_question(url, visit):
    page = visit(url)
    page.locator("#export_json").click()
    page.get_by_text(EN["nothing_to_export"]).wait_for()


def test_settings_of_the_page_are_used(url, visit, tmp_path):
    page = visit(url)
    page.get_by_text(EN["settings"], exact=True).click()
    page.locator("#system textarea").fill("Be brief.")
    page.locator("#tokens input[type=number]").fill("99")
    page.locator("#tokens input[type=number]").press("Tab")
    ask(page, "COUNT settings")
    page.get_by_text("to COUNT settings").wait_for()
    wait_until_answered(page)
    with page.expect_download() as download:
        page.locator("#export_json").click()
    download.value.save_as(tmp_path / "file")
    found = json.loads((tmp_path / "file").read_text(encoding="utf-8"))
    assert found["settings"]["max_new_tokens"] == 99 and found["conversations"][0]["system"] == "Be brief."


def test_what_a_model_or_a_user_writes_never_executes(url, visit):
    """`visit` asserts at the end: no variable set, no dialog, no request to another host."""
    page = visit(url)
    attack = (
        'ATTACK <img src=x onerror="window.hacked=8"><script>window.hacked=9</script> [a](javascript:window.hacked=10)'
    )
    ask(page, attack)
    wait_until_answered(page)
    page.locator("#chat0").get_by_text(EN["thought"], exact=True).click()
    shown = page.locator("#chat0")
    attacked = "<script>window.hacked = 1; alert(1)</script>"  # as text, in the thought and in the answer
    expect(shown).to_have_text(re.compile(f"{re.escape(attacked)}.*{re.escape(attacked)}", re.DOTALL))
    expect(shown).to_contain_text('<img src=x onerror="window.hacked=8">')
    chat = page.locator("#chat0 .bubble-wrap")
    for tag in ("script", "iframe", "object", "style", "svg[onload]", "img[onerror]", "img[src^=http]"):
        assert chat.locator(tag).count() == 0, tag
    for link in chat.locator("a").all():
        assert re.match("https?://|mailto:", link.get_attribute("href") or ""), link.get_attribute("href")
    assert page.locator("#disclaimer").is_visible()


def test_replies_forbid_other_hosts(url):
    import urllib.request

    with urllib.request.urlopen(url) as reply:
        policy = reply.headers["content-security-policy"]
    assert "connect-src 'self'" in policy and "img-src 'self' data: blob:" in policy


def test_two_models_stand_one_below_the_other_on_a_phone(url_of_two, visit):
    page = visit(url_of_two, width=390, height=844)
    page.locator("#chat1").wait_for()
    first, second = boxes(page, "#chat0", "#chat1")
    assert second["top"] > first["top"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_password_is_asked_where_others_reach_the_page(tmp_path_factory, visit):
    with served(tmp_path_factory, "--host", "0.0.0.0", BEDSIDE_PAGE_PASSWORD="opensesame") as address:
        page = visit(address)
        page.get_by_role("button", name=re.compile("log ?in", re.IGNORECASE)).wait_for()
        assert page.locator("#question").count() == 0
        fields = page.locator("input")
        fields.nth(0).fill("bedside")
        fields.nth(1).fill("opensesame")
        page.get_by_role("button", name=re.compile("log ?in", re.IGNORECASE)).click()
        page.locator("#question textarea").wait_for()


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(("width", "height"), [(1280, 900), (390, 844)])
def test_the_page_as_a_picture(url, visit, language, width, height):
    page = visit(url, width=width, height=height, locale={"zh": "zh-CN", "en": "en-GB"}[language])
    page.get_by_text(texts.words(language)["disclaimer"]).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.get_by_text(texts.EXAMPLES[language][1]).first.click()
    last = {"zh": "撕裂样，向背部延伸", "en": "slurred or missing"}[language]
    page.get_by_text(last).wait_for()
    wait_until_answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement?.blur()")
    page.wait_for_timeout(1000)  # the chat scrolls to its end by itself
    page.evaluate("document.querySelector('#chat0 .bubble-wrap').scrollTo({top: 0, behavior: 'instant'})")
    page.wait_for_timeout(300)
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"gradio_{language}_{width}.png")
