"""The rows that a model writes at once: prompts are read in, rows join and leave, each step gives every row a token.

Rows are padded on the left to one width. `T` is that width: what is cached of the longest row.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bedside.generate import plain_cache

if TYPE_CHECKING:
    import torch


class Rows:
    """The cache of some rows, and which of its places are theirs: `mask` `(B, T)`, 0 where a row is padded."""

    def __init__(self, cache: Any, mask: torch.Tensor):
        self.cache, self.mask = cache, mask

    @property
    def width(self) -> int:
        """Cached tokens of the longest row, T."""
        return self.mask.shape[1]

    def join(self, other: Rows) -> None:
        """Put the rows of `other` behind these."""
        import torch

        width = max(self.width, other.width)
        mine, theirs = width - self.width, width - other.width
        for one, two in zip(self.cache.layers, other.cache.layers, strict=True):
            one.keys = torch.cat([_wider(one.keys, mine), _wider(two.keys, theirs)])
            one.values = torch.cat([_wider(one.values, mine), _wider(two.values, theirs)])
        pad = torch.nn.functional.pad
        self.mask = torch.cat([pad(self.mask, (mine, 0)), pad(other.mask, (theirs, 0))])

    def keep(self, places: Sequence[int]) -> None:
        """Only the rows at `places` stay; padding that none of them needs is cut off."""
        import torch

        chosen = torch.tensor(places, device=self.mask.device)
        mask = self.mask[chosen]
        first = int(mask.any(0).int().argmax())
        for layer in self.cache.layers:
            at = chosen.to(layer.keys.device)
            layer.keys, layer.values = layer.keys[at][..., first:, :], layer.values[at][..., first:, :]
        self.mask = mask[:, first:]


def _wider(states: torch.Tensor, places: int) -> torch.Tensor:
    """Keys or values `(B, H, T, D)` with `places` empty ones in front."""
    import torch

    return torch.nn.functional.pad(states, (0, 0, places, 0)) if places else states


class Reader:
    """A causal LM as these rows need it: ids in, the logits of the last place out."""

    def __init__(self, model: Any, pad: int):
        self.model, self._pad = model, pad
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._takes = frozenset(inspect.signature(base.forward).parameters)

    @property
    def joins(self) -> bool:
        """Whether rows can join and leave: every layer keeps all that went before, and nothing else."""
        return plain_cache(self.model) is not None

    def read(self, prompts: Sequence[list[int]]) -> tuple[Rows, torch.Tensor]:
        """Rows for new prompts, and the logits `(B, V)` of what follows them."""
        import torch

        width = max(map(len, prompts))
        ids = [[self._pad] * (width - len(prompt)) + prompt for prompt in prompts]
        mask = [[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts]
        rows = Rows(self._empty(), torch.tensor(mask, device=self._device))
        positions = (rows.mask.cumsum(-1) - 1).clamp(min=0)
        return rows, self._logits(rows, torch.tensor(ids, device=self._device), positions)

    def step(self, rows: Rows, tokens: Sequence[int]) -> torch.Tensor:
        """The logits `(B, V)` behind one more token of each row."""
        import torch

        positions = rows.mask.sum(-1, keepdim=True)
        rows.mask = torch.nn.functional.pad(rows.mask, (0, 1), value=1)
        return self._logits(rows, torch.tensor(tokens, device=self._device)[:, None], positions)

    @property
    def _device(self) -> torch.device:
        return self.model.get_input_embeddings().weight.device

    def _empty(self) -> Any:
        return plain_cache(self.model)

    def _logits(self, rows: Rows, ids: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        more = {"position_ids": positions, "logits_to_keep": 1}
        more = {name: value for name, value in more.items() if name in self._takes}
        output = self.model(
            input_ids=ids, attention_mask=rows.mask, past_key_values=rows.cache, use_cache=True, **more
        )
        return output.logits[:, -1].to(self._device)
