"""Answers that are labelled good or bad, to ids: question and answer apart, an answer cut at its turn end.

Preference rows are read too: each becomes a good and a bad answer to the same question. Limits count tokens. Where a
row is too long, the oldest turns of its history are left out; one that still is too long is left out and counted.
"""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from bedside import logs
from bedside.data import admit, build, chats, fit, kto, pairs, tokens
from bedside.data.conversation import RowError, check_answers
from bedside.data.ledger import Ledger
from bedside.data.pairs import Limits
from bedside.data.pieces import Batches
from bedside.data.rows import Origin, Row
from bedside.data.samples import IGNORED
from bedside.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

_UNLIMITED = 1 << 40
_CHUNK = 256  # rows tokenized at a time
_PAIRED = ("chosen", "response_chosen")


class Example(NamedTuple):
    """One labelled answer as ids, where it stands, and how often it is used."""

    origin: Origin
    sample: tokens.Sample
    label: bool
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


def sides(record: dict) -> tuple[tuple[str, bool], ...]:
    """The names of a record's answers, and whether each is a good one."""
    return (("completion", record["label"]),) if "label" in record else (("chosen", True), ("rejected", False))


def encode(records: list[dict], batches: Batches, encoding: tokens.Encoding) -> list[list[tokens.Sample] | RowError]:
    """The answers of each record behind their question, as ids that end with the last trained token, or its fault."""
    unlimited = replace(encoding, max_length=_UNLIMITED)
    flat = [pairs.conversation_of(record, side) for record in records for side, _ in sides(record)]
    encoded = iter(tokens.encode_chunk(flat, batches, unlimited))
    made: list[list[tokens.Sample] | RowError] = []
    for record in records:
        answers = [next(encoded) for _ in sides(record)]
        error = next((answer.error for answer in answers if answer.error), None)
        made.append(RowError(*error) if error else [_ending(answer.samples[-1]) for answer in answers])
    return made


def _ending(sample: tokens.Sample) -> tokens.Sample:
    """The sample up to its last trained token: what a template writes behind a turn end is nobody's answer."""
    return tokens.Sample(sample.ids[: sample.spans[-1][1]], sample.spans)


def fitted(
    records: list[dict], batches: Batches, encoding: tokens.Encoding, limits: Limits
) -> list[tuple[list[tokens.Sample] | RowError | None, tuple[int, int, str] | None, int]]:
    """`(answers or error, the limit that is broken, turns left out)` of each record."""
    results: list = [None] * len(records)
    waiting = [(number, record, 0) for number, record in enumerate(records)]
    while waiting:
        again = []
        encoded = encode([record for _, record, _ in waiting], batches, encoding)
        for (number, record, dropped), answers in zip(waiting, encoded, strict=True):
            if isinstance(answers, RowError):
                results[number] = (answers, None, 0)
                continue
            broken = next((found for answer in answers if (found := limits.broken(answer))), None)
            shorter = pairs.without_oldest_turn(record) if broken and broken[2] != "--max_target_length" else None
            if shorter:
                again.append((number, shorter, dropped + 1))
            else:
                results[number] = (None, broken, 0) if broken else (answers, None, dropped)
        waiting = again
    return results


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
) -> list[list[Example]]:  # fmt: skip
    """The examples of every row that can be used, accounted; one list a row."""
    kept: list[list[Example]] = []
    batches, tried = Batches(tokenizer, many=True), False
    records = _records(sources, plan, cap, ledger)
    while some := list(itertools.islice(records, _CHUNK)):
        if not tried:  # the template, before a thousand rows are dropped one by one
            first = [pairs.conversation_of(record, sides(record)[0][0]) for _, record in some[:16]]
            fit.check_template(first, tokenizer, encoding)
            tried = True
        done = fitted([record for _, record in some], batches, encoding, limits)
        for (row, record), (answers, broken, dropped) in zip(some, done, strict=True):
            if isinstance(answers, RowError):
                ledger.drop(row.origin, answers.code, answers.detail)
            elif broken:
                ledger.overlong(row.origin, *broken)
            else:
                ledger.keep(row.origin)
                ledger.samples["turns_dropped"] += dropped
                found = zip(answers, sides(record), strict=True)
                kept.append([Example(row.origin, answer, label, row.times) for answer, (_, label) in found])
    return kept


def to_dataset(rows: list[list[Example]], seed: int | None = None) -> "Dataset":
    """Columns `prompt_ids`, `completion_ids`, `completion_labels` (-100 where not trained), `label`, `source`, `line`,
    `length`.

    `seed` shuffles: KTO compares the answers of a batch, which therefore keep this order for the whole training.
    """
    import pyarrow
    from datasets import Dataset

    used = [example for row in rows for example in row for _ in range(example.times)]
    if seed is not None:
        random.Random(seed).shuffle(used)
    columns: dict[str, list] = {name: [] for name in ("prompt_ids", "completion_ids", "completion_labels")}
    for example in used:
        ids = np.asarray(example.sample.ids, np.int32)
        labels = np.full(len(ids), IGNORED, np.int32)
        for start, end in example.sample.spans:
            labels[start:end] = ids[start:end]
        start = example.sample.spans[0][0]
        for name, values in zip(columns, (ids[:start], ids[start:], labels[start:]), strict=True):
            columns[name].append(values)
    table = {name: pyarrow.array(values, pyarrow.list_(pyarrow.int32())) for name, values in columns.items()}
    table["label"] = pyarrow.array([example.label for example in used], pyarrow.bool_())
    table["source"] = pyarrow.array([example.origin.file for example in used], pyarrow.string())
    table["line"] = pyarrow.array([example.origin.line for example in used], pyarrow.int32())
    # What --group_by_length groups by.
    table["length"] = pyarrow.array([len(example.sample.ids) for example in used], pyarrow.int32())
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
    ledger, other = accounts = (Ledger(), Ledger())
    with chats.rejections(output, accounts):
        rows = _read(plan.train, plan, plan.max_train, tokenizer, encoding, limits, ledger)
        chats.report(ledger, "training rows")
        ledger.check_rate(plan.max_bad_rate)
        if plan.validation:
            chats.warn_of_same_files(plan)
            held = _read(plan.validation, plan, plan.max_eval, tokenizer, encoding, limits, other)
            chats.report(other, "validation rows")
            other.check_rate(plan.max_bad_rate)
        else:
            rows, held = _parted(rows, plan, ledger)
    held = [[example._replace(times=1) for example in row] for row in held]
    for part, account, purpose in ((rows, ledger, "train on"), (held, other, "evaluate on")):
        if not part and (part is rows or plan.validation):
            files = ", ".join(account.files)
            raise DataError("E_NOTHING_LEFT", files, f"no row is left to {purpose} ({account.summary()})")
    labels = [example.label for row in rows for example in row for _ in range(example.times)]
    _tell(rows, held, labels, ledger)
    ledger.samples |= {"good": sum(labels), "bad": len(labels) - sum(labels), "rows_held_out": len(held)}
    paired = [pairs.Pair(row[0].origin, (row[0].sample, row[1].sample)) for row in held if len(row) == 2]
    return UnpairedData(
        to_dataset(rows, plan.seed), to_dataset(held, plan.seed) if held else None,
        pairs.to_dataset(paired) if paired else None, ledger, sum(labels), len(labels) - sum(labels),
    )  # fmt: skip


def _parted(rows: list[list[Example]], plan: chats.Plan, ledger: Ledger) -> tuple[list, list]:
    """The rows to train on and those that are held out; both answers of a pair stay together."""
    share = plan.holdout if plan.holdout < 1 else plan.holdout / max(1, len(rows))
    if not share or len(rows) < 2:
        return rows, []
    kept, held_out = chats.split(len(rows), share, plan.seed)
    for number in held_out[plan.max_eval :].tolist() if plan.max_eval is not None else []:
        ledger.unkeep(rows[number][0].origin)
        ledger.cap(rows[number][0].origin)
    return [rows[i] for i in kept], [rows[i] for i in held_out[: plan.max_eval]]


def _tell(rows: list[list[Example]], held: list[list[Example]], labels: list[bool], ledger: Ledger) -> None:
    paired = sum(len(row) == 2 for row in (*rows, *held))
    if paired:
        logs.info(f"{paired} preference pairs: each is a good and a bad answer to its question here")
    sizes = [len(example.sample.ids) for row in rows for example in row]
    logs.info(
        f"training: {sum(labels)} good and {len(labels) - sum(labels)} bad answers, {sum(sizes):,} tokens, longest "
        f"{max(sizes)}; held out: {sum(len(row) for row in held)} answers"
    )
    logs.info(ledger.summary())
    if ledger.samples["turns_dropped"]:
        logs.info(f"{ledger.samples['turns_dropped']} oldest turns left out to fit the limits")
