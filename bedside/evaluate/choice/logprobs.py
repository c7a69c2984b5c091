"""Log-probabilities of chosen tokens at chosen places of many texts, in batches that fit."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

from bedside import logs
from bedside.generate import TooLittleMemory

_LOGITS = 1 << 26  # numbers of logits in one forward pass, 256 MB in float32


class Row(NamedTuple):
    """A text as token ids, and what is wanted of it: pairs of a place and a token. The answer to `(t, token)` is the
    log-probability that `token` follows `ids[: t + 1]`."""

    ids: list[int]
    wanted: list[tuple[int, int]]


def of_rows(model: Any, pad: int, rows: Sequence[Row], batch: int, what: str) -> list[list[float]]:
    """The log-probabilities (nats, float32) of each row's wanted tokens. The model's mode stays.

    Rows are padded on the right and need no mask: no real token ever looks to its right. Logits are computed at the
    wanted places only, where the model can do so. Raises TooLittleMemory where a single row does not fit.
    """
    found: list[list[float]] = [[] for _ in rows]
    order = sorted(range(len(rows)), key=lambda number: len(rows[number].ids))
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    some = "logits_to_keep" in inspect.signature(base.forward).parameters
    vocabulary = model.get_input_embeddings().weight.shape[0]
    batches = _batches([rows[number] for number in order], batch, vocabulary, some)
    was_training = model.training
    model.eval()
    try:
        for start, end in logs.progress(batches, len(batches), what, "batch"):
            chosen = order[start:end]
            values = _fitting(model, pad, [rows[number] for number in chosen], some)
            for number, value in zip(chosen, values, strict=True):
                found[number] = value
    finally:
        model.train(was_training)
    return found


def _batches(rows: Sequence[Row], batch: int, vocabulary: int, some: bool) -> list[tuple[int, int]]:
    """Beginnings and ends of batches of rows that are sorted by length, none with too many logits."""
    made, begin = [], 0
    while begin < len(rows):
        end, places = begin + 1, {place for place, _ in rows[begin].wanted}
        while end < len(rows) and end - begin < batch:
            places |= {place for place, _ in rows[end].wanted}
            wide = len(places) if some else len(rows[end].ids)
            if (end + 1 - begin) * wide * vocabulary > _LOGITS:
                break
            end += 1
        made.append((begin, end))
        begin = end
    return made


def _fitting(model: Any, pad: int, rows: Sequence[Row], some: bool) -> list[list[float]]:
    """One forward pass, or two of half as many rows where the GPU's memory does not hold it."""
    import torch

    try:
        return _forward(model, pad, rows, some)
    except torch.OutOfMemoryError:
        if len(rows) == 1:
            raise TooLittleMemory(
                f"the GPU's memory does not hold one question of {len(rows[0].ids)} tokens; add --load_in_4bit True"
            ) from None
    torch.cuda.empty_cache()
    half = len(rows) // 2
    return [*_fitting(model, pad, rows[:half], some), *_fitting(model, pad, rows[half:], some)]


def _forward(model: Any, pad: int, rows: Sequence[Row], some: bool) -> list[list[float]]:
    import torch

    device = model.get_input_embeddings().weight.device
    ids = torch.full((len(rows), max(len(row.ids) for row in rows)), pad)
    for number, row in enumerate(rows):
        ids[number, : len(row.ids)] = torch.tensor(row.ids)
    places = sorted({place for row in rows for place, _ in row.wanted}) if some else list(range(ids.shape[1]))
    keep = {"logits_to_keep": torch.tensor(places, device=device)} if some else {}
    with torch.inference_mode():
        logits = model(input_ids=ids.to(device), use_cache=False, **keep).logits  # (B, places, V)
        column = {place: number for number, place in enumerate(places)}
        at = [(number, column[place], token) for number, row in enumerate(rows) for place, token in row.wanted]
        index = torch.tensor(at, device=logits.device).T
        # Options share their place: the sum over the vocabulary is taken once a place.
        spots, back = torch.unique(index[:2], dim=1, return_inverse=True)
        totals = logits[spots[0], spots[1]].float().logsumexp(-1)
        values = (logits[index[0], index[1], index[2]].float() - totals[back]).tolist()
    ends = iter(values)
    return [[next(ends) for _ in row.wanted] for row in rows]
