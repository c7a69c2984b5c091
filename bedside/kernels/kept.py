"""What a decoder layer keeps for the backward pass, measured on the layers that are there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bedside.kernels.budget import Kept

if TYPE_CHECKING:
    import torch

_PROBE = (64, 192)  # tokens of the two short passes that are measured
_FUNCTION = "_gradient_checkpointing_func"


def decoder_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    """The layers that transformers can checkpoint, in their order."""
    from transformers.modeling_layers import GradientCheckpointingLayer

    return [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]


@contextlib.contextmanager
def _as_in_training(model: torch.nn.Module, layers: list[torch.nn.Module], replayed: bool) -> Iterator[None]:
    """Training mode (dropout saves its mask) and nothing left out; everything as it was afterwards.

    `replayed` runs layers as checkpointing does when it computes them again: kernels may keep less then.
    """
    import torch

    modes = [(module, module.training) for module in model.modules()]
    before = [(layer, layer.gradient_checkpointing, vars(layer).get(_FUNCTION)) for layer in layers]
    cards = [layer.device for layer in model.parameters() if layer.is_cuda][:1]
    model.train()
    try:
        for layer in layers:
            layer.gradient_checkpointing = replayed
            layer._gradient_checkpointing_func = _at_once
        with torch.random.fork_rng(cards), torch.enable_grad():
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        for layer, flag, function in before:
            layer.gradient_checkpointing = flag
            del layer._gradient_checkpointing_func
            if function is not None:
                layer._gradient_checkpointing_func = function


def _at_once(function: Any, *args: Any) -> Any:
    """In place of a checkpoint function."""
    return function(*args)


def _saved(model: Any, layer: torch.nn.Module, tokens: int, device: torch.device) -> int:
    """Bytes that autograd keeps for `layer` in a pass over one row of `tokens`: weights and what it did not make do
    not count, its input does."""
    import torch
    from torch.autograd.graph import saved_tensors_hooks

    weights = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    outside, found, hooks = set(weights), {}, []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        found[storage.data_ptr()] = storage.nbytes()  # a view keeps all that it is a view of
        return tensor

    def enter(_: Any, given: tuple, named: dict) -> None:
        shared = [named[key] for key in named if key != "hidden_states"]
        flat = [part for value in shared for part in (value if isinstance(value, tuple) else (value,))]
        outside.update(part.untyped_storage().data_ptr() for part in flat if isinstance(part, torch.Tensor))
        hooks.append(saved_tensors_hooks(note, lambda tensor: tensor))
        hooks[-1].__enter__()

    def leave(*_: Any) -> None:
        hooks.pop().__exit__(None, None, None)

    handles = [layer.register_forward_pre_hook(enter, with_kwargs=True), layer.register_forward_hook(leave)]
    try:
        ids = torch.arange(tokens, device=device)[None] % model.config.get_text_config().vocab_size
        # The graph must live while it is counted: a freed tensor's address would be given out again.
        alive = model(input_ids=ids, use_cache=False)
        return sum(size for place, size in found.items() if place not in outside) if alive is not None else 0
    finally:
        while hooks:
            leave()
        for handle in handles:
            handle.remove()


def measured(model: torch.nn.Module, device: torch.device, replayed: bool = False) -> Kept:
    """What one layer keeps, whatever kernels, adapters and dropout it runs with: a whole layer, or a checkpointed one
    while it is computed again (`replayed`).

    Two short passes forward; random states and modes are left as they were.
    """
    layers = decoder_layers(model)
    middle = layers[len(layers) // 2]
    with _as_in_training(model, layers, replayed):
        few, many = (_saved(model, middle, tokens, device) for tokens in _PROBE)
    a_token = (many - few) / (_PROBE[1] - _PROBE[0])
    return Kept(a_token, max(0.0, few - _PROBE[0] * a_token))
