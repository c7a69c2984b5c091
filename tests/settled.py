"""The flags of the SFT stage as a command gives them, settled or refused: what the tests of flags share."""

import shlex

import pytest

from bedside import cli, settle
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.errors import ConfigError
from bedside.stage_args import ChatArguments, EvalArguments, SupervisedArguments

STAGE = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, SupervisedArguments, EvalArguments, RunArguments,
)  # fmt: skip


def files(args: cli.Parsed) -> dict:
    """What the flags say of reading files."""
    return settle.files(args[DataArguments], args.trainer, args[ChatArguments].role_map)


def settled(text: str) -> cli.Parsed:
    """The flags in `text`, after all checks."""
    args = cli.parse(STAGE, shlex.split(f"--train_file_dir data/sft {text}"), "SFTConfig")
    settle.training(args, "sft")
    return args


def problems(text: str) -> list[str]:
    """The sentences with which the flags in `text` are refused."""
    with pytest.raises(ConfigError) as caught:
        settled(text)
    return caught.value.problems
