"""The 4-bit base kept on disk: the first QLoRA start of a base writes what it quantised, the next starts read that.

What is read back is bit for bit what quantising would give. A copy is believed only if all of it is there, unchanged,
and made of the base as it lies there now, by the same libraries on the same kind of device.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any

from bedside import logs
from bedside.errors import ConfigError
from bedside.fingerprints import weight_files
from bedside.nf4_cache.trust import trouble
from bedside.nf4_cache.whereabouts import FOLDER, RECORD, Kept, gigabytes, obstacle, place
from bedside.nf4_cache.writing import NotKept, write

# `fetch(source, **more)` runs from_pretrained on a name or a directory: `(model, loading info)`; a keyword of None is
# left out.
Fetch = Callable[..., tuple[Any, dict[str, Any]]]


def load(kept: Kept, fetch: Fetch, mode: str) -> Any:
    """The model, from the copy if there is a good one, else from the base.

    `mode` "read" uses a copy and writes none, "auto" writes one of a large base, "on" of any. A copy that is damaged
    or of an older base is never used; where one would be written, it is made anew.
    """
    there = (kept.directory / RECORD).is_file()
    why = trouble(kept) if there else None
    if there and not why:
        try:
            return _from_copy(kept, fetch)
        except ConfigError as error:
            why = str(error)
    keeps = mode == "on" or mode == "auto" and kept.is_large
    if why:
        then = "made anew" if keeps else "left alone (--nf4_cache True makes it anew)"
        logs.warn(f"4-bit base: the copy in {kept.directory} is not used, {why}; the copy is {then}")
    model, found = fetch(kept.name)
    if keeps and os.environ.get("LOCAL_RANK") in (None, "0"):
        _keep(kept, model, set(found["missing_keys"]))
    return model


def _from_copy(kept: Kept, fetch: Fetch) -> Any:
    """The model from the copy, which afterwards goes by the base's own name."""
    config, source = copy.deepcopy(kept.config), str(kept.directory)
    config.quantization_config = kept.quantised.to_dict()
    if kept.labels:
        config.num_labels = kept.labels
    model, _ = fetch(source, config=config, quantization_config=None, num_labels=None)
    model._weight_conversions = []  # unpacking 4-bit weights is not one that saving could turn back
    for module in model.modules():
        if getattr(module, "name_or_path", None) == source:
            module.name_or_path = kept.name
        held = getattr(module, "config", None)
        if getattr(held, "_name_or_path", None) == source:
            held._name_or_path = kept.name
    model.hf_quantizer.pre_quantized = False  # as it would be without the copy
    size = sum(path.stat().st_size for path in weight_files(kept.directory))
    logs.info(f"4-bit base: read from {source} ({gigabytes(size)}), the copy of {kept.name}")
    return model


def _keep(kept: Kept, model: Any, missing: set[str]) -> None:
    """Write the copy. Where it cannot be, a line says why, and the run goes on."""
    try:
        size = write(kept, model, missing)
    except NotKept as error:
        logs.info(f"4-bit base: no copy is kept, {error}")
        return
    logs.info(
        f"4-bit base: a copy is kept in {kept.directory} ({gigabytes(size)}), which the next start reads; "
        "--nf4_cache False keeps none, and the folder may be deleted at any time"
    )


__all__ = ["FOLDER", "RECORD", "Fetch", "Kept", "load", "obstacle", "place", "trouble"]
