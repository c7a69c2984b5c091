"""What is done in an output directory: `pipeline.json`, written whole or not at all, and what it is held against.

A step counts as done if it was made by the same command, of the same inputs, and its output still is what it left.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bedside import lineage, wholefile
from bedside.errors import ConfigError, LineageError
from bedside.fingerprints import file_sha256, fingerprint, weight_files
from bedside.pipeline.steps import ANSWER, EVALUATION, MODEL, REPORT, Step

NAME = "pipeline.json"
SCHEMA = 1
BEGUN, DONE, FAILED = "begun", "done", "failed"
_LARGE = 2 << 30  # bytes above which a model is held against samples of its files, not against every byte
# The files that are the output of a step without lineage; the first ones must be there.
_FILES = {EVALUATION: ("evaluation.json", "cases/*.jsonl"), REPORT: ("report.json", "report.md", "report.html")}


class State:
    """Records of steps by name: `{"status", "made_of", "identity", "seconds", "told", ...}`, and the model that the
    chain began with."""

    def __init__(self, directory: str | Path):
        """Read what is there; ConfigError if it cannot be read."""
        self.path = Path(directory) / NAME
        self.model: str | None = None
        self.steps: dict[str, dict[str, Any]] = {}
        if not self.path.is_file():
            return
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            if kept["schema"] != SCHEMA:
                raise ConfigError(f"{self.path}: schema {kept['schema']}, expected {SCHEMA}; update bedside")
            self.model, self.steps = kept["model"], dict(kept["steps"])
        except (ValueError, TypeError, KeyError) as error:
            raise ConfigError(
                f"{self.path}: damaged ({error}), so nobody knows what is done; put back a copy of it, or choose "
                "another --output_dir"
            ) from None

    def keep(self, name: str, **record: Any) -> None:
        """Write a step's record, over the one that was there; on the disk when this returns."""
        self.steps[name] = record
        self.write()

    def write(self) -> None:
        """All records, so that a kill at any moment leaves the old file or the new one."""
        content = {"schema": SCHEMA, "model": self.model, "steps": self.steps}
        wholefile.write_json(self.path, content)


def made_of(step: Step, identities: dict[str, str]) -> dict[str, Any]:
    """What decides a step's output: the command, the contents of what it reads, the outputs that it needs."""
    return {
        "command": list(step.argv),
        "reads": {path: content(path) for path in step.reads},
        "needs": {name: identities[name] for name in step.needs},
    }


def changed(before: dict[str, Any] | None, now: dict[str, Any]) -> str:
    """What is not as it was, in a few words; "" if everything is."""
    if before is None:
        return "is new"
    for part, told in (("reads", "{} changed"), ("needs", "{} was made again")):
        then = before.get(part) or {}
        names = [name for name in now[part] if name in then and then[name] != now[part][name]]
        if names:
            return told.format(" and ".join(names))
    return "" if before == now else "its command changed"


def stands(step: Step, record: dict[str, Any] | None, now: dict[str, Any]) -> tuple[bool, str]:
    """Whether a step is done already, and if not, why."""
    if record is None:
        return False, ""
    if record["status"] != DONE:
        return False, "was interrupted" if record["status"] == BEGUN else "failed"
    why = changed(record.get("made_of"), now)
    if why:
        return False, why
    identity, damage = product(step)
    if damage or identity != record["identity"]:
        return False, f"{step.output}: {damage or 'is not what was made there'}"
    return True, ""


def product(step: Step) -> tuple[str | None, str | None]:
    """`(identity of a step's output, None)`, or `(None, why it is not whole)`."""
    place = Path(step.output)
    if step.kind == MODEL:
        return _model(place)
    if step.kind == ANSWER:
        files = [place] if place.is_file() and place.stat().st_size else []
    else:
        files = [path for pattern in _FILES[step.kind] for path in sorted(place.glob(pattern))]
        if not (place / _FILES[step.kind][0]).is_file():
            return None, f"{_FILES[step.kind][0]} is missing"
    if not files:
        return None, "is missing"
    if step.kind == EVALUATION and not _json(files[0]).get("complete"):
        return None, f"{files[0].name} says that not all tasks are complete"
    return "f1:" + _digest(f"{path.name}:{file_sha256(path)}" for path in files), None


def _json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; {} where it holds something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _model(place: Path) -> tuple[str | None, str | None]:
    if not place.is_dir():
        return None, "is missing"
    size = sum(path.stat().st_size for path in weight_files(place))
    damage = lineage.damage(place, whole=size <= _LARGE)
    if damage:
        return None, damage
    try:
        manifest = lineage.read(place)
    except LineageError as error:
        return None, str(error)
    texts = [(manifest.get(name) or {}).get("sha") for name in ("tokenizer", "template")]
    sampled = fingerprint(place) if size > _LARGE else ""
    return manifest["id"] + ":" + _digest([*map(str, texts), sampled])[:16], None


def foreign(steps: Sequence[Step], records: dict[str, dict]) -> list[str]:
    """Outputs that lie where a step would write, and that no step of ours left: a sentence each."""
    found = []
    for step in steps:
        place = Path(step.output)
        sign = {MODEL: lineage.NAME, EVALUATION: _FILES[EVALUATION][0]}.get(step.kind)
        if sign and step.name not in records and ((place / sign).exists() or any(place.glob("checkpoint-*"))):
            found.append(
                f"{place}: holds what this pipeline did not make ({NAME} knows nothing of it); move it away, or "
                "choose another --output_dir"
            )
    return found


def content(path: str) -> str:
    """Hash of a file, or of all files under a directory; weights of a model by their fingerprint."""
    place = Path(path)
    if not place.exists():
        return "nothing"
    if place.is_file():
        return _file(place)
    weights = {file.resolve() for file in weight_files(place)}
    lines = [fingerprint(place)] if weights else []
    lines += [f"{file.relative_to(place).as_posix()}:{_file(file)}" for file in _inside(place) if file.resolve()
              not in weights]  # fmt: skip
    return "d1:" + _digest(lines)


def _inside(place: Path) -> Iterator[Path]:
    for path in sorted(place.rglob("*")):
        hidden = any(part.startswith(".") or part == "__pycache__" for part in path.relative_to(place).parts)
        if path.is_file() and not hidden:
            yield path


def _file(path: Path) -> str:
    status = path.stat()
    return _hashed(str(path.resolve()), status.st_size, status.st_mtime_ns)


@lru_cache(maxsize=4096)
def _hashed(path: str, size: int, changed_ns: int) -> str:
    """SHA-256 of a file, read once as long as its size and time stay."""
    return "f1:" + file_sha256(Path(path))


def _digest(lines: Sequence[str] | Iterator[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:32]
