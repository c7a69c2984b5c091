"""The gradio page in a real browser, over an engine that says what is scripted.

sh run_tests.sh --browser -k gradio
"""

import json
import re

import pytest

from bedside.chatpage import alarms, texts

from .conftest import REPO, free_port, python, serving

IMAGES = REPO / "docs/images"
ZH, EN = texts.words("zh"), texts.words("en")


def served(tmp_path_factory, *flags: str, **environment: str):
    port, log = free_port(), tmp_path_factory.mktemp("gradio") / "server.log"
    command = [python(), "-m", "tests.browser.gradio_server", "--port", str(port), *flags]
    return serving(command, f"http://127.0.0.1:{port}/", log, **environment)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    with served(tmp_path_factory) as address:
        yield address


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with served(tmp_path_factory, "--two", "--language", "en") as address:
        yield address


def ask(page, question: str) -> None:
    page.locator("#question textarea").fill(question)
    page.locator("#send").click()


def wait_until_answered(page) -> None:
    page.locator("#send").wait_for(state="visible")


def bubbles(page, which: str = "#chat0") -> str:
    """All that the chat shows, as a person reads it."""
    return page.locator(which).inner_text()


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
    assert banner.inner_text() == alarms.banner(alarms.found("胸口压榨样疼痛，出冷汗", "zh"), "zh")
    assert "120" in banner.inner_text()
    wait_until_answered(page)
    assert banner.bounding_box()["y"] < page.get_by_text("请立即拨打 120。", exact=True).bounding_box()["y"]
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
    box = page.locator("#question textarea")
    page.wait_for_function("document.querySelector('#question textarea').value === 'COUNT retried'")
    box.fill("COUNT edited")
    page.locator("#send").click()
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


def test_the_language_of_the_whole_page_is_switched(url, visit):
    page = visit(url, locale="zh-CN")
    page.get_by_text(ZH["disclaimer"]).wait_for()
    ask(page, "COUNT language")
    page.get_by_text(ZH["thought"], exact=True).wait_for()
    wait_until_answered(page)
    page.get_by_text("English", exact=True).click()
    page.get_by_text(EN["disclaimer"]).wait_for()
    page.locator("#chat0").get_by_text(EN["thought"], exact=True).wait_for()
    shown = page.locator("body").inner_text().replace("中文", "").replace(EN["language"], "")
    assert not re.search("[\u4e00-\u9fff]", shown), shown
    assert page.locator("#question textarea").get_attribute("placeholder") == EN["question_hint"]
    page.get_by_text("中文", exact=True).click()
    page.get_by_text(ZH["disclaimer"]).wait_for()
    assert page.locator("#retry").inner_text() == ZH["retry"]


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


def test_buttons_without_a_conversation_do_no_harm(url, visit):
    page = visit(url)
    for button in ("#retry", "#edit", "#clear", "#send"):
        page.locator(button).click()
    page.locator("#question textarea").fill("COUNT by enter")
    page.locator("#question textarea").press("Enter")
    page.get_by_text("answer 1 to COUNT by enter").wait_for()
    assert page.get_by_text("Error").count() == 0


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
    page.wait_for_timeout(500)
    shown = bubbles(page)
    assert "<script>window.hacked = 1; alert(1)</script>" in shown  # as text
    assert '<img src=x onerror="window.hacked=8">' in shown
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


def test_two_models_answer_side_by_side(two, visit):
    page = visit(two)
    ask(page, "COUNT both")
    page.locator("#chat1").get_by_text("Base: answer 1 to COUNT both").wait_for()
    page.locator("#chat0").get_by_text("answer 1 to COUNT both").wait_for()
    left, right = page.locator("#chat0").bounding_box(), page.locator("#chat1").bounding_box()
    assert left["y"] == right["y"] and right["x"] >= left["x"] + left["width"]
    assert page.locator("#chat0").get_by_text("medical-tuned").is_visible()
    assert page.locator("#chat1").get_by_text("base", exact=True).is_visible()
    wait_until_answered(page)
    ask(page, "SLOW both")
    page.locator("#chat1").get_by_text(re.compile("word word")).wait_for()
    page.locator("#stop").click()
    for chat in ("#chat0", "#chat1"):
        page.locator(chat).get_by_text(EN["stopped"], exact=True).wait_for()


def test_two_models_stand_one_below_the_other_on_a_phone(two, visit):
    page = visit(two, width=390, height=844)
    page.locator("#chat1").wait_for()
    assert page.locator("#chat1").bounding_box()["y"] > page.locator("#chat0").bounding_box()["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_two_people_do_not_see_each_other(url, visit):
    first, second = visit(url), visit(url)
    ask(first, "COUNT mine")
    ask(second, "COUNT yours")
    first.get_by_text("to COUNT mine").wait_for()
    second.get_by_text("to COUNT yours").wait_for()
    assert "yours" not in bubbles(first) and "mine" not in bubbles(second)


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
