"""The flags of ORPO against each other: every problem at once, then one meaning each."""

from bedside.args import AdapterArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.settle_pairs import dropout_told, lengths, processes_told, smoothing
from bedside.stage_args import OddsRatioArguments, PairArguments


def orpo(args: Parsed) -> None:
    """Settle what only the ORPO stage has, in place; ConfigError lists every problem."""
    own, trainer = args[OddsRatioArguments], args.trainer
    problems = lengths(args[PairArguments], trainer) + smoothing(trainer)
    if own.orpo_beta < 0:
        problems.append(f"--orpo_beta {own.orpo_beta:g}: expected at least 0")
    if problems:
        raise ConfigError(problems)
    trainer |= {"loss_type": "orpo", "beta": own.orpo_beta}
    args.notes += processes_told(trainer)
    args.notes += dropout_told(args[AdapterArguments], args.given, trainer)
