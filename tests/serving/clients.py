"""A server of an engine on a socket of its own, clients that ask it, and an engine that is slow or scripted."""

import socket
import threading
import time
from contextlib import contextmanager

import openai
import uvicorn

from bedside.answers import Sampling
from bedside.serving import app

ZH = [{"role": "user", "content": "患者发热咳嗽三天，应该怎么办？"}]
EN = [{"role": "user", "content": "The patient has had a cough for three days. What should be done?"}]
LONG = {"max_tokens": 450, "temperature": 0}


def until(true, seconds=30):
    """Wait for something that another thread does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


@contextmanager
def listening(engine, **more):
    """The URL of a server of this engine."""
    place = socket.create_server(("127.0.0.1", 0))
    settings = app.Settings("tiny", Sampling(12, temperature=0.7), max_tokens_limit=500, **more)
    web = uvicorn.Server(uvicorn.Config(app.make(engine, settings), log_level="critical", lifespan="off"))
    thread = threading.Thread(target=web.run, kwargs={"sockets": [place]})
    thread.start()
    try:
        until(lambda: web.started)
        yield f"http://127.0.0.1:{place.getsockname()[1]}"
    finally:
        engine.close()
        web.should_exit = True
        thread.join(30)
        place.close()


def client_of(url, key="any"):
    return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=60)


def ask(client, messages=ZH, **more):
    return client.chat.completions.create(**{"model": "tiny", "messages": messages, "temperature": 0, **more})


def slow(engine, monkeypatch, seconds=0.02):
    """Each step of the model takes its time."""
    decode = engine.decode

    def later(ids):
        time.sleep(seconds / 2)
        return decode(ids)

    monkeypatch.setattr(engine, "decode", later)


def scripted(engine, monkeypatch, text):
    """The model says `text`: its token ids are taken, whatever the logits are."""
    from bedside import draws

    ids = [*engine.tokenizer(text, add_special_tokens=False)["input_ids"], engine.stop_ids[0]]
    prompts = []

    def tokens(logits, rows):
        prompts.extend(len(row.ids) for row in rows[:1] if not prompts)
        return [ids[len(row.ids) - prompts[0]] for row in rows]

    monkeypatch.setattr(draws, "tokens", tokens)
    return prompts
