"""The flags of DPO and its kin against each other: every problem at once, then one meaning each."""

import difflib
from typing import Any

from bedside.args import AdapterArguments
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.preference import reference
from bedside.settle_pairs import dropout_told, lengths, moving_reference, processes_told, start_told
from bedside.stage_args import PairArguments, PreferenceArguments

DPO_LOSSES = (
    "sigmoid", "hinge", "ipo", "exo_pair", "nca_pair", "robust", "bco_pair", "sppo_hard", "aot", "aot_unpaired",
    "apo_zero", "apo_down", "discopop", "sft", "sigmoid_norm",
)  # fmt: skip
# Other names of losses, and the script that a loss of another family has.
_ALIASES = {"dpo": "sigmoid", "kto_pair": "bco_pair"}
_ELSEWHERE = {"orpo": "orpo_training.py", "kto": "kto_training.py"}
# What only TRL's trainer has, where a loss of ours is asked for.
_TRL_ONLY = (
    "loss_weights", "ld_alpha", "f_divergence_type", "f_alpha_divergence_coef", "label_smoothing", "use_weighting",
    "discopop_tau", "activation_offloading", "sync_ref_model", "ref_model_mixup_alpha", "ref_model_sync_steps",
    "precompute_ref_log_probs", "precompute_ref_batch_size", "router_aux_loss_coef", "pad_to_multiple_of",
)  # fmt: skip
SIMPO_BETA, SIMPO_GAMMA = 2.0, 0.5


def dpo(args: Parsed) -> str:
    """Settle what only the DPO stage has, in place; returns the name of its loss, `simpo` if that is ours.

    ConfigError lists every problem.
    """
    own, trainer = args[PreferenceArguments], args.trainer
    problems = lengths(args[PairArguments], trainer)
    if own.pref_loss and trainer.get("loss_type") not in (None, [own.pref_loss]):
        problems.append(f"--pref_loss {own.pref_loss} and --loss_type {' '.join(trainer['loss_type'])}: give one")
    wanted = trainer.get("loss_type") or [own.pref_loss or "sigmoid"]
    losses = [_ALIASES.get(name, name) for name in wanted]
    trainer["loss_type"] = losses
    for name in losses:
        if name in _ELSEWHERE:
            problems.append(f"--loss_type {name}: run {_ELSEWHERE[name]} with the same flags")
        elif name not in (*DPO_LOSSES, "simpo"):
            near = difflib.get_close_matches(name, (*DPO_LOSSES, "simpo"), n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            problems.append(f"--loss_type {name}: {hint}expected {', '.join(DPO_LOSSES)} or simpo")
    problems += _simpo(own, trainer, losses) if "simpo" in losses else _trl(args, own, losses)
    problems += [] if "simpo" in losses else start_told(args[AdapterArguments])
    if problems:
        raise ConfigError(problems)
    args.notes += processes_told(trainer) + dropout_told(args[AdapterArguments], args.given, trainer)
    return "simpo" if losses == ["simpo"] else " + ".join(losses)


def _simpo(own: PreferenceArguments, trainer: dict[str, Any], losses: list[str]) -> list[str]:
    problems = [
        f"--{name} {trainer[name]}: has no meaning with --loss_type simpo; drop it"
        for name in _TRL_ONLY
        if trainer.get(name) not in (None, False)
    ]
    if len(losses) > 1 or own.pref_ftx:
        problems.append("--loss_type simpo stands alone: drop the other losses, --loss_weights and --pref_ftx")
    trainer["loss_type"] = "simpo"
    trainer.setdefault("beta", SIMPO_BETA)
    trainer["simpo_gamma"] = SIMPO_GAMMA if own.simpo_gamma is None else own.simpo_gamma
    if trainer["beta"] <= 0:
        problems.append(f"--beta {trainer['beta']:g}: expected more than 0")
    if trainer["simpo_gamma"] < 0:
        problems.append(f"--simpo_gamma {own.simpo_gamma:g}: expected at least 0")
    return problems


def _trl(args: Parsed, own: PreferenceArguments, losses: list[str]) -> list[str]:
    """Problems of the losses of TRL's trainer."""
    trainer, problems = args.trainer, []
    if own.simpo_gamma is not None:
        problems.append(f"--simpo_gamma {own.simpo_gamma:g}: belongs to --loss_type simpo")
    if own.pref_ftx < 0:
        problems.append(f"--pref_ftx {own.pref_ftx:g}: expected at least 0")
    elif own.pref_ftx and ("sft" in losses or trainer.get("loss_weights")):
        problems.append("--pref_ftx is the weight of the loss sft: give it, or --loss_type and --loss_weights")
    elif own.pref_ftx:
        trainer["loss_weights"] = [1.0] * len(losses) + [own.pref_ftx]
        losses.append("sft")
    weights = trainer.get("loss_weights")
    if weights:
        try:
            trainer["loss_weights"] = [float(weight) for weight in weights]
        except ValueError:
            problems.append(f"--loss_weights {' '.join(map(str, weights))}: expected numbers")
        if len(weights) != len(losses):
            problems.append(f"--loss_weights: {len(weights)} weights for {len(losses)} losses ({', '.join(losses)})")
    beta, smoothing = trainer.get("beta", 0.1), trainer.get("label_smoothing", 0.0)
    if beta <= 0:
        problems.append(f"--beta {beta:g}: expected more than 0")
    if not 0 <= smoothing < 0.5:
        problems.append(f"--label_smoothing {smoothing:g}: expected 0 to 0.5, the share of flipped preferences")
    elif smoothing and not {"robust", "exo_pair", "aot", "aot_unpaired"} & set(losses):
        problems.append(
            f"--label_smoothing {smoothing:g}: --loss_type {' '.join(losses)} has none; robust is DPO with it"
        )
    if "exo_pair" in losses and not smoothing:
        problems.append("--loss_type exo_pair: needs --label_smoothing above 0; its paper takes 1e-3")
    return problems + moving_reference(args[AdapterArguments], trainer)


def loss_at_start(config: Any, loss: str) -> float | None:
    """The first loss of a new run, where it is known (see `guards.CheckedStart`)."""
    if loss == "simpo" or config.use_weighting or not config.disable_dropout:
        return None
    if config.f_divergence_type != "reverse_kl" and set(config.loss_type) != {"sigmoid"}:
        return None
    return reference.loss_at_start(config.loss_type, config.loss_weights, config.beta, config.label_smoothing)
