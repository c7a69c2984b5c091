"""The model a stage trains: what its name means by its lineage, loaded, with a new or a continued adapter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import adapters, lineage, logs, models, reward_model
from bedside.errors import ConfigError, LineageError
from bedside.templates import Template, document_end

Prepare = Callable[[Any, dict[str, Any] | None], dict[str, Any] | None]
_CHAT_STAGES = ("sft", "dpo", "orpo", "kto", "ppo", "grpo")
_SHARED = ("revision", "cache_dir", "trust_remote_code")


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


def origin_of(
    model: str, adapter: str | None, use_peft: bool, model_given: bool = True, tasks: tuple[str, ...] = ("CAUSAL_LM",)
) -> Origin:
    """Resolve --model_name_or_path and --peft_path; ConfigError for combinations that would lose a training, and for
    a model of a task that is not one of `tasks`.

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
    if resolved.task not in tasks:
        raise ConfigError(
            f"{named} is a {resolved.task} model (a reward model?), this stage trains a causal LM; give the model "
            "that answers (in ppo_training.py a reward model goes to --reward_model_path)"
        )
    return Origin(resolved, named)


def tokenizer_of(origin: Origin, name: str | None, loading: dict[str, Any]) -> Any:
    """The tokenizer called `name`, else the one that belongs to the origin, as it is.

    `loading` holds `revision`, `cache_dir` and `trust_remote_code`.
    """
    return models.load_tokenizer(name or origin.tokenizer_path, **{key: loading[key] for key in _SHARED})


def warn_of_chats(origin: Origin, tokenizer: Any) -> None:
    """Tell before documents are trained into a model that has learnt to chat: it forgets some of that."""
    manifest = origin.resolved.manifest or {}
    stages = [manifest.get("stage"), *(parent["stage"] for parent in manifest.get("parents", []))]
    learnt = next((stage for stage in stages if stage in _CHAT_STAGES), None)
    if learnt or document_end.of(tokenizer) != tokenizer.eos_token:
        why = f"has been through {learnt}" if learnt else "is an instruct model (its eos ends a turn)"
        logs.warn(f"{origin.path} {why}: pretraining on documents makes it forget some of its chat; start from the "
                  "base, and fine-tune afterwards")  # fmt: skip


def text_side(
    origin: Origin,
    tokenizer_name: str | None,
    loading: dict[str, Any],
    template_name: str | None,
    tool_format: str | None = None,
    allow_change: bool = False,
) -> tuple[Any, Template]:
    """Tokenizer and template of a stage that trains on chats, the template installed on the tokenizer.

    `loading` holds `revision`, `cache_dir` and `trust_remote_code`. Raises LineageError if the model was trained on
    chats with another template or tokenizer (`allow_change` makes it a warning).
    """
    tokenizer = tokenizer_of(origin, tokenizer_name, loading)
    trained = origin.resolved.manifest or {}
    on_chats = bool(trained.get("template"))
    template = models.install_template(tokenizer, template_name, tool_format, advise=not on_chats)
    if on_chats:
        try:
            lineage.check_tokenizer(trained, tokenizer, origin.path)
        except LineageError as error:
            then = trained["template"].get("name")
            remedy = f"drop --template_name (it was trained with {then}), or add --allow_template_change True"
            text = f"{str(error).partition(';')[0]}; {remedy}"
            if not allow_change:
                raise LineageError(text) from None
            logs.warn(text.partition("; ")[0] + ": what it learnt before is asked for in another way from now on")
    return tokenizer, template


def check_quantisation(origin: Origin, wanted: dict | None) -> None:
    """Refuse to quantise again what was merged into dequantised NF4: that loses the adapter whole."""
    if wanted:
        lineage.check_quantisable(origin.resolved.base, origin.resolved.adapter, "train without --load_in_4bit")
    trained = origin.resolved.quant
    if origin.resolved.adapter and origin.resolved.manifest and bool(trained) != bool(wanted):
        then, now = (f"{q['bits']}-bit" if q else "an unquantised base" for q in (trained, wanted))
        logs.warn(f"{origin.path} was trained on {then} and continues on {now}")


def load(
    origin: Origin,
    lora: dict[str, Any] | None,
    loading: dict[str, Any],
    gradient_checkpointing: bool = False,
    prepare: Prepare | None = None,
    task: str = "CAUSAL_LM",
) -> tuple[Any, str]:
    """The model to train and how it was made: `continued`, `new adapter` or `full`.

    `lora` holds `adapters.lora_config`'s keywords (None trains every parameter), `loading` `models.load_base`'s.
    `prepare` may change the base, and the keywords of a new adapter with it. `task` SEQ_CLS is a reward model.
    """
    check_quantisation(origin, loading.get("quantisation"))
    labels = 1 if task == "SEQ_CLS" else None
    keywords = {**loading, "revision": origin.resolved.revision, "num_labels": labels}
    base = models.load_base(origin.resolved.base, **keywords)
    base.config.use_cache = False
    if prepare and not origin.resolved.adapter:
        lora = prepare(base, lora)
    if gradient_checkpointing and lora is not None:
        base.enable_input_require_grads()
    if labels:
        return reward_model.start(base, origin.resolved.adapter, origin.resolved.task, lora)
    if lora is None:
        return base, "full"
    if origin.resolved.adapter:
        return adapters.continue_adapter(base, origin.resolved.adapter), "continued"
    return adapters.attach(base, adapters.lora_config(**lora)), "new adapter"
