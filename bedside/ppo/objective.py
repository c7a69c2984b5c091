"""The arithmetic of PPO on answers of a language model. Pure functions; imported late, because they need torch.

Shapes: `B` answers of at most `T` tokens. A mask `(B, T)` is 1 on an answer's tokens, its stop token included, and 0
behind it; what stands where it is 0 never counts. Log-probabilities and divergences are in nats, rewards and values
in the units of the reward model. Paper: Schulman et al. 2017, "Proximal Policy Optimization" (arXiv 1707.06347).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch

Reduce = Callable[[torch.Tensor], torch.Tensor]  # sums a tensor over all processes
_FAR = 20.0  # nats: a log-ratio beyond is clamped, so that its exponential stays finite


def alone(sums: torch.Tensor) -> torch.Tensor:
    """`Reduce` where there is one process."""
    return sums


def token_rewards(
    scores: torch.Tensor, logps: torch.Tensor, ref_logps: torch.Tensor, mask: torch.Tensor, kl_coef: float
) -> torch.Tensor:
    """The reward of each token, `(B, T)`: what it costs to leave the reference, and on the last token the score.

    `r_t = -kl_coef * (log pi(a_t) - log ref(a_t)) + [t is the last] * score` (Ziegler et al. 2019, arXiv 1909.08593,
    eq. 2). The difference is the estimator k1 of Schulman (2020, "Approximating KL divergence"): its sum over an
    answer is unbiased, and it may be negative. `scores` is `(B,)`. The last token is the answer's own: the stop token,
    or where the answer was cut, the last one that fitted; a slot behind it would earn the score through V alone.
    """
    rewards = -kl_coef * (logps - ref_logps) * mask
    last = mask.long().sum(1, keepdim=True) - 1
    return rewards.scatter_add(1, last, scores[:, None].to(rewards.dtype))


def gae(
    rewards: torch.Tensor, values: torch.Tensor, mask: torch.Tensor, gamma: float = 1.0, lam: float = 0.95
) -> tuple[torch.Tensor, torch.Tensor]:
    """Advantages and returns, each `(B, T)`, 0 behind an answer.

    `delta_t = r_t + gamma V_{t+1} - V_t`, `A_t = delta_t + gamma lam A_{t+1}` (Schulman et al. 2016, arXiv 1506.02438,
    eqs. 12 and 16), with V = 0 behind the last token; the return that the critic learns is `A_t + V_t`.
    """
    rewards, values = rewards * mask, values * mask
    advantage, following = torch.zeros_like(values[:, 0]), torch.zeros_like(values[:, 0])
    reversed_advantages = []
    for t in range(values.shape[1] - 1, -1, -1):
        delta = rewards[:, t] + gamma * following - values[:, t]
        advantage = (delta + gamma * lam * advantage) * mask[:, t]
        following = values[:, t]
        reversed_advantages.append(advantage)
    advantages = torch.stack(reversed_advantages[::-1], 1)
    return advantages, advantages + values


def masked_mean(x: torch.Tensor, mask: torch.Tensor, reduce: Reduce = alone) -> torch.Tensor:
    """Mean of `x` where `mask` is 1, over all processes."""
    mask = mask.to(x.dtype)
    total, count = reduce(torch.stack([(x * mask).sum(), mask.sum()]))
    return total / count.clamp(min=1)


def whiten(x: torch.Tensor, mask: torch.Tensor, reduce: Reduce = alone) -> torch.Tensor:
    """`x` with mean 0 and variance 1 over the tokens of `mask` of all processes, 0 elsewhere.

    Over all of them at once: whitened in parts, an advantage would depend on which answers share its batch.
    """
    mean = masked_mean(x, mask, reduce)
    variance = masked_mean((x - mean) ** 2, mask, reduce)
    return (x - mean) * torch.rsqrt(variance + 1e-8) * mask


class PolicyLoss(NamedTuple):
    """Of each token, `(B, T)`: the loss, the ratio of probabilities, and whether clipping bounds its gradient."""

    loss: torch.Tensor
    ratio: torch.Tensor
    clipped: torch.Tensor


def policy_loss(
    logps: torch.Tensor, old_logps: torch.Tensor, advantages: torch.Tensor, cliprange: float = 0.2
) -> PolicyLoss:
    """`-min(rho A, clip(rho, 1 - eps, 1 + eps) A)` with `rho = pi / pi_old` (eq. 7), of each token."""
    ratio = (logps - old_logps).clamp(-_FAR, _FAR).exp()
    plain = -advantages * ratio
    bounded = -advantages * ratio.clamp(1 - cliprange, 1 + cliprange)
    return PolicyLoss(torch.maximum(plain, bounded), ratio.detach(), (bounded > plain).detach())


def value_loss(
    values: torch.Tensor, old_values: torch.Tensor, returns: torch.Tensor, cliprange: float = 0.2
) -> tuple[torch.Tensor, torch.Tensor]:
    """`0.5 max((V - R)^2, (clip(V, V_old - eps, V_old + eps) - R)^2)` of each token, and whether it was clipped.

    As in the code of Schulman et al. 2017 (Engstrom et al. 2020, arXiv 2005.12729, section 3). `cliprange` is in units
    of the reward; 0 switches clipping off.
    """
    plain = (values - returns) ** 2
    if not cliprange:
        return 0.5 * plain, torch.zeros_like(plain, dtype=torch.bool)
    near = old_values + (values - old_values).clamp(-cliprange, cliprange)
    bounded = (near - returns) ** 2
    return 0.5 * torch.maximum(plain, bounded), (bounded > plain).detach()


def entropy(logits: torch.Tensor) -> torch.Tensor:
    """`-sum p log p` of each position: `(..., V) -> (...)`, in nats."""
    logps = torch.log_softmax(logits.float(), -1)
    return -(logps.exp() * logps).sum(-1)


def approximate_kl(logps: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """`KL(pi || other)` of each token by k3: `exp(d) - 1 - d` with `d = log other - log pi`, never negative
    (Schulman 2020). For watching; the reward takes k1."""
    difference = (other - logps).clamp(-_FAR, _FAR)
    return difference.exp() - 1 - difference


def explained_variance(
    values: torch.Tensor, returns: torch.Tensor, mask: torch.Tensor, reduce: Reduce = alone
) -> torch.Tensor:
    """`1 - Var(R - V) / Var(R)` over the tokens of all processes: 1 is a perfect critic, 0 one that knows the mean
    only, below 0 worse than that. Where all returns are alike it is 0."""
    error = returns - values
    unexplained = masked_mean((error - masked_mean(error, mask, reduce)) ** 2, mask, reduce)
    variance = masked_mean((returns - masked_mean(returns, mask, reduce)) ** 2, mask, reduce)
    return torch.where(variance > 1e-12, 1 - unexplained / variance.clamp(min=1e-12), torch.zeros_like(variance))


def adapted_kl_coef(kl_coef: float, kl: float, target: float, answers: int, horizon: int = 10_000) -> float:
    """The coefficient for the next rollout, so that the mean KL of an answer tends to `target` nats.

    `beta exp(clip(KL / target - 1, -0.2, 0.2) answers / horizon)`: Ziegler et al. 2019, section 2.2, whose gain of 0.1
    an update of 1,024 answers is a horizon of about 10,000, as an exponential, which no size of a rollout makes
    negative.
    """
    error = min(max(kl / target - 1, -0.2), 0.2)
    return kl_coef * math.exp(error * answers / horizon)
