"""RemoteEngine against scripted servers: what is sent, how replies are read, and every way to fail.

sh run_tests.sh tests/engine/test_remote.py
"""

import threading
import time

import pytest

from bedside import logs
from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.errors import ConfigError
from bedside.remote import RemoteEngine, address, in_flight, loop, refusals
from bedside.thoughts import Delta
from tests.engine.server import USAGE, refuses, running, says, scripted

CHAT = [{"role": "user", "content": "Fever?"}]
GREEDY = Sampling(max_new_tokens=12, temperature=0)
KEYS = ("BEDSIDE_API_KEY", "VLLM_API_KEY", "OPENAI_API_KEY")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No keys of this machine, and pauses that tests can wait for."""
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(refusals, "_FIRST", 0.001)


@pytest.fixture
def said(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(logs, "warn", lines.append)
    return lines


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


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_server_in_trouble_is_asked_again(status, streamed, said):
    with running(scripted(refuses(status), refuses(status), says("Rest."))) as server:
        engine = RemoteEngine(server.url)
        answer = list(engine.stream(CHAT, GREEDY))[-1] if streamed else engine.answer([CHAT], GREEDY)[0]
    assert answer.answer == "Rest."
    assert len(server.asked) == 3
    assert said == [f"{server.url}: HTTP {status}: no; asking again"]


def test_retry_after_is_kept_to(said):
    with running(scripted(refuses(429, Retry_After="0.4"), says("Rest."))) as server:
        engine, begun = RemoteEngine(server.url), time.monotonic()
        engine.answer([CHAT], GREEDY)
        assert time.monotonic() - begun >= 0.4


def test_a_longer_wait_than_the_bound_is_not_begun(said):
    with running(refuses(429, "full", Retry_After="3600")) as server:
        engine = RemoteEngine(server.url, timeout=5)
        with pytest.raises(EngineFailed, match=r"gives no answer \(HTTP 429: full\); try again later, or lower"):
            engine.answer([CHAT], GREEDY)
    assert len(server.asked) == 1


def test_retry_after_as_a_date_and_as_nonsense():
    assert refusals.retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT"}, 1445412480.0) == 10.0
    assert refusals.retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:10 GMT"}, 1445419999.0) == 0.0
    assert refusals.retry_after({"retry-after": "soon"}) is None
    assert refusals.retry_after({}) is None


def test_it_gives_up_after_its_retries(said):
    with running(refuses(500, "boom")) as server:
        engine = RemoteEngine(server.url, retries=2)
        with pytest.raises(EngineFailed, match=r"gives no answer after 3 tries \(HTTP 500: boom\)") as error:
            engine.answer([CHAT], GREEDY)
    assert error.value.again
    assert len(server.asked) == 3


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


@pytest.mark.parametrize(
    ("given", "status", "told"),
    [
        (None, 401, "asks for a key .HTTP 401: no.; put the one it was started with into .* BEDSIDE_API_KEY"),
        ("wrong", 401, "refuses the key .HTTP 401: no."),
        (None, 404, "no model called m, or no OpenAI-compatible server there .HTTP 404: no."),
        (None, 307, "redirects elsewhere .HTTP 307: no., and no key follows; give the final address"),
        (None, 405, "refuses the request .HTTP 405: no."),
        (None, 400, "refuses the request .HTTP 400: no."),
    ],
)
def test_what_waiting_does_not_mend_is_told_at_once(given, status, told):
    with running(refuses(status, Location="http://127.0.0.1:1/")) as server:
        engine = RemoteEngine(server.url, api_key=given)
        with pytest.raises(EngineFailed, match=told):
            engine.answer([CHAT], GREEDY)
    assert len(server.asked) == (2 if status == 400 else 1)  # the second asks whether it is the row or the settings


def only_short(handler, body):
    """A server that takes ten characters."""
    if len(body["messages"][-1]["content"]) > 10:
        handler.error(400, f"no such thing as {body['messages'][-1]['content']}")
    else:
        says("Rest.")(handler, body)


def test_a_row_that_is_refused_is_no_failure_of_the_engine():
    with running(only_short) as server:
        engine = RemoteEngine(server.url)
        with pytest.raises(
            RowError, match=r"E_TEMPLATE the server refuses these messages \(HTTP 400: no such thing as \.\.\.\)"
        ):
            engine.answer([[{"role": "user", "content": "My name is Li Hua."}]], GREEDY)
        assert engine.answer([CHAT], GREEDY)[0].answer == "Rest."


def test_a_prompt_that_is_too_long_is_a_row_error():
    told = "This model's maximum context length is 512 tokens. However, you requested 12 output tokens and your prompt"
    with (
        running(refuses(400, told)) as server,
        pytest.raises(RowError, match="W_OVERLONG the prompt is too long for the server's model"),
    ):
        RemoteEngine(server.url).answer([CHAT], GREEDY)
    assert ["max_tokens" in asked for asked in server.asked] == [True, False]


def test_an_answer_may_have_what_the_prompt_leaves_of_the_context():
    def step(handler, body):
        if "max_tokens" in body:
            handler.error(400, "maximum context length is 512 tokens")
        else:
            says("Rest.")(handler, body)

    with running(step) as server:
        assert RemoteEngine(server.url).answer([CHAT], GREEDY)[0].answer == "Rest."


def test_fields_that_a_server_refuses_are_left_out_and_told_where_they_were_asked_for(said):
    def step(handler, body):
        unknown = [name for name in ("top_k", "min_p", "repetition_penalty", "stream_options") if name in body]
        if unknown:
            handler.error(400, f"Unrecognized request argument supplied: {unknown[0]}")
        else:
            says("Rest.")(handler, body)

    with running(step) as server:
        engine = RemoteEngine(server.url)
        for _ in range(2):
            assert engine.answer([CHAT], Sampling(9, 0.5, 0.8, 3))[0].answer == "Rest."
        assert len(server.asked) == 5
        assert list(engine.stream(CHAT, Sampling(9, 0.5, 0.8, 3)))[-1].answer == "Rest."
    assert said == [f"{server.url}: refuses top_k, which is left out; its answers are drawn without it"]


def test_the_newer_name_of_the_limit():
    def step(handler, body):
        if "max_tokens" in body:
            handler.error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        else:
            says("Rest.")(handler, body)

    with running(step) as server:
        assert RemoteEngine(server.url).answer([CHAT], GREEDY)[0].answer == "Rest."
    assert server.asked[-1]["max_completion_tokens"] == 12


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


def test_a_server_without_a_list_of_models_needs_a_name():
    with running(says("x"), lambda handler: handler.error(404, "Not Found")) as server:
        with pytest.raises(EngineFailed, match="no model, or no OpenAI-compatible server there"):
            RemoteEngine(server.url)
        assert RemoteEngine(server.url, "named").name == "named"


def test_which_model_is_asked():
    with running(says("x"), ({"id": "base", "max_model_len": 512}, {"id": "sft", "parent": "base"})) as server:
        with pytest.raises(ConfigError, match=r"serves several models \(base, sft\); choose one with --served_model"):
            RemoteEngine(server.url)
        with pytest.raises(ConfigError, match="--served_model dpo: http://.* serves base, sft"):
            RemoteEngine(server.url, "dpo")
        assert (RemoteEngine(server.url, "sft").name, RemoteEngine(server.url, "base").context) == ("sft", 512)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/v1"),
        ("127.0.0.1:8000/", "http://127.0.0.1:8000/v1"),
        ("localhost:8000/v1/", "http://localhost:8000/v1"),
        ("https://api.example.org/v1/chat/completions", "https://api.example.org/v1"),
        ("https://example.org/medical", "https://example.org/medical/v1"),
    ],
)
def test_addresses(url, base):
    assert address.read(url).base == base


@pytest.mark.parametrize("url", ["", "ftp://h", "http://", "http://h:x", "http://h:0", "http://[::1"])
def test_what_is_no_address(url):
    with pytest.raises(ConfigError, match="expected an address such as http://127.0.0.1:8000"):
        address.read(url)


def test_a_key_in_the_address_is_refused_and_not_repeated():
    with pytest.raises(ConfigError, match="a key belongs into the environment variable BEDSIDE_API_KEY") as error:
        address.read("http://user:secret@h:1")
    assert "secret" not in str(error.value)


def test_the_key_is_the_environments_and_openais_is_not_shown_in_the_clear(monkeypatch, said):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-openai")
    assert address.key(address.read("http://10.0.0.9:8000")) is None
    assert said == [
        "--server http://10.0.0.9:8000: another machine, without encryption; whoever is on the way reads along"
    ]
    assert address.key(address.read("https://example.org")) == "sk-openai"
    monkeypatch.setenv("VLLM_API_KEY", "sk-vllm")
    with running(says("x")) as server:
        RemoteEngine(server.url).answer([CHAT], GREEDY)
        RemoteEngine(server.url, api_key="given").answer([CHAT], GREEDY)
    sent = [next(v for k, v in asked["headers"].items() if k.lower() == "authorization") for asked in server.asked]
    assert sent == ["Bearer sk-vllm", "Bearer given"]


def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    with running(says("Rest.")) as server:
        assert RemoteEngine(server.url).answer([CHAT], GREEDY)[0].answer == "Rest."


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
