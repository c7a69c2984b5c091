"""Whether a 4-bit copy may be believed: all of it is there and unchanged, and the base is still the one it is of."""

from __future__ import annotations

import json
import os

from bedside import wholefile
from bedside.nf4_cache.whereabouts import RECORD, Kept, files, hashes


def trouble(kept: Kept) -> str | None:
    """Why the copy cannot be believed, or None. All of it is read, and of the base the files whose dates changed."""
    try:
        return _trouble(kept)
    except OSError as error:
        return f"{error.filename or kept.directory} cannot be read ({error.strerror})"


def _trouble(kept: Kept) -> str | None:
    record = _record(kept)
    if record is None:
        return f"its {RECORD} is damaged"
    if record["facts"] != kept.facts:
        return f"its {RECORD} is of another precision or version"
    if changed := _changed(kept, record):
        return f"the base changed since ({changed})"
    for name, (size, _) in record["files"].items():
        path = kept.directory / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is missing or cut short"
    found = hashes([kept.directory / name for name in record["files"]])
    return next((f"{name} is damaged" for name, (_, sha) in record["files"].items() if found[name] != sha), None)


def _record(kept: Kept) -> dict | None:
    try:
        record = json.loads((kept.directory / RECORD).read_text(encoding="utf-8"))
        whole = all(isinstance(record[part], dict) and record[part] for part in ("facts", "base", "files"))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return record if whole else None


def _changed(kept: Kept, record: dict) -> str | None:
    """What of the base is not what the copy was made of, or None. A file that was only touched is read whole, once."""
    base = record["base"]
    if base.keys() != kept.seen.keys():
        return "it has other files"
    touched = [path for path in files(kept.local) if base[path.name]["seen"] != kept.seen[path.name]]
    found = hashes(touched)
    changed = next((name for name, sha in found.items() if base[name]["sha256"] != sha), None)
    if touched and not changed and os.environ.get("LOCAL_RANK") in (None, "0"):
        for path in touched:
            base[path.name]["seen"] = kept.seen[path.name]
        try:
            wholefile.write_json(kept.directory / RECORD, record)
        except OSError:
            return None  # a read-only folder: the base is read again at the next start, no more
    return changed
