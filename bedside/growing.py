"""A cache of keys and values that grows in place. Imported late: it needs transformers.

transformers' own concatenates at every token, which copies all that is cached: half the time of decoding 64 answers of
the starter on a CPU. Here there is room for the tokens to come, and a token is written behind the last one.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 128  # tokens that are made room for at once, and a quarter of what there is


class GrowingLayer(DynamicLayer):
    """DynamicLayer whose `keys` and `values`, `(B, H, T, D)`, are the first T places of longer tensors.

    Whoever sets them (rows that leave, tokens that are cut off) sets what counts: room is made anew behind it.
    """

    _longer: tuple[torch.Tensor, torch.Tensor] | None = None
    _shown: tuple[Any, Any] = (None, None)

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any) -> tuple:
        """Add states `(B, H, N, D)`; all keys and values `(B, H, T + N, D)` come back."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        have = self.get_seq_length()
        end = have + key_states.shape[-2]
        mine = self._longer is not None and self.keys is self._shown[0] and self.values is self._shown[1]
        if not mine or self._longer[0].shape[-2] < end:
            self._longer = (
                self._with_room(self.keys, key_states, end),
                self._with_room(self.values, value_states, end),
            )
        for longer, states in zip(self._longer, (key_states, value_states), strict=True):
            longer[..., have:end, :] = states
        self.keys, self.values = self._shown = tuple(longer[..., :end, :] for longer in self._longer)
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Keep these rows; the memory of the others is given back at once."""
        super().batch_select_indices(indices)
        self._longer, self._shown = None, (None, None)

    def reset(self) -> None:
        """Forget everything. The library's own reset only writes zeros in some versions, and keeps the length."""
        self._longer, self._shown = None, (None, None)
        super().reset()
        if self.is_initialized:
            self.keys, self.values = self.keys[..., :0, :], self.values[..., :0, :]

    @staticmethod
    def _with_room(held: torch.Tensor, states: torch.Tensor, end: int) -> torch.Tensor:
        """A tensor with room behind `end` places, whose first ones are `held`."""
        longer = states.new_empty(*states.shape[:-2], end + max(_ROOM, end // 4), states.shape[-1])
        if held.numel():
            longer[..., : held.shape[-2], :] = held
        return longer


def cache(config: Any) -> DynamicCache | None:
    """An empty cache for a model of `config`; None where a layer keeps something else than all that went before."""
    made = DynamicCache(config=config)
    if not made.layers or any(type(layer) is not DynamicLayer for layer in made.layers):
        return None
    made.layers = [GrowingLayer() for _ in made.layers]
    return made
