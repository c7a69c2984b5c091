"""The arithmetic of PPO on one example, by hand: an answer of three tokens that stopped, one of five that was cut.

sh run_tests.sh tests/ppo/test_objective.py
"""

import threading

import pytest
import torch

from bedside.ppo import objective

X = 9.0  # what stands behind an answer: no result may depend on it
MASK = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
LOGPS = torch.tensor([[-1.0, -0.5, -2.0, X, X], [-0.1, -0.3, -1.0, -0.6, -0.2]])
REFERENCE = torch.tensor([[-1.2, -0.7, -1.5, -X, X], [-0.3, -0.3, -0.8, -1.0, -0.2]])
SCORES = torch.tensor([1.0, -0.5])
# -0.5 times the differences 0.2 0.2 -0.5 and 0.2 0 -0.2 0.4 0, and the scores on the third and on the fifth token
REWARDS = torch.tensor([[-0.1, -0.1, 1.25, 0.0, 0.0], [-0.1, 0.0, 0.1, -0.2, -0.5]])
VALUES = torch.tensor([[0.5, 0.4, 0.6, X, X], [0.2, 0.1, 0.0, -0.1, -0.3]])
# With gamma 1, lambda 0.5. First row: delta = 1.25 - 0.6 = 0.65; -0.1 + 0.6 - 0.4 = 0.1; -0.1 + 0.4 - 0.5 = -0.2.
# A = 0.65; 0.1 + 0.325; -0.2 + 0.2125. Second row, from its end: delta = -0.5 + 0.3 = -0.2; -0.2 - 0.3 + 0.1 = -0.4;
# 0.1 - 0.1 = 0; 0 - 0.1 = -0.1; -0.1 + 0.1 - 0.2 = -0.2. A = -0.2; -0.4 - 0.1; 0 - 0.25; -0.1 - 0.125; -0.2 - 0.1125.
ADVANTAGES = torch.tensor([[0.0125, 0.425, 0.65, 0.0, 0.0], [-0.3125, -0.225, -0.25, -0.5, -0.2]])
RETURNS = torch.tensor([[0.5125, 0.825, 1.25, 0.0, 0.0], [-0.1125, -0.125, -0.25, -0.6, -0.5]])


def close(value: torch.Tensor, wanted, tolerance: float = 1e-6) -> None:
    torch.testing.assert_close(value, torch.as_tensor(wanted, dtype=value.dtype), atol=tolerance, rtol=0)


def test_the_score_is_on_the_last_token_and_the_distance_on_each():
    close(objective.token_rewards(SCORES, LOGPS, REFERENCE, MASK, 0.5), REWARDS)
    alone = objective.token_rewards(SCORES, LOGPS, REFERENCE, MASK, 0.0)
    close(alone, [[0, 0, 1, 0, 0], [0, 0, 0, 0, -0.5]])
    # Its sum is the score less the coefficient times the log-ratio of the whole answer: 1 - 0.5 (-0.1).
    close(objective.token_rewards(SCORES, LOGPS, REFERENCE, MASK, 0.5).sum(1), [1.05, -0.7])


def test_advantages_and_returns_with_lambda():
    advantages, returns = objective.gae(REWARDS, VALUES, MASK, gamma=1.0, lam=0.5)
    close(advantages, ADVANTAGES)
    close(returns, RETURNS)


def test_advantages_and_returns_with_gamma_too():
    # First row: delta = 0.65; -0.1 + 0.54 - 0.4 = 0.04; -0.1 + 0.36 - 0.5 = -0.24, and 0.72 of what follows.
    # Second: -0.2; -0.2 - 0.27 + 0.1 = -0.37; 0.1 - 0.09 = 0.01; 0 - 0.1 = -0.1; -0.1 + 0.09 - 0.2 = -0.21.
    advantages, returns = objective.gae(REWARDS, VALUES, MASK, gamma=0.9, lam=0.8)
    wanted = torch.tensor([[0.12576, 0.508, 0.65, 0, 0], [-0.468665, -0.359258, -0.36008, -0.514, -0.2]])
    close(advantages, wanted)
    close(returns, wanted + VALUES * MASK)


def test_lambda_1_trusts_rewards_and_lambda_0_the_critic():
    advantages, returns = objective.gae(REWARDS, VALUES, MASK, lam=1.0)
    close(returns, [[1.05, 1.15, 1.25, 0, 0], [-0.7, -0.6, -0.6, -0.7, -0.5]])  # what is still to come
    advantages, _ = objective.gae(REWARDS, VALUES, MASK, lam=0.0)
    close(advantages, [[-0.2, 0.1, 0.65, 0, 0], [-0.2, -0.1, 0.0, -0.4, -0.2]])  # the deltas


def test_what_stands_behind_an_answer_counts_nowhere():
    behind = torch.where(MASK == 0, torch.tensor(1e6), torch.zeros(()))
    rewards = objective.token_rewards(SCORES, LOGPS + behind, REFERENCE, MASK, 0.5)
    close(rewards, REWARDS)
    close(objective.gae(REWARDS + behind, VALUES + behind, MASK, 1.0, 0.5)[0], ADVANTAGES)
    close(objective.whiten(ADVANTAGES + behind, MASK), objective.whiten(ADVANTAGES, MASK))
    found = objective.explained_variance(VALUES + behind, RETURNS - behind, MASK)
    close(found, objective.explained_variance(VALUES, RETURNS, MASK))


# The eight advantages sum to -0.4: mean -0.05, and their squared deviations to 1.0840625: variance 0.1355078.
WHITE = [[0.169784, 1.290361, 1.901585, 0, 0], [-0.713094, -0.475396, -0.543310, -1.222447, -0.407482]]


def test_whitening_and_means():
    close(objective.masked_mean(ADVANTAGES, MASK), -0.05)
    close(objective.whiten(ADVANTAGES, MASK), WHITE)
    close(objective.whiten(torch.ones(2, 5), MASK), torch.zeros(2, 5))  # no variance: no division by it


def in_processes(function, parts: list) -> list:
    """What `function(part, reduce)` gives for each part, each in a thread; `reduce` sums over all of them."""
    barrier, sums, found = threading.Barrier(len(parts)), [None] * len(parts), [None] * len(parts)

    def run(number: int) -> None:
        def reduce(mine: torch.Tensor) -> torch.Tensor:
            sums[number] = mine
            barrier.wait()
            total = sum(sums)
            barrier.wait()
            return total

        found[number] = function(parts[number], reduce)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(parts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


def test_whitening_over_processes_is_that_of_all_their_tokens():
    parts = [(ADVANTAGES[:1], MASK[:1]), (ADVANTAGES[1:], MASK[1:])]
    found = in_processes(lambda part, reduce: objective.whiten(*part, reduce), parts)
    close(torch.cat(found), WHITE)
    apart = torch.cat([objective.whiten(*part) for part in parts])
    assert (apart - torch.tensor(WHITE)).abs().max() > 0.5  # in parts, the good answer is no better than the bad one


def test_explained_variance():
    # Returns have the mean 0.125 and squared deviations of 3.0815625; those of the errors are the advantages'.
    wanted = 1 - 1.0840625 / 3.0815625
    assert wanted == pytest.approx(0.648210, abs=1e-6)
    close(objective.explained_variance(VALUES, RETURNS, MASK), wanted)
    parts = [(VALUES[:1], RETURNS[:1], MASK[:1]), (VALUES[1:], RETURNS[1:], MASK[1:])]
    for found in in_processes(lambda part, reduce: objective.explained_variance(*part, reduce), parts):
        close(found, wanted)
    close(objective.explained_variance(RETURNS, RETURNS, MASK), 1.0)
    close(objective.explained_variance(RETURNS + 3, RETURNS, MASK), 1.0)
    close(objective.explained_variance(torch.full((2, 5), 0.7), RETURNS, MASK), 0.0)
    assert objective.explained_variance(-RETURNS, RETURNS, MASK) < 0
    close(objective.explained_variance(VALUES, torch.full((2, 5), 0.7), MASK), 0.0)


RATIOS = torch.tensor([[1.5, 1.1, 0.5, 1.0, 1.0], [1.5, 0.5, 1.0, 0.9, 1.3]])


def test_policy_loss():
    found = objective.policy_loss(LOGPS + RATIOS.log(), LOGPS, ADVANTAGES, cliprange=0.2)
    close(found.ratio, RATIOS)
    # Better than expected: 1.5 counts as 1.2, 0.5 as it is. Worse: 0.5 counts as 0.8, 1.5 and 1.3 as they are.
    close(found.loss[0, :3], [-0.0125 * 1.2, -0.425 * 1.1, -0.65 * 0.5])
    close(found.loss[1], [0.3125 * 1.5, 0.225 * 0.8, 0.25, 0.5 * 0.9, 0.2 * 1.3])
    assert found.clipped[0, :3].tolist() == [True, False, False]
    assert found.clipped[1].tolist() == [False, True, False, False, False]


def test_a_ratio_far_away_stays_finite():
    found = objective.policy_loss(torch.tensor([[0.0, -500.0]]), torch.tensor([[-500.0, 0.0]]), torch.ones(1, 2))
    assert found.ratio.isfinite().all() and found.loss.isfinite().all()
    close(found.ratio.log(), [[20.0, -20.0]], 1e-4)


NEW_VALUES = torch.tensor([[0.9, 0.3, 0.7, X, X], [0.2, -0.4, -0.25, 0.2, -0.6]])


def test_value_loss():
    loss, clipped = objective.value_loss(NEW_VALUES, VALUES, RETURNS, cliprange=0.2)
    # 0.9 would count as 0.7, which is nearer to the return: the larger error 0.3875 counts.
    close(loss[0, :3], [0.5 * 0.3875**2, 0.5 * 0.525**2, 0.5 * 0.55**2])
    # Third: right, but it went further than 0.2 in a step: the error of -0.2 counts. Fourth: 0.8 and not 0.7.
    close(loss[1], [0.5 * 0.3125**2, 0.5 * 0.275**2, 0.5 * 0.05**2, 0.5 * 0.8**2, 0.5 * 0.1**2])
    assert clipped[0, :3].tolist() == [False, False, False]
    assert clipped[1].tolist() == [False, False, True, False, False]
    loss, clipped = objective.value_loss(NEW_VALUES, VALUES, RETURNS, cliprange=0)
    close(loss[1], [0.5 * 0.3125**2, 0.5 * 0.275**2, 0, 0.5 * 0.8**2, 0.5 * 0.1**2])
    assert not clipped.any()


def test_gradients_are_those_of_the_formulas():
    logps = (LOGPS + RATIOS.log()).double().requires_grad_()
    advantages, mask = ADVANTAGES.double(), MASK.double()
    (objective.policy_loss(logps, LOGPS.double(), advantages).loss * mask).sum().backward()
    ratio, bounds = (logps - LOGPS).exp(), (0.8, 1.2)
    written = -torch.minimum(ratio * advantages, ratio.clamp(*bounds) * advantages)
    close(logps.grad, torch.autograd.grad((written * mask).sum(), logps)[0], 1e-12)
    # -A rho, and 0 where clipping holds it: the first of the first row, the second of the second
    close(logps.grad, [[0, -0.4675, -0.325, 0, 0], [0.46875, 0, 0.25, 0.45, 0.26]])

    values = NEW_VALUES.double().requires_grad_()
    (objective.value_loss(values, VALUES.double(), RETURNS.double())[0] * mask).sum().backward()
    near = torch.maximum(torch.minimum(values, VALUES + 0.2), VALUES - 0.2)
    written = 0.5 * torch.maximum((values - RETURNS).square(), (near - RETURNS).square())
    close(values.grad, torch.autograd.grad((written * mask).sum(), values)[0], 1e-7)
    # V - R, and 0 at the third of the second row, which is held
    close(values.grad, [[0.3875, -0.525, -0.55, 0, 0], [0.3125, -0.275, 0, 0.8, -0.1]])


def test_kl_by_k3_and_entropy():
    found = objective.approximate_kl(LOGPS, REFERENCE)
    close(found[0, :3], [0.018731, 0.018731, 0.148721])  # e^-0.2 - 1 + 0.2, e^0.5 - 1 - 0.5
    close(found[1], [0.018731, 0, 0.021403, 0.070320, 0])
    # Over samples of pi = (0.25, 0.75) its mean is the KL to (0.5, 0.5), as that of k1 is: 0.130812 nats.
    pi, other = torch.tensor([0.25, 0.75]), torch.tensor([0.5, 0.5])
    close((pi * objective.approximate_kl(pi.log(), other.log())).sum(), 0.130812)
    close((pi * (pi.log() - other.log())).sum(), 0.130812)
    close(objective.entropy(pi.log()[None]), [0.562335])
    close(objective.entropy(torch.zeros(3, 8)), [2.079442] * 3)  # log 8


def test_the_adapted_coefficient():
    assert objective.adapted_kl_coef(0.05, kl=6.0, target=6.0, answers=64) == 0.05
    # Twice the target: 1 is cut to 0.2, times 64 / 10,000
    # 0.05 exp(0.2 * 64 / 10,000): an error above 20 % counts as 20 %; 0.05 exp(-0.1 * 1,024 / 10,000)
    assert objective.adapted_kl_coef(0.05, kl=12.0, target=6.0, answers=64) == pytest.approx(0.0500640409775)
    assert objective.adapted_kl_coef(0.05, kl=5.4, target=6.0, answers=1024) == pytest.approx(0.049490612515)
    assert objective.adapted_kl_coef(0.05, kl=-3.0, target=6.0, answers=64) == pytest.approx(0.0499360409425)
    assert objective.adapted_kl_coef(0.05, kl=12.0, target=6.0, answers=64, horizon=64) == pytest.approx(
        0.061070137908
    )
    assert objective.adapted_kl_coef(0.05, kl=0.0, target=6.0, answers=51_200) > 0  # however large a rollout is
