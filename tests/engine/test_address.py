"""Addresses, keys and models of a server: what is read, refused and sent.

sh run_tests.sh tests/engine/test_address.py
"""

import pytest

from bedside.answers import EngineFailed
from bedside.errors import ConfigError
from bedside.remote import RemoteEngine, address
from tests.engine.dictated import CHAT, GREEDY
from tests.engine.server import running, says


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
    warned = "--server http://10.0.0.9:8000: another machine, without encryption; whoever is on the way reads along"
    assert said == [f"warning: {warned}"]
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
