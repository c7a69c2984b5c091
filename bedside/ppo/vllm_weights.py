"""The policy's weights on their way to the server: files in memory (or on disk), named when they are finished.

Two ways: the adapter by itself, or all weights of base and adapter together (`merged`).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.errors import ConfigError

if TYPE_CHECKING:
    import torch

MANIFEST = "manifest.json"
_SHARD = 1 << 30  # bytes; what is held twice while a file is written
_MEMORY = Path("/dev/shm")
_SPARE = 1.1


def write_merged(weights: Iterable[tuple[str, torch.Tensor]], directory: Path, label: str, shard: int = _SHARD) -> int:
    """Write `weights` as safetensors into the new `directory`, with a manifest of label and sizes; returns the bytes.

    The directory has its name when it is complete.
    """
    from safetensors.torch import save_file

    unfinished = directory.with_name(f"{directory.name}.tmp")
    unfinished.mkdir(mode=0o700)
    files: dict[str, int] = {}
    held: dict[str, torch.Tensor] = {}

    def flush() -> None:
        path = unfinished / f"weights-{len(files):05d}.safetensors"
        save_file(held, path)
        files[path.name] = path.stat().st_size
        held.clear()

    for name, tensor in weights:
        held[name] = tensor.cpu().contiguous()
        if sum(kept.nbytes for kept in held.values()) >= shard:
            flush()
    if held:
        flush()
    (unfinished / MANIFEST).write_text(json.dumps({"label": label, "files": files}), encoding="utf-8")
    os.rename(unfinished, directory)
    return sum(files.values())


def write_adapter(model: Any, adapter: str, directory: Path) -> int:
    """Write `adapter` alone as the plain PEFT directory `directory`; returns the bytes."""
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    unfinished = directory.with_name(f"{directory.name}.tmp")
    unfinished.mkdir(mode=0o700)
    weights = get_peft_model_state_dict(model, adapter_name=adapter, save_embedding_layers=False)
    save_file({k: v.detach().cpu().contiguous() for k, v in weights.items()}, unfinished / "adapter_model.safetensors")
    config = model.peft_config[adapter].to_dict() | {"inference_mode": True}
    plain = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    (unfinished / "adapter_config.json").write_text(json.dumps(plain, default=str), encoding="utf-8")
    os.rename(unfinished, directory)
    return (directory / "adapter_model.safetensors").stat().st_size


def workplace(given: str | Path | None, need: int) -> Path:
    """A new directory of this user alone for `need` bytes: in `given`, else in memory, else where temporary files
    lie. ConfigError if it does not fit."""
    places = [Path(given)] if given else [_MEMORY, Path(tempfile.gettempdir())]
    for place in places:
        if place.is_dir() and os.access(place, os.W_OK) and shutil.disk_usage(place).free > need * _SPARE:
            return Path(tempfile.mkdtemp(prefix="bedside-policy-", dir=place))
    named = " and ".join(map(str, places))
    raise ConfigError(
        f"the policy's weights, {need / 1e9:.1f} GB on their way to the server, do not fit into {named} (not there, "
        "not writable, or full); free space there, or give a directory that both can read"
    )
