"""The pages' flags: settled together, every conflict told; and which engines they lead to.

sh run_tests.sh tests/chatpage/test_flags.py
"""

import pytest

from bedside import cli, engine, generate, templates
from bedside.answers import Sampling
from bedside.chatpage import engines, flags
from bedside.chatpage.flags import PageArguments
from bedside.errors import ConfigError

from .scripted import Scripted


def parse(*argv, **environment):
    parsed = cli.parse((PageArguments,), list(argv))
    flags.check(parsed, environment)
    return parsed


def test_the_command_of_the_seeds_parses(tmp_path):
    parsed = parse("--base_model", "models/starter", "--lora_model", str(tmp_path), "--template_name", "qwen2_5")
    assert parsed[PageArguments].template_name == "qwen"
    assert parse("--server_port", "8081")[PageArguments].port == 8081


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--host", "0.0.0.0"], "--host 0.0.0.0: others can reach this address; set a password"),
        (["--share"], "--share True: not offered"),
        (["--gpus", "0"], "set CUDA_VISIBLE_DEVICES=0"),
        (["--server", "127.0.0.1:1", "--lora_model", "bedside"], "--server and --lora_model: the server has its own"),
        (["--server", "http://127.0.0.1:1", "--load_in_4bit"], "--load_in_4bit: no model is loaded here"),
        (["--served_model", "x"], "--served_model: names a model on --server, which is not given"),
        (["--compare_server", "a:1", "--compare_base_model", "b"], "--compare_server and --compare_base_model"),
        (["--compare_base_model", "b", "--template_name", "chatml"], "--template_name: the two models have"),
        (["--lora_model", "no-such"], "no-such: no such adapter directory"),
        (["--temperature", "-1"], "--temperature -1.0: expected 0 or more"),
        (["--port", "70000"], "--port 70000: expected 1 to 65535"),
        (["--template_name", "qwen9"], "qwen9"),
        (["--languge", "zh"], "did you mean --language"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(argv, told):
    with pytest.raises(ConfigError, match=told):
        parse(*argv)


def test_a_password_opens_other_addresses():
    parse("--host", "0.0.0.0", BEDSIDE_PAGE_PASSWORD="x")


def test_settings_of_the_page_replace_those_of_the_flags():
    args = parse("--top_k", "5")[PageArguments]
    assert flags.sampling(args, 0.2, 99.0) == Sampling(99, 0.2, 0.9, 5, 1.0)
    assert flags.sampling(args, 0, 0) == Sampling(1, 0.0, 0.9, 5, 1.0)
    assert flags.sampling(args) == Sampling(512, 0.7, 0.9, 5, 1.0)


def test_one_engine_or_two(monkeypatch):
    loaded = []
    monkeypatch.setattr(
        engines, "_loaded", lambda parsed, base, adapter, like: loaded.append((base, adapter)) or Scripted()
    )
    assert engines.engines(parse())[1] is None
    first, second = engines.engines(parse("--lora_model", "bedside", "--compare_base_model", "models/starter"))
    assert loaded == [("models/starter", None), (None, "bedside"), ("models/starter", None)]
    assert engines.names(first, None) == ["scripted"]
    assert engines.names(first, second) == ["A · scripted", "B · scripted"]


def test_a_base_without_a_template_is_asked_with_that_of_the_model_it_is_compared_with(monkeypatch):
    tuned = generate.ChatEngine.__new__(generate.ChatEngine)
    tuned.template = templates.get("qwen3")
    monkeypatch.setattr(engine, "load", lambda origin, tokenizer, template, *rest: template)
    monkeypatch.setattr(engine, "describe", lambda loaded, origin: None)
    assert engines._loaded(parse(), "models/starter", None, tuned).name == "qwen3"
    with pytest.raises(ConfigError, match="no chat template of its own"):
        engines._loaded(parse(), "models/starter", None, None)
