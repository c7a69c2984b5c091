"""The weights of base and adapter together, computed beside the base: nothing is ever merged into it.

The base is shared by four roles, and may be quantised. Merging and unmerging it for a server rounds it a little each
time, which moves the reference and the reward along with the policy, without an error.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bedside.errors import ConfigError

if TYPE_CHECKING:
    import torch
    from peft.tuners.lora import LoraLayer
    from torch import nn

Named = Iterator[tuple[str, "torch.Tensor"]]
_LINEAR = ("Linear", "Linear4bit", "Linear8bitLt", "Conv1D")
_INSTEAD = "save the adapter, merge it with merge_peft_adapter.py and serve the result"


def merged_weights(model: nn.Module, adapter: str = "default", dtype: torch.dtype | None = None) -> Named:
    """Every weight of the base model under its name in the base's checkpoint, with `adapter` added in float32.

    One tensor at a time, cast to `dtype` (None: the model's own); tied weights once; no heads of PPO, no adapter
    weights. What is not changed by the adapter and needs no cast is the base's own memory: copy it before changing it.
    ConfigError, before the first tensor, for layers that cannot be written as plain weights.
    """
    base = model.get_base_model() if hasattr(model, "peft_config") else model
    check(model, adapter)
    rename = _renamer(base)
    seen: set[int] = set()
    own = _own_dtype(base)
    for name, original, tensor in _walk(base, "", adapter):
        if id(original) in seen:
            continue
        seen.add(id(original))
        target = dtype or (own if _is_quantised(original) else original.dtype)
        yield rename(name), tensor.to(target) if tensor.is_floating_point() else tensor


def check(model: nn.Module, adapter: str = "default") -> None:
    """Raise ConfigError if the weights of base and `adapter` cannot be computed, one line for each reason."""
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import ModulesToSaveWrapper

    base = model.get_base_model() if hasattr(model, "peft_config") else model
    known = getattr(model, "peft_config", {adapter: None})
    problems = [] if adapter in known else [f"no adapter {adapter!r} here; there are: {', '.join(known)}"]
    users = Counter(id(p) for m in base.modules() for p in m._parameters.values() if p is not None)
    for name, module in base.named_modules():
        if isinstance(module, BaseTunerLayer):
            reason = _unfit(module, adapter, users)
            problems += [f"{name}: {reason}; {_INSTEAD}"] if reason else []
        if isinstance(module, ModulesToSaveWrapper) and adapter in module.modules_to_save:
            tied = any(users[id(parameter)] > 1 for parameter in module.original_module.parameters())
            problems += [f"{name}: is trained whole and tied to another layer, which is not; {_INSTEAD}"] * tied
        if any(_is_cut(parameter) for parameter in module._parameters.values()):
            problems.append(
                f"{name}: its weight is cut over processes (ZeRO-3 or FSDP), and no process has it whole; use DDP or "
                "ZeRO-2, or sample in the trainer without vLLM"
            )
    if problems:
        more = [f"... and {len(problems) - 3} more layers"] if len(problems) > 3 else []
        raise ConfigError(problems[:3] + more)


def _is_cut(parameter: Any) -> bool:
    return parameter is not None and (hasattr(parameter, "ds_id") or type(parameter.data).__name__ == "DTensor")


def _unfit(layer: Any, adapter: str, users: Counter) -> str | None:
    """Why the weight of `layer` with `adapter` cannot be computed here; None if it can, or `adapter` is not in it."""
    if not any(adapter in getattr(layer, names, ()) for names in layer.adapter_layer_names):
        return None
    kind, weight = type(layer.get_base_layer()).__name__, getattr(layer.get_base_layer(), "weight", None)
    if type(layer).__name__ == "TrainableTokensLayer":
        return None
    if layer.merged:
        return "an adapter is merged into the base"
    if not hasattr(layer, "lora_A") or (kind not in _LINEAR and adapter not in layer.lora_embedding_A):
        return f"an adapter of the kind {type(layer).__name__} on {kind} cannot be added to plain weights"
    variant = type(layer.lora_variant.get(adapter)).__name__
    if variant not in ("NoneType", "DoraLinearVariant"):
        return f"{variant} cannot be added to plain weights"
    if layer.lora_bias.get(adapter) and layer.get_base_layer().bias is None:
        return "the adapter has a bias, the base layer has none"
    if users[id(weight)] > 1:
        return "has an adapter and is tied to another layer, which has none"
    return None


def _walk(module: nn.Module, prefix: str, adapter: str) -> Iterator[tuple[str, Any, torch.Tensor]]:
    """`(name, the base's own tensor, what it is with the adapter)` of all parameters and saved buffers below."""
    from peft.tuners.lora import LoraLayer
    from peft.utils import ModulesToSaveWrapper, TrainableTokensWrapper

    if isinstance(module, LoraLayer):
        yield from _lora(module, prefix, adapter)
    elif isinstance(module, ModulesToSaveWrapper):
        trained = adapter in module.modules_to_save
        yield from _walk(module.modules_to_save[adapter] if trained else module.original_module, prefix, adapter)
    elif isinstance(module, TrainableTokensWrapper):
        yield from _rows(module, prefix, adapter)
    else:
        saved = {k: v for k, v in module._buffers.items() if k not in module._non_persistent_buffers_set}
        for name, tensor in (*module._parameters.items(), *saved.items()):
            if tensor is not None:
                weight = _dense(module) if name == "weight" else tensor.detach()
                yield f"{prefix}{name}", tensor, weight
        for name, child in module.named_children():
            yield from _walk(child, f"{prefix}{name}.", adapter)


def _lora(layer: LoraLayer, prefix: str, adapter: str) -> Iterator[tuple[str, Any, torch.Tensor]]:
    """The base layer's weights, the update of `adapter` added in float32."""
    base = layer.get_base_layer()
    if not any(adapter in factors for factors in (layer.lora_A, layer.lora_embedding_A)):
        yield from _walk(base, prefix, adapter)
        return
    weight, update = _dense(base).float(), delta(layer, adapter)
    if adapter in getattr(layer, "lora_magnitude_vector", {}):
        turned = _turned(layer)
        rows = weight.T + update.T if turned else weight + update
        rows = rows * (layer.lora_magnitude_vector[adapter].weight.detach().float() / rows.norm(dim=1))[:, None]
        weight = rows.T if turned else rows
    else:
        weight = weight + update
    yield f"{prefix}weight", base.weight, weight.contiguous()
    if getattr(base, "bias", None) is not None:
        bias = base.bias.detach()
        if layer.lora_bias.get(adapter):
            bias = bias.float() + layer.lora_B[adapter].bias.detach().float() * layer.scaling[adapter]
        yield f"{prefix}bias", base.bias, bias


def delta(layer: LoraLayer, adapter: str) -> torch.Tensor:
    """What `adapter` adds to the weight of its layer, float32 in the weight's layout."""
    if adapter in layer.lora_embedding_A:
        first, second = layer.lora_embedding_A[adapter], layer.lora_embedding_B[adapter]
    else:
        first, second = layer.lora_A[adapter].weight, layer.lora_B[adapter].weight
    update = second.detach().float() @ first.detach().float() * layer.scaling[adapter]
    return update.T if _turned(layer) else update


def _turned(layer: LoraLayer) -> bool:
    """Whether the base keeps its weight as (input, output): embeddings, and GPT-2's layers."""
    return bool(layer.lora_embedding_A) or bool(getattr(layer, "fan_in_fan_out", False))


def _rows(module: Any, prefix: str, adapter: str) -> Iterator[tuple[str, Any, torch.Tensor]]:
    """A vocabulary of which the adapter trains single rows."""
    tokens = module.token_adapter
    base = tokens.get_base_layer()
    weight = base.weight.detach()
    if adapter in tokens.token_indices:
        weight = tokens.get_merged_weights([adapter]).detach()
    yield f"{prefix}weight", base.weight, weight
    if getattr(base, "bias", None) is not None:
        yield f"{prefix}bias", base.bias, base.bias.detach()


def _is_quantised(parameter: Any) -> bool:
    return type(parameter).__name__ in ("Params4bit", "Int8Params")


def _own_dtype(base: nn.Module) -> torch.dtype:
    """The precision that a quantised model computes in: that of its first plain weight."""
    plain = (p.dtype for p in base.parameters() if not _is_quantised(p) and p.is_floating_point())
    return next(plain)


def _dense(layer: nn.Module) -> torch.Tensor:
    """The weight of `layer` as the numbers that it computes with; the layer itself stays as it is."""
    weight = layer.weight
    if type(weight).__name__ == "Int8Params":
        scale = weight.SCB if layer.state.SCB is None else layer.state.SCB
        return weight.data.float() * (scale.float() / 127)[:, None]
    if type(weight).__name__ != "Params4bit":
        return weight.detach()
    from bitsandbytes.functional import dequantize_4bit

    if getattr(weight.quant_state, "packing_format_for_cpu", False):
        raise ConfigError(
            "a 4-bit weight was repacked for inference on this CPU, and its numbers are lost; load the model with "
            "bedside.models.load_base, which prevents that"
        )
    return dequantize_4bit(weight.data, weight.quant_state)


def _renamer(base: nn.Module) -> Any:
    """From a parameter's name in memory to its name in the checkpoint; ConfigError where weights were fused."""
    conversions = getattr(base, "_weight_conversions", None)
    if not conversions:
        return lambda name: name
    from transformers.core_model_loading import WeightConverter, revert_weight_conversion

    fused = [entry for entry in conversions if isinstance(entry, WeightConverter)]
    if fused:
        raise ConfigError(
            f"{type(base).__name__}: loading fused weights of its checkpoint ({fused[0].target_patterns[0]}), which "
            f"cannot be sent one by one; {_INSTEAD}"
        )
    return lambda name: next(iter(revert_weight_conversion(base, {name: None})))
