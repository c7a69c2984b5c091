"""A reward model from any start: a fresh head on a language model, the adapter of an earlier stage kept, or a reward
model trained further.

The head is one float32 row of numbers, computed in float32 whatever the base's precision: in bfloat16 two answers
whose scores differ by less than 0.4 % would tie, and so would the updates that small learning rates make.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import adapters, lineage
from bedside.errors import ConfigError, LineageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

HEADS = ("score", "classifier")  # what transformers and PEFT call it
_PREFIX = "base_model.model."  # PEFT puts it in front of the base's names


@lru_cache
def exact_linear() -> type:
    """A linear layer that computes in float32 under autocast too."""
    import torch

    class ExactLinear(torch.nn.Linear):
        def forward(self, hidden: torch.Tensor) -> torch.Tensor:
            with torch.autocast(hidden.device.type, enabled=False):
                bias = None if self.bias is None else self.bias.float()
                return torch.nn.functional.linear(hidden.float(), self.weight.float(), bias)

    return ExactLinear


def head_name(base: PreTrainedModel) -> str:
    """What the head of a sequence classifier is called; ConfigError for a family that has no plain one."""
    import torch

    found = [name for name in HEADS if isinstance(getattr(base, name, None), torch.nn.Linear)]
    if not found:
        kind = type(base).__name__
        raise ConfigError(f"{kind} has no linear head named {' or '.join(HEADS)}; take a model of a decoder family")
    return found[0]


def exact_head(base: PreTrainedModel, directory: str) -> PreTrainedModel:
    """Hold and compute the head in float32, in place; what `directory` stores of it in float32 is read anew, because
    loading has rounded it to the base's precision."""
    import torch

    name = head_name(base)
    head = getattr(base, name)
    stored = _stored(directory, f"{name}.weight")
    head.__class__ = exact_linear()
    head.to(torch.float32)
    if stored is not None and stored.shape == head.weight.shape:
        head.weight.data.copy_(stored)
    return base


def narrowed(model: PreTrainedModel, dtype: torch.dtype) -> PreTrainedModel:
    """`model` in `dtype`, all but the exact head of a reward model."""
    heads = [module for module in model.modules() if type(module) is exact_linear()]
    kept = [{name: value.data.clone() for name, value in head.named_parameters()} for head in heads]
    model.to(dtype)
    for head, values in zip(heads, kept, strict=True):
        for name, value in values.items():
            head.get_parameter(name).data = value
    return model


def _stored(directory: str, name: str) -> torch.Tensor | None:
    """One tensor of a model directory's weights; None if it is not there, or `directory` is a hub name."""
    from safetensors import safe_open

    for path in lineage.weight_files(directory) if Path(directory).is_dir() else ():
        with safe_open(path, framework="pt") as file:
            if name in file.keys():  # noqa: SIM118
                return file.get_tensor(name)
    return None


def check_labels(config: Any, name: str, wanted: int) -> None:
    """Raise ConfigError for a classifier whose number of labels is not `wanted`: its head would not fit."""
    kind = (getattr(config, "architectures", None) or [""])[0]
    if kind.endswith("ForSequenceClassification") and config.num_labels != wanted:
        raise ConfigError(
            f"{name} is a classifier of {config.num_labels} labels; expected {wanted} (a reward model gives one "
            "score): start from the language model it was made of"
        )


@contextmanager
def quiet_head() -> Iterator[None]:
    """Loading a language model as a reward model reports a missing head and a head too many: both are meant."""
    from transformers.utils import logging as library

    before = library.get_verbosity()
    library.set_verbosity_error()
    try:
        yield
    finally:
        library.set_verbosity(before)


def start(
    base: PreTrainedModel, adapter: str | None, task: str, lora: dict[str, Any] | None
) -> tuple[PreTrainedModel | PeftModel, str]:
    """The reward model to train on `base` (one label), and how it was made: `continued`, `new adapter` or `full`.

    `adapter` is a directory, of a reward model (`task` SEQ_CLS: continued, head and all) or of a language model (its
    LoRA is continued under a fresh head, so that what it learnt is kept). `lora` holds `adapters.lora_config`'s
    keywords; None trains every parameter. Raises ConfigError for an adapter that a reward model has no place for.
    """
    if adapter and task == "SEQ_CLS":
        return _continued(base, adapter), "continued"
    if adapter:
        return _on_language_adapter(base, adapter), "continued"
    if lora is None:
        return base, "full"
    return adapters.attach(base, adapters.lora_config(**{**lora, "task": "SEQ_CLS"})), "new adapter"


def _continued(base: PreTrainedModel, adapter: str) -> PeftModel:
    tensors = _tensors(adapter)
    heads = [tensor for name, tensor in tensors.items() if name.split(".")[-2] in HEADS]
    if not heads:
        raise LineageError(f"{adapter}: a reward model without its head (no score.weight in its adapter file); copy "
                           "the directory again, or train from the model it started from")  # fmt: skip
    if heads[0].shape[0] != 1:
        raise ConfigError(f"{adapter} is a classifier of {heads[0].shape[0]} labels; a reward model gives one score")
    return _attached(base, adapter, tensors)


def _on_language_adapter(base: PreTrainedModel, adapter: str) -> PeftModel:
    """The LoRA of a language model, trained further under a fresh head."""
    tensors = _tensors(adapter)
    modules = {name for name, module in base.named_modules() if list(module.parameters(recurse=False))}
    lost = sorted({name for name in tensors if not _has_place(name, modules)})
    if lost:
        what = lost[0].removeprefix(_PREFIX).partition(".lora_")[0].partition(".base_layer")[0].removesuffix(".weight")
        raise ConfigError(
            f"{adapter} also trained {what}, which a reward model does not have; merge it first, then start from the "
            f"result: python merge_peft_adapter.py --peft_model_path {adapter} "
            f"--output_dir {adapter.rstrip('/')}-merged"
        )
    return _attached(base, adapter, tensors)


def _has_place(tensor: str, modules: set[str]) -> bool:
    parts = tensor.removeprefix(_PREFIX).split(".")
    return any(".".join(parts[:end]) in modules for end in range(1, len(parts)))


def _tensors(adapter: str) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    tensors: dict[str, torch.Tensor] = {}
    for path in lineage.weight_files(adapter):
        tensors |= load_file(path)
    if not tensors:
        raise LineageError(f"{adapter}: no adapter_model.safetensors there; the copy is incomplete")
    return tensors


def _attached(base: PreTrainedModel, adapter: str, tensors: dict[str, torch.Tensor]) -> PeftModel:
    """The adapter on `base`, trainable; LineageError unless each of its tensors is found in the model afterwards."""
    import torch
    from peft import PeftConfig, get_peft_model
    from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict

    config = PeftConfig.from_pretrained(adapter)
    config.task_type, config.inference_mode = "SEQ_CLS", False
    # PEFT adds the names of heads by itself, each time.
    config.modules_to_save = [name for name in config.modules_to_save or () if name not in HEADS] or None
    name = head_name(base)
    head = {f"{_PREFIX}{name}.{part}": value.data for part, value in getattr(base, name).named_parameters()}
    try:
        model = get_peft_model(base, config, autocast_adapter_dtype=True)
        set_peft_model_state_dict(model, {**head, **tensors})
    except (ValueError, RuntimeError, KeyError) as error:
        raise LineageError(f"{adapter} does not fit its base: {' '.join(str(error).split())[:300]}") from None
    adapters.in_float32(model)
    placed = get_peft_model_state_dict(model, save_embedding_layers=True)
    lost = [
        name
        for name, tensor in tensors.items()
        if name not in placed or not torch.equal(placed[name].cpu(), tensor.to(placed[name].dtype))
    ]
    if lost:
        raise LineageError(
            f"{adapter} does not fit its base: no place for {len(lost)} of its tensors, such as {lost[0]}"
        )
    return model
