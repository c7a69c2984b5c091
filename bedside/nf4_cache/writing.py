"""Writing the 4-bit copy of a base: under another name, renamed when all of it is on the disk."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import wholefile
from bedside.fingerprints import weight_files
from bedside.nf4_cache.trust import trouble
from bedside.nf4_cache.whereabouts import RECORD, SETTINGS, Kept, files, gigabytes, hashes, looks

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_SHARD = 1 << 30  # bytes a file: as much lies in host memory while it is written
_SPARE = 1 << 30  # bytes that stay free on the disk


class NotKept(Exception):
    """Why no copy was written, as the end of a sentence."""


def write(kept: Kept, model: PreTrainedModel, missing: set[str]) -> int:
    """Write the copy of what was just loaded, and return its bytes; NotKept if it cannot be.

    `missing` names tensors that the base has none of (a fresh head): every start makes those anew.
    """
    if getattr(model, "_weight_conversions", None):
        raise NotKept("the tensors of this family have other names on the disk")
    if kept.local is None or not weight_files(kept.local):
        raise NotKept("the files of the base are not where they can be compared")
    tensors = _tensors(model, missing)
    size = sum(tensor.nbytes for tensor in tensors.values())
    scratch = kept.directory.with_name(f".{kept.directory.name}-{os.getpid()}")
    try:
        _room(kept.directory.parent, size)
        scratch.mkdir(parents=True)
        _fill(scratch, kept, kept.local, tensors)
        _swap(scratch, kept)
    except OSError as error:
        raise NotKept(f"{kept.directory.parent}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return size


def _tensors(model: PreTrainedModel, missing: set[str]) -> dict[str, torch.Tensor]:
    """What from_pretrained needs to make the model again: not a tied head, which is the embedding, nor a fresh one."""
    left_out = missing | set(model.all_tied_weights_keys)
    return {name: tensor for name, tensor in model.state_dict().items() if name not in left_out}


def _room(root: Path, size: int) -> None:
    root.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(root).free
    if free < size + _SPARE:
        raise NotKept(f"{gigabytes(size)} are needed in {root} and {gigabytes(free)} are free (see --nf4_cache_dir)")


def _fill(scratch: Path, kept: Kept, local: Path, tensors: dict[str, torch.Tensor]) -> None:
    """Tensors, settings and the record into `scratch`, every file flushed."""
    _save(scratch, tensors)
    for name in SETTINGS:
        if (local / name).is_file():
            shutil.copyfile(local / name, scratch / name)
    written = sorted(scratch.iterdir())
    for path in written:
        shutil.copymode(
            scratch / SETTINGS[0], path
        )  # weights are written for their owner alone; a lab shares a folder
        wholefile.flush(path)
    sums, of_base = hashes(written), hashes(files(local))
    seen = looks(local)
    if any(seen.get(name) != then for name, then in kept.seen.items()):
        raise NotKept("the base was written to while it was being read")
    record = {
        "facts": kept.facts,
        "base": {name: {"seen": seen[name], "sha256": sha} for name, sha in of_base.items()},
        "files": {path.name: [path.stat().st_size, sums[path.name]] for path in written},
    }
    wholefile.write_json(scratch / RECORD, {"of": kept.name, **record})


def _save(scratch: Path, tensors: dict[str, torch.Tensor]) -> None:
    """The tensors as safetensors of at most a gigabyte, with the index that transformers looks for."""
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    plan = split_torch_state_dict_into_shards(
        tensors, filename_pattern="model{suffix}.safetensors", max_shard_size=_SHARD
    )
    try:
        for file, names in plan.filename_to_tensors.items():
            # Each on its own: layers may share one code book, and a file holds no two names of one memory.
            shard = {name: tensors[name].detach().cpu().contiguous().clone() for name in names}
            save_file(shard, scratch / file, metadata={"format": "pt"})
    except SafetensorError as error:  # how it reports a full disk
        raise OSError(0, str(error)) from None
    if plan.is_sharded:
        index: dict[str, Any] = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (scratch / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")


def _swap(scratch: Path, kept: Kept) -> None:
    """Put `scratch` in its place, unless another run has just put a good copy there."""
    if (kept.directory / RECORD).is_file() and trouble(kept) is None:
        return
    old = scratch.with_name(scratch.name + "-old")
    if kept.directory.exists():
        os.replace(kept.directory, old)
    os.replace(scratch, kept.directory)
    wholefile.flush(kept.directory.parent)
    shutil.rmtree(old, ignore_errors=True)
