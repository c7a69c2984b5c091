"""From a name to what must be loaded: base, adapter, precision, task; or why that would be the wrong model."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

from bedside.errors import LineageError
from bedside.fingerprints import fingerprint, hub_directory, identity, weight_files
from bedside.lineage.guards import check_not_inside
from bedside.lineage.record import read

_READ_WHOLE = 2 << 30  # up to this many bytes of weights a directory is verified by its full hash
_ADAPTER_CONFIG = "adapter_config.json"
_REMEDY = "give the right one with --base_model"
_MERGE = "python merge_peft_adapter.py --peft_model_path"


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
    return (Path(name) / _ADAPTER_CONFIG).is_file()


def resolve(name: str, base_model: str | None = None, command: str | None = None) -> Resolved:
    """What `name` (a directory or hub name) means: base, adapter, precision.

    `command` is how to run the caller's work with the right base, which is written for `{base}`; refusals end with it.
    Raises LineageError when weights are not those that were saved, or the base is missing or another model.
    """
    if not Path(name).is_dir():
        return Resolved(base=name)
    manifest = read(name)
    if manifest is None:
        return _without_manifest(name, base_model, command)
    _verify_weights(Path(name), manifest)
    load = manifest["load"]
    known = {"quant": load.get("quant"), "task": load.get("task", "CAUSAL_LM"), "rows": load.get("rows")}
    if not load.get("base"):
        return Resolved(base=name, manifest=manifest, **known)
    base, revision = find_base(Path(name), manifest, base_model, command or _REMEDY)
    return Resolved(base=base, adapter=name, revision=revision, manifest=manifest, **known)


def _verify_weights(directory: Path, manifest: dict) -> None:
    weights = weight_files(directory)
    if manifest["load"].get("base"):
        names = [name for name in manifest["files"] if name.startswith("adapter_")] or [_ADAPTER_CONFIG]
        lost = [name for name in (*names, _ADAPTER_CONFIG) if not (directory / name).is_file()]
        if lost:
            raise LineageError(
                f"{directory}: {lost[0]} is missing, so the adapter is lost; copy the directory again, or load "
                "another of its checkpoints"
            )
    if not weights and any(name.endswith(".safetensors") and "/" not in name for name in manifest["files"]):
        raise LineageError(f"{directory}: lineage.json is there but no safetensors weights; the copy is incomplete")
    if not weights:
        raise LineageError(
            f"{directory}: its weights lie in shards of a distributed run, which only a resume reads; load the run's "
            "own directory, or resume it with --resume_from_checkpoint"
        )
    if sum(path.stat().st_size for path in weights) <= _READ_WHOLE:
        same = identity(directory) == manifest["id"]
    else:
        same = all(manifest["files"].get(path.name, [None])[0] == path.stat().st_size for path in weights)
    if not same:
        raise LineageError(
            f"{directory}: its weights are not those that lineage.json describes (edited, half-copied, or a Git LFS "
            "pointer); copy the directory again"
        )


def _without_manifest(name: str, base_model: str | None, command: str | None) -> Resolved:
    """A directory that bedside did not write: what its own config says, and what nobody can know."""
    if not is_adapter(name):
        return Resolved(base=name, task=_foreign_task(Path(name)))
    try:
        config = json.loads((Path(name) / _ADAPTER_CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise LineageError(f"{name}/{_ADAPTER_CONFIG}: damaged ({error}); copy the directory again") from None
    if not weight_files(name):
        raise LineageError(
            f"{name}: adapter_model.safetensors is missing, so the adapter is lost; copy the directory again"
        )
    base = base_model or config.get("base_model_name_or_path")
    if not base:
        raise LineageError(f"{name}: adapter_config.json names no base model; pass the base explicitly")
    if not Path(base).is_dir() and (base.startswith((".", "/", "~")) or base.count("/") > 1):
        raise LineageError(
            f"{name}: its base {base} (from adapter_config.json) is not there; "
            f"{_filled(command, 'BASE_DIRECTORY') or 'give it with --base_model'}"
        )
    _refuse_adapter_as_base(name, base, base == base_model, None, command or "give its base with --base_model")
    check_not_inside(name, identity(name), None, base)
    note = f"{name} has no lineage.json: base taken from adapter_config.json, training precision unknown"
    return Resolved(
        base=base, adapter=name, revision=config.get("revision") or "main",
        task=config.get("task_type") or "CAUSAL_LM", notes=[note],
    )  # fmt: skip


def _foreign_task(directory: Path) -> str:
    """The task of a full model by its config's architecture: a reward model must not answer questions."""
    try:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        names = config.get("architectures") or []
    except (OSError, ValueError, AttributeError):
        return "CAUSAL_LM"  # whoever loads it says what is wrong with it
    return "SEQ_CLS" if any("ForSequenceClassification" in name for name in names) else "CAUSAL_LM"


def _filled(command: str | None, base: str) -> str:
    return (command or "").replace("{base}", base)


def _same(place: str, base: dict) -> bool:
    return base.get("fp") in (None, fingerprint(place))


def _recorded(directory: Path, base: dict) -> tuple[str | None, str]:
    """Where the base of training lies now (None: nowhere), and what to call it in a command."""
    place = os.path.normpath(directory / base["path"]) if base.get("path") else None
    if place and weight_files(place) and (is_adapter(place) or _same(place, base)):
        return place, place
    if base.get("name") and not (place and weight_files(place)):
        return base["name"], base["name"]
    return None, place or "BASE_DIRECTORY"


def find_base(directory: Path, manifest: dict, given: str | None, command: str = _REMEDY) -> tuple[str, str]:
    """Path and revision of the base, accepted only if its fingerprint is the one of training. The user's own word is
    not overruled by what lineage.json remembers, nor believed against it."""
    base, name = manifest["load"]["base"], str(directory)
    place, called = _recorded(directory, base)
    if given:
        return _given_base(name, manifest, given, place, called, command)
    if place is None:
        wrong = os.path.normpath(directory / base["path"]) if base.get("path") else None
        if wrong and weight_files(wrong):
            raise LineageError(
                f"{name}: the base at {wrong} is not the model this adapter was trained on (its weights differ); "
                f"{_filled(command, 'BASE_DIRECTORY')}"
            )
        raise LineageError(
            f"{name}: its base model {base.get('path')} is not there; give it with --base_model: "
            f"{_filled(command, 'BASE_DIRECTORY')}"
        )
    _refuse_adapter_as_base(name, place, False, None, command)
    if Path(place).is_dir():
        return place, "main"
    revision = base.get("revision") or "main"
    _check_hub(name, place, revision, base, command, called)
    return place, revision


def _check_hub(adapter: str, name: str, revision: str, base: dict, command: str, right: str) -> None:
    """Compare a hub model with the fingerprint of training, if it is in the cache."""
    local = hub_directory(name, revision)
    if local and weight_files(local) and not _same(str(local), base):
        raise LineageError(
            f"{adapter}: {name}@{revision} in the cache is not the model this adapter was trained on (its weights "
            f"differ); {_filled(command, right)}"
        )


def _given_base(
    adapter: str, manifest: dict, given: str, place: str | None, called: str, command: str
) -> tuple[str, str]:
    """The base that the user named, if it is the one of training."""
    base = manifest["load"]["base"]
    right = called if place else "BASE_DIRECTORY"
    known = f"; it was trained on {called}" if place or base.get("path") else ""
    _refuse_adapter_as_base(adapter, given, True, called if place else None, command)
    _check_not_inside(adapter, manifest, given, known, _filled(command, right))
    local = Path(given) if Path(given).is_dir() else None
    revision = (base.get("revision") or "main") if given == base.get("name") else "main"
    if local is None:
        local = hub_directory(given, revision)
    if local and not weight_files(local):
        raise LineageError(f"{given}: a base without safetensors weights; the copy is incomplete")
    if local and _same(str(local), base):
        return given, revision
    if local is None and given == base.get("name"):
        return given, revision  # the name and commit of training
    why = "its weights differ" if local else f"not in the cache, to be compared: `python download_model.py {given}`"
    raise LineageError(
        f"{adapter}: {given} is not the model this adapter was trained on ({why}){known}; {_filled(command, right)}"
    )


def _check_not_inside(adapter: str, manifest: dict, given: str, known: str, command: str) -> None:
    """`check_not_inside`, with the base to take instead."""
    try:
        check_not_inside(adapter, manifest["id"], manifest, given)
    except LineageError as error:
        raise LineageError(f"{error}{known}; {command}") from None


def _refuse_adapter_as_base(adapter: str, base: str, given: bool, right: str | None, command: str) -> None:
    """Raise LineageError for a base that is an adapter itself, with the order of the commands that lead to a model."""
    if not is_adapter(base):
        return
    if given and right:
        raise LineageError(
            f"{base} is an adapter, not a base; {adapter} was trained on {right}; {_filled(command, right)}"
        )
    merged = f"{base.rstrip('/')}-merged"
    raise LineageError(
        f"{adapter}: its base {base} is itself an adapter; merge that one first: {_MERGE} {base} --output_dir {merged}"
        f"; then: {_filled(command, merged)}"
    )
