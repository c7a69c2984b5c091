"""A judge that scores answers: what it is asked, its cache, and when its failures stop a run.

sh run_tests.sh tests/rewards/test_judge.py
"""

import json

import pytest

from bedside import rewards
from bedside.errors import ConfigError
from tests.rewards import judge_server
from tests.rewards.judge_server import ask, make

serve = judge_server.serve


def test_a_score_is_scaled_and_counted(serve, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    server = serve("Right.\nSCORE: 8")
    made = make(server, price_in=2.0, price_out=10.0)
    assert ask(made, "Flu.", "<think>\nhm\n</think>\n\nA cold.") == [0.8, 0.8]
    path, headers, body = server.seen[0]
    assert (path, headers["Authorization"], body["temperature"]) == ("/v1/chat/completions", "Bearer secret", 0)
    assert made.told() == [
        "judge m: 2 asked, 0 from the cache, 0 failed; 200 prompt and 20 completion tokens, "
        "0.0006 in the currency of the prices"
    ]


def test_an_empty_answer_is_nothing_and_is_not_asked_about(serve):
    server = serve("SCORE: 10")
    assert ask(make(server), "", "<think>\nhm", "<think>\nhm\n</think>\n\n") == [0.0, 0.0, 0.0]
    assert server.seen == []


def test_the_thought_is_not_shown(serve):
    server = serve("SCORE: 1")
    ask(make(server), "<think>\nsecret thought\n</think>\n\nFlu.")
    assert "secret thought" not in json.dumps(server.seen[0][2])


def test_a_judgement_is_never_asked_for_again(serve, tmp_path):
    server = serve("SCORE: 7")
    cache = str(tmp_path / "new" / "cache.jsonl")
    assert ask(make(server, cache=cache), "Flu.", "Flu.") == [0.7, 0.7]
    again = make(server, cache=cache)
    assert ask(again, "Flu.") == [0.7]
    assert len(server.seen) == 1 and (again.asked, again.cached) == (0, 1)
    text = (tmp_path / "new" / "cache.jsonl").read_text(encoding="utf-8")
    assert set(json.loads(text)) == {"key", "score"} and "Flu" not in text


def test_a_cache_line_that_was_cut_off_is_told_and_asked_again(serve, tmp_path, caplog):
    cache = tmp_path / "cache.jsonl"
    cache.write_text('{"key": "ab', encoding="utf-8")
    assert ask(make(serve("SCORE: 5"), cache=str(cache)), "Flu.") == [0.5]
    assert "cache.jsonl:1: no judgement of a cache" in caplog.text


def test_too_many_failures_stop_the_run(serve):
    server = serve("I cannot say.")
    made = make(server, max_failures=0.5, concurrency=1)
    assert ask(made, *(f"Flu {number}." for number in range(19))) == [None] * 19
    told = r"judge m: 20 of the last 20 judgements failed, more than 50%; the last one: no single last line"
    with pytest.raises(ConfigError, match=told):
        ask(made, *(f"Cold {number}." for number in range(50)))
    assert len(server.seen) < 25, "the others of the batch are not asked about one after the other"


def test_a_judge_that_dies_late_stops_the_run_soon(serve):
    server = serve(*["SCORE: 6"] * 200, (400, {}))
    made = make(server, concurrency=1)
    assert ask(made, *(f"Flu {number}." for number in range(200))) == [0.6] * 200
    assert ask(made, *(f"Cold {number}." for number in range(20))) == [None] * 20
    with pytest.raises(
        ConfigError, match="21 of the last 100 judgements failed, more than 20%; the last one: HTTP 400"
    ):
        ask(made, "Gout.")


@pytest.mark.parametrize("more, told", [
    ({}, "needs judge_url and judge_model"),
    ({"judge_url": "localhost", "judge_model": "m"}, "expected http://host:port/v1"),
    ({"judge_url": "http://h/v1", "judge_model": "m", "judge_key_variable": "sk-123"},
     "the name of an environment variable, never by itself"),
    ({"judge_url": "http://h/v1", "judge_model": "m", "judge_rubric": "none.txt"},
     "judge rubric none.txt: no such file"),
    ({"judge_url": "http://h/v1", "judge_model": "m", "judge_concurrency": 0}, "concurrency >= 1"),
])  # fmt: skip
def test_settings_that_cannot_work_are_told(more, told):
    with pytest.raises(ConfigError, match=told):
        rewards.resolve(["judge"], **more)
