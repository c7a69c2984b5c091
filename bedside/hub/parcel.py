"""What of a model directory goes to a hub: the model and what describes it, without the machine it was made on.

An allowlist, because a directory of training also holds answers to patients' questions, rows that were rejected and
optimizer states. `lineage.json` goes with the list of what went, so that the copy verifies like the original.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from bedside.errors import ConfigError

LINEAGE = "lineage.json"
_WEIGHTS = ("adapter_model*.safetensors", "model*.safetensors")
_SENT = (
    *_WEIGHTS, "adapter_model.safetensors.index.json", "model.safetensors.index.json", "adapter_config.json",
    "config.json", "generation_config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "merges.txt", "chat_template.jinja", "README.md",
    "ledger.json", "metrics.json",
)  # fmt: skip
# Where libraries write the path that a model was loaded from.
_LOADED_FROM = {
    "adapter_config.json": "base_model_name_or_path",
    "config.json": "_name_or_path",
    "tokenizer_config.json": "name_or_path",
}
_OF_A_MACHINE = re.compile(r"(?:/|~|[A-Za-z]:[\\/]|\\\\)")  # how a path begins that tells of one


@dataclass(frozen=True)
class Item:
    """A file of the parcel: its name, and where it lies or (a rewritten one) its bytes."""

    name: str
    content: Path | bytes

    def size(self) -> int:
        """In bytes."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size


def pack(directory: Path | str) -> list[Item]:
    """The files of a finished, sealed model directory, `lineage.json` last. ConfigError if it is none."""
    directory = Path(directory)
    manifest = _manifest(directory)
    items = [_item(path, manifest) for path in sorted(directory.iterdir()) if path.is_file() and _goes(path.name)]
    if not any(fnmatchcase(item.name, pattern) for item in items for pattern in _WEIGHTS):
        raise ConfigError(
            f"{directory}: holds no weights in safetensors; give a directory that a stage or a merge wrote"
        )
    return [*items, Item(LINEAGE, _json(_sealed(manifest, items, directory)))]


def only_here(directory: Path | str) -> str | None:
    """The base of an adapter if no hub is known to have it: those who fetch the adapter could not load it."""
    base = (_manifest(Path(directory)).get("load") or {}).get("base")
    return Path(base["path"]).name if base and not base.get("name") and base.get("path") else None


def _manifest(directory: Path) -> dict:
    try:
        return json.loads((directory / LINEAGE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{directory}: no {LINEAGE}; give a directory that a stage or a merge finished") from None
    except ValueError as error:
        raise ConfigError(f"{directory / LINEAGE}: damaged ({error})") from None


def _goes(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in _SENT)


def _item(path: Path, manifest: dict) -> Item:
    """The file, without the paths of this machine if it is one that holds some."""
    if path.name == "ledger.json":
        return Item(path.name, _json(_ledger(json.loads(path.read_text(encoding="utf-8")))))
    key = _LOADED_FROM.get(path.name)
    found = json.loads(path.read_text(encoding="utf-8")) if key else {}
    place = found.get(key)
    if not isinstance(place, str) or not place:
        return Item(path.name, path)
    named = (
        ((manifest.get("load") or {}).get("base") or {}).get("name") if path.name == "adapter_config.json" else None
    )
    clean = named or (_last(place) if _is_path(place) else place)
    return Item(path.name, path) if clean == place else Item(path.name, _json(found | {key: clean}))


def _ledger(found: dict) -> dict:
    """The account of the rows with names of files in place of their paths; two of one name are told apart."""
    files: dict[str, Any] = {}
    for place, account in found.get("files", {}).items():
        name = short = _last(place)
        for number in range(2, len(found["files"]) + 2):
            if name not in files:
                break
            name = f"{short} ({number})"
        files[name] = account
    return found | {"files": files}


def _sealed(manifest: dict, items: list[Item], directory: Path) -> dict:
    """The manifest that vouches for these files and no others, without paths that tell of this machine."""
    changed = {
        item.name: [len(item.content), hashlib.sha256(item.content).hexdigest()]
        for item in items
        if isinstance(item.content, bytes)
    }
    names = {item.name for item in items}
    files = {name: changed.get(name, seal) for name, seal in manifest.get("files", {}).items() if name in names}
    return _without_paths({**manifest, "files": {}}, directory) | {"files": files}


def _without_paths(value: Any, directory: Path) -> Any:
    """The same with every text that is an absolute path, or a relative one that says as much, cut to its last part."""
    if isinstance(value, dict):
        return {key: _without_paths(held, directory) for key, held in value.items()}
    if isinstance(value, list):
        return [_without_paths(held, directory) for held in value]
    if isinstance(value, str) and (_OF_A_MACHINE.match(value) or _leaves(value, directory)):
        return _last(value)
    return value


def _leaves(place: str, directory: Path) -> bool:
    """Whether a relative path climbs so far that the rest of it is an absolute one: "../../srv/li/models/base"."""
    if not re.match(r"\.\.[\\/]", place):
        return False
    here = os.path.abspath(directory)
    return len(Path(os.path.commonpath([here, os.path.normpath(os.path.join(here, place))])).parts) <= 2


def _is_path(place: str) -> bool:
    """Whether this is a place on a disk, not a name on a hub: those have one slash and no directory of that name."""
    return bool(_OF_A_MACHINE.match(place)) or place.startswith(".") or place.count("/") != 1 or Path(place).is_dir()


def _last(place: str) -> str:
    return re.split(r"[\\/]", place.rstrip("\\/"))[-1] or "model"


def _json(content: Any) -> bytes:
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def shown(items: list[Item]) -> Iterator[str]:
    """A line for each file: bytes and name."""
    for item in items:
        yield f"{item.size():>14,}  {item.name}"
