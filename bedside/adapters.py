"""LoRA and its relatives on a loaded base: new, or continued from a directory. Adapter weights are float32."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bedside import lineage
from bedside.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel


def _init_weights(name: str) -> bool | str:
    return {"true": True, "false": False}.get(name.lower(), name)


def lora_config(
    r: int = 8,
    alpha: float = 16,
    dropout: float = 0.05,
    target_modules: str = "all",
    modules_to_save: str | None = None,
    use_dora: bool = False,
    use_rslora: bool = False,
    init_lora_weights: str = "true",
    task: str = "CAUSAL_LM",
    trainable_token_indices: dict[str, list[int]] | None = None,
) -> Any:
    """PEFT's LoraConfig. `target_modules` is "all" (every linear layer but the head) or names joined by commas."""
    from peft import LoraConfig

    names = [name.strip() for name in target_modules.split(",") if name.strip()]
    return LoraConfig(
        r=r,
        lora_alpha=alpha,
        lora_dropout=dropout,
        target_modules="all-linear" if names in (["all"], ["all-linear"]) else names,
        modules_to_save=[name.strip() for name in modules_to_save.split(",")] if modules_to_save else None,
        use_dora=use_dora,
        use_rslora=use_rslora,
        init_lora_weights=_init_weights(init_lora_weights),
        task_type=task,
        trainable_token_indices=trainable_token_indices,
    )


def attach(base: PreTrainedModel, config: Any) -> PeftModel:
    """A new adapter on `base`, whose own weights are frozen and stay in their precision."""
    from peft import get_peft_model

    try:
        model = get_peft_model(base, config, autocast_adapter_dtype=True)
    except ValueError as error:
        known = sorted({n.rsplit(".", 1)[-1] for n, m in base.named_modules() if "Linear" in type(m).__name__})
        raise ConfigError(f"--lora_target_modules: {error}; linear layers here: {', '.join(known)}") from None
    return in_float32(_with_bias(model))


def _with_bias(model: PeftModel) -> PeftModel:
    """TRL's loss asks the head for its bias; PEFT's wrapper that trains single rows of a head has only its weight."""
    head = model.get_output_embeddings()
    if head is not None and not hasattr(head, "bias"):
        head.bias = None
    return model


def continue_adapter(base: PreTrainedModel, directory: str, trainable: bool = True) -> PeftModel:
    """The adapter in `directory` on `base`, trained further (or frozen, for inference)."""
    from peft import PeftModel

    rows = (lineage.read(directory) or {}).get("load", {}).get("rows")
    if rows and rows > base.get_input_embeddings().weight.shape[0]:
        # It was trained with tokens that the base has no rows for; what stands in them comes with the adapter.
        base.resize_token_embeddings(rows, mean_resizing=False)
    return in_float32(_with_bias(PeftModel.from_pretrained(base, directory, is_trainable=trainable)))


def in_float32(model: torch.nn.Module, whole_modules: bool = False) -> Any:
    """Adapter weights as float32, in place: bfloat16 loses updates smaller than 0.4 % of a weight.

    `whole_modules` (under autocast, which casts their inputs) does the same for modules that are trained in full.
    """
    import torch

    for name, parameter in model.named_parameters():
        if "lora_" in name or "trainable_tokens" in name or (whole_modules and parameter.requires_grad):
            parameter.data = parameter.data.to(torch.float32)
    return model


def trainable_share(model: torch.nn.Module) -> tuple[int, int]:
    """`(trainable, all)` parameters; a 4-bit weight counts as the numbers it stands for."""
    trainable = total = 0
    for parameter in model.parameters():
        count = getattr(parameter, "ds_numel", parameter.numel())  # of the whole weight, where ZeRO-3 cut it
        if parameter.__class__.__name__ == "Params4bit":
            count = count * 2 * parameter.element_size()
        total += count
        trainable += count if parameter.requires_grad else 0
    return trainable, total


@contextmanager
def unrounded(model: torch.nn.Module) -> Iterator[None]:
    """Put back what is trained as it was before: TRL's trainers round the adapters of a quantised base to bfloat16
    when they are made, and an adapter that is continued would no longer be the one that was saved."""
    kept = [(parameter, parameter.data) for parameter in model.parameters() if parameter.requires_grad]
    yield
    for parameter, data in kept:
        if parameter.dtype != data.dtype:
            parameter.data = data.to(parameter.device)
