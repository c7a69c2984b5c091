"""Many answers at once, a stretch of tokens after the other: rows that have ended leave the batch in between.

Nobody waits for the longest answer but those that are as long, and the cache of keys and values holds only them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

STRETCH = 32  # tokens; each end of a stretch copies the cache, where rows leave it


def written(
    ids: torch.Tensor, mask: torch.Tensor, longest: int, cache: Any, pad: int, proceed: Callable, ended: Callable
) -> torch.Tensor:
    """Completions `(B, longest)` of prompts `ids` `(B, T)` with their mask, `pad` behind what was written. Rows that
    have ended leave the batch and `cache` every STRETCH tokens; with None for a cache they stay to the end.

    `proceed(rows, ids, mask, count)` writes at most `count` tokens behind the ids of the rows `rows` `(b,)`:
    `(b, T + n)`. `ended(rows, written)` says of what was written, `(b, n)`, which rows have ended: `(b,)`.
    """
    import torch

    width, stretch = ids.shape[1], STRETCH if cache is not None else longest
    found = torch.full((len(ids), longest), pad, device=ids.device)
    rows = torch.arange(len(ids), device=ids.device)
    while len(rows) and ids.shape[1] < width + longest:
        ids = proceed(rows, ids, mask, min(stretch, width + longest - ids.shape[1]))
        found[rows, : ids.shape[1] - width] = ids[:, width:]
        if cache is None:
            break
        going = ~ended(rows, ids[:, width:])
        rows, ids = rows[going], ids[going]
        mask = torch.nn.functional.pad(mask[going], (0, ids.shape[1] - mask.shape[1]), value=1)
        if len(rows) < len(going):
            cache.batch_select_indices(going.nonzero()[:, 0])
    return found
