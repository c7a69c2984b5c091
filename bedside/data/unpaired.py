"""Answers that are labelled good or bad, to ids: question and answer apart, an answer cut at its turn end.

Preference rows are read too: each becomes a good and a bad answer to the same question. Limits count tokens. Where a
row is too long, the oldest turns of its history are left out; one that still is too long is left out and counted.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from bedside import logs
from bedside.data import admit, build, chats, judged, kto, pairs, tokens
from bedside.data.conversation import RowError, check_answers
from bedside.data.judged import Limits
from bedside.data.ledger import Ledger
from bedside.data.rows import Origin, Row

if TYPE_CHECKING:
    from datasets import Dataset

_PAIRED = ("chosen", "response_chosen")


class Answers(NamedTuple):
    """The labelled answers of a row as ids, where it stands, and how often it is used."""

    origin: Origin
    samples: tuple[tokens.Sample, ...]
    labels: tuple[bool, ...]
    times: int = 1


@dataclass
class UnpairedData:
    """A run's labelled answers as datasets, and the account of the training files.

    `held_pairs` are the held-out rows that are pairs, as `pairs.to_dataset` makes them; None if there are none.
    """

    train: "Dataset"
    held_out: "Dataset | None"
    held_pairs: "Dataset | None"
    ledger: Ledger
    good: int
    bad: int


def admitted(row: Any, roles: dict[str, str] | None = None) -> dict:
    """A row with `label` or `kto_tag` as a checked example, or a preference row as a checked pair; else RowError.

    >>> admitted({"prompt": "Fever?", "completion": "Rest.", "label": False})["label"]
    False
    >>> sorted(admitted({"prompt": "Fever?", "chosen": "Rest.", "rejected": "Run."}))
    ['chosen', 'prompt', 'rejected']
    """
    if isinstance(row, dict) and any(name in row for name in _PAIRED):
        return admit.pair(row, roles)
    try:
        made = kto.to_kto(row, roles)
    except RowError as error:
        if error.code != "E_SCHEMA" or any(name in row for name in kto.LABELS):
            raise
        raise RowError("E_SCHEMA", f"{error.detail}, or chosen and rejected") from None
    for part in ("prompt", "completion"):
        check_answers(made[part], where=part)
    return dict(made)


def sides(record: dict) -> dict[str, bool]:
    """The names of a record's answers, and whether each is a good one."""
    return {"completion": record["label"]} if "label" in record else {"chosen": True, "rejected": False}


def _records(
    sources: list[build.Source], plan: chats.Plan, cap: int | None, ledger: Ledger
) -> Iterator[tuple[Row, dict]]:
    """Usable rows; an answer that an earlier row labels the other way is dropped, with that row's line."""
    seen: dict[bytes, tuple[bool, Origin]] = {}
    roles = plan.reading.roles
    for row, read in build.accepted(sources, lambda value: admitted(value, roles), ledger, plan.reading, cap):
        record, remarks = admit.clean_pair(read)
        for told in remarks:
            ledger.remark(row.origin, *told)
        if "label" in record:
            key = build.digest(record["prompt"], record["completion"])
            label, first = seen.setdefault(key, (record["label"], row.origin))
            if label != record["label"]:
                ledger.drop(row.origin, "W_CONTRADICT", f"labels the same answer otherwise than {first}")
                continue
        yield row, record


def _read(
    sources: list[build.Source], plan: chats.Plan, cap: int | None, tokenizer: Tokenizer, encoding: tokens.Encoding,
    limits: Limits, ledger: Ledger,
) -> list[Answers]:  # fmt: skip
    """The answers of every row that can be used, accounted."""
    records = _records(sources, plan, cap, ledger)
    found = judged.answered(records, lambda record: tuple(sides(record)), tokenizer, encoding, limits, ledger)
    return [Answers(row.origin, samples, tuple(sides(record).values()), row.times) for row, record, samples in found]


def to_dataset(rows: list[Answers], seed: int | None = None) -> "Dataset":
    """Columns `prompt_ids`, `completion_ids`, `completion_labels` (-100 where not trained), `label`, `source`, `line`,
    `length`.

    `seed` shuffles: KTO compares the answers of a batch, which therefore keep this order for the whole training.
    """
    import pyarrow
    from datasets import Dataset

    used = [
        (row.origin, sample, label)
        for row in rows
        for sample, label in zip(row.samples, row.labels, strict=True)
        for _ in range(row.times)
    ]
    if seed is not None:
        random.Random(seed).shuffle(used)
    columns: dict[str, list] = {name: [] for name in ("prompt_ids", "completion_ids", "completion_labels")}
    for _, sample, _ in used:
        ids, labels = judged.labels_of(sample)
        start = sample.spans[0][0]
        for name, values in zip(columns, (ids[:start], ids[start:], labels[start:]), strict=True):
            columns[name].append(values)
    table = {name: pyarrow.array(values, pyarrow.list_(pyarrow.int32())) for name, values in columns.items()}
    table["label"] = pyarrow.array([label for _, _, label in used], pyarrow.bool_())
    table["source"] = pyarrow.array([origin.file for origin, _, _ in used], pyarrow.string())
    table["line"] = pyarrow.array([origin.line for origin, _, _ in used], pyarrow.int32())
    # What --group_by_length groups by.
    table["length"] = pyarrow.array([len(sample.ids) for _, sample, _ in used], pyarrow.int32())
    return Dataset(pyarrow.table(table))


def with_partners(dataset: "Dataset", batch: int) -> "Dataset":
    """Adds `KL_completion_ids` and `KL_completion_labels`: within each batch, the answer of the row before.

    KTO estimates how far the policy is from its reference by answers under other questions (Ethayarajh et al. 2024,
    arXiv 2402.01306, section 4.1). A last batch of one row takes the answer of the row before that batch.
    """
    from datasets import Dataset

    count = len(dataset)
    order = np.arange(count)
    for start in range(0, count, batch):
        end = min(start + batch, count)
        order[start:end] = np.roll(np.arange(start, end), 1)
    if count > 1 and count % batch == 1:
        order[-1] = count - 2
    table = dataset.with_format("arrow")[:]
    for name in ("completion_ids", "completion_labels"):
        table = table.append_column(f"KL_{name}", table.column(name).take(order))
    return Dataset(table)


def datasets(
    plan: chats.Plan, tokenizer: Tokenizer, encoding: tokens.Encoding, limits: Limits, output: Path | None = None
) -> UnpairedData:
    """The labelled answers of a run, read, accounted and tokenized; printed is what became of the rows.

    Raises DataError where a file is unusable, too many rows are, or none is left; ConfigError for a template that
    does not fit. Rejected rows are then left in `output`.
    """

    def read(sources: list[build.Source], cap: int | None, ledger: Ledger) -> list[Answers]:
        return _read(sources, plan, cap, tokenizer, encoding, limits, ledger)

    rows, held, ledger, _ = judged.gathered(plan, read, "row", output)  # both answers of a pair stay together
    labels = [label for row in rows for label in row.labels for _ in range(row.times)]
    _tell(rows, held, labels)
    judged.tell(ledger)
    ledger.samples |= {"good": sum(labels), "bad": len(labels) - sum(labels), "rows_held_out": len(held)}
    paired = [pairs.Pair(row.origin, row.samples) for row in held if len(row.samples) == 2]
    return UnpairedData(
        to_dataset(rows, plan.seed), to_dataset(held, plan.seed) if held else None,
        pairs.to_dataset(paired) if paired else None, ledger, sum(labels), len(labels) - sum(labels),
    )  # fmt: skip


def _tell(rows: list[Answers], held: list[Answers], labels: list[bool]) -> None:
    paired = sum(len(row.samples) == 2 for row in (*rows, *held))
    if paired:
        logs.info(f"{paired} preference pairs: each is a good and a bad answer to its question here")
    sizes = [len(sample.ids) for row in rows for sample in row.samples]
    logs.info(
        f"training: {sum(labels)} good and {len(labels) - sum(labels)} bad answers, {sum(sizes):,} tokens, longest "
        f"{max(sizes)}; held out: {sum(len(row.samples) for row in held)} answers"
    )
