"""Files to ids in one pass: every row is read, checked, accounted and tokenized, and only its ids and facts are kept.

What is remembered of a conversation is 50 bytes and its ids, and the ids may go to a file. The account is the same
whatever the number of processes.
"""

import itertools
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from bedside.data import build, facts, fit, rowwork, tokens, workers
from bedside.data.conversation import Conversation
from bedside.data.ledger import Ledger
from bedside.data.rows import NOT_DRAWN, Fault, Origin, Row
from bedside.data.samples import Samples, Spool, Stored
from bedside.errors import UserError

_CHUNK = 256  # rows that are worked on at a time
_LOOKED_AT = 16  # conversations on which the template is tried
_TRIED = 4  # chunks that are searched for them


@dataclass
class Collected:
    """The conversations of some files, in order. `facts[i]` and `place(i)` belong to conversation i; `places` are
    file, line, item (0: none) and how often it is used, `(N, 4)`; `samples` are those of all, in order."""

    files: list[str] = field(default_factory=list)
    places: np.ndarray = field(default_factory=lambda: np.zeros((0, 4), np.int32))
    facts: np.ndarray = field(default_factory=lambda: np.zeros(0, facts.FACTS))
    refused: dict[int, rowwork.Told] = field(default_factory=dict)
    told: dict[int, rowwork.Told] = field(default_factory=dict)
    samples: Samples | Stored = field(default_factory=Samples)

    def __len__(self) -> int:
        return len(self.facts)

    def place(self, number: int) -> Origin:
        """Where a conversation stands."""
        file, line, item, _ = map(int, self.places[number])
        return Origin(self.files[file], line, item or None)

    def samples_of(self, chosen: np.ndarray) -> np.ndarray:
        """Indices of the samples of these conversations, in order."""
        counts = self.facts["samples"].astype(np.int64)
        first = np.concatenate([[0], np.cumsum(counts)])
        chosen_counts = counts[chosen]
        within = np.arange(chosen_counts.sum()) - np.repeat(np.cumsum(chosen_counts) - chosen_counts, chosen_counts)
        return np.repeat(first[:-1][chosen], chosen_counts) + within


def collect(
    wanted: list[build.Source],
    reading: build.Reading,
    tokenizer: Tokenizer,
    encoding: tokens.Encoding,
    ledger: Ledger,
    spool: Spool,
    processes: int | None = None,
    cap: int | None = None,
) -> Collected:
    """Read all files; rows that cannot be used go to the ledger, the others' ids to the spool.

    `cap` is how many conversations are wanted. Raises DataError where a file is unusable and ConfigError when the
    template does not fit the rows or the tokenizer.
    """
    check = _Tried(tokenizer, encoding, reading.roles).on
    return gather(wanted, reading, tokenizer, encoding, ledger, spool, processes, cap, check=check)


def gather(
    wanted: list[build.Source],
    reading: build.Reading,
    tokenizer: Tokenizer,
    encoding: Any,
    ledger: Ledger,
    spool: Spool,
    processes: int | None = None,
    cap: int | None = None,
    begin: workers.Begin = workers.here,
    check: Callable[[Iterator["_Chunk"]], Iterator["_Chunk"]] | None = None,
) -> Collected:
    """`collect` for rows of any kind: `begin` makes the work on their chunks, and knows what `encoding` is; `check` is
    given the chunks first."""
    kept = _Kept(ledger, spool, cap)
    size = sum(source.path.stat().st_size for source in wanted if source.path.is_file())
    read = _chunks(wanted, reading)
    chunks = ((key, kept.values(key), key.source.entry) for key in (check(read) if check else read))
    count = workers.number(processes, size)
    for chunk, done in workers.done(chunks, tokenizer, encoding, reading.roles, count, begin):
        kept.add(chunk, done)
    return kept.collected()


@dataclass(frozen=True)
class _Chunk:
    source: build.Source
    items: list[Row | Fault]


def _chunks(wanted: list[build.Source], reading: build.Reading) -> Iterator[_Chunk]:
    for source in wanted:
        items = iter(build.rows_of(source, reading))
        while some := list(itertools.islice(items, _CHUNK)):
            yield _Chunk(source, some)


class _Tried:
    """Tries the template on the first conversations, before a thousand rows are dropped one by one."""

    def __init__(self, tokenizer: Tokenizer, encoding: tokens.Encoding, roles: dict[str, str] | None):
        self._with, self._roles = (tokenizer, encoding), roles

    def on(self, chunks: Iterator[_Chunk]) -> Iterator[_Chunk]:
        """The chunks, untouched. Raises ConfigError for a template that does not fit."""
        ready: list[_Chunk] = []
        found: list[Conversation] = []
        stopped: UserError | OSError | None = None
        try:
            for chunk in itertools.islice(chunks, _TRIED):
                ready.append(chunk)
                values = [item.value for item in chunk.items if isinstance(item, Row)][: 2 * _LOOKED_AT]
                found += rowwork.conversations(values, chunk.source.entry, self._roles)[0]
                if len(found) >= _LOOKED_AT:
                    break
        except (UserError, OSError) as error:
            stopped = error
        fit.check_template(found[:_LOOKED_AT], *self._with)
        yield from ready
        if stopped:
            raise stopped
        yield from chunks


class _Kept:
    """Settles the accounts of chunks in order, and keeps what is kept of their conversations."""

    def __init__(self, ledger: Ledger, spool: Spool, cap: int | None):
        self._ledger, self._spool, self._cap = ledger, spool, cap
        self._made = Collected()
        self._places, self._facts = array("i"), []
        self._source: build.Source | None = None
        self._first, self._formats, self._count = True, set(), 0

    def _full(self) -> bool:
        return self._cap is not None and self._count >= self._cap

    def values(self, chunk: _Chunk) -> list[Any]:
        """The rows of a chunk that have to be worked on: none of them once enough is kept."""
        return [] if self._full() else [item.value for item in chunk.items if isinstance(item, Row)]

    def add(self, chunk: _Chunk, done: rowwork.Done) -> None:
        """Account for every row of the chunk. Raises DataError if the first row of a file is of another kind."""
        if chunk.source is not self._source:
            self._source, self._first, self._formats = chunk.source, True, set()
        before, number = self._count, -1
        for item in chunk.items:
            if isinstance(item, Fault) and item.code.startswith("I_"):
                self._ledger.remark(*item)
                continue
            number += isinstance(item, Row)
            self._ledger.row(item.origin)
            if self._full() or isinstance(item, Fault) and item.code == NOT_DRAWN:
                self._ledger.cap(item.origin)
            elif isinstance(item, Fault):
                self._ledger.drop(*item)
                self._first &= item.code == NOT_DRAWN
            elif number in done.errors:
                build.refuse(self._source, item.origin, done.errors[number], self._first, self._ledger)
                self._first = False
            else:
                self._first = False
                self._accept(item, done.formats[number], done.remarks.get(number, ()))
        self._keep(done, before)

    def _accept(self, row: Row, format: str | None, remarks: list[rowwork.Told]) -> None:
        origin = row.origin
        build.remark(origin, format, remarks, self._formats, self._ledger)
        files = self._made.files
        if not files or files[-1] != origin.file:
            files.append(origin.file)
        self._places.extend((len(files) - 1, origin.line, origin.item or 0, row.times))
        self._count += 1

    def _keep(self, done: rowwork.Done, before: int) -> None:
        """The facts and ids of the accepted conversations, the first ones of the chunk."""
        accepted = self._count - before
        described = np.frombuffer(done.facts, facts.FACTS)[:accepted]
        lengths = np.frombuffer(done.lengths, np.int32)[: int(described["samples"].sum())]
        size = int(lengths.sum())
        self._facts.append(described)
        self._spool.add(done.ids[: 4 * size], done.trained[:size], lengths)
        for what, mine in ((done.refused, self._made.refused), (done.told, self._made.told)):
            mine.update((before + number, told) for number, told in what.items() if number < accepted)

    def collected(self) -> Collected:
        """All of it."""
        self._made.places = np.array(self._places, np.int32).reshape(-1, 4)
        self._made.facts = np.concatenate(self._facts) if self._facts else self._made.facts
        self._made.samples = self._spool.finished()
        return self._made


def settle(made: Collected, chosen: np.ndarray, ledger: Ledger, limit: int) -> None:
    """The account of the chosen conversations: kept, over-long for `limit` tokens, or refused by the template."""
    described = made.facts[chosen]
    good = described["samples"] > 0
    for file, count in enumerate(np.bincount(made.places[chosen[good], 0], minlength=len(made.files))):
        ledger.account(made.files[file]).kept += int(count)
    kept = chosen[good]
    told = np.intersect1d(kept, np.array(sorted(made.told), kept.dtype))
    for number in np.sort(np.concatenate([chosen[~good], told])).tolist():
        if number in made.refused:
            ledger.drop(made.place(number), *made.refused[number])
        elif number in made.told:
            ledger.remark(made.place(number), *made.told[number])
        else:
            ledger.overlong(made.place(number), int(made.facts["overlong"][number]), limit)
    ledger.samples["made"] += int(described["samples"].sum())
    ledger.samples["overlong"] += int((described["overlong"][good] > 0).sum())
    ledger.samples["turns_dropped"] += int(described["turns_dropped"].sum())
