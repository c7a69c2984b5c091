"""Preference pairs to ids: two sequences a pair, each cut at its turn end, labels on the answers alone.

Limits count tokens. Where a pair is too long, the oldest turns of its history are left out of both sides; one that
still is too long is left out and counted. Answers are never cut.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from bedside import logs
from bedside.data import build, chats, judged, tokens
from bedside.data.conversation import Preference
from bedside.data.judged import Limits
from bedside.data.ledger import Ledger
from bedside.data.rows import Origin, Row

if TYPE_CHECKING:
    from datasets import Dataset

SIDES = ("chosen", "rejected")


class Pair(NamedTuple):
    """A pair as ids, where it stands, and how often it is used."""

    origin: Origin
    sides: tuple[tokens.Sample, tokens.Sample]
    times: int = 1


@dataclass
class PairData:
    """A run's pairs as datasets, and the account of the training files."""

    train: "Dataset"
    held_out: "Dataset | None"
    ledger: Ledger
    other: Ledger | None = None  # of validation files, if there are any


def _read(
    sources: list[build.Source], plan: chats.Plan, cap: int | None, tokenizer: Tokenizer, encoding: tokens.Encoding,
    limits: Limits, ledger: Ledger,
) -> list[Pair]:  # fmt: skip
    """All pairs of the files that can be used, accounted."""
    thoughts = 0

    def rows() -> Iterator[tuple[Row, Preference]]:
        nonlocal thoughts
        for row, pair in build.read_pairs(sources, ledger, plan.reading, cap):
            thoughts += any(message.get("reasoning_content") for message in pair["chosen"])
            yield row, pair

    found = judged.answered(rows(), lambda _: SIDES, tokenizer, encoding, limits, ledger)
    kept = [Pair(row.origin, sides, row.times) for row, _, sides in found]
    if thoughts and encoding.template.thinking == "none" and encoding.enable_thinking is not False:
        logs.warn(
            f"{thoughts} chosen answers hold thoughts, and template {encoding.template.name} has no place for them: "
            "they are trained as text in front of the answer; --template_name qwen3 keeps thought and answer apart"
        )
    return kept


@dataclass
class _Columns:
    """Flat buffers of one side: ids, labels and the end of each row."""

    ids: array = field(default_factory=lambda: array("i"))
    labels: array = field(default_factory=lambda: array("i"))
    ends: array = field(default_factory=lambda: array("i", [0]))

    def add(self, sample: tokens.Sample) -> None:
        ids, labels = judged.labels_of(sample)
        self.ids.frombytes(ids.tobytes())
        self.labels.frombytes(labels.tobytes())
        self.ends.append(len(self.ids))


def to_dataset(pairs: list[Pair]) -> "Dataset":
    """Columns `chosen_ids`, `chosen_labels`, `rejected_ids`, `rejected_labels` (-100 where not an answer), `source`
    (file), `line` and `length` (of the longer side); a pair that a mixture uses twice stands there twice."""
    import pyarrow
    from datasets import Dataset

    sides = (_Columns(), _Columns())
    used = [pair for pair in pairs for _ in range(pair.times)]
    for pair in used:
        for columns, sample in zip(sides, pair.sides, strict=True):
            columns.add(sample)
    table = {}
    for name, columns in zip(SIDES, sides, strict=True):
        ends = pyarrow.array(np.frombuffer(columns.ends, np.int32))
        for column, values in (("ids", columns.ids), ("labels", columns.labels)):
            flat = pyarrow.array(np.frombuffer(values, np.int32) if values else np.zeros(0, np.int32))
            table[f"{name}_{column}"] = pyarrow.ListArray.from_arrays(ends, flat)
    table["source"] = pyarrow.array([pair.origin.file for pair in used], pyarrow.string())
    table["line"] = pyarrow.array([pair.origin.line for pair in used], pyarrow.int32())
    # What --group_by_length groups by.
    table["length"] = pyarrow.array([max(len(side.ids) for side in pair.sides) for pair in used], pyarrow.int32())
    return Dataset(pyarrow.table(table))


def datasets(
    plan: chats.Plan, tokenizer: Tokenizer, encoding: tokens.Encoding, limits: Limits, output: Path | None = None
) -> PairData:
    """The pairs of a run, read, accounted and tokenized; printed is what became of the rows.

    Raises DataError where a file is unusable, too many rows are, or none is left; ConfigError for a template that
    does not fit. Rejected rows are then left in `output`.
    """

    def read(sources: list[build.Source], cap: int | None, ledger: Ledger) -> list[Pair]:
        return _read(sources, plan, cap, tokenizer, encoding, limits, ledger)

    pairs, held, ledger, other = judged.gathered(plan, read, "pair", output)
    for what, part in (("training", pairs), ("held out", held)):
        if part:
            logs.info(f"{what}: {_told(part)}")
    judged.tell(ledger)
    ledger.samples |= {"pairs": sum(pair.times for pair in pairs), "pairs_held_out": len(held)}
    return PairData(to_dataset(pairs), to_dataset(held) if held else None, ledger, other if plan.validation else None)


def _told(pairs: list[Pair]) -> str:
    """How many pairs, and how long their sides are."""
    sizes = np.array([[len(side.ids) for side in pair.sides] for pair in pairs])
    answers = np.array([[len(side.ids) - side.spans[0][0] for side in pair.sides] for pair in pairs])
    chosen, rejected = answers.mean(0)
    return (
        f"{sum(pair.times for pair in pairs)} pairs, {sizes.sum():,} tokens, longest {sizes.max()}; answers have "
        f"{chosen:.0f} tokens (chosen) and {rejected:.0f} (rejected) on average"
    )
