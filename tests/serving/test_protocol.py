"""Requests that are refused, each with the sentence that says what to do; and the server's flags.

sh run_tests.sh tests/serving/test_protocol.py
"""

import pytest

from bedside import cli
from bedside.answers import Sampling
from bedside.errors import ConfigError
from bedside.serving import flags, protocol, server
from bedside.serving.flags import ServingArguments

ASK = {"model": "m", "messages": [{"role": "user", "content": "头晕怎么办？"}]}


def read(**more):
    return protocol.asked({**ASK, **more}, Sampling(64), 100, None, None)


def messages(*turns):
    return {"messages": [{"role": role, "content": content} for role, content in turns]}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"n": 2}, "n is 2; this server writes one answer a request"),
        ({"tools": [{"type": "function"}]}, "tools: this server calls no tools"),
        ({"logprobs": True}, "logprobs: this server gives no log-probabilities"),
        ({"response_format": {"type": "json_object"}}, "response_format: this server writes text only"),
        ({"presence_penalty": 0.5}, "presence_penalty: not offered; repetition_penalty is"),
        ({"logit_bias": {"5": 1}}, "logit_bias: not offered by this server"),
        ({"temprature": 1}, "temprature: unknown field; did you mean temperature?"),
        ({"chat_template_kwargs": {"thinking": True}}, "chat_template_kwargs.thinking: unknown field"),
        ({"max_tokens": 101}, "max_tokens is 101; this server writes at most 100"),
        ({"max_tokens": 5, "max_completion_tokens": 6}, "max_tokens and max_completion_tokens differ"),
        ({"max_tokens": 0}, "max_tokens: input should be greater than or equal to 1"),
        ({"temperature": "hot"}, "temperature: input should be a valid number"),
        ({"temperature": float("nan")}, "temperature: input should be"),
        ({"temperature": 3}, "temperature: input should be less than or equal to 2"),
        ({"stop": [""]}, "stop: expected at most 16 texts"),
        ({"stream_options": {"include_usage": True}}, "stream_options: only with stream true"),
        ({"reasoning_effort": "high"}, "thinking has no degrees here"),
        ({"reasoning_effort": "none", "chat_template_kwargs": {"enable_thinking": True}}, "contradicts"),
        ({"messages": []}, "messages: list should have at least 1 item"),
        (messages(("user", " ")), "a user message is empty"),
        (messages(("user", 3)), "messages.0.content: expected a text"),
        (messages(("doctor", "a")), "messages.0.role: expected system, developer, user or assistant"),
        (messages(("user", "a"), ("user", "b")), r"messages\[1\] is user, expected assistant"),
        (messages(("user", "a"), ("assistant", "b")), "the prompt ends with assistant"),
        (messages(("system", "a")), "the last message is not the user's"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, "parts"),
        ({"messages": [{"role": "user", "content": "a", "reasoning": "b"}]}, "a user message has no reasoning"),
    ],
)
def test_a_request_that_is_refused(more, sentence):
    with pytest.raises(protocol.BadRequest, match=sentence):
        read(**more)


@pytest.mark.parametrize("body", [[], None, "text", 3])
def test_a_body_that_is_no_object(body):
    with pytest.raises(protocol.BadRequest, match="the body is no JSON object"):
        protocol.asked(body, Sampling(), 9, None, None)


def test_what_changes_nothing_is_taken():
    more = {"n": 1, "tools": [], "tool_choice": "none", "logprobs": False, "presence_penalty": 0, "user": "u",
            "metadata": {"a": "b"}, "response_format": {"type": "text"}, "top_logprobs": None}  # fmt: skip
    assert read(**more) == read()


def test_what_is_left_open_is_the_servers():
    assert read().sampling == Sampling(64, 0.7, 0.9)
    assert read(max_completion_tokens=7, temperature=0, top_p=0.5, top_k=-1, seed=3, stop="x").sampling == Sampling(
        7, 0, 0.5, 0, seed=3, stop=("x",)
    )
    assert read(reasoning_effort="none").enable_thinking is False
    assert read().enable_thinking is None


def parsed(*argv):
    found = cli.parse((ServingArguments,), list(argv))
    flags.check(found)
    return found[ServingArguments]


def test_the_server_is_open_to_others_with_a_key_only(monkeypatch):
    monkeypatch.delenv("BEDSIDE_API_KEY", raising=False)
    assert parsed().host == "127.0.0.1"
    for host in ("0.0.0.0", "10.0.0.5", "::", "example.org"):
        with pytest.raises(ConfigError, match="others can reach it, so a key is needed"):
            parsed("--host", host)
    monkeypatch.setenv("BEDSIDE_API_KEY", " ")
    with pytest.raises(ConfigError, match="so a key is needed"):
        parsed("--host", "0.0.0.0")
    monkeypatch.setenv("BEDSIDE_API_KEY", "k")
    assert parsed("--host", "0.0.0.0").host == "0.0.0.0"
    monkeypatch.delenv("BEDSIDE_API_KEY")
    assert parsed("--host", "::1").host == "::1"


def test_every_wrong_flag_is_named():
    with pytest.raises(ConfigError) as refused:
        parsed("--top_p", "2", "--max_batch", "0", "--template_name", "qwen33", "--gpus", "0", "--load_in_4bit",
               "--load_in_8bit", "--max_new_tokens", "5000", "--system_prompt", "\ufdd0")  # fmt: skip
    told = str(refused.value)
    for part in ("--top_p 2.0: expected", "--max_batch 0: expected", "qwen33", "CUDA_VISIBLE_DEVICES=0",
                 "choose one", "--max_new_tokens 5000: expected 1 to", "--system_prompt"):  # fmt: skip
        assert part in told
    with pytest.raises(ConfigError, match="--max_batsh: unknown flag; did you mean --max_batch?"):
        parsed("--max_batsh", "3")


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded():
    place = server.bound("127.0.0.1", 0)
    place.listen()
    port = place.getsockname()[1]
    with pytest.raises(ConfigError, match=rf"--port {port}: .*choose another --port"):
        server.bound("127.0.0.1", port)
    place.close()
