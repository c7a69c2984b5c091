"""What the server does not do: a wrong key, too much, too long, a client that went away, a model that breaks.

sh run_tests.sh tests/serving/test_limits.py
"""

from concurrent.futures import ThreadPoolExecutor

import httpx
import openai
import pytest

from bedside.answers import Sampling
from bedside.serving import app, server
from bedside.serving.batched import BatchedEngine
from tests.serving.clients import LONG, ZH, ask, client_of, slow, until


def test_the_key_is_asked_for(serve):
    url = serve(key="secret")
    for key in ("wrong", "secre", "密"):
        reply = httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}".encode()})
        assert (reply.status_code, reply.json()["error"]["code"]) == (401, "invalid_api_key")
    with pytest.raises(openai.AuthenticationError, match="no valid API key"):
        ask(client_of(url, "wrong"))
    assert ask(client_of(url, "secret")).usage.completion_tokens == 12
    assert httpx.get(f"{url}/health").status_code == 200


def test_what_is_too_large_is_refused(serve):
    url = serve(max_bytes=2000)
    with pytest.raises(openai.APIStatusError, match="larger than 2000 bytes") as refused:
        ask(client_of(url), [{"role": "user", "content": "x" * 3000}])
    assert refused.value.status_code == 413

    def pieces():
        yield from [b"[1, " * 100] * 20

    assert httpx.post(f"{url}/v1/chat/completions", content=pieces()).status_code == 413
    with pytest.raises(openai.BadRequestError, match=r"the prompt has \d+ tokens, the model's context is 512") as long:
        ask(client_of(serve()), [{"role": "user", "content": "x y " * 300}])
    assert long.value.code == "context_length_exceeded"


def test_a_full_queue_is_429_and_the_client_tries_again(serve, chat_engine, monkeypatch):
    slow(chat_engine, monkeypatch)
    url = serve({"max_batch": 1, "max_waiting": 0})
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(ask, client_of(url), max_tokens=60)
        until(lambda: httpx.get(f"{url}/health").json()["running"] == 1)
        with pytest.raises(openai.RateLimitError, match="the queue is full") as refused:
            ask(client_of(url))
        assert refused.value.response.headers["retry-after"] == "2"
        patient = client_of(url).with_options(max_retries=5)
        assert ask(patient).usage.completion_tokens == 12
        assert first.result().usage.completion_tokens == 60


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_client_that_hangs_up_stops_the_engine(serve, chat_engine, monkeypatch, stream):
    slow(chat_engine, monkeypatch)
    url = serve()
    body = {"messages": ZH, "stream": stream, **LONG}
    call = httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=0.5 if not stream else 60)
    with pytest.raises((httpx.ReadTimeout, InterruptedError)), call as reply:
        for line in reply.iter_lines():
            if "content" in line:
                raise InterruptedError
    until(lambda: httpx.get(f"{url}/health").json()["running"] == 0, seconds=3)


def test_a_request_that_takes_too_long_is_given_up(serve, chat_engine, monkeypatch):
    slow(chat_engine, monkeypatch)
    url = serve(timeout=0.4)
    with pytest.raises(openai.InternalServerError, match=r"no answer within 0.4 s") as late:
        ask(client_of(url), **LONG)
    assert late.value.status_code == 504
    with pytest.raises(openai.APIError, match=r"no answer within 0.4 s"):
        list(ask(client_of(url), stream=True, **LONG))
    until(lambda: httpx.get(f"{url}/health").json()["running"] == 0, seconds=3)


def test_an_engine_that_breaks_in_the_stream_is_told_and_health_says_so(serve, chat_engine, monkeypatch):
    url = serve()
    forward, calls = chat_engine.model.forward, []

    def breaking(*args, **kwargs):
        calls.append(1)
        if len(calls) > 5:
            raise RuntimeError("CUDA error: device-side assert")
        return forward(*args, **kwargs)

    monkeypatch.setattr(chat_engine.model, "forward", breaking)
    pieces = []
    with pytest.raises(openai.APIError, match="the model broke off .*device-side assert"):
        pieces.extend(ask(client_of(url), stream=True, **LONG))
    health = httpx.get(f"{url}/health")
    assert health.status_code == 503
    assert (health.json()["status"], "device-side assert" in health.json()["detail"]) == ("dead", True)
    with pytest.raises(openai.InternalServerError, match="device-side assert") as refused:
        ask(client_of(url))
    assert refused.value.status_code == 503


def test_the_process_ends_with_status_1_when_the_engine_is_dead(chat_engine, monkeypatch, caplog):
    engine = BatchedEngine(chat_engine)
    place = server.bound("127.0.0.1", 0)
    url = f"http://127.0.0.1:{place.getsockname()[1]}"
    web = app.make(engine, app.Settings("tiny", Sampling(12, temperature=0)))
    with ThreadPoolExecutor(1) as threads, caplog.at_level("INFO", "bedside"):
        status = threads.submit(server.run, web, engine, place, "ready")
        until(lambda: "ready" in caplog.text)
        assert ask(client_of(url)).usage.completion_tokens == 12

        def breaking(*args, **kwargs):
            raise RuntimeError("CUDA error: device-side assert")

        monkeypatch.setattr(chat_engine.model, "forward", breaking)
        with pytest.raises(openai.APIError, match="device-side assert"):
            list(ask(client_of(url), stream=True))
        assert status.result(60) == 1
    place.close()
