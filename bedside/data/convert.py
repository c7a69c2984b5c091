"""Rows of any known format written in another: lossless, refused with the field that has no place, or counted."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside.data import build, compressed, files, records, targets, validate, writers
from bedside.data.conversation import RowError
from bedside.data.ledger import Ledger
from bedside.data.rows import NOT_DRAWN, Fault, Row
from bedside.errors import DataError

CARRIED = ("id", "lang", "source", "split")  # what rows are told apart by goes along, whatever the format
_COLUMNAR = (*writers.TABLES, ".parquet")
_BESIDE = {"system", "thought"}
# What the readers of a format look at; any other field of a row belongs to no format.
_READ = {
    "sharegpt": {"conversations", "system", "tools"},
    "messages": {"messages", "system", "tools"},
    "medical_o1": {"Question", "Complex_CoT", "Response", "system"},
    "toyhom": {"title", "ask", "answer", *_BESIDE},
    "alpaca": {"instruction", "input", "output", "history", *_BESIDE},
    "text": {"text"},
}
_ALL = {name for names in _READ.values() for name in names} | {
    "prompt", "response", "completion", "query", "question", "chosen", "rejected", "response_chosen", "solution",
    "response_rejected", "label", "kto_tag", "ground_truth", "aliases", "kind", "options", "Options", "option",
    "answer_idx", "Answer", "explanation", "Explanation", "exp", "opa", "opb", "opc", "opd", "cop",
}  # fmt: skip


@dataclass
class Account:
    """What became of the rows: `ledger` by row, `written` rows, `lost` fields, `unread` fields of no format."""

    ledger: Ledger = field(default_factory=Ledger)
    written: int = 0
    lost: Counter = field(default_factory=Counter)
    unread: Counter = field(default_factory=Counter)
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))

    def lines(self) -> list[str]:
        """Faults, what was lost, and the totals, which add up."""
        total = self.ledger.total()
        bad = sum(total.dropped.values())
        hidden = len(self.ledger.rejected) - (self.ledger.shown or 0)
        told = [*self.ledger.details, *([f"... and {hidden} more rows"] if hidden > 0 else [])]
        for counter, what in ((self.lost, "lost, by field"), (self.unread, "fields of no format, not written")):
            if counter:
                counts = sorted(counter.items(), key=lambda pair: (-pair[1], pair[0]))
                told.append(f"{what}: " + ", ".join(f"{name} {count}" for name, count in counts))
        codes = ", ".join(f"{code} {count}" for code, count in total.dropped.most_common())
        made = "" if self.written == total.kept else f", as {self.written} rows"
        return [
            *told,
            f"{total.rows} rows = {total.kept} written{made} + {bad} refused" + (f" ({codes})" if bad else ""),
        ]


@dataclass(frozen=True)
class Way:
    """What rows become: a target `format` in a file of `suffix`, rendered by a `template`, cleaned by `clean`."""

    format: str
    suffix: str
    lossy: bool = False
    template: Any = None
    clean: Callable[[Any], Any] | None = None


def _names_read(kind: str, row: dict) -> set[str]:
    if kind == "sft":
        name = records.detect(row)
        return _READ.get(name) or _ALL
    return _READ.get(kind) or _ALL


def _made(kind: str, record: Any, way: Way) -> list[targets.Made]:
    """The rows of one record; RowError E_PLACE if something of it has no place and that is not wished."""
    if way.format == "text" and way.template and kind == "sft":
        rows = [targets.rendered(record, way.template)]
    else:
        rows = targets.made(kind, record, way.format)
    gone = dict.fromkeys(name for row in rows for name in row.lost)
    if gone and not way.lossy:
        raise RowError("E_PLACE", f"no place in {way.format} for {', '.join(gone)}; --lossy True leaves it out")
    return rows


def _finished(made: targets.Made, value: dict, way: Way) -> tuple[dict, Any]:
    """The row as it is written, and the record it is read back as; RowError E_PLACE if that is another one."""
    row = _with_carried(made.row, value, way)
    writers.check(row, way.suffix)
    kind = targets.KIND_OF[way.format]
    record = targets.READ[kind](row, None)
    carried = {"lang": record["lang"]} if kind == "prompt" and "lang" in record else {}
    if not made.lost and record != {**made.record, **carried}:
        raise RowError("E_PLACE", f"the row would not be read back from {way.format} as it is; choose --to messages")
    return row, record


def _with_carried(row: dict, value: dict, way: Way) -> dict:
    """The row with what goes along with it, in the types that the file has."""
    if way.suffix == ".txt":
        return row
    names = (*CARRIED, "department") if way.format == "toyhom" else CARRIED
    row = {**row, **{name: value[name] for name in names if value.get(name) is not None and not row.get(name)}}
    if way.suffix in _COLUMNAR and way.format == "medical_o1" and "Complex_CoT" not in row:
        raise RowError("E_PLACE", "a table has Complex_CoT in every row, and this one has no thought")
    if way.suffix in writers.TABLES:
        if isinstance(row.get("label"), bool):
            row["label"] = str(row["label"]).lower()
        row = {name: cell for name, cell in row.items() if name not in names or isinstance(cell, str)}
    if way.suffix == ".parquet" and isinstance(row.get("tools"), list):
        row["tools"] = writers.text_of(row["tools"])  # columns would give every tool the fields of all others
    return row


def convert(wanted: list[build.Source], kind: str, reading: build.Reading, way: Way, write: writers.Write) -> Account:
    """Write every row that can be; the others are in the account. DataError for a file that is unusable."""
    account = Account()
    for source in wanted:
        own = validate.kind_of(source, reading) if kind == "auto" else kind
        for item in build.rows_of(source, reading):
            if isinstance(item, Fault) and item.code.startswith("I_"):
                account.ledger.remark(*item)
                continue
            account.ledger.row(item.origin)
            if isinstance(item, Fault):
                (account.ledger.cap(item.origin) if item.code == NOT_DRAWN else account.ledger.drop(*item))
                continue
            _convert_row(source, own, item, reading, way, write, account)
    return account


def _convert_row(source, kind, item: Row, reading, way: Way, write: writers.Write, account: Account) -> None:
    try:
        value = source.entry.adapt(item.value) if source.entry else item.value
        value = way.clean(value) if way.clean and isinstance(value, dict) else value
        record = targets.READ[kind](value, reading.roles)
        made = _made(kind, record, way)
        done = [_finished(one, value, way) for one in made]
    except RowError as error:
        if error.code == "E_SCHEMA" and account.ledger.account(item.origin.file).rows == 1:
            raise DataError(error.code, str(item.origin), error.detail) from None
        account.ledger.drop(item.origin, error.code, error.detail)
        return
    for row, record in done:
        write(row)
        account.digest.update(repr(record).encode())
    account.written += len(done)
    account.lost.update(dict.fromkeys((name for one in made for name in one.lost), 1))
    unread = value.keys() - _names_read(kind, value)
    account.unread.update(name for name in unread if all(name not in row for row, _ in done))
    account.ledger.keep(item.origin)


def verify(path: Path, format: str, account: Account) -> None:
    """Read what was written; DataError E_READBACK if it is not, row by row, what was meant."""
    digest, rows = hashlib.blake2b(digest_size=16), 0
    for item in _rows_of(path):
        rows += 1
        digest.update(repr(targets.READ[targets.KIND_OF[format]](item.value, None)).encode())
    if rows != account.written or digest.digest() != account.digest.digest():
        detail = (
            f"{rows} rows were read back where {account.written} were written, or they differ; do not use the file"
        )
        raise DataError("E_READBACK", str(path), detail)


def _rows_of(path: Path) -> Iterator[Row]:
    for item in files.read(path):
        if isinstance(item, Row):
            yield item


def suffix_of(path: Path) -> str:
    """The suffix that says how a file is written: `.jsonl` of `rows.jsonl.gz`."""
    return compressed.suffix(path)
