"""Memory runs out in an evaluation: it takes fewer rows at once, and costs a trained model nothing.

sh run_tests.sh tests/fitting/test_autofit_evaluation.py
"""

import json
import math
from types import SimpleNamespace

import pytest
import torch

import dpo_training
import supervised_finetuning
from bedside import lineage
from bedside.fitting import retry
from tests.fitting.hungry import SAID, Hungry, flags

sft, dpo = supervised_finetuning.main, dpo_training.main


def test_an_evaluation_after_the_training_takes_fewer_rows(tiny_model_dir, tmp_path, monkeypatch, caplog):
    held_out = ["--do_train", "True", "--do_eval", "True", "--validation_split_percentage", "25",
                "--per_device_eval_batch_size", "4"]  # fmt: skip
    sft(flags(tiny_model_dir, tmp_path, "roomy", *held_out))
    Hungry(monkeypatch, eval_rows=1)
    sft(flags(tiny_model_dir, tmp_path, "small", *held_out))
    roomy, small = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("roomy", "small"))
    assert small["eval_loss"] == pytest.approx(roomy["eval_loss"], abs=1e-5) and math.isfinite(small["eval_loss"])


def test_an_evaluation_that_fits_in_no_way_costs_a_trained_model_nothing(caplog):
    def evaluate():
        rows.append(args.per_device_eval_batch_size)
        raise torch.OutOfMemoryError(SAID)

    rows, args = [], SimpleNamespace(per_device_eval_batch_size=4)
    trainer = SimpleNamespace(args=args, evaluate=evaluate)
    assert retry.evaluated(trainer, trained=True) == {} and rows == [4, 2, 1]
    assert "one row at a time; the model is saved without its numbers" in caplog.text
    with pytest.raises(torch.OutOfMemoryError):
        retry.evaluated(trainer, trained=False)


def test_an_evaluation_during_the_training_is_fitted_too(tiny_model_dir, tmp_path, monkeypatch):
    during = ["--eval_strategy", "steps", "--eval_steps", "2", "--validation_split_percentage", "25",
              "--per_device_eval_batch_size", "2", "--auto_fit", "True"]  # fmt: skip
    hungry = Hungry(monkeypatch, eval_rows=1)
    sft(flags(tiny_model_dir, tmp_path, "out", *during))
    assert len(hungry.alive) == 2 and lineage.damage(tmp_path / "out") is None
