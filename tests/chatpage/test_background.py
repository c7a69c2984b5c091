"""Answers in the background: looked at, stopped, given up when nobody looks, several engines at once.

sh run_tests.sh tests/chatpage/test_background.py
"""

import threading

import pytest

from bedside.answers import Answer, EngineFailed, Sampling
from bedside.chatpage.background import Writing
from bedside.chatpage.conversation import Conversation
from bedside.thoughts import Delta

LONG = 10  # seconds: only reached by a test that fails


class Gated:
    """Writes one piece, then waits for `gate` or the cancel."""

    thinks = True

    def __init__(self, name="gated", answer="rest"):
        self.name, self.text, self.gate = name, answer, threading.Event()
        self.begun, self.cancelled = threading.Event(), threading.Event()

    def stream(self, messages, sampling, enable_thinking=None, cancel=None):
        yield Delta("thought", "hm")
        self.begun.set()
        while not self.gate.wait(0.01):
            if cancel.is_set():
                self.cancelled.set()
                yield Answer("hm", "hm", "", "cancelled", 1, 1)
                return
        yield Delta("answer", self.text)
        yield Answer("hm" + self.text, "hm", self.text, "stop", 1, 2)


class Broken:
    name, thinks = "broken", False

    def stream(self, messages, sampling, enable_thinking=None, cancel=None):
        raise EngineFailed("the server went away")
        yield


def writing(*engines, **settings):
    asked = [Conversation().asked("why?")] * len(engines)
    return Writing(engines, asked, Sampling(), "en", **settings)


def test_an_answer_is_there_when_it_has_ended():
    engine = Gated()
    answer = writing(engine)
    assert engine.begun.wait(LONG)
    assert not answer.over()
    engine.gate.set()
    assert answer.wait(LONG)
    assert answer.over()
    (view,) = answer.look()
    assert (view.phase, view.thought, view.answer, view.finish_reason) == ("done", "hm", "rest", "stop")


def test_stop_ends_the_engine_and_keeps_what_it_wrote():
    engine = Gated()
    answer = writing(engine)
    assert engine.begun.wait(LONG)
    assert not answer.stopping
    answer.stop()
    assert answer.stopping
    assert answer.wait(LONG)
    assert engine.cancelled.is_set()
    (view,) = answer.look()
    assert (view.phase, view.thought, view.finish_reason) == ("stopped", "hm", "cancelled")


def test_nobody_looking_stops_the_engine():
    engine = Gated()
    answer = writing(engine, patience=0.01)
    assert answer.wait(LONG)
    assert engine.cancelled.is_set()


def test_an_engine_that_does_not_heed_the_stop_is_left_behind():
    now = [0.0]
    engine = Gated()
    answer = writing(engine, clock=lambda: now[0])
    answer._cancel = threading.Event()  # the engine does not see this one
    assert engine.begun.wait(LONG)
    answer.stop()
    now[0] = 2.9
    assert not answer.over()
    now[0] = 3.1
    assert answer.over()
    assert not answer.wait(0)
    engine.gate.set()


def test_two_engines_answer_at_once_and_one_may_fail():
    engine = Gated()
    answer = writing(engine, Broken())
    engine.gate.set()
    assert answer.wait(LONG)
    first, second = answer.look()
    assert (first.phase, first.answer) == ("done", "rest")
    assert (second.phase, second.error) == ("failed", "the server went away")


@pytest.mark.parametrize("engines", [1, 2])
def test_before_anything_is_written_every_engine_waits(engines):
    gated = [Gated() for _ in range(engines)]
    answer = writing(*gated, clock=lambda: 0.0)
    assert len(answer.look()) == engines
    assert answer.seconds == 0.0
    answer.stop()
    assert answer.wait(LONG)
