"""One file read as a stage reads it, and everything found in it."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from bedside.data import build, lines, scan, verdict
from bedside.data.conversation import RowError
from bedside.data.ledger import Ledger
from bedside.data.rows import Fault, Origin, Row
from bedside.errors import DataError

Tell = Callable[[str], object]
Judge = Callable[[Any], verdict.Verdict]
_OPEN = "an object over several lines; make it one a line: jq -c . FILE"
_TABLES = (".csv", ".tsv")


@dataclass
class Report:
    """What reading one file gave: `kind` is a key of `verdict.KINDS`, `unusable` why it cannot be used at all."""

    file: str
    kind: str
    usable: int = 0
    ledger: Ledger = field(default_factory=lambda: Ledger(shown=None))
    unusable: DataError | None = None
    fixed: Counter = field(default_factory=Counter)
    repaired: int = 0

    def bad(self) -> int:
        """How many rows cannot be used."""
        return sum(self.ledger.total().dropped.values())

    def status(self, max_bad_rate: float) -> int:
        """0 clean, 1 too many bad rows, 2 unusable."""
        if self.unusable:
            return 2
        return int(self.bad() > max_bad_rate * self.ledger.total().rows)

    def to_dict(self) -> dict:
        """For machines: counts and places, no text of any row."""
        total = self.ledger.total()
        fault = self.unusable and {"code": self.unusable.code, "where": self.unusable.where}
        return {
            "file": self.file,
            "kind": self.kind,
            "rows": total.rows,
            "usable": self.usable,
            "bad": dict(total.dropped),
            "remarks": dict(total.remarks),
            "rejected": self.ledger.rejected,
            "unusable": fault,
            **({"fixed": dict(self.fixed), "repaired": self.repaired} if self.fixed else {}),
        }


def kind_of(source: build.Source, reading: build.Reading) -> str:
    """The kind of the first object in the file; sft where there is none. DataError as `files.read`."""
    for item in build.rows_of(source, reading):
        if isinstance(item, Row) and isinstance(item.value, dict):
            return verdict.kind_of_row(source.entry.adapt(item.value) if source.entry else item.value)
    return "sft"


@dataclass
class _Account:
    """What only the whole file knows: its first row, formats that change, pairs that contradict one another."""

    report: Report
    head: bytes | None = None
    hint: str = ""
    formats: set[str] = field(default_factory=set)
    pairs: dict[bytes, Origin] = field(default_factory=dict)
    doubted: bool = False

    def take(self, origin: Origin, row: int, what: str, code: str, detail: str | bytes) -> None:
        """Book one event (see `scan.Part`) of the `row`-th row; DataError if it makes the file unusable."""
        ledger = self.report.ledger
        if what == "format":
            if self.formats and code not in self.formats:
                ledger.remark(origin, "W_MIXED", f"the format changes to {code}")
            self.formats.add(code)
        elif what == "remark":
            ledger.remark(origin, code, detail)
        elif what == "pair":
            self._pair(origin, code, detail)
        elif what == "open" and row == 1:
            raise DataError("E_JSON", str(origin), _OPEN)
        elif what == "drop" and row == 1 and code == "E_SCHEMA":
            raise DataError(code, str(origin), f"{detail}{self.hint}")
        else:
            if code == "E_ENCODING" and self.head is not None and not self.doubted:
                self.doubted = True
                lines.refuse_another_encoding(self.head, Fault(origin, code, detail))
            ledger.drop(origin, code, detail)

    def _pair(self, origin: Origin, this: bytes, mirrored: bytes) -> None:
        """A usable row; of a pair (both digests are there) only if no other contradicts it."""
        if mirrored and mirrored in self.pairs:
            other = self.pairs[mirrored]
            place = f"line {other.line}" if other.item is None else f"item {other.item}"
            self.report.ledger.drop(origin, "W_CONTRADICT", f"prefers the answer that {place} rejects")
            return
        if this:
            self.pairs[this] = origin
        self.report.usable += 1


def _from_parts(account: _Account, parts: Iterable[scan.Part]) -> Iterator[None]:
    report, base, rows = account.report, 0, 0
    book = report.ledger.account(report.file)
    for part in parts:
        for line, row, *event in part.events:
            book.rows = rows + row - (event[0] in ("fault", "open"))  # the row counts once its file is not refused
            account.take(Origin(report.file, base + line), rows + row, *event)
        base, rows = base + part.lines, rows + part.rows
        book.rows = rows
        report.usable += part.kept
        yield
    if not rows:
        raise DataError("E_EMPTY_FILE", report.file, "no data lines")


@dataclass(frozen=True)
class Mending:
    """How bad rows are repaired (`mend`: the row and the repairs that changed it), and what takes each usable row."""

    mend: Callable[[Any], tuple[Any, list[str]]]
    write: Callable[[Any], object]


def _judged(account: _Account, row: Row, judge: Judge, mending: Mending | None) -> tuple[verdict.Verdict, Any]:
    """The verdict on a row, repaired if it has to be; RowError if it stays bad."""
    try:
        return judge(row.value), row.value
    except RowError:
        value, names = mending.mend(row.value) if mending else (None, [])
        if not names:
            raise
    found = judge(value)
    account.report.fixed.update(names)
    account.report.repaired += 1
    account.report.ledger.details.append(f"{row.origin}: FIXED {', '.join(names)}")
    return found, value


def _from_items(
    account: _Account, items: Iterable[Row | Fault], judge: Judge, mending: Mending | None = None
) -> Iterator[None]:
    report, rows = account.report, 0
    for item in items:
        if isinstance(item, Fault) and item.code.startswith("I_"):
            account.take(item.origin, rows, "remark", item.code, item.detail)
            continue
        rows += 1
        report.ledger.row(item.origin)
        if isinstance(item, Fault):
            account.take(item.origin, rows, "fault", item.code, item.detail)
            continue
        try:
            found, value = _judged(account, item, judge, mending)
        except RowError as error:
            account.take(item.origin, rows, "drop", error.code, error.detail)
            continue
        if found.format is not None:
            account.take(item.origin, rows, "format", found.format, "")
        for remark in found.remarks:
            account.take(item.origin, rows, "remark", *remark)
        before = report.usable
        account.take(item.origin, rows, "pair", *(found.identity or (b"", b"")))
        if mending and report.usable > before:
            mending.write(value)
        if not rows % 1000:
            yield


def check(
    source: build.Source,
    kind: str,
    reading: build.Reading,
    tell: Tell | None = None,
    processes: int | None = None,
    mending: Mending | None = None,
) -> Report:
    """Read one file; `kind` is auto or a key of `verdict.KINDS`. Faults of the data are in the report, never raised.

    With `tell`, each fault is told as soon as it is found and then forgotten, so that memory does not grow with them.
    `mending` repairs what it can and takes the rows that are usable.
    """
    report = Report(str(source.path), kind)
    try:
        if kind == "auto":
            report.kind = "sft"
            report.kind = kind_of(source, reading)
        head = None if source.entry or mending else scan.head_of(source.path, reading.encoding)
        hint = "; a file without a header line needs --columns" if source.path.suffix.lower() in _TABLES else ""
        account = _Account(report, head, hint)
        if head is not None:
            steps = _from_parts(account, scan.parts(source.path, report.kind, reading.roles, processes))
        else:
            judge = functools.partial(verdict.KINDS[report.kind], roles=reading.roles, entry=source.entry)
            steps = _from_items(account, build.rows_of(source, reading), judge, mending)
        for _ in steps:
            _tell(report.ledger, tell)
    except DataError as error:
        report.unusable, report.usable = error, 0
    _tell(report.ledger, tell)
    report.ledger.account(report.file).kept = report.usable
    return report


def _tell(ledger: Ledger, tell: Tell | None) -> None:
    if tell is None:
        return
    for line in ledger.details:
        tell(line)
    ledger.details.clear()
    ledger.rejected.clear()
