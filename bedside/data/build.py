"""The composition: files -> rows -> checked records, all accounted. `collect` goes on to ids."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bedside.data import admit, encodings, files, mixture, records, registry
from bedside.data.conversation import Conversation
from bedside.data.ledger import Ledger
from bedside.data.rows import NOT_DRAWN, Fault, Origin, Row
from bedside.data.rowwork import Told, look
from bedside.errors import ConfigError, DataError

_SCHEMA_CODES = ("E_SCHEMA",)


@dataclass(frozen=True)
class Source:
    """One file, how its rows become ours, and how often each is used (None: once; see `mixture`)."""

    path: Path
    entry: registry.Entry | None = None
    used: bytes | None = None


@dataclass(frozen=True)
class Reading:
    """How rows are read; all of it comes from flags."""

    encoding: str | None = None
    columns: list[str] | None = None
    roles: dict[str, str] | None = None
    documents: str = "line"

    def __post_init__(self) -> None:
        """ConfigError for an encoding or a role that nobody knows."""
        encodings.checked(self.encoding)
        for name, role in (self.roles or {}).items():
            if role not in records.SHAREGPT_ROLES:
                known = ", ".join(records.SHAREGPT_ROLES)
                raise ConfigError(f"--role_map {name}={role}: {role} is not a role (known: {known})")

    @classmethod
    def of_flags(
        cls, encoding: str | None, columns: str | None, role_map: str | None, documents: str = "line"
    ) -> "Reading":
        """From the texts of the flags: `columns` as `a,b`, `role_map` as `patient=user,doctor=assistant`."""
        pairs = [pair.partition("=") for pair in (role_map or "").split(",") if pair.strip()]
        if not all(equals for _, equals, _ in pairs):
            raise ConfigError(f"--role_map {role_map}: expected name=role pairs, as patient=user,doctor=assistant")
        roles = {name.strip(): role.strip() for name, _, role in pairs}
        names = [name.strip() for name in columns.split(",")] if columns else None
        return cls(encoding, names, roles or None, documents)


def sources(
    paths: list[str],
    dataset: str | None = None,
    dataset_dir: str = "data",
    reading: Reading | None = None,
    seed: int = 42,
    ranking: bool = False,
    texts: bool = False,
) -> list[Source]:
    """Files under `paths` and the datasets named in `dataset`, registered or on the hub.

    Of a dataset that is not used whole the rows are counted first, and drawn by `seed`. `ranking` allows preference
    datasets, `texts` takes .txt files of directories too.
    """
    found = [Source(path) for path in files.find(paths, texts)] if paths else []
    for entry in registry.load(dataset, dataset_dir, ranking) if dataset else []:
        mine = [Source(path, entry) for path in entry.paths(texts)]
        found += mine if entry.all_rows() else _drawn(mine, entry, reading or Reading(), seed)
    return found


def _drawn(mine: list[Source], entry: registry.Entry, reading: Reading, seed: int) -> list[Source]:
    counts = [mixture.count(rows_of(source, reading)) for source in mine]
    used = mixture.times(sum(counts), entry.share, entry.num_samples, f"{seed}:{entry.name}")
    ends = list(itertools.accumulate(counts, initial=0))
    return [replace(source, used=used[begin:end]) for source, begin, end in zip(mine, ends, ends[1:], strict=False)]


def rows_of(source: Source, reading: Reading) -> Iterator[Row | Fault]:
    """The rows of a source, as often used as it says, and its faults."""
    items = files.read(source.path, reading.encoding, reading.columns, reading.documents)
    return items if source.used is None else mixture.drawn(items, source.used)


def read_records(
    wanted: list[Source],
    convert: Callable[[Any], Any],
    ledger: Ledger,
    reading: Reading,
    cap: int | None = None,
    most: int | None = None,
) -> Iterator[tuple[Origin, Any]]:
    """Every row that `convert` accepts, once, with its origin; the others go to the ledger."""
    return ((row.origin, record) for row, record in accepted(wanted, convert, ledger, reading, cap, most))


def accepted(
    wanted: list[Source],
    convert: Callable[[Any], Any],
    ledger: Ledger,
    reading: Reading,
    cap: int | None = None,
    most: int | None = None,
) -> Iterator[tuple[Row, Any]]:
    """Every row that `convert` accepts, with what it became; the others go to the ledger. Reads `most` rows of a file.

    Raises DataError where a whole file is unusable (its first row belongs to another kind of data).
    """
    kept = 0
    for source in wanted:
        formats: set[str] = set()
        first = True
        for item in itertools.islice(rows_of(source, reading), most):
            if isinstance(item, Fault) and item.code.startswith("I_"):
                ledger.remark(*item)
                continue
            ledger.row(item.origin)
            if cap is not None and kept >= cap:
                ledger.cap(item.origin)
                continue
            if isinstance(item, Fault):
                ledger.drop(*item)
                first &= item.code == NOT_DRAWN
                continue
            looked = look(item.value, source.entry, convert)
            if looked.error:
                refuse(source, item.origin, looked.error, first, ledger)
                first = False
                continue
            first = False
            remark(item.origin, looked.format, looked.remarks, formats, ledger)
            kept += 1
            yield item, looked.record


def refuse(source: Source, origin: Origin, error: Told, first: bool, ledger: Ledger) -> None:
    """Drop a row; DataError if it is the file's `first` and of no kind that is read here."""
    if first and error[0] in _SCHEMA_CODES:
        csv = source.path.suffix.lower() in (".csv", ".tsv")
        hint = "; a file without a header line needs --columns" if csv else ""
        raise DataError(error[0], str(origin), error[1] + hint)
    ledger.drop(origin, *error)


def remark(origin: Origin, format: str | None, remarks: list[Told], formats: set[str], ledger: Ledger) -> None:
    """Tell what is worth knowing of a row; `formats` are those of its file so far."""
    if format is not None:
        if formats and format not in formats:
            ledger.remark(origin, "W_MIXED", f"the format changes to {format}")
        formats.add(format)
    for told in remarks:
        ledger.remark(origin, *told)


def _remarked(origin: Origin, cleaned: tuple[Any, admit.Remarks], ledger: Ledger) -> Any:
    record, remarks = cleaned
    for told in remarks:
        ledger.remark(origin, *told)
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
    return [(row.origin, pair) for row, pair in read_pairs(wanted, ledger, reading, cap)]


def read_pairs(
    wanted: list[Source], ledger: Ledger, reading: Reading, cap: int | None = None
) -> Iterator[tuple[Row, Any]]:
    """The same with each row, one at a time: it tells how often a mixture uses it."""
    seen: dict[bytes, Origin] = {}
    for row, read in accepted(wanted, lambda value: admit.pair(value, reading.roles), ledger, reading, cap):
        pair = _remarked(row.origin, admit.clean_pair(read), ledger)
        mirrored = digest(pair["prompt"], pair["rejected"], pair["chosen"])
        if mirrored in seen:
            other = _place(seen[mirrored], row.origin)
            ledger.drop(row.origin, "W_CONTRADICT", f"prefers the answer that {other} rejects")
            continue
        seen[digest(pair["prompt"], pair["chosen"], pair["rejected"])] = row.origin
        yield row, pair


def digest(*parts: Any) -> bytes:
    """16 bytes that stand for some messages."""
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _place(other: Origin, origin: Origin) -> str:
    if other.file != origin.file:
        return str(other)
    return f"line {other.line}" if other.item is None else f"item {other.item}"
