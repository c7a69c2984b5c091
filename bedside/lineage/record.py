"""Writing and reading `lineage.json`, and telling whether a directory is still what it describes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from bedside import wholefile
from bedside.errors import LineageError
from bedside.fingerprints import file_sha256, fingerprint, identity_of, weight_files
from bedside.hub import record as download
from bedside.lineage.sections import template_record, tokenizer_record

NAME = "lineage.json"
SCHEMA = 1
_LIBRARIES = {"torch": "torch", "transformers": "transformers", "trl": "trl", "peft": "peft", "bnb": "bitsandbytes",
              "accelerate": "accelerate"}  # fmt: skip
_UNSEALED = (NAME, NAME + wholefile.UNFINISHED, "README.md")  # README.md is made from lineage.json, after it
_SNAPSHOT = re.compile(r"models--(?P<owner>[^/]+?)--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})/?$")


@lru_cache
def versions() -> dict[str, str]:
    """Versions of the libraries that decide the numbers, and as `self` this repository's commit."""
    found = {}
    for key, name in _LIBRARIES.items():
        try:
            found[key] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    commit = subprocess.run(
        ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"], capture_output=True, text=True
    )
    found["self"] = commit.stdout.strip() or "unknown"
    return found


def base_record(directory: Path, base: str, local: Path | None, revision: str | None) -> dict:
    """The base as seen from `directory`: its relative path if it was given as one, its name and commit on the hub if
    it is known to be from there, its fingerprint; `root` is the model that a base of ours goes back to."""
    if not Path(base).is_dir():
        commit = _SNAPSHOT.search(str(local)) if local else None
        revision = commit["commit"] if commit else revision
        return {"path": None, "name": base, "revision": revision, "fp": fingerprint(local) if local else None}
    name, commit = _hub_name(Path(base))
    older = start_of(read(base) or {})
    root = older.get("root") or {key: older.get(key) for key in ("name", "revision", "fp")} if older else None
    return {
        "path": os.path.relpath(base, directory),
        "name": name,
        "revision": commit,
        "fp": fingerprint(base),
        **({"root": root} if root else {}),
    }


def start_of(manifest: dict) -> dict:
    """The base that the weights of a manifest go back to, as `base_record` describes it; {} where nobody wrote it."""
    return (
        (manifest.get("load") or {}).get("base")
        or (manifest.get("merge") or {}).get("base")
        or manifest.get("start")
        or {}
    )


def _hub_name(base: Path) -> tuple[str | None, str | None]:
    """Name and commit of a directory that download_model.py or the hub's own cache made."""
    cached = _SNAPSHOT.search(str(base.resolve()))
    if cached:
        return f"{cached['owner']}/{cached['name']}", cached["commit"]
    fetched = download.read(base)
    if fetched and fetched.get("complete") and fetched.get("source") == "huggingface":
        return fetched["name"], fetched["commit"]
    return None, None


def read(directory: Path | str) -> dict | None:
    """The manifest of a directory, or None; LineageError if it is damaged or of a later schema."""
    path = Path(directory) / NAME
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        schema, whole = manifest["schema"], {"id", "load", "parents", "files"} <= manifest.keys()
    except (ValueError, TypeError, KeyError) as error:
        raise LineageError(f"{path}: damaged ({error}); restore it from where the directory was copied") from None
    if schema != SCHEMA or not whole:
        raise LineageError(f"{path}: schema {schema}, expected {SCHEMA} with id, load, parents, files; update bedside")
    return manifest


def _sealed(directory: Path, kind: str) -> Iterator[Path]:
    """The files that the manifest vouches for: all of a checkpoint, with the folders of DeepSpeed and FSDP; of an
    output its top level and a reference adapter, because its checkpoints are sealed on their own."""
    places = [directory.rglob("*")] if kind == "checkpoint" else [directory.iterdir(), (directory / "ref").rglob("*")]
    for place in places:
        yield from (path for path in place if path.is_file() and path.name not in _UNSEALED)


def write(
    directory: Path | str,
    stage: str,
    kind: str,
    load: dict,
    parents: Sequence[dict] = (),
    tokenizer: Any = None,
    template: dict | None = None,
    reference: dict | None = None,
    **more: Any,
) -> dict:
    """Write and return the manifest. `kind` is adapter, full, merged or checkpoint; `reference` what a preference
    stage compared with (`{"kind": "adapter|adapter_off|model|none", "id", "path"}`); `more` are further sections."""
    directory = Path(directory)
    paths = sorted(_sealed(directory, kind))
    files = {path.relative_to(directory).as_posix(): [path.stat().st_size, file_sha256(path)] for path in paths}
    manifest = {
        "schema": SCHEMA,
        "stage": stage,
        "kind": kind,
        "id": identity_in(directory, files),
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "load": load,
        "parents": list(parents),
        "reference": reference or {"kind": "none"},
        "template": template_record(template, tokenizer) if template else None,
        "tokenizer": tokenizer_record(tokenizer) if tokenizer is not None else None,
        "versions": versions(),
        **more,
        "files": files,
    }
    for path in paths:
        wholefile.flush(path)
    for folder in {path.parent for path in paths} - {directory}:
        wholefile.flush(folder)
    wholefile.write_json(directory / NAME, manifest)
    return manifest


def identity_in(directory: Path, files: dict[str, list]) -> str:
    """The directory's `id` from hashes that are known: of its weights, or of all its files where the weights lie in
    shards of another format (a checkpoint of DeepSpeed or FSDP)."""
    weights = [path.name for path in weight_files(directory)]
    return identity_of({name: files[name][1] for name in weights or sorted(files) if name in files})


def damages(directory: Path | str, manifest: dict, whole: bool = True) -> Iterator[str]:
    """What is not as `manifest` says, a sentence a file; `whole` reads every byte, else sizes are compared."""
    for name, (size, sha) in manifest["files"].items():
        path = Path(directory) / name
        if not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != size:
            yield f"{name} has {path.stat().st_size} bytes, was saved with {size}"
        elif whole and file_sha256(path) != sha:
            yield f"{name} changed since it was saved"


def damage(directory: Path | str, whole: bool = True) -> str | None:
    """Why a sealed directory cannot be trusted ("not sealed", "size of X", ...), or None if it verifies."""
    try:
        manifest = read(directory)
    except LineageError as error:
        return str(error)
    if manifest is None:
        return "not sealed (its saving was interrupted)"
    return next(damages(directory, manifest, whole), None)


def parents_of(resolved: Any, path: str, directory: Path, how: str) -> list[dict]:
    """The history of something trained from `resolved` (a `Resolved`): it first, then its own parents, every path as
    seen from `directory`. A merge brings its mode, because one into 4-bit weights must never be quantised again."""
    manifest = resolved.manifest
    if manifest is None:
        return []
    place = os.path.relpath(path, directory) if Path(path).is_dir() else path
    mode = (manifest.get("merge") or {}).get("mode")
    first = {"id": manifest["id"], "stage": manifest["stage"], "path": place, "how": how}
    first |= {"mode": mode} if mode else {}
    return [first, *moved_parents(manifest, Path(path), place)]


def moved_parents(manifest: dict, directory: Path, place: str) -> list[dict]:
    """The parents of a manifest in `directory`, their relative paths as seen from where that is called `place`."""
    return [
        {**parent, "path": os.path.normpath(os.path.join(place, parent["path"]))}
        if parent["path"].startswith(".") or (directory / parent["path"]).is_dir()
        else parent
        for parent in manifest["parents"]
    ]
