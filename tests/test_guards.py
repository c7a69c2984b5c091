"""Guards of a run that looks plausible: nothing moves, or the first loss is not what it must be.

sh run_tests.sh tests/test_guards.py
"""

import math
from types import SimpleNamespace

import pytest
import torch

from bedside import guards
from bedside.errors import ConfigError
from bedside.preference.reference import loss_at_start


class Plain:
    """The part of a trainer that the mixin needs."""

    def __init__(self, loss: float, bf16: bool = False):
        self.loss, self.model = loss, SimpleNamespace(training=True)
        self.state, self.args = SimpleNamespace(global_step=0), SimpleNamespace(bf16=bf16, fp16=False)

    def compute_loss(self, model, inputs, return_outputs=False):
        loss = torch.tensor(self.loss)
        return (loss, "outputs") if return_outputs else loss


class Checked(guards.CheckedStart, Plain):
    pass


def test_a_right_start_passes_and_is_checked_once():
    trainer = Checked(math.log(2))
    trainer.loss_at_start = math.log(2)
    assert trainer.compute_loss(None, {}).item() == pytest.approx(math.log(2))
    trainer.loss = 0.1  # later losses may be anything
    trainer.compute_loss(None, {})


@pytest.mark.parametrize("outputs", [True, False])
def test_a_wrong_start_stops(outputs):
    trainer = Checked(0.6951)
    trainer.loss_at_start = math.log(2)
    with pytest.raises(ConfigError, match=r"0\.69510, expected 0\.69315: policy and reference are not the same"):
        trainer.compute_loss(None, {}, return_outputs=outputs)


def test_half_precision_rounds_and_nan_never_passes():
    trainer = Checked(0.6951, bf16=True)
    trainer.loss_at_start = math.log(2)
    trainer.compute_loss(None, {})
    trainer = Checked(float("nan"))
    trainer.loss_at_start = math.log(2)
    with pytest.raises(ConfigError):
        trainer.compute_loss(None, {})


def test_an_evaluation_before_the_first_step_is_not_the_start_and_a_resumed_run_has_none():
    trainer = Checked(0.3)
    trainer.loss_at_start = math.log(2)
    trainer.model.training = False
    trainer.compute_loss(None, {})
    trainer.model.training = True
    with pytest.raises(ConfigError):
        trainer.compute_loss(None, {})
    resumed = Checked(0.3)
    resumed.loss_at_start, resumed.state.global_step = math.log(2), 4
    resumed.compute_loss(None, {})


def test_what_moved_is_seen_in_any_tensor():
    model = torch.nn.Sequential(torch.nn.Linear(100, 3), torch.nn.Linear(3, 2))
    model[0].requires_grad_(False)
    before = guards.sampled(model)
    assert set(before) == {"1.weight", "1.bias"}
    assert not guards.moved(before, guards.sampled(model))
    with torch.no_grad():
        model[1].weight += 1e-4
    assert guards.moved(before, guards.sampled(model))


@pytest.mark.parametrize(
    ("losses", "weights", "beta", "smoothing", "expected"),
    [
        (["sigmoid"], None, 0.1, 0.0, 0.6931472),
        (["ipo"], None, 0.1, 0.0, 25.0),
        (["sppo_hard"], None, 0.1, 0.0, 50.0),
        (["apo_zero", "hinge"], [0.5, 2.0], 0.1, 0.0, 2.5),
        (["exo_pair"], None, 0.1, 0.5, 0.0),
    ],
)
def test_losses_at_the_start_by_hand(losses, weights, beta, smoothing, expected):
    assert loss_at_start(losses, weights, beta, smoothing) == pytest.approx(expected, abs=1e-6)


def test_a_start_that_depends_on_the_rows_is_not_guessed():
    assert loss_at_start(["sigmoid", "sft"], [1.0, 0.2], 0.1, 0.0) is None


class Stepping:
    """As much of a trainer as the watch needs: `step(skipped, change)` is one optimizer step."""

    def __init__(self):
        self.model = torch.nn.Linear(2, 2)
        self.accelerator = SimpleNamespace(optimizer_step_was_skipped=False)
        self.optimizer = SimpleNamespace(param_groups=[{"lr": 0.1}])

    def add_callback(self, watch):
        self.watch = watch
        watch.on_train_begin(None, None, None, model=self.model)

    def step(self, skipped: bool, change: float = 0.0) -> None:
        self.watch.on_pre_optimizer_step(None, None, None)
        with torch.no_grad():
            self.model.weight += change
        self.accelerator.optimizer_step_was_skipped = skipped
        self.watch.on_step_end(None, None, None, model=self.model)


def test_steps_that_a_float16_scaler_leaves_out_are_not_held_against_a_run():
    trainer = Stepping()
    guards.watch_first_steps(trainer)
    for _ in range(10):
        trainer.step(skipped=True)
    trainer.step(skipped=False, change=0.1)
    for _ in range(40):
        trainer.step(skipped=True)  # later overflows are the scaler's business


def test_a_run_whose_gradients_never_become_numbers_stops():
    trainer = Stepping()
    guards.watch_first_steps(trainer)
    with pytest.raises(ConfigError, match="the gradients of the first 24 steps are not numbers, at whatever scale"):
        for _ in range(30):
            trainer.step(skipped=True)


def test_three_whole_steps_without_a_change_stop():
    trainer = Stepping()
    guards.watch_first_steps(trainer)
    trainer.step(skipped=True)
    with pytest.raises(ConfigError, match="no trained tensor changed in 3 steps"):
        for _ in range(3):
            trainer.step(skipped=False)
