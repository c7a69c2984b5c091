"""download.json: what was fetched, from which commit, and that it arrived whole."""

import hashlib
import json
import shutil
from pathlib import Path

from bedside import wholefile
from bedside.errors import ConfigError
from bedside.hub.remote import File, Listing, gigabytes, size_of

NAME = "download.json"
_SPARE = 200 << 20  # bytes that stay free on the disk


def read(directory: Path) -> dict | None:
    """The record of an earlier download into this directory, or None; ConfigError if it is damaged."""
    path = directory / NAME
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path}: damaged ({error}); remove it and run the command again") from None


def check_place(directory: Path, found: Listing) -> None:
    """Raise ConfigError if `directory` holds something else than this repository."""
    if directory.exists() and not directory.is_dir():
        raise ConfigError(f"--output_dir {directory}: a file; expected a directory")
    known = read(directory)
    if known and (known["name"], known["kind"], known["source"]) != (found.name, found.kind, found.source):
        raise ConfigError(f"--output_dir {directory}: holds {known['name']}; choose another one")
    if directory.is_dir() and known is None and any(directory.iterdir()):
        seen = ", ".join(sorted(path.name for path in directory.iterdir())[:5])
        raise ConfigError(f"--output_dir {directory}: not empty (it holds {seen}); choose another one")


def missing(directory: Path, files: list[File], earlier: dict | None) -> list[File]:
    """Files that are not there, or not in this version: their size differs, or the hash of the earlier record."""
    known = {path: entry["sha256"] for path, entry in (earlier or {}).get("files", {}).items()}
    absent = []
    for file in files:
        path = directory / file.path
        same = path.is_file() and path.stat().st_size == file.size
        if same and file.path in known and file.sha256:
            same = known[file.path] == file.sha256
        elif same and file.blob:  # small: git's hash costs nothing
            same = _hashes(path)[1] == file.blob
        if not same:
            absent.append(file)
    return absent


def check_room(directory: Path, files: list[File], earlier: dict | None = None) -> None:
    """Raise ConfigError if the disk cannot hold what is still to be fetched."""
    place = directory
    while not place.is_dir():
        place = place.parent
    need, free = size_of(missing(directory, files, earlier)), shutil.disk_usage(place).free
    if need + _SPARE > free:
        raise ConfigError(
            f"--output_dir {directory}: {gigabytes(need)} are to be fetched, {gigabytes(free)} are free there; free "
            "space, choose another directory, or leave files out with --exclude"
        )


def _hashes(path: Path) -> tuple[str, str]:
    """SHA-256 and git's blob id of a file."""
    whole, blob = hashlib.sha256(), hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            whole.update(block)
            blob.update(block)
    return whole.hexdigest(), blob.hexdigest()


def verify(directory: Path, files: list[File]) -> dict[str, dict]:
    """Size and SHA-256 of each file as it lies on the disk; ConfigError if one is not what the hub has."""
    hashes = {}
    for file in files:
        path = directory / file.path
        if not path.is_file():
            raise ConfigError(f"{path}: did not arrive; run the same command again")
        size = path.stat().st_size
        sha256, blob = _hashes(path)
        if size != file.size or (file.sha256 or sha256) != sha256 or (file.blob or blob) != blob:
            path.unlink()  # a client would take its size for a sign that it is whole
            found = f"{size:,} bytes, the hub has {file.size:,}" if size != file.size else "its hash is not the hub's"
            raise ConfigError(f"{path}: damaged on the way ({found}) and removed; run the same command again")
        hashes[file.path] = {"size": size, "sha256": sha256}
    return hashes


def write(directory: Path, found: Listing, files: dict[str, dict], complete: bool) -> None:
    """Write download.json whole or not at all; `complete` False marks a place where a download goes on."""
    record = {
        "source": found.source, "kind": found.kind, "name": found.name, "revision": found.revision,
        "commit": found.commit, "complete": complete, "files": files,
    }  # fmt: skip
    wholefile.write_json(directory / NAME, record)
