"""Every command of the chain goes through the parser of its real script: the starter's, and those of other models.

sh run_tests.sh tests/pipeline/test_pipeline_commands.py
"""

import contextlib
import shlex
from pathlib import Path

import pytest
from test_commands import check_command

from bedside import cli
from bedside.errors import ConfigError
from bedside.evaluate import conflicts
from bedside.evaluate.flags import EvaluationArguments
from bedside.pipeline import flags, steps


def plan(*argv):
    with contextlib.chdir(Path(__file__).resolve().parents[2]):
        wishes = flags.settle(cli.parse((flags.PipelineArguments,), list(argv)), {"CUDA_VISIBLE_DEVICES": ""})
        return {step.name: step for step in steps.plan(wishes)}


CHAINS = {
    "starter": plan(),
    "its base": plan("--skip", "pt", "sft", "--seed", "7"),
    "another model": plan("--base_model", "Qwen/Qwen3-4B-Base", "--template", "qwen3", "--nproc", "2"),
    "other data": plan("--data", "data/", "--seed", "7"),
}
STEPS = [pytest.param(step, id=f"{chain}, {name}") for chain, found in CHAINS.items() for name, step in found.items()]


@pytest.mark.parametrize("step", STEPS)
def test_a_command_parses(step, monkeypatch):
    check_command(shlex.join(step.argv), monkeypatch)


@pytest.mark.parametrize("step", [param for param in STEPS if "evaluation.py" in param.values[0].argv])
def test_flags_of_an_evaluation_do_not_contradict_each_other(step):
    words = step.argv[step.argv.index("evaluation.py") + 1 :]
    parsed = cli.parse((EvaluationArguments,), list(words))
    try:
        conflicts.check(parsed)
    except ConfigError as error:  # outputs that no run has made here
        assert [told for told in error.problems if "no evaluation.json there" not in told] == []
