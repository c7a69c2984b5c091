"""What a page shows of a stream: phases in order, the whole at the end, a sentence for what breaks.

sh run_tests.sh tests/chatpage/test_session.py
"""

import logging
from threading import Event

import pytest

from bedside.answers import EngineFailed, Sampling
from bedside.chatpage import session
from bedside.chatpage.conversation import Conversation
from bedside.chatpage.session import View
from bedside.data.conversation import RowError
from bedside.thoughts import Delta

from .scripted import Scripted, answer, thought

ASKED = Conversation("s").asked("q")


def views(engine, cancel=None, language="en", **keywords):
    return list(session.answering(engine, ASKED, Sampling(), cancel, language, interval=0, **keywords))


def test_phases_come_in_order_and_the_last_view_is_whole():
    engine = Scripted(thought("I "), thought("see"), answer("Re"), answer("st"))
    found = views(engine)
    assert [view.phase for view in found] == ["waiting", "thinking", "thinking", "answering", "answering", "done"]
    assert found[2] == View("I see", "", "thinking")
    assert found[-1] == View("I see", "Rest", "done", None, "stop", 7)
    assert found[-1].kept_in(ASKED) == ASKED.answered("Rest", "I see")
    assert engine.asked == [ASKED.messages()]


def test_an_answer_that_turns_out_a_thought_is_moved():
    found = views(Scripted(answer("hm"), Delta("was_thought", ""), answer("yes")))
    assert [(v.thought, v.answer, v.phase) for v in found[1:4]] == [
        (None, "hm", "answering"),
        ("hm", "", "thinking"),
        ("hm", "yes", "answering"),
    ]


def test_pieces_that_come_fast_are_shown_together():
    times = iter([0.0, 0.01, 0.02, 0.03, 0.5, 0.51, 0.52])
    engine = Scripted(*(answer(letter) for letter in "abcde"))
    found = session.answering(engine, ASKED, Sampling(), interval=0.1, clock=lambda: next(times))
    assert [view.answer for view in found] == ["", "a", "abcd", "abcde"]


def test_a_stopped_answer_is_kept():
    cancel, found = Event(), []
    for view in session.answering(Scripted(*[answer("x")] * 9), ASKED, Sampling(), cancel, interval=0):
        found.append(view)
        if view.answer == "xx":
            cancel.set()
    assert found[-1] == View(None, "xx", "stopped", None, "cancelled", 7)


def test_a_page_that_goes_away_closes_the_engine():
    engine = Scripted(*[answer("x")] * 9)
    stream = session.answering(engine, ASKED, Sampling(), interval=0)
    next(stream), next(stream)
    stream.close()
    assert engine.closed == 1


@pytest.mark.parametrize(
    ("error", "language", "told"),
    [
        (EngineFailed("the server is gone"), "en", "the server is gone"),
        (EngineFailed("busy.", again=True), "en", "busy. “Answer again” tries once more."),
        (RowError("W_OVERLONG", "x"), "zh", "对话太长，超出了模型能读的长度。请清空对话，或缩短问题。"),
        (RowError("E_TEMPLATE", "no system turn"), "en", "The model cannot take this conversation: no system turn"),
        (RuntimeError("patient said so"), "zh", "回答时出错了，原因写在运行本页面的终端里。可以点“重新回答”再试。"),
    ],
)
def test_what_breaks_becomes_a_sentence_and_keeps_what_had_come(error, language, told):
    last = views(Scripted(answer("so far"), error), language=language)[-1]
    assert last == View(None, "so far", "failed", told, "failed")


def test_the_log_says_where_but_not_what_a_patient_said(caplog):
    with caplog.at_level(logging.ERROR, "bedside"):
        views(Scripted(RuntimeError("patient said so")))
    assert "RuntimeError" in caplog.text and "scripted.py" in caplog.text and "patient said" not in caplog.text


def test_a_stream_without_an_end_has_failed():
    class Short(Scripted):
        def stream(self, *_):
            yield answer("x")

    assert views(Short())[-1].phase == "failed"


def test_two_models_answer_the_same_question():
    first, second = Scripted(answer("A"), pause=0.01), Scripted(thought("t"), EngineFailed("gone"), pause=0.01)
    found = list(session.side_by_side([first, second], [ASKED, ASKED], Sampling()))
    assert [view.phase for view in found[-1]] == ["done", "failed"]
    assert found[-1][0].answer == "A" and found[-1][1].error == "gone"
    assert first.asked == second.asked


def test_leaving_a_comparison_stops_both():
    cancel = Event()
    engines = [Scripted(*[answer("x")] * 500, pause=0.01) for _ in range(2)]
    stream = session.side_by_side(engines, [ASKED, ASKED], Sampling(), cancel)
    next(stream)
    stream.close()
    assert cancel.is_set()
