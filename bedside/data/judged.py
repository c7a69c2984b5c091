"""What rows whose answers were judged share on the way to ids: limits in tokens, the account, what is held out.

`pairs` and `unpaired` say what a row is and which columns it becomes. Where a row is too long, the oldest turns of its
history are left out; one that still is too long is left out and counted. Answers are never cut.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from bedside import logs
from bedside.data import build, chats, fit, tokens
from bedside.data.conversation import RowError
from bedside.data.ledger import Ledger
from bedside.data.pieces import Batches
from bedside.data.rows import Row
from bedside.data.samples import IGNORED
from bedside.errors import DataError

_UNLIMITED = 1 << 40
_CHUNK = 256  # rows tokenized at a time
_TRIED = 16  # rows that the template is tried on
_ANSWER_LIMIT = "--max_target_length"  # a shorter history does not mend it

Broken = tuple[int, int, str]  # tokens, limit and the flag that sets it
Sides = Callable[[dict], tuple[str, ...]]  # the names of a record's answers


@dataclass(frozen=True)
class Limits:
    """Longest sequence, question and answer, in tokens; None is no limit of its own."""

    sequence: int
    question: int | None = None
    answer: int | None = None

    def broken(self, sample: tokens.Sample) -> Broken | None:
        """The first limit that `sample` breaks; None if it fits."""
        start, end = sample.spans[0][0], sample.spans[-1][1]
        for length, limit, flag in (
            (end, self.sequence, "--max_length"),
            (start, self.question, "--max_source_length"),
            (end - start, self.answer, _ANSWER_LIMIT),
        ):
            if limit is not None and length > limit:
                return length, limit, flag
        return None


class Fitted(NamedTuple):
    """What became of a record: its ids or its fault; or the limit that it breaks; and the turns that were left out."""

    made: Any = None
    broken: Broken | None = None
    dropped: int = 0


def conversation_of(record: dict, side: str) -> dict:
    """One answer behind its question, as a chat whose last turns alone are trained on.

    >>> pair = {"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "assistant", "content": "Hello"}]}
    >>> [m["role"] for m in conversation_of(pair, "chosen")["messages"]]
    ['user', 'assistant']
    """
    history = [
        {**message, "train": False} if message["role"] == "assistant" else message for message in record["prompt"]
    ]
    return {"messages": [*history, *record[side]]}


def without_oldest_turn(record: dict) -> dict | None:
    """The record less the oldest question of its history and all that answered it; None if one question is left."""
    shorter = tokens.without_oldest_turn(record["prompt"])
    return {**record, "prompt": shorter} if shorter else None


def encode(
    records: list[dict], sides: Sides, batches: Batches, encoding: tokens.Encoding
) -> list[tuple[tokens.Sample, ...] | RowError]:
    """The answers of each record behind their question, as ids that end with the last trained token, or its fault."""
    unlimited = replace(encoding, max_length=_UNLIMITED)
    flat = [conversation_of(record, side) for record in records for side in sides(record)]
    encoded = iter(tokens.encode_chunk(flat, batches, unlimited))
    made: list[tuple[tokens.Sample, ...] | RowError] = []
    for record in records:
        answers = [next(encoded) for _ in sides(record)]
        error = next((answer.error for answer in answers if answer.error), None)
        made.append(RowError(*error) if error else tuple(_ending(answer.samples[-1]) for answer in answers))
    return made


def _ending(sample: tokens.Sample) -> tokens.Sample:
    """The sample up to its last trained token: what a template writes behind a turn end is nobody's answer."""
    return tokens.Sample(sample.ids[: sample.spans[-1][1]], sample.spans)


def fitted(
    records: list[dict], encoded: Callable[[list[dict]], list], broken: Callable[[Any], Broken | None]
) -> list[Fitted]:
    """Each record as `encoded` makes it (a RowError is its fault), less as many old turns as `broken` asks for."""
    results: list[Any] = [None] * len(records)
    waiting = [(number, record, 0) for number, record in enumerate(records)]
    while waiting:
        again = []
        for (number, record, dropped), made in zip(waiting, encoded([item[1] for item in waiting]), strict=True):
            if isinstance(made, RowError):
                results[number] = Fitted(made)
                continue
            limit = broken(made)
            shorter = without_oldest_turn(record) if limit and limit[2] != _ANSWER_LIMIT else None
            if shorter:
                again.append((number, shorter, dropped + 1))
            else:
                results[number] = Fitted(None, limit) if limit else Fitted(made, None, dropped)
        waiting = again
    return results


def usable(
    rows: Iterable[tuple[Row, dict]], fit_all: Callable[[list[dict]], list[Fitted]], ledger: Ledger
) -> Iterator[tuple[Row, dict, Any]]:
    """`(row, record, ids)` of the rows that have ids and fit, a chunk at a time; all are accounted."""
    rows = iter(rows)
    while some := list(itertools.islice(rows, _CHUNK)):
        done = fit_all([record for _, record in some])
        for (row, record), (made, broken, dropped) in zip(some, done, strict=True):
            if isinstance(made, RowError):
                ledger.drop(row.origin, made.code, made.detail)
            elif broken:
                ledger.overlong(row.origin, *broken)
            else:
                ledger.keep(row.origin)
                ledger.samples["turns_dropped"] += dropped
                yield row, record, made


def answered(
    rows: Iterable[tuple[Row, dict]], sides: Sides, tokenizer: Tokenizer, encoding: tokens.Encoding, limits: Limits,
    ledger: Ledger,
) -> Iterator[tuple[Row, dict, tuple[tokens.Sample, ...]]]:  # fmt: skip
    """`usable` rows with the ids of their answers; ConfigError for a template that does not fit the first of them."""
    batches, tried = Batches(tokenizer, many=True), False

    def fit_all(records: list[dict]) -> list[Fitted]:
        nonlocal tried
        if not tried:  # the template, before a thousand rows are dropped one by one
            first = [conversation_of(record, sides(record)[0]) for record in records[:_TRIED]]
            fit.check_template(first, tokenizer, encoding)
            tried = True
        return fitted(records, lambda some: encode(some, sides, batches, encoding), broken)

    def broken(samples: tuple[tokens.Sample, ...]) -> Broken | None:
        return next((found for sample in samples if (found := limits.broken(sample))), None)

    return usable(rows, fit_all, ledger)


def labels_of(sample: tokens.Sample) -> tuple[np.ndarray, np.ndarray]:
    """Ids and labels of a sample, `(T,)` int32 each; IGNORED where nothing is trained."""
    ids = np.asarray(sample.ids, np.int32)
    labels = np.full(len(ids), IGNORED, np.int32)
    for start, end in sample.spans:
        labels[start:end] = ids[start:end]
    return ids, labels


def gathered(
    plan: chats.Plan, read: Callable[[list[build.Source], int | None, Ledger], list], what: str,
    output: Path | None = None, part: Callable[[list, chats.Plan, Ledger], tuple[list, list]] | None = None,
) -> tuple[list, list, Ledger, Ledger]:  # fmt: skip
    """What to train on, what is held out, and the accounts of training and validation files; faults are printed.

    `read` makes rows with `origin` and `times` of sources; `part` holds some out (`parted` without it). A held-out row
    is used once. Raises DataError where a file is unusable, too many rows are, or no `what` is left; rejected rows are
    then left in `output`.
    """
    ledger, other = accounts = (Ledger(), Ledger())
    with chats.rejections(output, accounts):
        rows = read(plan.train, plan.max_train, ledger)
        chats.report(ledger, f"training {what}s")
        ledger.check_rate(plan.max_bad_rate)
        if plan.validation:
            chats.warn_of_same_files(plan)
            held = read(plan.validation, plan.max_eval, other)
            chats.report(other, f"validation {what}s")
            other.check_rate(plan.max_bad_rate)
        else:
            rows, held = (part or parted)(rows, plan, ledger)
    for some, account, purpose in ((rows, ledger, "train on"), (held, other, "evaluate on")):
        if not some and (some is rows or plan.validation):
            files = ", ".join(account.files)
            raise DataError("E_NOTHING_LEFT", files, f"no {what} is left to {purpose} ({account.summary()})")
    return rows, [row._replace(times=1) for row in held], ledger, other


def parted(rows: list, plan: chats.Plan, ledger: Ledger) -> tuple[list, list]:
    """The rows to train on and those that are held out, as the plan says; those beyond its limit are capped."""
    share = plan.holdout if plan.holdout < 1 else plan.holdout / max(1, len(rows))
    if not share or len(rows) < 2:
        return rows, []
    kept, held_out = chats.split(len(rows), share, plan.seed)
    for number in held_out[plan.max_eval :].tolist() if plan.max_eval is not None else []:
        ledger.unkeep(rows[number].origin)
        ledger.cap(rows[number].origin)
    return [rows[i] for i in kept], [rows[i] for i in held_out[: plan.max_eval]]


def tell(ledger: Ledger) -> None:
    """Print the account's last lines: the totals, and how many turns the limits cost."""
    logs.info(ledger.summary())
    if ledger.samples["turns_dropped"]:
        logs.info(f"{ledger.samples['turns_dropped']} oldest turns left out to fit the limits")
