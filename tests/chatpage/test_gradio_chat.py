"""The messages that gradio shows, and one answer at a time for each session.

sh run_tests.sh tests/chatpage/test_gradio_chat.py
"""

import pytest

from bedside import cli
from bedside.chatpage import gradio_chat, texts
from bedside.chatpage.conversation import Conversation
from bedside.chatpage.flags import PageArguments
from bedside.chatpage.session import View
from bedside.errors import ConfigError

from .scripted import Scripted

ASKED = Conversation().asked("<b>Cough?</b>")


def shown(view=None, talk=ASKED):
    return gradio_chat.messages(talk, "en", view)


def test_a_fold_is_pending_while_the_model_thinks_and_done_when_it_answers():
    assert shown(View("I see", "", "thinking"))[-1] == {
        "role": "assistant", "content": "I see", "metadata": {"title": "Thinking …", "status": "pending"},
    }  # fmt: skip
    thought, answer = shown(View("I see", "Tea", "answering"))[1:]
    assert thought["metadata"] == {"title": "Thought", "status": "done"}
    assert answer == {"role": "assistant", "content": "Tea"}


def test_texts_are_inert():
    assert shown(View("<i>", "<script>", "done"))[0] == {"role": "user", "content": "&lt;b&gt;Cough?&lt;/b&gt;"}
    assert [m["content"] for m in shown(View("<i>", "<script>", "done"))[1:]] == ["&lt;i&gt;", "&lt;script&gt;"]
    assert shown(View(phase="failed", error="<img>"))[-1]["content"].endswith("finished: &lt;img&gt;</div>")


@pytest.mark.parametrize(
    ("view", "note"),
    [
        (View(), "Reading the question …"),
        (View(None, "Te", "stopped", None, "cancelled"), "Stopped"),
        (View(None, "Te", "done", None, "length"), "The limit of tokens was reached: the answer is not complete"),
        (View("hm", "", "done", None, "stop"), "(no answer)"),
    ],
)
def test_a_note_says_how_it_ended(view, note):
    assert note in shown(view)[-1]["content"]


def test_a_kept_turn_is_shown_as_it_was():
    talk = ASKED.answered("Tea", "dry", "cancelled").asked("And fever?")
    assert [m["content"] for m in shown(View(), talk)][1:4] == [
        "dry",
        "Tea",
        '<div class="note stopped">Stopped</div>',
    ]


def test_the_alarm_stands_between_question_and_answer():
    talk = Conversation().asked("I can't breathe").answered("Call.")
    question, alarm, answer = gradio_chat.messages(talk, "zh")
    assert (
        alarm["content"].startswith('<div class="alarm" role="alert">您写到了：呼吸困难。')
        and answer["content"] == "Call."
    )


def test_one_answer_at_a_time():
    running = gradio_chat.Running()
    event = running.begin("a")
    assert running.begin("a") is None and running.begin("b") is not None
    running.stop("a"), running.stop("nobody")
    assert event.is_set()
    running.end("a")
    assert not running.begin("a").is_set()


def test_the_page_is_built_in_either_language_for_one_or_two_models():
    gradio_page = pytest.importorskip("bedside.chatpage.gradio_page")
    pytest.importorskip("gradio")
    args = cli.parse((PageArguments,), ["--language", "zh"])[PageArguments]
    for count in (1, 2):
        blocks = gradio_page.page([Scripted()] * count, ["a", "b"][:count], args)
        config = str(blocks.get_config_file())
        assert texts.words("zh")["disclaimer"] in config and config.count("'type': 'chatbot'") == count
        assert blocks.analytics_enabled is False


def test_a_taken_port_is_a_sentence():
    pytest.importorskip("gradio")
    import socket

    from bedside.chatpage import gradio_page, gradio_serve

    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        place.listen()
        port = place.getsockname()[1]
        args = cli.parse((PageArguments,), ["--port", str(port)])[PageArguments]
        with pytest.raises(ConfigError, match=f"--port {port}: the port of 127.0.0.1 is taken; choose another"):
            gradio_serve.serve(gradio_page.page([Scripted()], ["a"], args), args, block=False)
