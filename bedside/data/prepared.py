"""Prepared data: packed ids in memory-mapped files, made once and used by every later run that would make the same.

`DIR/<key>/` holds the datasets as Arrow files, the ledger, the facts of each conversation and `prepared.json`, which
is written last: a directory without it is not used. The key is of all that the ids depend on: the data files, how they
are read, template, tokenizer, lengths, packing, seed.
"""

import hashlib
import json
import os
import shutil
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from tokenizers import Tokenizer

from bedside import logs
from bedside.data import chats, facts, tokens
from bedside.data.chats import Data, Part, Plan
from bedside.data.collect import Collected
from bedside.data.ledger import Ledger
from bedside.data.samples import tables

if TYPE_CHECKING:
    from datasets import Dataset

NAME = "prepared.json"
_VERSION = 1  # of the files, and of how rows become ids; a new one makes all prepared data anew
_SHARD = 1 << 29  # bytes of a file
_SETS = ("train", "held_out")


def _sha(path: Path) -> str:
    """Of a file, or of all files in a directory."""
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.is_file())
        lines = "".join(f"{file.relative_to(path)} {_sha(file)}\n" for file in inside)
        return hashlib.sha256(lines.encode()).hexdigest()
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _files(sources: list) -> dict[str, str]:
    """Path -> hash of the file and of how its columns are named."""
    return {
        str(source.path): hashlib.sha256(f"{_sha(source.path)}{source.entry}{source.used}".encode()).hexdigest()[:32]
        for source in sources
    }


def key_of(plan: Plan, tokenizer: Tokenizer, encoding: tokens.Encoding, packed_length: int | None) -> dict[str, Any]:
    """All that prepared data depends on, by the names that a person knows it under."""
    digest = lambda text: hashlib.sha256(text.encode()).hexdigest()[:32]  # noqa: E731
    return {
        "version": _VERSION,
        "training files": _files(plan.train),
        "validation files": _files(plan.validation),
        "reading": repr(plan.reading),
        "template": f"{encoding.template.name} {digest(encoding.template.source)}",
        "tokenizer": digest(tokenizer.to_str() + repr(encoding.special_tokens) + repr(encoding.forbidden)),
        "max_length": encoding.max_length,
        "packing": packed_length,
        "enable_thinking": encoding.enable_thinking,
        "mask_history": encoding.mask_history,
        "seed": plan.seed,
        "held out": plan.holdout,
        "max_train_samples": plan.max_train,
        "max_eval_samples": plan.max_eval,
    }


def _differences(old: dict, new: dict) -> list[str]:
    """What of the key differs, in words."""
    found = []
    for name in new:
        before, after = old.get(name), new[name]
        if before == after:
            continue
        if isinstance(after, dict) and isinstance(before, dict):
            changed = [path for path in after if before.get(path) != after[path]] or ["fewer files"]
            found.append(f"{name} ({', '.join(changed[:3])}{', ...' if changed[3:] else ''})")
        elif isinstance(after, str):
            found.append(name)
        else:
            found.append(f"{name} (was {before}, is {after})")
    return found


def _manifest(place: Path) -> dict | None:
    """What `place` says of itself; None where it is not finished, or a file of it is missing or cut."""
    try:
        manifest = json.loads((place / NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    whole = all((place / name).is_file() and (place / name).stat().st_size == size
                for name, size in manifest["sizes"].items())  # fmt: skip
    return manifest if whole else None


def _reason(directory: Path, place: Path, key: dict) -> str:
    if place.is_dir():
        return f"{place} is damaged"
    others = [(path.stat().st_mtime, path) for path in directory.glob(f"*/{NAME}")]
    known = [found for _, path in sorted(others, reverse=True) if (found := _manifest(path.parent))]
    if not known:
        return f"{directory} holds none yet"
    nearest = min((_differences(manifest["key"], key) for manifest in known), key=len)
    return "another " + ", another ".join(nearest)


def datasets(
    directory: str | Path | None,
    plan: Plan,
    tokenizer: Tokenizer,
    encoding: tokens.Encoding,
    packed_length: int | None,
    processes: int | None = 1,
    output: Path | None = None,
) -> Data:
    """What `chats.datasets` gives: in memory, or from files in `directory`, which are made if they are not there.

    Says which of both happened, and why. Only one process of a machine makes them, the others wait.
    """
    if directory is None:
        return chats.datasets(plan, tokenizer, encoding, packed_length, processes, output)
    directory = Path(directory)
    key = key_of(plan, tokenizer, encoding, packed_length)
    place = directory / hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()[:16]
    manifest = _manifest(place)
    if manifest is None and int(os.environ.get("LOCAL_RANK", "0")) > 0:
        while (manifest := _manifest(place)) is None:
            time.sleep(0.5)
    if manifest is not None:
        data = _load(place, manifest)
        for ledger in chats.ledgers(data.parts):
            ledger.check_rate(plan.max_bad_rate)
        logs.info(f"prepared data: {place} is used again ({_counted(data)}); {data.ledger.summary()}")
        return data
    logs.info(f"prepared data: made now, because {_reason(directory, place, key)}")
    accounts = (Ledger(), Ledger())
    with chats.rejections(output, accounts):
        _make(place, key, plan, tokenizer, encoding, packed_length, processes, accounts)
    data = _load(place, _manifest(place))
    logs.info(f"prepared data: {place} ({_counted(data)}, {_size(place) / 1e6:.1f} MB)")
    return data


def _counted(data: Data) -> str:
    held_out = f", {len(data.held_out)} held out" if data.held_out is not None else ""
    size = int((data.parts[0].facts()["tokens"] * data.parts[0].times().astype(np.int64)).sum())
    return f"{len(data.train)} rows{held_out}, {size:,} tokens to train on"


def _size(place: Path) -> int:
    return sum(path.stat().st_size for path in place.iterdir())


def _make(
    place: Path,
    key: dict,
    plan: Plan,
    tokenizer: Tokenizer,
    encoding: tokens.Encoding,
    packed_length: int | None,
    processes: int | None,
    accounts: tuple[Ledger, Ledger],
) -> None:
    """Write everything under a temporary name, and give it its own when it is whole."""
    place.parent.mkdir(parents=True, exist_ok=True)
    _remove_dead(place.parent)
    building = place.parent / f".{place.name}-{socket.gethostname()}-{os.getpid()}.part"
    building.mkdir()
    try:
        parts = chats.read(plan, tokenizer, encoding, accounts, processes, building / "ids")
        chats.settled(parts, encoding, plan.max_bad_rate)
        made = [
            _write(building, name, part, packed_length, plan.seed) for name, part in zip(_SETS, parts, strict=False)
        ]
        chats.told(parts, made, packed_length)
        shutil.rmtree(building / "ids")
        _describe(building, parts, key)
        if place.exists():
            shutil.rmtree(place)
        building.rename(place)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _remove_dead(directory: Path) -> None:
    """Remove what a process of this machine left half-written when it died."""
    for path in directory.glob(f".*-{socket.gethostname()}-*.part"):
        process = path.name.removesuffix(".part").rpartition("-")[2]
        if process.isdigit() and not _alive(int(process)):
            shutil.rmtree(path, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True


def _write(directory: Path, name: str, part: Part, packed_length: int | None, seed: int) -> "Dataset":
    """The part's rows as Arrow files of half a gigabyte."""
    import pyarrow

    stream = writer = None
    shards = 0
    for table in tables(part.made.samples, packed_length, seed, part.samples()):
        if writer is None or stream.tell() > _SHARD:
            if writer is not None:
                writer.close()
                stream.close()
            stream = pyarrow.OSFile(str(directory / f"{name}-{shards:05d}.arrow"), "wb")
            writer, shards = pyarrow.ipc.new_stream(stream, table.schema), shards + 1
        writer.write_table(table)
    writer.close()
    stream.close()
    return _opened(directory, name)


def _opened(directory: Path, name: str) -> "Dataset":
    """The dataset in the directory's files, mapped into memory."""
    from datasets import Dataset, concatenate_datasets

    shards = sorted(directory.glob(f"{name}-*.arrow"))
    opened = [Dataset.from_file(str(path)) for path in shards]
    return opened[0] if len(opened) == 1 else concatenate_datasets(opened)


def _describe(directory: Path, parts: list[Part], key: dict) -> None:
    """Accounts, facts and, last, the manifest."""
    same = len(parts) == 2 and parts[0].ledger is parts[1].ledger
    parts[0].ledger.write(directory)
    if len(parts) == 2 and not same:
        parts[1].ledger.write(directory / "validation")
    for name, part in zip(_SETS, parts, strict=False):
        np.save(directory / f"{name}.facts.npy", part.facts())
        np.save(directory / f"{name}.places.npy", part.made.places[part.chosen])
    manifest = {
        "key": key,
        "sets": len(parts),
        "one_account": same,
        "files": [part.made.files for part in parts],
        "sizes": {path.name: path.stat().st_size for path in sorted(directory.iterdir()) if path.is_file()},
    }
    with open(directory / NAME, "w", encoding="utf-8") as stream:
        json.dump(manifest, stream, ensure_ascii=False, indent=1)
        stream.flush()
        os.fsync(stream.fileno())


def _load(place: Path, manifest: dict) -> Data:
    """The datasets and accounts of a whole directory."""
    ledger = Ledger.load(place)
    parts, made = [], []
    for name, files in zip(_SETS, manifest["files"], strict=False):
        own = parts and not manifest["one_account"]
        described = np.load(place / f"{name}.facts.npy").astype(facts.FACTS)
        collected = Collected(files, np.load(place / f"{name}.places.npy"), described)
        account = Ledger.load(place / "validation") if own else ledger
        parts.append(Part(collected, np.arange(len(collected)), account, repeats=name == _SETS[0]))
        made.append(_opened(place, name))
    return Data(made[0], made[1] if made[1:] else None, parts)
