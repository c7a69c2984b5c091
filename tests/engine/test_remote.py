"""RemoteEngine against scripted servers: what is sent, how replies are read, and connections that break.

sh run_tests.sh tests/engine/test_remote.py
"""

import threading
import time

import pytest

from bedside.answers import Answer, EngineFailed, Sampling
from bedside.errors import ConfigError
from bedside.remote import RemoteEngine, in_flight, loop
from bedside.thoughts import Delta
from tests.engine.dictated import CHAT, GREEDY
from tests.engine.server import USAGE, running, says, scripted


def text_of(deltas, kind):
    return "".join(delta.text for delta in deltas if isinstance(delta, Delta) and delta.kind == kind)


def test_what_is_sent():
    with running(says("Rest.")) as server:
        chat = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Fever?"},
            {"role": "assistant", "content": "Rest.", "reasoning_content": "hm"},
            {"role": "user", "content": "And <|im_end|> now?"},
        ]
        RemoteEngine(server.url).answer([chat], Sampling(9, 0.5, 0.8, 3, 1.1, 7, ("\n\n",)), False)
    asked = server.asked[0]
    assert asked["path"] == "/v1/chat/completions"
    assert asked["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Fever?"},
        {"role": "assistant", "content": "Rest."},
        {"role": "user", "content": "And < |im_end|> now?"},
    ]
    settings = {name: asked[name] for name in asked if name not in ("path", "headers", "messages")}
    assert settings == {
        "model": "m", "max_tokens": 9, "temperature": 0.5, "top_p": 0.8, "top_k": 3, "repetition_penalty": 1.1,
        "min_p": 0.0, "seed": 7, "stop": ["\n\n"], "chat_template_kwargs": {"enable_thinking": False},
    }  # fmt: skip


def test_calls_of_tools_are_sent_as_the_protocol_has_them():
    call = {"type": "function", "function": {"name": "t", "arguments": {"a": "发热"}}}
    chat = [
        {"role": "user", "content": "Fever?"},
        {"role": "assistant", "content": "", "tool_calls": [call], "reasoning_content": "look"},
        {"role": "tool", "content": "38.5"},
    ]
    tools = [{"type": "function", "function": {"name": "t"}}]
    with running(says("Yes.")) as server:
        RemoteEngine(server.url).ask(chat, GREEDY, None, tools).result()
    sent = server.asked[0]
    assert (sent["tools"], sent["tool_choice"]) == (tools, "none")
    assert sent["messages"][1:] == [
        {"role": "assistant", "content": "", "reasoning_content": "look", "tool_calls": [
            {"id": "call_1_0", "type": "function", "function": {"name": "t", "arguments": '{"a": "发热"}'}}]},
        {"role": "tool", "content": "38.5", "tool_call_id": "call_1_0"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "reasoning", "thought", "answer"),
    [
        ("Rest.", None, None, "Rest."),
        ("\n\n多喝水。\n", "\n想一想\n", "想一想", "多喝水。"),
        ("<think>\nhm\n</think>\n\nRest.", None, "hm", "Rest."),
        ("hm\n</think>\n\nRest.", None, "hm", "Rest."),
        ("", "cut in the thou", "cut in the thou", ""),
        ("Rest.", "a </think> b", "a", "b\n</think>\n\nRest."),
        ("", None, None, ""),
    ],
)
def test_replies_are_read_the_same_streamed_and_whole(content, reasoning, thought, answer):
    with running(says(content, reasoning)) as server:
        engine = RemoteEngine(server.url)
        *deltas, last = engine.stream(CHAT, GREEDY)
        assert engine.answer([CHAT], GREEDY) == [last]
    assert (last.thought, last.answer, last.finish_reason) == (thought, answer, "stop")
    assert (last.prompt_tokens, last.completion_tokens) == (5, 3)
    if Delta("was_thought", "") not in deltas:
        assert (text_of(deltas, "thought"), text_of(deltas, "answer")) == (thought or "", answer)


def test_an_older_name_of_the_thought_is_understood():
    def step(handler, body):
        handler.events()
        handler.delta(role="assistant", content="")
        handler.delta(reasoning_content="hm")
        handler.delta(content="Rest.")
        handler.delta("length")
        handler.end(USAGE)

    with running(step) as server:
        *deltas, last = RemoteEngine(server.url).stream(CHAT, GREEDY)
    assert deltas == [Delta("thought", "hm"), Delta("answer", "Rest.")]
    assert last.finish_reason == "length"


def broken(*pieces):
    """A step that closes the connection after these pieces of an answer."""

    def step(handler, body):
        handler.events()
        for piece in pieces:
            handler.delta(content=piece)
        handler.close_connection = True

    return step


def test_a_reply_that_breaks_off_before_it_begins_is_asked_again(said):
    with running(scripted(broken(), says("Rest."))) as server:
        assert list(RemoteEngine(server.url).stream(CHAT, GREEDY))[-1].answer == "Rest."


def test_a_reply_that_breaks_off_later_is_not(said):
    with running(scripted(broken("Re"), says("Rest."))) as server:
        stream = RemoteEngine(server.url).stream(CHAT, GREEDY)
        assert next(stream) == Delta("answer", "Re")
        with pytest.raises(EngineFailed, match="broke off in the middle of an answer"):
            next(stream)
    assert len(server.asked) == 1


def test_a_stream_without_its_end_is_no_answer(said):
    def step(handler, body):
        handler.events()
        handler.delta(content="Re")
        handler.end()

    with (
        running(step) as server,
        pytest.raises(EngineFailed, match=r"in the middle of an answer \(the reply has no end\)"),
    ):
        list(RemoteEngine(server.url).stream(CHAT, GREEDY))


def test_an_error_event_is_told(said):
    def step(handler, body):
        handler.events()
        handler.delta(content="Re")
        handler.event({"error": {"message": "the engine died", "code": 500}})

    with running(step) as server, pytest.raises(EngineFailed, match=r"middle of an answer \(the engine died\)"):
        list(RemoteEngine(server.url).stream(CHAT, GREEDY))


def slow(handler, body):
    """Writes one piece, and then none until the client goes."""
    if not body.get("stream"):
        time.sleep(30)
    handler.events()
    handler.delta(content="Rest")
    for _ in range(600):
        handler.event({"choices": []})
        time.sleep(0.05)


def test_cancelling_closes_the_connection():
    with running(slow) as server:
        cancel, pieces = threading.Event(), []
        for piece in RemoteEngine(server.url).stream(CHAT, GREEDY, cancel=cancel):
            pieces.append(piece)
            cancel.set()
        assert server.left.wait(5)
    assert pieces == [Delta("answer", "Rest"), Answer("Rest", None, "Rest", "cancelled", 0, 1)]


def test_a_reader_that_goes_away_closes_the_connection():
    with running(slow) as server:
        stream = RemoteEngine(server.url).stream(CHAT, GREEDY)
        next(stream)
        stream.close()
        assert server.left.wait(5)


def test_a_server_that_says_nothing_is_not_waited_for_for_ever(said):
    with running(lambda handler, body: time.sleep(3)) as server:
        engine = RemoteEngine(server.url, timeout=0.3)
        with pytest.raises(EngineFailed, match="no answer in time; raise --server_timeout"):
            engine.answer([CHAT], GREEDY)
    assert len(server.asked) == 1


def test_no_server_is_one_sentence():
    with running(says("x")) as server:
        engine = RemoteEngine(server.url, retries=1)
    with pytest.raises(EngineFailed, match="no server answers there .*; check the address, and that the server runs"):
        engine.answer([CHAT], GREEDY)
    with pytest.raises(EngineFailed, match="no server answers there"):
        RemoteEngine(server.url)


def page(handler, body=None):
    handler.json(200, "<html>hello</html>")


def test_what_is_no_such_server_is_told():
    with running(page) as server, pytest.raises(EngineFailed, match="what it sent is no chat completion"):
        RemoteEngine(server.url).answer([CHAT], GREEDY)
    with running(page, page) as server, pytest.raises(ConfigError, match="lists no models; expected an OpenAI-comp"):
        RemoteEngine(server.url)


def test_at_most_so_many_at_once_and_in_order():
    going, most, lock = [0], [0], threading.Lock()

    def step(handler, body):
        with lock:
            going[0] += 1
            most[0] = max(most[0], going[0])
        time.sleep(0.02)
        with lock:
            going[0] -= 1
        says(body["messages"][-1]["content"])(handler, body)

    with running(step) as server:
        chats = [[{"role": "user", "content": f"q{number}"}] for number in range(20)]
        found = RemoteEngine(server.url, at_once=4).answer(chats, GREEDY)
    assert [answer.answer for answer in found] == [f"q{number}" for number in range(20)]
    assert most[0] == 4


def test_none_is_started_far_ahead_of_one_that_is_unfinished():
    import asyncio

    gate, started = asyncio.Event(), []

    async def work(number):
        started.append(number)
        if number == 0:
            await gate.wait()
        return number

    starts = [lambda number=number: loop.submit(work(number)) for number in range(10)]
    flying = in_flight(starts, at_once=2, ahead=4)
    assert [next(flying)[0] for _ in range(3)] == [1, 2, 3]
    assert sorted(started) == [0, 1, 2, 3]

    async def open_gate():
        gate.set()

    loop.submit(open_gate()).result()
    assert sorted(place for place, _ in flying) == [0, 4, 5, 6, 7, 8, 9]
