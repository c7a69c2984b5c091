"""ORPO and SimPO against their papers' equations, by hand, and against TRL's experimental trainers.

sh run_tests.sh tests/preference/test_losses.py
"""

import math
from types import SimpleNamespace

import pytest
import torch

from bedside.preference import losses

# Two pairs: mean log-probabilities -0.5 and -2.0 (sums over 4 and 3 tokens), -1.0 and -0.25 (2 and 8 tokens).
CHOSEN, CHOSEN_COUNT = torch.tensor([-2.0, -2.0]), torch.tensor([4.0, 2.0])
REJECTED, REJECTED_COUNT = torch.tensor([-6.0, -2.0]), torch.tensor([3.0, 8.0])


def close(value: torch.Tensor, wanted: list[float], tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(value, torch.tensor(wanted, dtype=value.dtype), atol=tolerance, rtol=0)


def test_orpo_by_hand():
    found = losses.orpo(CHOSEN, REJECTED, CHOSEN_COUNT, REJECTED_COUNT, beta=0.1)
    # P = e^-0.5 = 0.606531, odds 1.541494; P = e^-2 = 0.135335, odds 0.156518; ratio 9.848692, its log 2.287339
    # P = e^-1 = 0.367879, odds 0.581977; P = e^-0.25 = 0.778801, odds 3.520812; ratio 0.165296, its log -1.800016
    close(found.more["log_odds_chosen"], [2.287339, -1.800016])
    # -log sigmoid: log(1 + 1/9.848692) = 0.096706 and log(1 + 1/0.165296) = 1.952992
    close(found.more["log_odds_ratio"], [-0.096706, -1.952992])
    close(found.loss, [0.5 + 0.0096706, 1.0 + 0.1952992])
    close(found.more["nll_loss"], [0.5, 1.0])
    close(found.rewards_chosen, [-0.05, -0.1])
    close(found.rewards_rejected, [-0.2, -0.025])
    close(found.more["logps/rejected"], [-2.0, -0.25])


def test_simpo_by_hand():
    found = losses.simpo(CHOSEN, REJECTED, CHOSEN_COUNT, REJECTED_COUNT, beta=2.0, gamma=0.5)
    # 2 (-0.5) - 2 (-2) - 0.5 = 2.5: log(1 + e^-2.5) = 0.078890; 2 (-1) - 2 (-0.25) - 0.5 = -2: log(1 + e^2) = 2.126928
    close(found.loss, [0.078890, 2.126928])
    close(found.rewards_chosen, [-1.0, -2.0])
    close(found.rewards_rejected, [-4.0, -0.5])
    close(losses.simpo(CHOSEN, REJECTED, CHOSEN_COUNT, REJECTED_COUNT, 2.0, 0.5, sft_weight=0.3).loss,
          [0.078890 + 0.15, 2.126928 + 0.3])  # fmt: skip


def test_the_gradient_of_orpo_is_the_papers():
    """Eq. 8 of the paper: grad L_OR = -(1 + odds(w)/odds(l))^-1 * (grad log p(w) / (1 - p(w)) - the same of l)."""
    chosen, rejected = CHOSEN.clone().requires_grad_(), REJECTED.clone().requires_grad_()
    losses.orpo(chosen, rejected, CHOSEN_COUNT, REJECTED_COUNT, beta=1.0).loss.sum().backward()
    ratio = torch.tensor([9.848692, 0.165296])
    wanted = -1 / CHOSEN_COUNT - 1 / (1 + ratio) / (1 - (CHOSEN / CHOSEN_COUNT).exp()) / CHOSEN_COUNT
    torch.testing.assert_close(chosen.grad, wanted, atol=1e-6, rtol=0)
    wanted = 1 / (1 + ratio) / (1 - (REJECTED / REJECTED_COUNT).exp()) / REJECTED_COUNT
    torch.testing.assert_close(rejected.grad, wanted, atol=1e-6, rtol=0)


def test_gradients_of_both_losses_are_those_of_differences():
    inputs = [value.double().requires_grad_() for value in (CHOSEN, REJECTED)]
    counts = CHOSEN_COUNT.double(), REJECTED_COUNT.double()
    for loss in (losses.ORPO(0.7), losses.SimPO(2.5, 1.1, 0.2)):
        assert torch.autograd.gradcheck(lambda c, r, loss=loss: loss(c, r, *counts).loss, inputs)


@pytest.mark.parametrize("x", [-1e-6, -1e-3, -0.5, -0.69, -0.70, -2.0, -30.0])
def test_log1mexp_is_exact_everywhere(x):
    wanted = math.log(-math.expm1(x))
    assert losses.log1mexp(torch.tensor(x, dtype=torch.float64)).item() == pytest.approx(wanted, rel=1e-12)
    assert losses.log1mexp(torch.tensor(x)).item() == pytest.approx(wanted, rel=2e-6)


@pytest.mark.parametrize("chosen, rejected", [(0.0, -3.0), (-3.0, 0.0), (0.0, 0.0), (-1e-9, -200.0), (-200.0, -1e-9)])
def test_certain_and_impossible_answers_have_finite_losses_and_gradients(chosen, rejected):
    pair = [torch.tensor([value], requires_grad=True) for value in (chosen, rejected)]
    loss = losses.orpo(*pair, torch.ones(1), torch.ones(1), beta=0.1).loss
    loss.sum().backward()
    assert torch.isfinite(loss).all() and all(torch.isfinite(value.grad).all() for value in pair)


def test_orpo_is_trls_odds_ratio():
    orpo_trainer = pytest.importorskip("trl.experimental.orpo.orpo_trainer")
    theirs = SimpleNamespace(beta=0.1, accelerator=SimpleNamespace(device="cpu"))
    chosen = (CHOSEN / CHOSEN_COUNT).requires_grad_()
    rejected = (REJECTED / REJECTED_COUNT).requires_grad_()
    ratio, rewards_chosen, rewards_rejected, mean_ratio, mean_odds = orpo_trainer.ORPOTrainer.odds_ratio_loss(
        theirs, chosen, rejected
    )
    ratio.sum().backward()
    mine = [value.clone().requires_grad_() for value in (CHOSEN, REJECTED)]
    ours = losses.orpo(*mine, CHOSEN_COUNT, REJECTED_COUNT, beta=0.1)
    (ours.loss + mine[0] / CHOSEN_COUNT).sum().backward()  # less the likelihood: the odds ratio alone
    torch.testing.assert_close(0.1 * ours.more["log_odds_ratio"], ratio.detach())
    torch.testing.assert_close(mine[0].grad, -chosen.grad / CHOSEN_COUNT)
    torch.testing.assert_close(mine[1].grad, -rejected.grad / REJECTED_COUNT)
    torch.testing.assert_close(ours.rewards_chosen, rewards_chosen)
    torch.testing.assert_close(ours.rewards_rejected, rewards_rejected)
    torch.testing.assert_close(ours.more["log_odds_chosen"].mean(), mean_odds.detach())
    torch.testing.assert_close(ours.more["log_odds_ratio"].mean(), mean_ratio.detach())


def test_simpo_is_trls():
    cpo_trainer = pytest.importorskip("trl.experimental.cpo.cpo_trainer")
    theirs = SimpleNamespace(
        alpha=0.0, beta=2.0, loss_type="simpo", simpo_gamma=0.5, label_smoothing=0.0,
        accelerator=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    chosen = (CHOSEN / CHOSEN_COUNT).requires_grad_()
    rejected = (REJECTED / REJECTED_COUNT).requires_grad_()
    loss, *rewards = cpo_trainer.CPOTrainer.cpo_loss(theirs, chosen, rejected)
    loss.sum().backward()
    mine = [value.clone().requires_grad_() for value in (CHOSEN, REJECTED)]
    ours = losses.simpo(*mine, CHOSEN_COUNT, REJECTED_COUNT, beta=2.0, gamma=0.5)
    ours.loss.sum().backward()
    torch.testing.assert_close(ours.loss, loss)
    torch.testing.assert_close(mine[0].grad * CHOSEN_COUNT, chosen.grad)
    torch.testing.assert_close(mine[1].grad * REJECTED_COUNT, rejected.grad)
    torch.testing.assert_close([ours.rewards_chosen, ours.rewards_rejected], rewards)
