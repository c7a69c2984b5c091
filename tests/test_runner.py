"""The end of a run: what was trained is on the disk before anything else can fail.

sh run_tests.sh tests/test_runner.py
"""

from pathlib import Path
from types import SimpleNamespace

import pytest

from bedside import runner
from bedside.args import RunArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.kernel_args import KernelArguments


class Measure:
    """One that gives a number, or fails."""

    def __init__(self, name, error=None, late=False):
        self.name, self.error, self.late, self.done = name, error, late, []

    def before(self):
        self.done.append("before")

    def after(self):
        self.done.append("after")
        if self.error:
            raise self.error
        return {self.name: 1.0}


@pytest.fixture
def saved(monkeypatch):
    kept = []
    monkeypatch.setattr(runner.fast, "prepare", lambda *_: None)
    monkeypatch.setattr(runner, "train", lambda *_: {"train_loss": 0.5})
    monkeypatch.setattr(runner, "save", lambda trainer, output, tokenizer, metrics, *_: kept.append(dict(metrics)))
    return kept


def run(*measures):
    args = Parsed({RunArguments: RunArguments(), KernelArguments: KernelArguments()}, {}, set())
    begun = SimpleNamespace(output=Path("outputs-x"), push_to=None)
    runner.run(None, args, begun, None, None, None, list(measures))


def test_measures_belong_to_the_metrics_but_late_ones(saved):
    early, late = Measure("early"), Measure("late", late=True)
    run(early, late)
    assert saved == [{"train_loss": 0.5, "early": 1.0}]
    assert early.done == late.done == ["before", "after"]


def test_a_measure_that_fails_does_not_cost_the_model(saved, caplog):
    broken, fine = Measure("exam", ConfigError("the judge is gone")), Measure("pairs")
    with pytest.raises(ConfigError, match="the judge is gone"):
        run(broken, fine)
    assert saved == [{"train_loss": 0.5, "pairs": 1.0}]
