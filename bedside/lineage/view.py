"""A chain of stages as a tree, base at the root: read from manifests alone, each told whether it still lies there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bedside.errors import LineageError
from bedside.fingerprints import fingerprint, identity, weight_files
from bedside.lineage.record import NAME, read, start_of

_LOOKED_AT = 200  # neighbours that are asked whether they are a parent that was moved
_FILES = 4  # data files shown for a stage
_METRICS = ("train_loss", "eval_loss", "eval_perplexity", "eval_accuracy", "accuracy", "heldout_win_rate",
            "heldout_margin", "merge error")  # fmt: skip
_HOW = {"continued": "continues {}", "base": "new adapter on {}", "merged": "{} folded into its base",
        "init": "all parameters, from {}", "extended": "rows added to {}",
        "quantised": "{} in fewer bits"}  # fmt: skip


@dataclass(frozen=True)
class Link:
    """One stage of a chain. `how` is what it did with the stage before it; `status` is here, found, moved, missing or
    changed (other weights lie there now); `manifest` is None where it cannot be read."""

    stage: str
    id: str
    how: str | None
    place: str
    status: str
    manifest: dict | None


def chain(directory: str) -> list[Link]:
    """The stages of a directory, newest first; LineageError if it has no lineage.json."""
    manifest = read(directory)
    if manifest is None:
        raise LineageError(
            f"{directory}: no {NAME}, so nobody wrote down where it came from; expected a directory that a stage or "
            "merge_peft_adapter.py wrote"
        )
    parents = manifest["parents"]
    hows = [parent["how"] for parent in parents] + [None]
    links = [Link(manifest["stage"], manifest["id"], hows[0], directory, "here", manifest)]
    for parent, how in zip(parents, hows[1:], strict=True):
        place, status, older = _find(Path(directory), parent)
        links.append(Link(parent["stage"], parent["id"], how, place, status, older))
    return links


def _find(directory: Path, parent: dict) -> tuple[str, str, dict | None]:
    """Where a parent lies now, how it was found, and its manifest."""
    place = Path(os.path.normpath(directory / parent["path"]))
    there = _manifest(place)
    if there and there["id"] == parent["id"]:
        return str(place), "found", there
    if place.is_dir() and weight_files(place) and identity(place) == parent["id"]:
        return str(place), "found", None
    for other in _neighbours(directory):
        manifest = _manifest(other)
        if manifest and manifest["id"] == parent["id"]:
            return str(other), "moved", manifest
    return str(place), "changed" if place.is_dir() else "missing", None


def _manifest(directory: Path) -> dict | None:
    try:
        return read(directory)
    except LineageError:
        return None


def _neighbours(directory: Path) -> Iterator[Path]:
    """Model directories beside this one, and beside the run that it is a checkpoint of."""
    here = directory.resolve()
    places = [path for parent in (here.parent, here.parent.parent) for path in sorted(parent.glob(f"*/{NAME}"))]
    yield from (Path(os.path.relpath(path.parent)) for path in places[:_LOOKED_AT])


def root(links: list[Link]) -> tuple[str, str, str] | None:
    """Name, fingerprint and status of the base that the chain goes back to; None if its lineage names none."""
    for link in reversed(links):
        base = start_of(link.manifest or {})
        if not base:
            continue
        place = os.path.normpath(Path(link.place) / base["path"]) if base.get("path") else None
        if any(place == older.place for older in links):
            return None
        name = base.get("name") or place or "unknown"
        if not place:
            return name, base.get("fp") or "no fingerprint", f"hub, revision {base.get('revision') or 'main'}"
        status = "missing" if not weight_files(place) else "found"
        if status == "found" and base.get("fp") not in (None, fingerprint(place)):
            status = "changed"
        return name, base.get("fp") or "no fingerprint", status
    return None


def _short(identity: str) -> str:
    return identity[:15]


def _quant(load: dict) -> str:
    quant = load.get("quant")
    if not quant:
        return "16/32-bit base"
    return f"{quant['type']}{' double' if quant.get('double') else ''} base"


def _made_of(manifest: dict) -> list[str]:
    """Precision, template, reference and merge of a stage, in a few words each."""
    words = [_quant(manifest["load"])] if manifest["load"].get("base") else []
    if manifest["load"].get("task") == "SEQ_CLS":
        words.append("reward model")
    template, reference = manifest.get("template") or {}, manifest.get("reference") or {}
    if template.get("name"):
        words.append(f"template {template['name']} {str(template.get('sha') or '')[:8]}".strip())
    if reference.get("kind", "none") != "none":
        words.append(f"reference: {reference['kind']} {_short(reference.get('id') or 'unknown')}")
    merge = manifest.get("merge") or {}
    if merge:
        error = f", merge error {merge['kl']:.1e} ({merge['ratio']:.1%})" if merge.get("kl") is not None else ""
        words.append(f"mode {merge['mode']}, {merge['dtype']}{error}")
    return words


def details(manifest: dict | None) -> list[str]:
    """What is told of a stage below its name."""
    if manifest is None:
        return []
    lines = [", ".join(words)] if (words := _made_of(manifest)) else []
    data = (manifest.get("data") or []) if manifest["kind"] != "merged" else []
    for item in data[:_FILES]:
        used = f", {item['used']:,} used" if "used" in item else ""
        lines.append(f"data {item['file']}: {item['rows']:,} rows{used}")
    if len(data) > _FILES:
        lines.append(f"data: {len(data) - _FILES} more files, in {NAME}")
    metrics = manifest.get("metrics") or {}
    told = [f"{name} {metrics[name]:.4g}" for name in _METRICS if isinstance(metrics.get(name), float)]
    return [*lines, *([", ".join(told)] if told and not manifest.get("merge") else [])]


def tree(links: list[Link]) -> str:
    """The chain as text, base at the root, a stage indented under the one that it was made from."""
    origin = root(links)
    lines = [f"{origin[0]}  base  {_short(origin[1])}  [{origin[2]}]"] if origin else []
    oldest = links[::-1]
    for depth, link in enumerate(oldest):
        level = depth if origin else depth - 1
        lead = "   " * level + "└─ " if level >= 0 else ""
        before = oldest[depth - 1].stage if depth else (origin[0] if origin else "")
        how = _HOW.get(link.how or "base", "{}").format(before) if before else ""
        kind = link.manifest["kind"] if link.manifest else "unknown"
        mark = "this directory" if link.status == "here" else f"{link.status}: {link.place}"
        lines.append(
            "  ".join(part for part in (f"{lead}{link.stage}", kind, _short(link.id), how, f"[{mark}]") if part)
        )
        lines += [" " * len(lead) + "     " + line for line in details(link.manifest)]
    return "\n".join(lines)


def record(links: list[Link]) -> dict:
    """The chain as JSON values, base first."""
    origin = root(links)
    stages = [
        {"stage": link.stage, "id": link.id, "how": link.how, "place": link.place, "status": link.status,
         "kind": link.manifest["kind"] if link.manifest else None, "details": details(link.manifest)}
        for link in links[::-1]
    ]  # fmt: skip
    named = dict(zip(("name", "fp", "status"), origin, strict=True)) if origin else None
    return {"base": named, "stages": stages}
