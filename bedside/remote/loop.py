"""The thread that requests run in: one event loop for all engines, where a request that is given up ends at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from threading import Lock, Thread
from typing import Any

_LOCK = Lock()
_RUNNING: list[asyncio.AbstractEventLoop] = []


def submit(work: Coroutine[Any, Any, Any]) -> Future:
    """Run `work` beside the caller; cancelling the future that is returned closes what it had opened."""
    with _LOCK:
        if not _RUNNING:
            loop = asyncio.new_event_loop()
            Thread(target=loop.run_forever, name="bedside-remote", daemon=True).start()
            _RUNNING.append(loop)
    return asyncio.run_coroutine_threadsafe(work, _RUNNING[0])


def in_flight(
    starts: Iterable[Callable[[], Future]], at_once: int, ahead: int | None = None
) -> Iterator[tuple[int, Future]]:
    """Start at most `at_once` at a time; yields the place of each in `starts` and its future, as they finish.

    None is started that is `ahead` places or more beyond one that is unfinished (None: no such bound). What is under
    way is cancelled when the iterator is closed.
    """
    waiting: dict[Future, int] = {}
    places = enumerate(starts)
    coming = next(places, None)
    try:
        while coming or waiting:
            while coming and len(waiting) < at_once:
                if ahead is not None and coming[0] >= min(waiting.values(), default=coming[0]) + ahead:
                    break
                waiting[coming[1]()] = coming[0]
                coming = next(places, None)
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future
    finally:
        for future in waiting:
            future.cancel()
