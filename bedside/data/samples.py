"""Training sequences as flat arrays, in memory or in a file that is still growing, and the dataset made of them."""

import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bedside.data.pack import best_fit

if TYPE_CHECKING:
    import pyarrow
    from datasets import Dataset

IGNORED = -100  # the label of a token that is not trained on (torch's default ignore_index)
_ROWS = 1000  # of a dataset made at a time


@dataclass
class Samples:
    """Training sequences as flat arrays: sample i is `ids[offsets[i]:offsets[i + 1]]`; `trained` marks its labels."""

    ids: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int32))
    trained: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    offsets: np.ndarray = field(default_factory=lambda: np.zeros(1, np.int64))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> np.ndarray:
        """Tokens of each sample, `(N,)`."""
        return np.diff(self.offsets)

    def take(self, order: list[int] | np.ndarray) -> "Samples":
        """The samples at these indices, in this order."""
        if not len(order):
            return Samples()
        order = np.asarray(order)
        starts, ends = self.offsets[order], self.offsets[order + 1]
        pieces = [slice(start, end) for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        return Samples(
            np.concatenate([self.ids[p] for p in pieces]),
            np.concatenate([self.trained[p] for p in pieces]),
            np.concatenate([[0], np.cumsum(ends - starts)]),
        )


class Spool:
    """Samples that are added one chunk at a time and taken in any order later.

    With a `directory` they are written to two files in it, and memory holds 8 bytes a sample; else all is in memory.
    """

    def __init__(self, directory: Path | None = None):
        self._lengths: list[np.ndarray] = []
        self._ids = self._trained = None
        self._paths = (directory / "ids.part", directory / "trained.part") if directory else None
        if directory:
            directory.mkdir(parents=True, exist_ok=True)
            self._ids, self._trained = (path.open("w+b") for path in self._paths)
        else:
            self._kept = (bytearray(), bytearray())

    def add(self, ids: bytes, trained: bytes, lengths: np.ndarray) -> None:
        """More samples: ids as bytes of int32, a byte a token that says whether it is trained, and their lengths."""
        self._lengths.append(lengths.astype(np.int32))
        if self._paths:
            self._ids.write(ids)
            self._trained.write(trained)
        else:
            self._kept[0].extend(ids)
            self._kept[1].extend(trained)

    def finished(self) -> "Samples | Stored":
        """All of them, to be taken from."""
        lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.int32)
        offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
        if not self._paths:
            return Samples(np.frombuffer(self._kept[0], np.int32), np.frombuffer(self._kept[1], bool), offsets)
        self._ids.flush()
        self._trained.flush()
        return Stored(self._ids, self._trained, offsets)

    def close(self) -> None:
        """Remove the files."""
        for stream in filter(None, (self._ids, self._trained)):
            stream.close()
        for path in self._paths or ():
            path.unlink(missing_ok=True)


class Stored:
    """Samples in files. They are read, not mapped: a mapping would count as this process's memory."""

    def __init__(self, ids, trained, offsets: np.ndarray):
        self._ids, self._trained, self.offsets = ids, trained, offsets

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def lengths(self) -> np.ndarray:
        """Tokens of each sample, `(N,)`."""
        return np.diff(self.offsets)

    def take(self, order: list[int] | np.ndarray) -> Samples:
        """The samples at these indices, in this order."""
        if not len(order):
            return Samples()
        order = np.asarray(order)
        starts, ends = self.offsets[order], self.offsets[order + 1]
        ids, trained = [], []
        of_ids, of_trained = self._ids.fileno(), self._trained.fileno()
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            ids.append(os.pread(of_ids, 4 * (end - start), 4 * start))
            trained.append(os.pread(of_trained, end - start, start))
        offsets = np.concatenate([[0], np.cumsum(ends - starts)])
        return Samples(np.frombuffer(b"".join(ids), np.int32), np.frombuffer(b"".join(trained), bool), offsets)


def rows_of(lengths: np.ndarray, packed_length: int | None, seed: int) -> list[np.ndarray] | np.ndarray:
    """Which samples each row of a dataset holds: one each, or packed into rows of at most `packed_length`.

    The order of packed rows is shuffled by `seed`: best fit leaves them sorted by length, and the order of rows
    should tell the optimizer nothing.
    """
    if not packed_length:
        return np.arange(len(lengths)).reshape(-1, 1)
    rows = best_fit(lengths, packed_length)
    random.Random(seed).shuffle(rows)
    return rows


def tables(
    samples: "Samples | Stored", packed_length: int | None, seed: int, of: np.ndarray | None = None
) -> Iterator["pyarrow.Table"]:
    """A dataset in tables of a thousand rows: columns `input_ids`, `labels` (-100 where not trained) and, packed,
    `seq_lengths` of the samples in each row. `of` are the indices of the samples to use (default: all)."""
    lengths = samples.lengths() if of is None else samples.lengths()[of]
    rows = rows_of(lengths, packed_length, seed)
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        order = np.concatenate(some)
        yield _table(samples.take(order if of is None else of[order]), [len(row) for row in some], bool(packed_length))


def _table(samples: Samples, counts: list[int], packed: bool) -> "pyarrow.Table":
    import pyarrow

    ends = np.concatenate([[0], np.cumsum(counts)])
    offsets = pyarrow.array(samples.offsets[ends].astype(np.int32))
    labels = np.where(samples.trained, samples.ids, IGNORED).astype(np.int32)
    columns = {
        "input_ids": pyarrow.ListArray.from_arrays(offsets, pyarrow.array(samples.ids)),
        "labels": pyarrow.ListArray.from_arrays(offsets, pyarrow.array(labels)),
    }
    if packed:
        lengths = pyarrow.array(samples.lengths().astype(np.int32))
        columns["seq_lengths"] = pyarrow.ListArray.from_arrays(pyarrow.array(ends.astype(np.int32)), lengths)
    return pyarrow.table(columns)


def to_dataset(
    samples: "Samples | Stored", packed_length: int | None = None, seed: int = 42, of: np.ndarray | None = None
) -> "Dataset":
    """The tables as one dataset in memory."""
    import pyarrow
    from datasets import Dataset

    made = list(tables(samples, packed_length, seed, of)) or [_table(Samples(), [], bool(packed_length))]
    return Dataset(pyarrow.concat_tables(made))
