"""Chunks of rows to ids in several processes: results come in the order of the chunks, whatever the number.

Workers are started afresh and load the tokenizer only; torch is in none of them. What travels to them are parsed
rows, and back come bytes: never lists of ids.
"""

import gc
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

from tokenizers import Tokenizer

from bedside.data import rowwork, tokens
from bedside.data.pieces import Batches
from bedside.data.registry import Entry
from bedside.errors import ConfigError, UserError

Work = Callable[[list[Any], Entry | None], rowwork.Done]
Begin = Callable[[Tokenizer, Any, dict[str, str] | None], Work]  # of a tokenizer, how rows become ids, names of roles
WORTH = 8 << 20  # bytes of data from which on starting processes pays off
_AHEAD = 4  # chunks in work or waiting, a worker
_MOST = 8  # processes that are started unasked


def number(wanted: int | None, size: int) -> int:
    """How many processes to use for `size` bytes of data; 1 is this one, alone."""
    if size < WORTH:
        return 1
    if wanted is None:
        several_ranks = int(os.environ.get("WORLD_SIZE", "1")) > 1
        wanted = 1 if several_ranks else min(_MOST, os.cpu_count() or 1)
    return max(1, wanted)


def here(tokenizer: Tokenizer, encoding: tokens.Encoding, roles: dict[str, str] | None) -> Work:
    """The work on a chunk, in this process."""
    batches = Batches(tokenizer)

    def work(values: list[Any], entry: Entry | None) -> rowwork.Done:
        return rowwork.encode(*rowwork.conversations(values, entry, roles), batches, encoding)

    return work


_work: Work | None = None  # of a worker process


def _begin(begin: Begin, tokenizer: str, encoding: Any, roles: dict[str, str] | None) -> None:
    global _work
    _work = begin(Tokenizer.from_str(tokenizer), encoding, roles)
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _worked(values: list[Any], entry: Entry | None) -> rowwork.Done:
    return _work(values, entry)


@contextmanager
def _quiet_starts() -> Iterator[None]:
    """Workers tokenize in one thread each."""
    before = os.environ.get("TOKENIZERS_PARALLELISM")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        yield
    finally:
        if before is None:
            del os.environ["TOKENIZERS_PARALLELISM"]
        else:
            os.environ["TOKENIZERS_PARALLELISM"] = before


def done(
    chunks: Iterable[tuple[Any, list[Any], Entry | None]],
    tokenizer: Tokenizer,
    encoding: Any,
    roles: dict[str, str] | None,
    processes: int,
    begin: Begin = here,
) -> Iterator[tuple[Any, rowwork.Done]]:
    """Work on chunks `(key, values, entry)`; `(key, what became of them)` in the same order. `begin` makes the work,
    once in each process.

    A user's mistake that `chunks` comes upon is raised after the results of what came before it. Raises ConfigError if
    a worker dies.
    """
    if processes == 1:
        work = begin(tokenizer, encoding, roles)
        for key, values, entry in chunks:
            yield key, work(values, entry)
        return
    waiting: deque[tuple[Any, Future]] = deque()
    stopped: UserError | OSError | None = None
    start = (begin, tokenizer.to_str(), encoding, roles)
    with _quiet_starts(), ProcessPoolExecutor(processes, get_context("spawn"), _begin, start) as pool:
        try:
            source = iter(chunks)
            while True:
                try:
                    key, values, entry = next(source)
                except StopIteration:
                    break
                except (UserError, OSError) as error:
                    stopped = error
                    break
                waiting.append((key, pool.submit(_worked, values, entry)))
                while len(waiting) > _AHEAD * processes or waiting and waiting[0][1].done():
                    yield _next(waiting)
            while waiting:
                yield _next(waiting)
        finally:
            pool.shutdown(cancel_futures=True)
    if stopped:
        raise stopped


def _next(waiting: deque) -> tuple[Any, rowwork.Done]:
    key, future = waiting.popleft()
    try:
        return key, future.result()
    except BrokenProcessPool:
        raise ConfigError(
            "a process that tokenizes died, most likely for want of memory; lower --dataset_num_proc"
        ) from None
