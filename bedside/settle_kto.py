"""The flags of KTO against each other: every problem at once, then one meaning each; and how its labels balance."""

from typing import Any

from bedside import logs
from bedside.args import AdapterArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.settle_pairs import dropout_told, lengths, moving_reference, processes_told, smoothing, start_told
from bedside.stage_args import PairArguments

# The KTO paper (Ethayarajh et al. 2024, arXiv 2402.01306, eq. 8): desirable weight x good answers, over undesirable
# weight x bad ones, should lie here.
KTO_RATIO = (1.0, 4 / 3)


def kto(args: Parsed) -> None:
    """Settle what only the KTO stage has, in place; ConfigError lists every problem."""
    trainer = args.trainer
    problems = lengths(args[PairArguments], trainer) + smoothing(trainer) + _batches(trainer)
    if trainer.get("beta", 0.1) <= 0:
        problems.append(f"--beta {trainer['beta']:g}: expected more than 0")
    for name in ("desirable_weight", "undesirable_weight"):
        if trainer.get(name, 1.0) < 0:
            problems.append(f"--{name} {trainer[name]:g}: expected at least 0")
    problems += moving_reference(args[AdapterArguments], trainer) + start_told(args[AdapterArguments])
    if problems:
        raise ConfigError(problems)
    args.notes += processes_told(trainer) + dropout_told(args[AdapterArguments], args.given, trainer)


def _batches(trainer: dict[str, Any]) -> list[str]:
    """KTO estimates a divergence from answers of the same batch under each other's questions."""
    if trainer.get("loss_type", "kto") != "kto":
        return []
    problems = []
    if trainer.get("per_device_train_batch_size", 8) < 2:
        problems.append(
            "--per_device_train_batch_size 1: KTO compares the answers of one batch; give at least 2, or "
            "--loss_type apo_zero_unpaired, which does not"
        )
    strategy = trainer.get("train_sampling_strategy", "sequential")
    if strategy != "sequential":
        problems.append(
            f"--train_sampling_strategy {strategy}: KTO compares the answers of one batch, which must stay together "
            "(rows are shuffled once, by --seed); drop it, or use --loss_type apo_zero_unpaired"
        )
    return problems


def loss_at_start(config: Any) -> float | None:
    """The loss of a new run, where it does not depend on the rows: 1 - sigmoid(0) times the weights, if these agree.

    Policy and reference are equal then, so every log-ratio and the divergence between them is 0.
    """
    if config.desirable_weight != config.undesirable_weight or not config.disable_dropout:
        return None
    return 0.5 * config.desirable_weight


def told_balance(good: int, bad: int, desirable: float, undesirable: float) -> str | None:
    """The warning for labels whose weights leave the paper's range, with the weight that would bring them back.

    >>> told_balance(10, 10, 1.0, 1.0)
    >>> told_balance(30, 10, 1.0, 1.0)
    '30 good and 10 bad answers: the KTO paper wants their weighted ratio in [1, 1.33], here it is 3; add \
--undesirable_weight 2.25 to 3'
    """
    if not good or not bad:
        which = "bad" if good else "good"
        return f"there is no {which} answer: KTO then learns to {'raise' if good else 'lower'} every answer"
    ratio = desirable * good / (undesirable * bad) if undesirable else float("inf")
    low, high = KTO_RATIO
    if low <= ratio <= high:
        return None
    if ratio > high:
        first, last = desirable * good / bad / high, desirable * good / bad / low
        name = "undesirable_weight"
    else:
        first, last = low * undesirable * bad / good, high * undesirable * bad / good
        name = "desirable_weight"
    return (
        f"{good} good and {bad} bad answers: the KTO paper wants their weighted ratio in [1, 1.33], here it is "
        f"{ratio:.3g}; add --{name} {first:.3g} to {last:.3g}"
    )


def warn_of_balance(good: int, bad: int, config: Any) -> None:
    """Tell when one label outweighs the other."""
    told = told_balance(good, bad, config.desirable_weight, config.undesirable_weight)
    if told:
        logs.warn(told)
