"""ORPO and SimPO as functions of what a policy gives to the better and the worse answer of each pair.

Every input is `(B,)`, one number a pair: sums of token log-probabilities in nats and counts of answer tokens. Every
loss is `(B,)` too; its mean over all pairs of an optimizer step is what is minimised, so that the loss of several
batches or processes is that of one. The module is imported late: it needs torch.
"""

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch.nn.functional import logsigmoid


class PairLoss(NamedTuple):
    """`loss` of each pair `(B,)`, and what is logged, each `(B,)` without gradient: rewards of both sides, more."""

    loss: torch.Tensor
    rewards_chosen: torch.Tensor
    rewards_rejected: torch.Tensor
    more: dict[str, torch.Tensor]


def log1mexp(x: torch.Tensor) -> torch.Tensor:
    """`log(1 - exp(x))` for `x < 0`, exact on both sides of -log 2 (Maechler 2012, "Accurately computing log(1 -
    exp(-|a|))"). A probability that rounds to 1 counts as the largest number below it, so that odds stay finite."""
    x = x.clamp(max=-torch.finfo(x.dtype).eps)
    near = x > -math.log(2)
    # Each branch gets a harmless value where the other is taken: its gradient there would be 0 * inf.
    small = torch.log(-torch.expm1(torch.where(near, x, -1.0)))
    large = torch.log1p(-torch.exp(torch.where(near, -1.0, x)))
    return torch.where(near, small, large)


def orpo(
    chosen: torch.Tensor, rejected: torch.Tensor, chosen_count: torch.Tensor, rejected_count: torch.Tensor, beta: float
) -> PairLoss:
    """ORPO (Hong, Lee and Thorne 2024, arXiv 2403.07691): `L = L_SFT + beta * L_OR`, eq. 6; `beta` is its lambda.

    With `log P(y|x)` the mean log-probability of the answer's tokens (eq. 3), `odds = P / (1 - P)` (eq. 4) and
    `L_OR = -log sigmoid(log odds(chosen) - log odds(rejected))` (eqs. 5, 7). `L_SFT` is the mean negative
    log-likelihood of the chosen answer's tokens, a pair at a time. (TRL's trainer takes it over prompt and answer, and
    over the tokens of a batch, so that a long answer weighs more and a batch's split changes the loss.)
    """
    chosen, rejected = chosen / chosen_count, rejected / rejected_count
    log_odds = (chosen - rejected) - (log1mexp(chosen) - log1mexp(rejected))
    ratio = logsigmoid(log_odds)
    more = {"nll_loss": -chosen, "log_odds_chosen": log_odds, "log_odds_ratio": ratio}
    more |= {"logps/chosen": chosen, "logps/rejected": rejected}
    return PairLoss(-chosen - beta * ratio, beta * chosen.detach(), beta * rejected.detach(), _detached(more))


def simpo(
    chosen: torch.Tensor,
    rejected: torch.Tensor,
    chosen_count: torch.Tensor,
    rejected_count: torch.Tensor,
    beta: float,
    gamma: float,
    sft_weight: float = 0.0,
) -> PairLoss:
    """SimPO (Meng, Xia and Chen 2024, arXiv 2405.14734), eq. 6:
    `-log sigmoid(beta * mean log p(chosen) - beta * mean log p(rejected) - gamma)`.

    `gamma` is the margin in units of the reward. `sft_weight` adds so many times the chosen answer's mean negative
    log-likelihood (CPO-SimPO; 0 is the paper).
    """
    chosen, rejected = chosen / chosen_count, rejected / rejected_count
    loss = -logsigmoid(beta * chosen - beta * rejected - gamma)
    if sft_weight:
        loss = loss - sft_weight * chosen
    more = {"nll_loss": -chosen, "logps/chosen": chosen, "logps/rejected": rejected}
    return PairLoss(loss, beta * chosen.detach(), beta * rejected.detach(), _detached(more))


def _detached(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: value.detach() for name, value in values.items()}


@dataclass(frozen=True)
class ORPO:
    """`orpo` with its weight, as a trainer wants it."""

    beta: float = 0.1

    def __call__(self, chosen, rejected, chosen_count, rejected_count) -> PairLoss:
        """See `orpo`."""
        return orpo(chosen, rejected, chosen_count, rejected_count, self.beta)


@dataclass(frozen=True)
class SimPO:
    """`simpo` with its numbers, as a trainer wants it."""

    beta: float = 2.0
    gamma: float = 0.5
    sft_weight: float = 0.0

    def __call__(self, chosen, rejected, chosen_count, rejected_count) -> PairLoss:
        """See `simpo`."""
        return simpo(chosen, rejected, chosen_count, rejected_count, self.beta, self.gamma, self.sft_weight)


def of(config: Any) -> ORPO | SimPO:
    """The loss that a PairConfig asks for; ValueError for one that is not here."""
    if config.loss_type == "orpo":
        return ORPO(config.beta)
    if config.loss_type == "simpo":
        return SimPO(config.beta, config.simpo_gamma)
    raise ValueError(f"--loss_type {config.loss_type}: expected orpo or simpo")
