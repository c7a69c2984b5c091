"""The composition: files -> rows -> checked conversations -> samples -> a dataset of ids and labels, all accounted."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bedside.data import admit, encodings, files, fit, records, registry, tokens
from bedside.data.conversation import Conversation, RowError
from bedside.data.ledger import Ledger
from bedside.data.pack import best_fit
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import ConfigError, DataError

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100  # the label of a token that is not trained on (torch's default ignore_index)
_SCHEMA_CODES = ("E_SCHEMA",)


@dataclass(frozen=True)
class Source:
    """One file and how its rows become ours."""

    path: Path
    entry: registry.Entry | None = None


@dataclass(frozen=True)
class Reading:
    """How rows are read; all of it comes from flags."""

    encoding: str | None = None
    columns: list[str] | None = None
    roles: dict[str, str] | None = None

    def __post_init__(self) -> None:
        """ConfigError for an encoding or a role that nobody knows."""
        encodings.checked(self.encoding)
        for name, role in (self.roles or {}).items():
            if role not in records.SHAREGPT_ROLES:
                known = ", ".join(records.SHAREGPT_ROLES)
                raise ConfigError(f"--role_map {name}={role}: {role} is not a role (known: {known})")

    @classmethod
    def of_flags(cls, encoding: str | None, columns: str | None, role_map: str | None) -> "Reading":
        """From the texts of the flags: `columns` as `a,b`, `role_map` as `patient=user,doctor=assistant`."""
        pairs = [pair.partition("=") for pair in (role_map or "").split(",") if pair.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise ConfigError(f"--role_map {role_map}: expected name=role pairs, as patient=user,doctor=assistant")
        roles = {name.strip(): role.strip() for name, _, role in pairs}
        return cls(encoding, [name.strip() for name in columns.split(",")] if columns else None, roles or None)


def sources(paths: list[str], dataset: str | None = None, dataset_dir: str = "data") -> list[Source]:
    """Files under `paths` and the registered datasets named in `dataset`."""
    found = [Source(path) for path in files.find(paths)] if paths else []
    for entry in registry.load(dataset, dataset_dir) if dataset else []:
        found += [Source(path, entry) for path in files.find(str(entry.file))]
    return found


def read_records(
    wanted: list[Source], convert: Callable[[Any], Any], ledger: Ledger, reading: Reading, cap: int | None = None
) -> Iterator[tuple[Origin, Any]]:
    """Every row that `convert` accepts, with its origin; the others go to the ledger.

    Raises DataError where a whole file is unusable (its first row belongs to another kind of data).
    """
    kept = 0
    for source in wanted:
        formats: set[str] = set()
        first = True
        for item in files.read(source.path, reading.encoding, reading.columns):
            if isinstance(item, Fault) and item.code.startswith("I_"):
                ledger.remark(*item)
                continue
            ledger.row(item.origin)
            if cap is not None and kept >= cap:
                ledger.cap(item.origin)
                continue
            if isinstance(item, Fault):
                ledger.drop(*item)
                first = False
                continue
            try:
                record = convert(source.entry.adapt(item.value) if source.entry else item.value)
            except RowError as error:
                if first and error.code in _SCHEMA_CODES:
                    raise DataError(error.code, str(item.origin), error.detail + _csv_hint(source.path)) from None
                ledger.drop(item.origin, error.code, error.detail)
                first = False
                continue
            first = False
            _remarks(source, item, formats, ledger)
            kept += 1
            yield item.origin, record


def _csv_hint(path: Path) -> str:
    return "; a file without a header line needs --columns" if path.suffix.lower() in (".csv", ".tsv") else ""


def _remarks(source: Source, row: Row, formats: set[str], ledger: Ledger) -> None:
    if source.entry is None:
        name = records.detect(row.value)
        if formats and name not in formats:
            ledger.remark(row.origin, "W_MIXED", f"the format changes to {name}")
        formats.add(name)
    elif forgotten := source.entry.forgotten_thought(row.value):
        ledger.remark(
            row.origin,
            "W_THOUGHT_UNUSED",
            f"'{forgotten}' holds a thought that columns do not map, so no thought is trained; "
            f'add "thought": "{forgotten}" to columns of {source.entry.name} in dataset_info.json',
        )
    if _lost_text(row.value):
        ledger.remark(row.origin, "W_MOJIBAKE", "text was lost in an earlier decoding (U+FFFD or 锟斤拷)")


def _lost_text(value: Any) -> bool:
    if isinstance(value, str):
        return "\ufffd" in value or "锟斤拷" in value
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(map(_lost_text, children))


def _remarked(origin: Origin, cleaned: tuple[Any, admit.Remarks], ledger: Ledger) -> Any:
    record, remarks = cleaned
    for remark in remarks:
        ledger.remark(origin, *remark)
    return record


def read_conversations(
    wanted: list[Source], ledger: Ledger, reading: Reading | None = None, cap: int | None = None
) -> list[tuple[Origin, Conversation]]:
    """All usable SFT rows of the files, in order; control tokens that others than the model wrote are neutralised."""
    reading = reading or Reading()
    rows = read_records(wanted, lambda row: admit.conversation(row, reading.roles), ledger, reading, cap)
    return [(origin, _remarked(origin, admit.clean_conversation(chat), ledger)) for origin, chat in rows]


def read_preferences(
    wanted: list[Source], ledger: Ledger, reading: Reading | None = None, cap: int | None = None
) -> list[tuple[Origin, Any]]:
    """All usable preference pairs; a pair that another row holds the other way round is dropped with its line."""
    reading = reading or Reading()
    seen: dict[str, Origin] = {}
    pairs = []
    for origin, read in read_records(wanted, lambda row: admit.pair(row, reading.roles), ledger, reading, cap):
        pair = _remarked(origin, admit.clean_pair(read), ledger)
        mirrored = repr((pair["prompt"], pair["rejected"], pair["chosen"]))
        if mirrored in seen:
            ledger.drop(origin, "W_CONTRADICT", f"prefers the answer that {_place(seen[mirrored], origin)} rejects")
            continue
        seen[repr((pair["prompt"], pair["chosen"], pair["rejected"]))] = origin
        pairs.append((origin, pair))
    return pairs


def _place(other: Origin, origin: Origin) -> str:
    if other.file != origin.file:
        return str(other)
    return f"line {other.line}" if other.item is None else f"item {other.item}"


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
        pieces = [slice(self.offsets[i], self.offsets[i + 1]) for i in order]
        lengths = self.lengths()[np.asarray(order)]
        return Samples(
            np.concatenate([self.ids[p] for p in pieces]),
            np.concatenate([self.trained[p] for p in pieces]),
            np.concatenate([[0], np.cumsum(lengths)]),
        )


def to_samples(encoded: list[tokens.Sample]) -> Samples:
    """Lists of ids as flat arrays."""
    if not encoded:
        return Samples()
    offsets = np.concatenate([[0], np.cumsum([len(sample.ids) for sample in encoded])])
    ids = np.concatenate([np.asarray(sample.ids, np.int32) for sample in encoded])
    trained = np.zeros(len(ids), bool)
    for begin, sample in zip(offsets.tolist(), encoded, strict=False):
        for start, end in sample.spans:
            trained[begin + start : begin + end] = True
    return Samples(ids, trained, offsets)


def make_samples(
    conversations: list[tuple[Origin, Conversation]],
    tokenizer: Any,
    encoding: tokens.Encoding,
    ledger: Ledger,
    num_proc: int = 1,
    purpose: str = "train on",
) -> Samples:
    """Tokenize conversations and settle their accounts: kept, over-long, or dropped by the template.

    `tokenizer` is a `tokenizers.Tokenizer`. Raises ConfigError when the template does not fit the rows or the
    tokenizer, and DataError when nothing is left.
    """
    only = [conversation for _, conversation in conversations]
    fit.check_template(only[:16], tokenizer, encoding)
    kept: list[tokens.Sample] = []
    results = tokens.encode(only, tokenizer, encoding, num_proc)
    for (origin, _), result in zip(conversations, results, strict=True):
        if result.error:
            ledger.drop(origin, *result.error)
        elif not result.samples:
            ledger.overlong(origin, result.overlong, encoding.max_length)
        else:
            ledger.keep(origin)
            kept += result.samples
            if result.remark:
                ledger.remark(origin, *result.remark)
        ledger.samples["made"] += len(result.samples)
        ledger.samples["overlong"] += bool(result.overlong) and bool(result.samples)
        ledger.samples["turns_dropped"] += result.turns_dropped
    if not kept:
        raise DataError("E_NOTHING_LEFT", ", ".join(ledger.files), f"no row is left to {purpose} ({ledger.summary()})")
    return to_samples(kept)


def split(
    conversations: list[tuple[Origin, Conversation]], share: float, seed: int
) -> tuple[list[tuple[Origin, Conversation]], list[tuple[Origin, Conversation]]]:
    """Hold out `share` (0..1, at least one row) of the conversations, chosen by `seed`."""
    count = min(len(conversations) - 1, max(1, round(share * len(conversations))))
    held_out = set(random.Random(seed).sample(range(len(conversations)), max(0, count)))
    train = [item for index, item in enumerate(conversations) if index not in held_out]
    return train, [item for index, item in enumerate(conversations) if index in held_out]


def to_dataset(samples: Samples, packed_length: int | None = None, seed: int = 42) -> "Dataset":
    """Columns `input_ids`, `labels` (-100 where not trained) and, packed, `seq_lengths` of the samples in each row."""
    import pyarrow
    from datasets import Dataset

    groups = [[i] for i in range(len(samples))]
    if packed_length:
        groups = best_fit(samples.lengths().tolist(), packed_length)
        # Best fit leaves rows sorted by length; the order of rows should tell the optimizer nothing.
        random.Random(seed).shuffle(groups)
        samples = samples.take([i for group in groups for i in group])
    lengths, counts = samples.lengths(), [len(group) for group in groups]
    sample_ends = np.concatenate([[0], np.cumsum(counts)])
    offsets = pyarrow.array(samples.offsets[sample_ends].astype(np.int32))
    labels = np.where(samples.trained, samples.ids, IGNORED).astype(np.int32)
    columns = {
        "input_ids": pyarrow.ListArray.from_arrays(offsets, pyarrow.array(samples.ids)),
        "labels": pyarrow.ListArray.from_arrays(offsets, pyarrow.array(labels)),
    }
    if packed_length:
        ends = pyarrow.array(sample_ends.astype(np.int32))
        columns["seq_lengths"] = pyarrow.ListArray.from_arrays(ends, pyarrow.array(lengths.astype(np.int32)))
    return Dataset(pyarrow.table(columns))
