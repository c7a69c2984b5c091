"""Where the 4-bit copy of a base lies, and everything that determines what is in it."""

from __future__ import annotations

import hashlib
import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.fingerprints import file_sha256, weight_files

if TYPE_CHECKING:
    import torch

RECORD = "nf4_cache.json"
FOLDER = "bedside-nf4"  # beside the hub's own cache
_SCHEMA = 1
_LARGE = 1 << 30  # bytes of a local base from which `auto` keeps a copy
_LIBRARIES = ("bitsandbytes", "torch", "transformers")
SETTINGS = ("config.json", "generation_config.json")  # of the base; transformers wants them beside weights


@dataclass(frozen=True)
class Kept:
    """The copy of one base in one precision, which may not be there yet.

    `config` is the base's own and `quantised` bitsandbytes' config; `facts` is what else decides the bytes; `local`
    is where the base's files are (None: nowhere on this disk) and `seen` what `looks` said of them before loading.
    """

    directory: Path
    name: str
    config: Any
    quantised: Any
    labels: int | None
    facts: dict[str, Any]
    local: Path | None
    seen: dict[str, list[int]]

    @property
    def is_large(self) -> bool:
        """Whether `auto` keeps it: a hub model, or a directory of more than a gigabyte."""
        return not Path(self.name).is_dir() or sum(size for size, *_ in self.seen.values()) > _LARGE


def obstacle(config: Any, quantised: Any, device_map: Any) -> str | None:
    """Why no copy of this base can be kept, as the end of a sentence; None if one can.

    `quantised` is bitsandbytes' config or None, `device_map` what from_pretrained is given.
    """
    import torch

    if quantised is None or not quantised.load_in_4bit:
        return "the base is not loaded in 4-bit"
    if not isinstance(device_map, dict) or list(device_map) != [""]:
        return "its layers are spread over several devices"
    if quantised.bnb_4bit_quant_storage != torch.uint8:
        return "FSDP cuts the 4-bit weights into shards"
    if getattr(config, "quantization_config", None):
        return "the base is quantised already"
    if getattr(config, "auto_map", None):
        return "the model brings code of its own"
    return None


def place(
    name: str, config: Any, quantised: Any, device_map: dict[str, Any], precision: torch.dtype,
    labels: int | None = None, root: str | None = None, revision: str = "main", cache_dir: str | None = None,
) -> Kept:  # fmt: skip
    """The place of the 4-bit copy of base `name`; no weight is read, of the base or of the copy.

    `root` is --nf4_cache_dir (default: beside the hub's cache, or in `cache_dir`); `labels` those of a reward model.
    """
    local, commit = (Path(name), None) if Path(name).is_dir() else _snapshot(name, revision, cache_dir)
    facts = {
        "schema": _SCHEMA,
        "type": quantised.bnb_4bit_quant_type,
        "double": quantised.bnb_4bit_use_double_quant,
        "compute": str(quantised.bnb_4bit_compute_dtype).removeprefix("torch."),
        "dtype": str(precision).removeprefix("torch."),
        "labels": labels,
        "device": _device(device_map[""]),
        # Block size, rounding and the names of tensors are theirs to choose.
        **{library: metadata.version(library) for library in _LIBRARIES},
    }
    where = f"{name}@{commit}" if commit else str(Path(name).resolve())
    key = hashlib.sha256(json.dumps([where, facts], sort_keys=True).encode()).hexdigest()[:12]
    readable = re.sub(r"[^\w.-]+", "-", name).strip("-.")[-48:].strip("-.") or "base"
    directory = _root(root, cache_dir) / f"{readable}-{key}"
    return Kept(directory, name, config, quantised, labels, facts, local, looks(local))


def _root(root: str | None, cache_dir: str | None) -> Path:
    from huggingface_hub import constants

    return Path(root).expanduser() if root else Path(cache_dir or constants.HF_HOME).expanduser() / FOLDER


def _snapshot(name: str, revision: str, cache_dir: str | None) -> tuple[Path | None, str | None]:
    """Directory and commit of a hub model whose config has just been read, so that the cache knows today's commit."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(name, "config.json", cache_dir=cache_dir, revision=revision)
    return (Path(found).parent, Path(found).parent.name) if isinstance(found, str) else (None, None)


def _device(device: Any) -> str:
    """What kind of device quantises; another kind may round a block's scale differently in its last bit."""
    import torch

    device = torch.device("cuda", device) if isinstance(device, int) else torch.device(device)
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {torch.version.cuda or torch.version.hip}"
    return f"{device.type} {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"


def files(local: Path | None) -> list[Path]:
    """What of the base decides the copy: its weights first, then its settings; [] if it is not on this disk."""
    if local is None:
        return []
    return [*weight_files(local), *(local / name for name in SETTINGS if (local / name).is_file())]


def looks(local: Path | None) -> dict[str, list[int]]:
    """Size, dates and inode of each file of the base by name: while these stay, nobody has written to it."""
    stats = {path.name: path.stat() for path in files(local)}
    return {name: [s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino] for name, s in stats.items()}


def hashes(paths: list[Path]) -> dict[str, str]:
    """SHA-256 of each file by its name, several at a time."""
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return dict(zip((path.name for path in paths), pool.map(file_sha256, paths), strict=True))


def gigabytes(size: int) -> str:
    """`5.52 GB`, of 10^9 bytes."""
    return f"{size / 1e9:.2f} GB"
