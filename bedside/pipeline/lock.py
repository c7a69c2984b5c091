"""One pipeline a directory: a lock that the steps inherit, so that it is free when the last of them has ended.

The kernel holds it (flock), so a kill or a power cut leaves nothing behind that has to be removed by hand.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bedside.errors import ConfigError

NAME = ".lock"
_PATIENCE = 30.0  # seconds that the steps of a pipeline that was killed have for ending


class Lock:
    """A held lock. `descriptor` is passed on to the steps; `note` says who holds it, for the one who is refused."""

    def __init__(self, path: Path, descriptor: int):
        self.path, self.descriptor = path, descriptor
        self.about: dict[str, Any] = {"pid": os.getpid(), "since": time.strftime("%Y-%m-%d %H:%M"), "steps": {}}

    def note(self, steps: dict[str, int]) -> None:
        """Write down the processes of the steps that run now, `{name: process id}`."""
        self.about["steps"] = steps
        text = json.dumps(self.about).encode()
        os.lseek(self.descriptor, 0, os.SEEK_SET)
        os.write(self.descriptor, text)
        os.ftruncate(self.descriptor, len(text))


@contextmanager
def held(directory: Path, tell: Callable[[str], None], patience: float = _PATIENCE) -> Iterator[Lock]:
    """The lock of a directory; ConfigError if another pipeline works there. The steps of one that was killed are
    waited for, because they end soon after it."""
    import fcntl

    path = directory / NAME
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        limit, told = time.monotonic() + patience, False
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                holder = _holder(path)
                if _alive(holder.get("pid")) or time.monotonic() > limit:
                    raise ConfigError(_refusal(directory, holder)) from None
                if not told:
                    tell(f"{directory}: the steps of a pipeline that was killed are ending, waiting for them")
                told = True
                time.sleep(0.2)
        lock = Lock(path, descriptor)
        lock.note({})
        yield lock
    finally:
        os.close(descriptor)


def _holder(path: Path) -> dict[str, Any]:
    """Who holds the lock, as far as it is written down."""
    with contextlib.suppress(OSError, ValueError):
        found = json.loads(path.read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else {}
    return {}


def _alive(process: Any) -> bool:
    if not isinstance(process, int) or process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _refusal(directory: Path, holder: dict[str, Any]) -> str:
    if _alive(holder.get("pid")):
        return (
            f"{directory}: another pipeline works here since {holder.get('since')} (process {holder['pid']}); wait "
            f"for it, end it (kill -INT {holder['pid']}), or choose another --output_dir"
        )
    left = {name: number for name, number in (holder.get("steps") or {}).items() if _alive(number)}
    if left:
        names = ", ".join(f"{name} (process {number})" for name, number in left.items())
        numbers = " ".join(f"-{number}" for number in left.values())
        return (
            f"{directory}: the pipeline that worked here is gone, and {names} still runs; wait for it, or end it: "
            f"kill -- {numbers}"
        )
    return f"{directory}: is locked by a process that cannot be told; choose another --output_dir"
