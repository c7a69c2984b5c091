"""Which files a model was trained on: read from its lineage and its parents', and found again by their SHA-256."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bedside.evaluate.said import Said
from bedside.fingerprints import file_sha256
from bedside.lineage import view

_STATUS = {"missing": "已不存在", "changed": "已被更改"}


def files_of(directory: Path | str) -> tuple[list[Path], list[Said]]:
    """The data files that a model directory and its parents were trained on, as far as they still are what they were
    (same SHA-256), and the words for each that is not; LineageError without a lineage.json."""
    found: dict[tuple[str, str], Path] = {}
    lost: dict[tuple[str, str], str] = {}
    told = []
    for link in view.chain(str(directory)):
        if link.manifest is None:
            told.append(_unknown(link))
            continue
        roots = _roots(link.manifest, link.place)
        for record in link.manifest.get("data") or []:
            key = (str(record.get("file")), str(record.get("sha")))
            place = _same(*key, roots)
            if place:
                found.setdefault(key, place)
            else:
                lost.setdefault(key, link.stage)
    told += [_lost(file, stage) for (file, sha), stage in lost.items() if (file, sha) not in found]
    return list(dict.fromkeys(found.values())), told


def _unknown(link: view.Link) -> Said:
    return Said(
        f"stage {link.stage} ({link.place}) is {link.status}, so its training data is not known",
        f"阶段 {link.stage}（{link.place}）{_STATUS.get(link.status, link.status)}，其训练数据未知",
    )


def _lost(file: str, stage: str) -> Said:
    return Said(
        f"stage {stage} was trained on {file}, which is not to be found with the same SHA-256; give its place with "
        "--train_file_dir",
        f"阶段 {stage} 用 {file} 训练，但未找到 SHA-256 相同的文件；请用 --train_file_dir 指明位置",
    )


def _roots(manifest: dict, place: str) -> list[Path]:
    """Where the data of a stage may lie: the directories of its command, as seen from here and from the model."""
    given = manifest.get("args") or {}
    names: list[str] = []
    for key in ("train_file_dir", "dataset_dir"):
        value = given.get(key)
        names += [value] if isinstance(value, str) else [str(name) for name in value or []]
    above = Path(place).resolve().parent
    seen = [root for name in names for root in (Path(name), above / name)] + [Path(), above]
    return list(dict.fromkeys(seen))


def _same(name: str, sha: str, roots: Sequence[Path]) -> Path | None:
    """The file of that name and hash under one of the roots: as a path, or else anywhere below a data directory."""
    for root in roots:
        direct = root if root.is_file() and root.name == Path(name).name else root / name
        deeper = [] if root in (Path(), roots[-1]) or not root.is_dir() else sorted(root.rglob(Path(name).name))
        for path in [direct, *deeper]:
            if path.is_file() and file_sha256(path) == sha:
                return Path(os.path.relpath(path)) if not path.is_absolute() else path
    return None
