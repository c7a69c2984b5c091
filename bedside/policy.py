"""The model a stage trains: what its name means by its lineage, loaded, with a new or a continued adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import adapters, lineage, logs, models
from bedside.errors import ConfigError


@dataclass
class Origin:
    """Where a policy starts: a base, and perhaps an adapter to continue."""

    resolved: lineage.Resolved
    path: str

    @property
    def tokenizer_path(self) -> str:
        """Tokenizer and template come from the newest training, which is the adapter where there is one."""
        adapter = self.resolved.adapter
        has_own = adapter and (Path(adapter) / "tokenizer_config.json").is_file()
        return adapter if has_own else self.resolved.base


def origin_of(model: str, adapter: str | None, use_peft: bool, model_given: bool = True) -> Origin:
    """Resolve --model_name_or_path and --peft_path; ConfigError for combinations that would lose a training.

    A model that the user did not name (`model_given` False) is not held against what the adapter's lineage says.
    """
    if adapter and lineage.is_adapter(model):
        raise ConfigError(
            f"--model_name_or_path {model} and --peft_path {adapter} are both adapters; continue one (drop "
            "--peft_path), or merge the first with merge_peft_adapter.py and train on the result"
        )
    if adapter and not lineage.is_adapter(adapter):
        raise ConfigError(f"--peft_path {adapter}: no adapter_config.json there; expected an adapter directory")
    named = adapter or model
    if lineage.is_adapter(named) and not use_peft:
        raise ConfigError(
            f"{named} is an adapter, which full training would lose; merge it first: python merge_peft_adapter.py "
            f"--peft_model_path {named} --output_dir {named.rstrip('/')}-merged"
        )
    resolved = lineage.resolve(named, base_model=model if adapter and model_given else None)
    for note in resolved.notes:
        logs.warn(note)
    if resolved.task != "CAUSAL_LM":
        raise ConfigError(f"{named} is a {resolved.task} model (a reward model?), this stage trains a causal LM")
    return Origin(resolved, named)


def check_quantisation(origin: Origin, wanted: dict | None) -> None:
    """Refuse to quantise again what was merged into dequantised NF4: that loses the adapter whole."""
    merge = (origin.resolved.manifest or {}).get("merge") or {}
    if wanted and origin.resolved.adapter is None and merge.get("mode") == "nf4":
        raise ConfigError(
            f"{origin.path} was merged with --mode nf4; quantising it again loses the adapter. Merge again with "
            "--mode original, or train without --load_in_4bit"
        )
    trained = origin.resolved.quant
    if origin.resolved.adapter and origin.resolved.manifest and bool(trained) != bool(wanted):
        then, now = (f"{q['bits']}-bit" if q else "an unquantised base" for q in (trained, wanted))
        logs.warn(f"{origin.path} was trained on {then} and continues on {now}")


def load(
    origin: Origin,
    lora: dict[str, Any] | None,
    loading: dict[str, Any],
    gradient_checkpointing: bool = False,
) -> tuple[Any, str]:
    """The model to train and how it was made: `continued`, `new adapter` or `full`.

    `lora` holds `adapters.lora_config`'s keywords (None trains every parameter), `loading` `models.load_base`'s.
    """
    check_quantisation(origin, loading.get("quantisation"))
    base = models.load_base(origin.resolved.base, **{**loading, "revision": origin.resolved.revision})
    base.config.use_cache = False
    if lora is None:
        return base, "full"
    if gradient_checkpointing:
        base.enable_input_require_grads()
    if origin.resolved.adapter:
        return adapters.continue_adapter(base, origin.resolved.adapter), "continued"
    return adapters.attach(base, adapters.lora_config(**lora)), "new adapter"
