"""The Streamlit page without a browser: who is let in, mistakes as sentences, the conversation, what the engine gets.

sh run_tests.sh tests/chatpage/test_streamlit_page.py        (in a browser: sh run_tests.sh --browser)
"""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest.importorskip("streamlit")
from streamlit.testing.v1 import AppTest

from bedside.chatpage import streamlit_words, texts
from bedside.chatpage.flags import PASSWORD
from bedside.errors import ConfigError

REPO = Path(__file__).resolve().parents[2]
EN = streamlit_words.words("en")


def door():
    import streamlit as st

    from bedside.chatpage import streamlit_door, streamlit_words

    if streamlit_door.let_in(streamlit_words.words("en")):
        st.write("inside")


def opened_at(monkeypatch, address):
    from bedside.chatpage import streamlit_door

    monkeypatch.setattr(streamlit_door, "address", lambda: address)
    return AppTest.from_function(door, default_timeout=60).run()


def inside(app) -> bool:
    return [text.value for text in app.markdown] == ["inside"]


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1"])
def test_this_machine_needs_no_password(monkeypatch, address):
    monkeypatch.setenv(PASSWORD, "secret")
    assert inside(opened_at(monkeypatch, address))


def test_a_page_for_others_without_a_password_is_refused(monkeypatch):
    monkeypatch.delenv(PASSWORD, raising=False)
    app = opened_at(monkeypatch, "0.0.0.0")
    assert not inside(app)
    assert app.error[0].value == (
        "Other machines can open this page on 0.0.0.0, and it has no password. Set BEDSIDE_PAGE_PASSWORD in the "
        "environment, or start it on 127.0.0.1."
    )


def test_others_enter_with_the_password_only(monkeypatch):
    monkeypatch.setenv(PASSWORD, "ein Wort")
    app = opened_at(monkeypatch, "192.0.2.7")
    assert not inside(app)
    app.text_input[0].input("ein wort")
    app.button[0].click().run()
    assert app.error[0].value == "That is not the password."
    assert not inside(app)
    app.text_input[0].input("ein Wort")
    app.button[0].click().run()
    assert inside(app)


def broken():
    from bedside.chatpage import streamlit_door, streamlit_page
    from bedside.chatpage.flags import PageArguments
    from bedside.errors import ConfigError

    def load():
        raise ConfigError("nothing_here <b>bold</b>: no such model")

    streamlit_door.telling(lambda: streamlit_page.show(PageArguments(language="en"), load))


def test_a_model_that_cannot_be_loaded_is_a_sentence_and_may_be_tried_again():
    app = AppTest.from_function(broken, default_timeout=60).run()
    assert app.error[0].value == "nothing_here &lt;b&gt;bold&lt;/b&gt;: no such model"
    assert [button.label for button in app.button] == ["Try again"]
    assert app.chat_input[0].disabled
    assert not app.exception


def page():
    from bedside.answers import Answer
    from bedside.chatpage import streamlit_page
    from bedside.chatpage.flags import PageArguments
    from bedside.thoughts import Delta

    class Echo:
        name, thinks = "echo", True

        def stream(self, messages, sampling, enable_thinking=None, cancel=None):
            text = f"{len(messages)} messages, T={sampling.temperature:g}"
            yield Delta("thought", "hm")
            yield Delta("answer", text)
            yield Answer("hm" + text, "hm", text, "stop", 1, 2)

    streamlit_page.show(PageArguments(language="en", system_prompt="Be brief."), lambda: (Echo(), None))


def test_a_question_its_answer_and_the_next():
    app = AppTest.from_function(page, default_timeout=60).run()
    assert not app.chat_input[0].disabled
    assert [button.label for button in app.button if button.key.startswith("example")] == list(texts.EXAMPLES["en"])
    app.chat_input[0].set_value("Why?").run()
    answer = app.chat_message[1]
    assert answer.status[0].label == EN["thought"]
    assert "2 messages, T=0.7" in [text.value for text in answer.markdown]
    app.slider[0].set_value(0.2).run()
    app.chat_input[0].set_value("And then?").run()
    assert "4 messages, T=0.2" in [text.value for text in app.chat_message[3].markdown]
    assert not app.exception


def test_the_disclaimer_is_there_in_both_languages():
    app = AppTest.from_function(page, default_timeout=60).run()
    assert any(EN["disclaimer"] in caption.value for caption in app.caption)
    app.session_state["language"] = "zh"
    app.run()
    assert any(texts.words("zh")["disclaimer"] in caption.value for caption in app.caption)


def test_the_words_of_both_languages_have_the_same_names_and_places():
    zh, en = (streamlit_words.words(language) for language in ("zh", "en"))
    assert set(zh) == set(en)
    assert all(word.strip() for word in [*zh.values(), *en.values()])
    assert zh["unlocked"].count("{address}") == en["unlocked"].count("{address}") == 1


def test_the_configuration_keeps_the_page_on_this_machine_and_sends_nothing():
    found = tomllib.loads((REPO / ".streamlit/config.toml").read_text(encoding="utf-8"))
    assert found["server"]["address"] == "127.0.0.1"
    assert found["server"]["allowedHosts"] == ["127.0.0.1", "localhost"]
    assert found["browser"]["gatherUsageStats"] is False
    assert "http" not in str(found["theme"])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--temprature", "1"], "--temprature: unknown flag; did you mean --temperature?"),
        (["--host", "0.0.0.0"], "--host 0.0.0.0: others can reach this address; set a password"),
        (
            ["--server", "http://127.0.0.1:8000", "--lora_model", "x"],
            "--server and --lora_model: the server has its own",
        ),
    ],
)
def test_a_wrong_flag_ends_python_with_a_sentence(flags, message):
    ended = subprocess.run([sys.executable, "streamlit_demo.py", *flags], cwd=REPO, capture_output=True, text=True)
    assert ended.returncode == 2
    assert f"error: {message}" in ended.stderr
    assert "Traceback" not in ended.stderr


def demo():
    """The script as a module, which finds itself started by Python."""
    import importlib.util

    spec = importlib.util.spec_from_file_location("streamlit_demo_tested", REPO / "streamlit_demo.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.drawing = lambda: False
    return module


def started(monkeypatch, argv):
    """The command that streamlit_demo.py would become."""
    script, commands = demo(), []
    monkeypatch.setattr(script.os, "execv", lambda program, command: commands.append(command))
    script.main(argv)
    return commands[0][3:]


def test_python_becomes_streamlit_run_on_this_machine(monkeypatch):
    script = str(REPO / "streamlit_demo.py")
    assert started(monkeypatch, ["--port", "8600", "--language", "zh"]) == [
        "run", script, "--server.address", "127.0.0.1", "--server.port", "8600", "--", "--port", "8600",
        "--language", "zh",
    ]  # fmt: skip


def test_other_machines_know_the_page_by_any_name(monkeypatch):
    monkeypatch.setenv(PASSWORD, "secret")
    command = started(monkeypatch, ["--host", "0.0.0.0"])
    assert command[2:] == [
        "--server.address", "0.0.0.0", "--server.port", "8501", "--server.allowedHosts", "*",
        "--", "--host", "0.0.0.0",
    ]  # fmt: skip
    assert "secret" not in str(command)


def test_without_streamlit_it_says_what_to_install(monkeypatch):
    script = demo()
    monkeypatch.setattr(script, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="streamlit is not installed; run: pip install -r requirements-demo.txt"):
        script.main(["--language", "en"])
