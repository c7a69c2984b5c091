"""--auto_fit True as people use it: with a recipe that holds the batch, packed rows, answers that are drawn.

sh run_tests.sh tests/fitting/test_autofit_users.py
"""

import json
from types import SimpleNamespace

import pytest
import torch

import ppo_training
import supervised_finetuning
from bedside.errors import ConfigError
from bedside.fitting import retry
from bedside.ppo import rollout
from tests.fitting.hungry import SAID, Hungry, batch, flags
from tests.stages.files import losses, same

sft, ppo = supervised_finetuning.main, ppo_training.main


def test_the_batch_of_a_recipe_is_cut_and_packed_rows_stay_as_they_are(tiny_model_dir, tmp_path, monkeypatch):
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("micro_batch_size: 2\ngradient_accumulation_steps: 2\npacking: true\nauto_fit: true\n")
    without = [word for word in flags(tiny_model_dir, tmp_path, "fitted") if word]
    for name in ("--per_device_train_batch_size", "--gradient_accumulation_steps"):
        at = without.index(name)
        del without[at : at + 2]
    sft(flags(tiny_model_dir, tmp_path, "given", *batch(1, 4), "--packing", "True"))
    hungry = Hungry(monkeypatch, rows=1)
    sft([str(recipe), *without])
    assert len(hungry.alive) == 2
    assert losses(tmp_path / "fitted") == losses(tmp_path / "given") and same(tmp_path / "fitted", tmp_path / "given")
    told = (tmp_path / "fitted" / "lineage.json").read_text()
    assert '"per_device_train_batch_size": 1' in told and '"gradient_accumulation_steps": 4' in told
    assert '"packing": true' in told and json.loads(told)


def test_answers_that_host_memory_does_not_hold_at_once_are_drawn_in_parts(tiny_model_dir, tmp_path, monkeypatch):
    """The driver's and the host's refusals have no sentence of PPO's own: fewer answers at once, the same answers."""
    argv = [*batch(2, 2), "--max_steps", "2"]
    ppo(flags(tiny_model_dir, tmp_path, "roomy", *argv, stage="ppo", rows=8))
    draw, seen = rollout.draw, []

    def hungry(model, prompts, *more):
        seen.append(len(prompts))
        if len(prompts) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64000 bytes.")
        return draw(model, prompts, *more)

    monkeypatch.setattr(rollout, "draw", hungry)
    ppo(flags(tiny_model_dir, tmp_path, "fitted", *argv, "--auto_fit", "True", stage="ppo", rows=8))
    assert seen == [4, 2] + 8 * [1]
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "roomy"), abs=1e-5)


def test_a_sentence_about_memory_in_the_last_evaluation_costs_no_model(caplog):
    """GRPO says in words of its own that answers do not fit; the model is trained all the same, and is saved."""

    def evaluate():
        rows.append(args.per_device_eval_batch_size)
        try:
            raise torch.OutOfMemoryError(SAID)
        except torch.OutOfMemoryError:
            raise ConfigError("the GPU's memory does not hold 8 answers that are sampled at once") from None

    rows, args = [], SimpleNamespace(per_device_eval_batch_size=8, num_generations_eval=2)
    trainer = SimpleNamespace(args=args, evaluate=evaluate)
    assert retry.evaluated(trainer, trained=True) == {} and rows == [8, 4, 2]
    with pytest.raises(ConfigError, match="does not hold 8 answers"):
        retry.evaluated(trainer, trained=False)

    def other():
        raise ConfigError("another mistake")

    with pytest.raises(ConfigError, match="another mistake"):
        retry.evaluated(SimpleNamespace(args=args, evaluate=other), trained=True)
