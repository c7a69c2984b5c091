"""The judge's server: it stalls, refuses, sends elsewhere, lies, or is asked by several at once.

sh run_tests.sh tests/rewards/test_judge_endpoint.py
"""

import threading

import pytest

from bedside import openers, rewards
from bedside.errors import ConfigError
from bedside.rewards import judge
from tests.rewards import judge_server
from tests.rewards.judge_server import ask, make

serve = judge_server.serve


def test_it_waits_as_it_is_told_and_asks_again(serve):
    waits = []
    server = serve((429, {"Retry-After": "3"}), (503, {}), (500, {}), "SCORE: 6")
    assert ask(make(server, waits), "Flu.") == [0.6]
    assert waits == [3.0, 1.0, 2.0]


def test_a_date_to_wait_for_and_a_long_one(serve):
    waits = []
    replies = (
        (429, {"Retry-After": "Thu, 01 Jan 2015 00:00:00 GMT"}),
        (429, {"Retry-After": "99999"}),
        (429, {"Retry-After": "soon"}),
        "SCORE: 6",
    )
    assert ask(make(serve(*replies), waits), "Flu.") == [0.6]
    assert waits == [0.0, 60.0, 2.0]


def test_a_server_that_stalls_or_is_gone_is_a_failure(serve):
    server = serve("SCORE: 6")
    server.gate = threading.Event()
    made = make(server, timeout=0.2, retries=1)
    assert ask(made, "Flu.") == [None]
    assert (made.failed, len(server.seen)) == (1, 2) and "after 2 tries" in made.last_failure
    server.gate.set()
    gone = judge.Judge(judge.Settings("http://127.0.0.1:9/v1", "m", retries=0), [].append)
    assert ask(gone, "Flu.") == [None] and gone.failed == 1


@pytest.mark.parametrize(
    "reply",
    [
        [],
        ["SCORE: 6"],
        None,
        {"choices": []},
        {"choices": [["SCORE: 6"]]},
        {"choices": [{"message": {"content": "SCORE: 6"}}], "usage": [100, 10]},
        {"choices": [{"message": {"content": "SCORE: 6"}}], "usage": {"prompt_tokens": [100]}},
    ],
)
def test_json_of_another_shape_is_a_failed_judgement(serve, reply):
    made = make(serve(reply))
    assert ask(made, "Flu.") == [None]
    assert (made.asked, made.failed, made.last_failure) == (1, 1, "a reply that is no chat completion")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_takes_neither_key_nor_text_elsewhere(serve, status, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    other = serve("SCORE: 10")
    server = serve((status, {"Location": f"http://user:word@127.0.0.1:{other.server_port}/v1/x?token=t"}))
    told = f"HTTP {status}, sends on to http://127.0.0.1:{other.server_port}/v1/x; key .* Give --judge_url the one"
    with pytest.raises(ConfigError, match=told):
        ask(make(server), "Flu.")
    assert other.seen == [] and len(server.seen) == 1


def test_a_judge_on_this_machine_is_not_asked_through_a_proxy(serve, monkeypatch):
    proxy, server = serve("SCORE: 1"), serve("SCORE: 6")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.server_port}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert ask(make(server), "Flu.") == [0.6]
    assert proxy.seen == [] and len(server.seen) == 1
    away = judge.Judge(judge.Settings("http://judge.invalid/v1", "m"), [].append)
    assert ask(away, "Flu.") == [0.1], "other machines are asked through it"


def test_text_that_leaves_the_machine_in_clear_is_told(caplog):
    for url in ("http://127.0.0.1:1/v1", "http://localhost/v1", "http://[::1]:8000", "https://judge.example/v1"):
        openers.opener(url, "--judge_url")
    assert caplog.text == ""
    judge.Judge(judge.Settings("http://judge.example/v1", "m"))
    assert "--judge_url http://judge.example/v1: another machine, without encryption" in caplog.text


@pytest.mark.parametrize("url", ["http://", "http://[::1/v1", "http://host:port/v1"])
def test_what_is_no_address_is_told(url):
    with pytest.raises(ConfigError, match="expected an address such as http://127.0.0.1:8000"):
        rewards.resolve(["judge"], judge_url=url, judge_model="m")


@pytest.mark.parametrize(
    "status, told",
    [(401, "HTTP 401; the environment variable OTHER_KEY is not set"), (404, "check the URL and the model m")],
)
def test_a_refusal_that_will_stay_stops_the_run(serve, status, told, monkeypatch):
    monkeypatch.delenv("OTHER_KEY", raising=False)
    with pytest.raises(ConfigError, match=told):
        ask(make(serve((status, {})), key_variable="OTHER_KEY"), "Flu.")


def test_other_refusals_are_not_asked_again(serve):
    server = serve((400, {}))
    assert ask(make(server), "Flu.") == [None] and len(server.seen) == 1


def test_several_are_asked_at_once_and_no_more_than_allowed(serve):
    server = serve("SCORE: 6")
    server.gate = threading.Event()
    threading.Timer(0.5, server.gate.set).start()
    assert ask(make(server, concurrency=3), *(f"Flu {number}." for number in range(6))) == [0.6] * 6
    assert server.most == 3
