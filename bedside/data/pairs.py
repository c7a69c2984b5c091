"""Preference pairs to ids: two sequences a pair, each cut at its turn end, labels on the answers alone.

Limits count tokens. Where a pair is too long, the oldest turns of its history are left out of both sides; one that
still is too long is left out and counted. Answers are never cut.
"""

from array import array
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from tokenizers import Tokenizer

from bedside import logs
from bedside.data import build, chats, fit, tokens
from bedside.data.conversation import Preference, RowError
from bedside.data.ledger import Ledger
from bedside.data.pieces import Batches
from bedside.data.rows import Origin
from bedside.data.samples import IGNORED
from bedside.errors import DataError

if TYPE_CHECKING:
    from datasets import Dataset

_UNLIMITED = 1 << 40
_CHUNK = 256  # pairs tokenized at a time
SIDES = ("chosen", "rejected")


@dataclass(frozen=True)
class Limits:
    """Longest sequence, question and answer, in tokens; None is no limit of its own."""

    sequence: int
    question: int | None = None
    answer: int | None = None

    def broken(self, sample: tokens.Sample) -> tuple[int, int, str] | None:
        """`(tokens, limit, flag)` of the first limit that `sample` breaks; None if it fits."""
        start, end = sample.spans[0][0], sample.spans[-1][1]
        for length, limit, flag in (
            (end, self.sequence, "--max_length"),
            (start, self.question, "--max_source_length"),
            (end - start, self.answer, "--max_target_length"),
        ):
            if limit is not None and length > limit:
                return length, limit, flag
        return None


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


def conversation_of(pair: Preference, side: str) -> dict:
    """One side as a chat whose last turns alone are trained on.

    >>> pair = {"prompt": [{"role": "user", "content": "Hi"}], "chosen": [{"role": "assistant", "content": "Hello"}]}
    >>> [m["role"] for m in conversation_of(pair, "chosen")["messages"]]
    ['user', 'assistant']
    """
    history = [
        {**message, "train": False} if message["role"] == "assistant" else message for message in pair["prompt"]
    ]
    return {"messages": [*history, *pair[side]]}


def without_oldest_turn(pair: Preference) -> Preference | None:
    """The pair less the oldest question of its history and all that answered it; None if only one question is left."""
    shorter = tokens.without_oldest_turn(pair["prompt"])
    return {**pair, "prompt": shorter} if shorter else None


def encode(
    pairs: list[Preference], batches: Batches, encoding: tokens.Encoding
) -> list[tuple[tokens.Sample, tokens.Sample] | RowError]:
    """Both sides of each pair as ids that end with the last trained token, or why the row cannot be used."""
    unlimited = replace(encoding, max_length=_UNLIMITED)
    chosen, rejected = (
        tokens.encode_chunk([conversation_of(pair, side) for pair in pairs], batches, unlimited) for side in SIDES
    )
    made: list[tuple[tokens.Sample, tokens.Sample] | RowError] = []
    for both in zip(chosen, rejected, strict=True):
        error = next((side.error for side in both if side.error), None)
        made.append(RowError(*error) if error else tuple(_ending(side.samples[-1]) for side in both))
    return made


def _ending(sample: tokens.Sample) -> tokens.Sample:
    """The sample up to its last trained token: what a template writes behind a turn end is nobody's answer."""
    return tokens.Sample(sample.ids[: sample.spans[-1][1]], sample.spans)


def fitted(
    pairs: list[Preference], batches: Batches, encoding: tokens.Encoding, limits: Limits
) -> list[tuple[tuple | RowError | None, tuple[int, int, str] | None, int]]:
    """`(sides or error, the limit that is broken, turns left out)` of each pair."""
    results: list = [None] * len(pairs)
    waiting = [(number, pair, 0) for number, pair in enumerate(pairs)]
    while waiting:
        again = []
        encoded = encode([pair for _, pair, _ in waiting], batches, encoding)
        for (number, pair, dropped), sides in zip(waiting, encoded, strict=True):
            if isinstance(sides, RowError):
                results[number] = (sides, None, 0)
                continue
            broken = next((found for side in sides if (found := limits.broken(side))), None)
            shorter = without_oldest_turn(pair) if broken and broken[2] != "--max_target_length" else None
            if shorter:
                again.append((number, shorter, dropped + 1))
            else:
                results[number] = (None, broken, 0) if broken else (sides, None, dropped)
        waiting = again
    return results


def _read(
    sources: list[build.Source], plan: chats.Plan, cap: int | None, tokenizer: Tokenizer, encoding: tokens.Encoding,
    limits: Limits, ledger: Ledger,
) -> list[Pair]:  # fmt: skip
    """All pairs of the files that can be used, accounted."""
    kept: list[Pair] = []
    waiting: list[tuple] = []
    batches, tried, thoughts = Batches(tokenizer, many=True), False, 0

    def work() -> None:
        done = fitted([pair for _, pair in waiting], batches, encoding, limits)
        for (row, _), (sides, broken, dropped) in zip(waiting, done, strict=True):
            if isinstance(sides, RowError):
                ledger.drop(row.origin, sides.code, sides.detail)
            elif broken:
                ledger.overlong(row.origin, *broken)
            else:
                ledger.keep(row.origin)
                ledger.samples["turns_dropped"] += dropped
                kept.append(Pair(row.origin, sides, row.times))
        waiting.clear()

    for row, pair in build.read_pairs(sources, ledger, plan.reading, cap):
        thoughts += any(message.get("reasoning_content") for message in pair["chosen"])
        waiting.append((row, pair))
        if len(waiting) == _CHUNK:
            tried = tried or _try(waiting, tokenizer, encoding)
            work()
    if waiting:
        tried or _try(waiting, tokenizer, encoding)
        work()
    if thoughts and encoding.template.thinking == "none" and encoding.enable_thinking is not False:
        logs.warn(
            f"{thoughts} chosen answers hold thoughts, and template {encoding.template.name} has no place for them: "
            "they are trained as text in front of the answer; --template_name qwen3 keeps thought and answer apart"
        )
    return kept


def _try(waiting: list[tuple], tokenizer: Tokenizer, encoding: tokens.Encoding) -> bool:
    """Try the template on the first pairs, before a thousand of them are dropped one by one."""
    fit.check_template([conversation_of(pair, "chosen") for _, pair in waiting[:16]], tokenizer, encoding)
    return True


@dataclass
class _Columns:
    """Flat buffers of one side: ids, labels and the end of each row."""

    ids: array = field(default_factory=lambda: array("i"))
    labels: array = field(default_factory=lambda: array("i"))
    ends: array = field(default_factory=lambda: array("i", [0]))

    def add(self, sample: tokens.Sample) -> None:
        labels = np.full(len(sample.ids), IGNORED, np.int32)
        ids = np.asarray(sample.ids, np.int32)
        for start, end in sample.spans:
            labels[start:end] = ids[start:end]
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
    ledger, other = accounts = (Ledger(), Ledger())
    with chats.rejections(output, accounts):
        pairs = _read(plan.train, plan, plan.max_train, tokenizer, encoding, limits, ledger)
        chats.report(ledger, "training pairs")
        ledger.check_rate(plan.max_bad_rate)
        if plan.validation:
            chats.warn_of_same_files(plan)
            held = _read(plan.validation, plan, plan.max_eval, tokenizer, encoding, limits, other)
            held = [pair._replace(times=1) for pair in held]
            chats.report(other, "validation pairs")
            other.check_rate(plan.max_bad_rate)
        else:
            pairs, held = _parted(pairs, plan, ledger)
    for part, account, purpose in ((pairs, ledger, "train on"), (held, other, "evaluate on")):
        if not part and (part is pairs or plan.validation):
            files = ", ".join(account.files)
            raise DataError("E_NOTHING_LEFT", files, f"no pair is left to {purpose} ({account.summary()})")
    for what, part in (("training", pairs), ("held out", held)):
        if part:
            logs.info(f"{what}: {_told(part)}")
    logs.info(ledger.summary())
    if ledger.samples["turns_dropped"]:
        logs.info(f"{ledger.samples['turns_dropped']} oldest turns left out to fit the limits")
    ledger.samples |= {"pairs": sum(pair.times for pair in pairs), "pairs_held_out": len(held)}
    return PairData(to_dataset(pairs), to_dataset(held) if held else None, ledger, other if plan.validation else None)


def _parted(pairs: list[Pair], plan: chats.Plan, ledger: Ledger) -> tuple[list[Pair], list[Pair]]:
    """The pairs to train on and those that are held out, as the plan says."""
    share = plan.holdout if plan.holdout < 1 else plan.holdout / max(1, len(pairs))
    if not share or len(pairs) < 2:
        return pairs, []
    kept, held_out = chats.split(len(pairs), share, plan.seed)
    for number in held_out[plan.max_eval :].tolist() if plan.max_eval is not None else []:
        ledger.unkeep(pairs[number].origin)
        ledger.cap(pairs[number].origin)
    return [pairs[i] for i in kept], [pairs[i]._replace(times=1) for i in held_out[: plan.max_eval]]


def _told(pairs: list[Pair]) -> str:
    """How many pairs, and how long their sides are."""
    sizes = np.array([[len(side.ids) for side in pair.sides] for pair in pairs])
    answers = np.array([[len(side.ids) - side.spans[0][0] for side in pair.sides] for pair in pairs])
    chosen, rejected = answers.mean(0)
    return (
        f"{sum(pair.times for pair in pairs)} pairs, {sizes.sum():,} tokens, longest {sizes.max()}; answers have "
        f"{chosen:.0f} tokens (chosen) and {rejected:.0f} (rejected) on average"
    )
