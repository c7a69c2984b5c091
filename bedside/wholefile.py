"""A file that is written whole or not at all: whoever reads it finds the old text or the new one, after a kill too."""

import json
import os
from pathlib import Path
from typing import Any

UNFINISHED = ".tmp"  # how the name ends while the file is being written


def write(path: Path, text: str, errors: str = "strict") -> None:
    """Write `text` under another name, flush it, and put it in the place of `path`; on the disk when this returns.

    Missing folders are made. `errors` says, as in `str.encode`, what becomes of half of a surrogate pair; "strict"
    raises UnicodeEncodeError, with nothing written.
    """
    content = text.encode("utf-8", errors)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + UNFINISHED)
    with open(unfinished, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    os.replace(unfinished, path)
    flush(path.parent)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON that a person can read."""
    write(path, json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def flush(path: Path) -> None:
    """Have the disk keep a file that was written, or the names in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
