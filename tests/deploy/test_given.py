"""The command line: ours, vLLM's, and what is refused before anything is read.

sh run_tests.sh tests/deploy/test_given.py
"""

import pytest

from bedside.deploy import given
from bedside.errors import ConfigError


def test_vllms_flags_are_kept_as_they_are_in_their_order():
    asked = given.parse(
        ["my model", "-tp", "2", "--max_model_len=4096", "--lora-modules", "a=b", "c=d", "--no-enable-prefix-caching",
         "--speculative-config.num_tokens", "-1", "--dry_run"]
    )  # fmt: skip
    assert asked.directory == "my model"
    assert (asked.own.dry_run, asked.own.check) == (True, False)
    assert asked.vllm == (
        ("tensor-parallel-size", ("2",)),
        ("max-model-len", ("4096",)),
        ("lora-modules", ("a=b", "c=d")),
        ("no-enable-prefix-caching", ()),
        ("speculative-config.num_tokens", ("-1",)),
    )
    assert asked.number("tensor-parallel-size") == 2
    assert asked.value("dtype") is None


def test_the_model_may_be_named_as_vllm_names_it():
    assert given.parse(
        ["--model", "merged-sft-qwen-v1", "--tensor-parallel-size", "1", "--port", "8000"]
    ).directory == ("merged-sft-qwen-v1")
    assert given.parse([]).directory is None


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["a", "b"], "a b: one model is served; give one directory, in quotes if its name has spaces"),
        (["a", "--api-key", "x"], "--api-key: a key on the command line is seen by every user .* VLLM_API_KEY"),
        (["a", "--hf_token", "x"], "--hf-token: a token on the command line"),
        (["a", "--config", "x.yaml"], "--config: a file of flags would not be seen"),
        (["a", "--uds", "/tmp/x"], "--uds: the server is waited for"),
        (["a", "--dryrun"], "--dryrun: unknown flag; did you mean --dry_run?"),
        (["a", "--port", "1", "--port", "2"], "--port: given more than once; give it once"),
        (["a", "-x"], "-x: unknown short flag"),
        (["a", "--check", "perhaps"], "--check perhaps: "),
    ],
)
def test_what_is_refused(argv, told):
    with pytest.raises(ConfigError, match=told):
        given.parse(argv)


def test_a_number_that_is_none():
    with pytest.raises(ConfigError, match="--port eighty: expected a number"):
        given.parse(["a", "--port", "eighty"]).number("port")


def test_help(capsys):
    with pytest.raises(SystemExit) as end:
        given.parse(["--help"])
    assert end.value.code == 0
    assert "sh vllm_deployment.sh MODEL_DIR [vLLM's flags]" in capsys.readouterr().out
