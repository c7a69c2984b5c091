"""Words of a command line through the real parser, with the flags of fine-tuning."""

import shlex

import pytest

from bedside import cli
from bedside.args import AdapterArguments, DataArguments, ModelArguments, RunArguments
from bedside.errors import ConfigError
from bedside.stage_args import ChatArguments, EvalArguments, SupervisedArguments

STAGE = (
    ModelArguments, AdapterArguments, DataArguments, ChatArguments, SupervisedArguments, EvalArguments, RunArguments,
)  # fmt: skip


def parse(text: str) -> cli.Parsed:
    return cli.parse(STAGE, shlex.split(text), "SFTConfig")


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value.problems
