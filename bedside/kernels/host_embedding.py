"""The input embedding in host memory: a gigabyte less on the card at 7B (152,064 words x 3,584 x 2 bytes).

A micro-batch needs one row for each of its tokens, 7 KB each. Where the card can address pinned host memory, it reads
those rows itself, across the bus, and the host waits for nothing; otherwise the host looks them up and copies them.
Both give the numbers that were there.

The module stays the one it was, with its hooks and its name. Its weight stops being a parameter: so moving the model,
DDP and the optimizer pass it by, and `model.device` is the card's. State dicts still hold it.
"""

from __future__ import annotations

import os
from functools import lru_cache
from typing import Any

from bedside import logs

_KINDS = {"torch.bfloat16": "<i2", "torch.float16": "<i2", "torch.float32": "<i4"}  # whole numbers of the same width


def refusal(model: Any) -> str | None:
    """Why the embedding of `model` must stay where it is; None if it can go to the host."""
    import torch

    embedding = model.get_input_embeddings()
    head = model.get_output_embeddings()
    weight = getattr(embedding, "weight", None)
    if weight is not None and head is not None and getattr(head, "weight", None) is weight:
        return "it is tied to the output head, which the card needs whole in every step"
    if type(embedding) is not torch.nn.Embedding:
        return f"it is a {type(embedding).__name__}, not a plain embedding (trained rows, an adapter or a scale on it)"
    if weight.requires_grad:
        return "it is trained"
    if hasattr(weight, "ds_id") or hasattr(weight, "_local_tensor") or os.environ.get("ACCELERATE_USE_FSDP") == "true":
        return "it is cut into shards (ZeRO-3 or FSDP), which leave little of it on each card"
    if hasattr(embedding, "_hf_hook"):
        return "--device_map has spread the model over several devices"
    if embedding.max_norm is not None or str(weight.dtype) not in _KINDS:
        return f"its rows are changed when they are read (max_norm), or are {weight.dtype}"
    return None


def install(model: Any) -> bool:
    """Move the input embedding of `model` (a causal LM, a classifier, a PEFT model around one) to the host, in place.

    Returns whether it is there; says in a line how much that saves, or why it stays. Again does no harm.
    """
    import torch

    embedding = model.get_input_embeddings()
    if isinstance(embedding, torch.nn.Embedding) and getattr(embedding, "on_host", False):
        return True
    why = refusal(model)
    if why is not None:
        logs.warn(f"--embedding_on_host: the input embedding stays on the device: {why}")
        return False
    weight = embedding._parameters.pop("weight").detach()
    embedding.__class__ = _host_embedding()
    embedding.weight = _page_locked(weight)
    embedding.seen_from = {}
    logs.info(f"the input embedding ({weight.nbytes / 1e9:.2f} GB) is in host memory")
    return True


def _page_locked(weight: Any) -> Any:
    """The weight on the host; page-locked where there is a card, so that copies need no detour."""
    import torch

    host = weight.to("cpu")
    return host.pin_memory() if torch.cuda.is_available() else host


class _Window:
    """Host memory as an array that the card reads: what `__cuda_array_interface__` describes."""

    def __init__(self, weight: Any):
        self.owner = weight
        self.__cuda_array_interface__ = {
            "shape": tuple(weight.shape), "typestr": _KINDS[str(weight.dtype)], "data": (weight.data_ptr(), False),
            "version": 3, "strides": None,
        }  # fmt: skip


def _as_seen_from(device: Any, weight: Any) -> Any:
    """A tensor of `device` whose memory is the pinned `weight`'s, `(V, H)`; None where the card cannot address it."""
    import torch

    if device.type != "cuda" or not weight.is_pinned():
        return None
    try:
        with torch.cuda.device(device):
            seen = torch.as_tensor(_Window(weight), device=device).view(weight.dtype)
        ends = torch.tensor([0, len(weight) - 1], device=device)
        same = seen.device == device and seen.data_ptr() == weight.data_ptr()  # a copy on the card would save nothing
        if same and torch.equal(seen.index_select(0, ends).cpu(), weight[[0, -1]]):
            return seen
    except (RuntimeError, TypeError, ValueError):
        pass
    logs.info(f"the card does not address host memory itself: embeddings of {device} are looked up by the host")
    return None


@lru_cache
def _host_embedding() -> type:
    """The class of an embedding whose weight is on the host. Made at first use: torch is not imported before."""
    import torch

    class HostEmbedding(torch.nn.Embedding):
        """Ids `(B, T)` of any device to rows `(B, T, H)` of that device."""

        on_host = True

        def forward(self, ids: torch.Tensor) -> torch.Tensor:
            if ids.device.type == "cpu":
                return torch.nn.functional.embedding(ids, self.weight)
            if ids.device not in self.seen_from:
                self.seen_from[ids.device] = _as_seen_from(ids.device, self.weight)
            seen = self.seen_from[ids.device]
            if seen is not None:
                return torch.nn.functional.embedding(ids, seen)
            rows = torch.empty((ids.numel(), self.weight.shape[1]), dtype=self.weight.dtype, pin_memory=True)
            torch.index_select(self.weight, 0, ids.flatten().cpu(), out=rows)
            return rows.to(ids.device, non_blocking=True).view(*ids.shape, -1)

        def _apply(self, fn, recurse=True):
            """Only a change of precision reaches the weight: `.to(device)` leaves it where it is."""
            dtype = fn(torch.empty(0, dtype=self.weight.dtype)).dtype
            if dtype != self.weight.dtype:
                self.weight, self.seen_from = _page_locked(self.weight.to(dtype)), {}
            return self

        def _save_to_state_dict(self, destination, prefix, keep_vars):
            destination[f"{prefix}weight"] = self.weight

        def _load_from_state_dict(self, state_dict, prefix, *_):
            if f"{prefix}weight" in state_dict:
                self.weight.copy_(state_dict[f"{prefix}weight"])

        def __deepcopy__(self, memo):
            """A copy on the host of its own: the card's view of this one is not copied into the card's memory."""
            import copy

            made = self.__new__(type(self))
            memo[id(self)] = made
            made.__dict__ = {
                name: {} if name == "seen_from" else copy.deepcopy(value, memo)
                for name, value in self.__dict__.items()
            }
            made.weight = _page_locked(self.weight.clone())
            return made

    return HostEmbedding
