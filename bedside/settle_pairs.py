"""The flags that several preference stages have, against each other: one meaning each, or a sentence."""

from typing import Any

from bedside import logs
from bedside.args import AdapterArguments
from bedside.data.judged import Limits
from bedside.stage_args import PairArguments


def lengths(pair: PairArguments, trainer: dict[str, Any]) -> list[str]:
    """Settle --max_length where only question and answer have limits; returns problems."""
    source, target = pair.max_source_length, pair.max_target_length
    problems = [
        f"--{name} {value}: expected at least 1"
        for name, value in (("max_source_length", source), ("max_target_length", target))
        if value is not None and value < 1
    ]
    if "max_length" not in trainer and source and target:
        trainer["max_length"] = source + target
    return problems


def limits(pair: PairArguments, trainer: dict[str, Any]) -> Limits:
    """The limits that rows are held to, in tokens."""
    return Limits(trainer["max_length"], pair.max_source_length, pair.max_target_length)


def processes_told(trainer: dict[str, Any]) -> list[str]:
    """The line for processes that were asked for and are not needed."""
    count = trainer.get("dataset_num_proc") or 1
    return [f"--dataset_num_proc {count}: not needed, these rows are tokenized in one process"] if count > 1 else []


def dropout_told(adapter: AdapterArguments, given: set[str], trainer: dict[str, Any]) -> list[str]:
    """The line for a dropout that was asked for and is off."""
    if "lora_dropout" not in given or not adapter.lora_dropout or trainer.get("disable_dropout") is False:
        return []
    return [
        f"--lora_dropout {adapter.lora_dropout:g} is off: log-probabilities of two passes are compared, and dropout "
        "would make them differ; --disable_dropout False keeps it"
    ]


def start_told(adapter: AdapterArguments) -> list[str]:
    """Problems of an adapter's start where a reference is kept: PiSSA and OLoRA move a part of the base's weights into
    the adapter, so that the base without it, or under a copy of it, is not the model that training started from."""
    start = "pissa" if adapter.pissa_init else adapter.init_lora_weights.lower()
    if not adapter.use_peft or not start.startswith(("pissa", "olora")):
        return []
    return [
        f"--init_lora_weights {start}: takes weights out of the base, which then is no reference any more; drop it "
        "(--loss_type simpo and orpo_training.py need no reference and take it)"
    ]


def moving_reference(adapter: AdapterArguments, trainer: dict[str, Any]) -> list[str]:
    """Problems of a reference that follows the policy: an adapter's cannot, and none can be computed in advance."""
    if not trainer.get("sync_ref_model"):
        return []
    problems = []
    if adapter.use_peft:
        problems.append("--sync_ref_model True: an adapter's reference is frozen; use --use_peft False, or drop it")
    if trainer.get("precompute_ref_log_probs"):
        problems.append(
            "--sync_ref_model and --precompute_ref_log_probs: a reference that moves cannot be precomputed"
        )
    return problems


def smoothing(trainer: dict[str, Any]) -> list[str]:
    """Problems of the trainer's own label smoothing, which these losses do not read."""
    factor = trainer.get("label_smoothing_factor")
    return [f"--label_smoothing_factor {factor:g}: has no meaning here; drop it"] if factor else []


def inputs(config: Any, found: Limits, reference_id: str | None) -> dict[str, Any]:
    """What of a preference run must be the same when it is resumed."""
    loss = config.loss_type if isinstance(config.loss_type, str) else " + ".join(config.loss_type)
    return {
        "limits": [found.question, found.answer],
        "loss": loss,
        "beta": getattr(config, "beta", None),
        "reference": reference_id,
    }


def wants_copy(kind: str, config: Any) -> bool:
    """Whether a second model must be loaded: full training whose reference is not computed in advance."""
    return kind == "model" and not getattr(config, "precompute_ref_log_probs", False)


def warn_of_eval(held_out: Any) -> None:
    """Tell when nothing is held out to see whether preferences were learnt."""
    if held_out is None:
        logs.info("no pairs are held out: add --validation_split_percentage 10 to see how unseen pairs are ranked")
