"""RemoteEngine against servers that refuse: what is asked again, what is left out, and what is told at once.

sh run_tests.sh tests/engine/test_refusals.py
"""

import time

import pytest

from bedside.answers import EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.remote import RemoteEngine, refusals
from tests.engine.dictated import CHAT, GREEDY
from tests.engine.server import refuses, running, says, scripted


@pytest.mark.parametrize("status", [429, 500, 502, 503])
@pytest.mark.parametrize("streamed", [True, False])
def test_a_server_in_trouble_is_asked_again(status, streamed, said):
    with running(scripted(refuses(status), refuses(status), says("Rest."))) as server:
        engine = RemoteEngine(server.url)
        answer = list(engine.stream(CHAT, GREEDY))[-1] if streamed else engine.answer([CHAT], GREEDY)[0]
    assert answer.answer == "Rest."
    assert len(server.asked) == 3
    assert said == [f"warning: {server.url}: HTTP {status}: no; asking again"]


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
    assert said == [f"warning: {server.url}: refuses top_k, which is left out; its answers are drawn without it"]


def test_the_newer_name_of_the_limit():
    def step(handler, body):
        if "max_tokens" in body:
            handler.error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        else:
            says("Rest.")(handler, body)

    with running(step) as server:
        assert RemoteEngine(server.url).answer([CHAT], GREEDY)[0].answer == "Rest."
    assert server.asked[-1]["max_completion_tokens"] == 12
