"""`lineage.json`: where a model directory came from, what a loader must load, and proof that it is still the same.

`load` is all a loader reads. `parents` is history and is never applied: that rule is what keeps an adapter from
being applied twice. The file is written last, by os.replace, so a directory that has it is complete.
"""

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from bedside.errors import LineageError
from bedside.fingerprints import file_sha256, fingerprint, identity, weight_files

NAME = "lineage.json"
_READ_WHOLE = 2 << 30  # up to this many bytes of weights a directory is verified by its full hash
_LIBRARIES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate")


def _sha_text(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def tokenizer_record(tokenizer: Any) -> dict:
    """What two tokenizers must share to be the same for a model: merges, special tokens, template."""
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    core = {key: state.get(key) for key in ("model", "added_tokens", "normalizer", "pre_tokenizer", "post_processor")}
    return {
        "sha": _sha_text(json.dumps(core, sort_keys=True)),
        "len": len(tokenizer),
        "eos": tokenizer.eos_token_id,
        "pad": tokenizer.pad_token_id,
        "template": _sha_text(tokenizer.chat_template) if tokenizer.chat_template else None,
    }


@lru_cache
def versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers, and this repository's commit."""
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    found["bedside"] = commit.stdout.strip() or "unknown"
    return found


def base_record(directory: Path, base: str, local: Path | None, revision: str | None) -> dict:
    """The base as seen from `directory`: its relative path if it was given as one, its name, its fingerprint."""
    is_path = Path(base).is_dir()
    return {
        "path": os.path.relpath(base, directory) if is_path else None,
        "name": None if is_path else base,
        "revision": None if is_path else revision,
        "fp": fingerprint(local or base) if is_path or local else None,
    }


def read(directory: Path | str) -> dict | None:
    """The manifest of a directory, or None; LineageError if it is damaged."""
    path = Path(directory) / NAME
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise LineageError(f"{path}: damaged ({error}); restore it from where the directory was copied") from None


def write(
    directory: Path | str,
    stage: str,
    kind: str,
    load: dict,
    parents: Sequence[dict] = (),
    tokenizer: Any = None,
    **more: Any,
) -> dict:
    """Write and return the manifest. `kind` is adapter, full, merged or checkpoint; `more` are further sections."""
    directory = Path(directory)
    files = sorted(p for p in directory.iterdir() if p.is_file() and p.name not in (NAME, NAME + ".tmp", "README.md"))
    manifest = {
        "schema": 1,
        "stage": stage,
        "kind": kind,
        "id": identity(directory),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": load,
        "parents": list(parents),
        "tokenizer": tokenizer_record(tokenizer) if tokenizer is not None else None,
        "versions": versions(),
        **more,
        "files": {path.name: [path.stat().st_size, file_sha256(path)] for path in files},
    }
    for path in files:
        _flush(path)
    temporary = directory / (NAME + ".tmp")
    with open(temporary, "w", encoding="utf-8") as stream:
        json.dump(manifest, stream, ensure_ascii=False, indent=1)
        stream.write("\n")
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(temporary, directory / NAME)
    _flush(directory)
    return manifest


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def damage(directory: Path | str, whole: bool = True) -> str | None:
    """Why a sealed directory cannot be trusted ("not sealed", "size of X", ...), or None if it verifies."""
    directory = Path(directory)
    try:
        manifest = read(directory)
    except LineageError as error:
        return str(error)
    if manifest is None:
        return "not sealed (its saving was interrupted)"
    for name, (size, sha) in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} bytes, was saved with {size}"
        if whole and file_sha256(path) != sha:
            return f"{name} changed since it was saved"
    return None


@dataclass
class Resolved:
    """What to load. `adapter` is None for a full model; `notes` is what the user should know."""

    base: str
    adapter: str | None = None
    revision: str = "main"
    quant: dict | None = None
    task: str = "CAUSAL_LM"
    rows: int | None = None
    manifest: dict | None = None
    notes: list[str] = field(default_factory=list)


def is_adapter(name: str) -> bool:
    """True if `name` is a directory that holds an adapter."""
    return (Path(name) / "adapter_config.json").is_file()


def resolve(name: str, base_model: str | None = None) -> Resolved:
    """What `name` (a directory or hub name) means: base, adapter, precision.

    Raises LineageError when weights are not those that were saved, or the base is missing or another model.
    """
    if not Path(name).is_dir():
        return Resolved(base=name)
    manifest = read(name)
    if manifest is None:
        return _without_manifest(name, base_model)
    _verify_weights(Path(name), manifest)
    load = manifest["load"]
    known = {"quant": load.get("quant"), "task": load.get("task", "CAUSAL_LM"), "rows": load.get("rows")}
    if not is_adapter(name):
        return Resolved(base=name, manifest=manifest, **known)
    base, revision = _find_base(Path(name), load["base"], base_model)
    return Resolved(base=base, adapter=name, revision=revision, manifest=manifest, **known)


def _verify_weights(directory: Path, manifest: dict) -> None:
    weights = weight_files(directory)
    if not weights:
        raise LineageError(f"{directory}: lineage.json is there but no safetensors weights; the copy is incomplete")
    if sum(path.stat().st_size for path in weights) <= _READ_WHOLE:
        same = identity(directory) == manifest["id"]
    else:
        same = all(manifest["files"].get(path.name, [None])[0] == path.stat().st_size for path in weights)
    if not same:
        raise LineageError(
            f"{directory}: its weights are not those that lineage.json describes (edited, half-copied, or a Git LFS "
            "pointer); copy the directory again"
        )


def _without_manifest(name: str, base_model: str | None) -> Resolved:
    if not is_adapter(name):
        return Resolved(base=name)
    config = json.loads((Path(name) / "adapter_config.json").read_text(encoding="utf-8"))
    base = base_model or config.get("base_model_name_or_path")
    if not base:
        raise LineageError(f"{name}: adapter_config.json names no base model; pass the base explicitly")
    note = f"{name} has no lineage.json: base taken from adapter_config.json, training precision unknown"
    return Resolved(
        base=base, adapter=name, revision=config.get("revision") or "main",
        task=config.get("task_type") or "CAUSAL_LM", notes=[note],
    )  # fmt: skip


def _find_base(directory: Path, base: dict, base_model: str | None) -> tuple[str, str]:
    """Path and revision of the base, accepted only if its fingerprint is the one of training."""
    places = [base_model] if base_model else []
    if base.get("path"):
        places += [os.path.normpath(directory / base["path"])]
    wrong = None
    for place in places:
        if place and Path(place).is_dir() and weight_files(place):
            if base.get("fp") in (None, fingerprint(place)):
                return place, "main"
            wrong = place
            if place == base_model:
                break  # the user's own word is not overruled by what lineage.json remembers
        elif place and place == base_model and not base.get("path"):
            return place, base.get("revision") or "main"
    if wrong:
        raise LineageError(
            f"{directory}: the base at {wrong} is not the model this adapter was trained on (its weights differ); "
            "give the right one with --base_model"
        )
    if base.get("name"):
        return base["name"], base.get("revision") or "main"
    raise LineageError(f"{directory}: its base model {base.get('path')} is not there; give it with --base_model")


def parents_of(resolved: Resolved, path: str, directory: Path, how: str) -> list[dict]:
    """The history of something trained from `resolved`: it first, then its own parents."""
    manifest = resolved.manifest
    if manifest is None:
        return []
    place = os.path.relpath(path, directory) if Path(path).is_dir() else path
    return [{"id": manifest["id"], "stage": manifest["stage"], "path": place, "how": how}, *manifest["parents"]]


def check_tokenizer(manifest: dict, tokenizer: Any, where: str) -> None:
    """Raise LineageError if `tokenizer` is not the one that the manifest's model was trained with."""
    trained, given = manifest.get("tokenizer"), tokenizer_record(tokenizer)
    if trained is None:
        return
    names = {"sha": "tokenizer", "template": "chat template", "eos": "eos id", "pad": "pad id"}
    for key, what in names.items():
        if trained[key] is not None and trained[key] != given[key]:
            raise LineageError(
                f"{where}: {what} differs from the one in training ({trained[key]} then, {given[key]} now); "
                "use the one that lies beside the trained model"
            )
