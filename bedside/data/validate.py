"""One file read as a stage reads it, and everything found in it."""

from dataclasses import dataclass, field

from bedside.data import build, files, records
from bedside.data.ledger import Ledger
from bedside.data.rows import Row
from bedside.errors import DataError


@dataclass
class Report:
    """What reading one file gave: `kind` is sft or preference, `unusable` why the file cannot be used at all."""

    file: str
    kind: str
    usable: int = 0
    ledger: Ledger = field(default_factory=lambda: Ledger(shown=None))
    unusable: DataError | None = None

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
        }


def kind_of(source: build.Source, reading: build.Reading) -> str:
    """`preference` if the first object in the file has chosen or rejected, else `sft`; DataError as `files.read`."""
    for item in files.read(source.path, reading.encoding, reading.columns):
        if isinstance(item, Row) and isinstance(item.value, dict):
            return "preference" if any(key in item.value for key in records.PREFERENCE_KEYS) else "sft"
    return "sft"


def check(source: build.Source, kind: str, reading: build.Reading) -> Report:
    """Read one file; `kind` is auto, sft or preference. Faults of the data are in the report, never raised."""
    report = Report(str(source.path), kind)
    try:
        if kind == "auto":
            report.kind = "sft"
            report.kind = kind_of(source, reading)
        reader = build.read_preferences if report.kind == "preference" else build.read_conversations
        report.usable = len(reader([source], report.ledger, reading))
    except DataError as error:
        report.unusable = error
    return report
