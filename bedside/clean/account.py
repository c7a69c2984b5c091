"""What became of every row: kept, or removed for one reason; changed and flagged rows are counted beside."""

import json
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from bedside.data.rows import Origin

MEANINGS = {
    "W_MOJIBAKE": "characters whose bytes are lost",
    "W_PRIVATE": "private data",
    "W_LENGTH": "too short or too long",
    "W_REPEATED": "the same text again and again",
    "W_LANGUAGE": "another language",
    "W_MISMATCH": "the answer is about something else",
    "W_CONTAMINATED": "an evaluation question",
    "W_DUPLICATE": "says exactly what an earlier row says",
    "W_NEAR_DUPLICATE": "says nearly what an earlier row says",
    "C_MOJIBAKE": "wrong decoding undone",
    "C_NORMALISED": "one spelling",
    "C_PRIVATE": "private data masked",
}


class Account:
    """Counts by reason, and two files of places (never text): removed rows, and rows changed or flagged.

    `with Account(directory) as account:` writes `rejected.jsonl` and `changed.jsonl` as the rows come, and
    `cleaning.json` when all rows are accounted for.
    """

    def __init__(self, directory: Path):
        self.directory = directory
        self.rows = self.kept = self.changed_rows = 0
        self.removed: Counter = Counter()
        self.changed: Counter = Counter()
        self.flagged: Counter = Counter()
        self.files: dict[str, Counter] = {}
        self._numbers: dict[str, int] = {}
        self._open = ExitStack()
        self._rejected: TextIO
        self._touched: TextIO

    def __enter__(self) -> "Account":
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "cleaning.json").unlink(missing_ok=True)  # an earlier run's would not fit these lists
        self._rejected = self._open.enter_context((self.directory / "rejected.jsonl").open("w", encoding="utf-8"))
        self._touched = self._open.enter_context((self.directory / "changed.jsonl").open("w", encoding="utf-8"))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def row(self, origin: Origin) -> None:
        """Count a row that came in."""
        self.rows += 1
        self.files.setdefault(origin.file, Counter())["rows"] += 1

    def remove(self, origin: Origin, code: str, detail: str, partner: str | None = None) -> None:
        """Count a row as removed; `partner` is the place of the row or item that it repeats."""
        self.removed[code] += 1
        self.files[origin.file]["removed"] += 1
        self._write(
            self._rejected, origin, {"code": code, "detail": detail, **({"partner": partner} if partner else {})}
        )

    def change(self, origin: Origin, changes: dict[str, str]) -> None:
        """Count a kept row as changed, with what was done to it."""
        if changes:
            self.changed_rows += 1
            self.changed.update(changes.keys())
            for code, detail in changes.items():
                self._write(self._touched, origin, {"code": code, "detail": detail})

    def flag(self, origin: Origin, flags: dict[str, str]) -> None:
        """Count what is worth a look in a kept row."""
        self.flagged.update(flags.keys())
        for code, detail in flags.items():
            self._write(self._touched, origin, {"code": code, "detail": detail})

    def keep(self, origin: Origin) -> None:
        """Count a row that goes out."""
        self.kept += 1
        self.files[origin.file]["kept"] += 1

    def _write(self, file: TextIO, origin: Origin, what: dict[str, Any]) -> None:
        place = {"file": origin.file, "line": origin.line} | ({"item": origin.item} if origin.item is not None else {})
        file.write(json.dumps({**place, **what}, ensure_ascii=False) + "\n")

    def adds_up(self) -> bool:
        """True if every row that came in was kept or removed, in every file."""
        totals = self.rows == self.kept + self.removed.total()
        return totals and all(f["rows"] == f["kept"] + f["removed"] for f in self.files.values())

    def to_dict(self) -> dict[str, Any]:
        """The account as `cleaning.json` holds it."""
        assert self.adds_up(), "a row went missing: a bug in bedside.clean"
        return {
            "rows": self.rows,
            "kept": self.kept,
            "removed": dict(self.removed.most_common()),
            "changed_rows": self.changed_rows,
            "changed": dict(self.changed.most_common()),
            "flagged": dict(self.flagged.most_common()),
            "files": {file: dict(counts) for file, counts in self.files.items()},
        }

    def write(self, settings: dict[str, Any]) -> None:
        """`cleaning.json`: what was asked for and what became of the rows."""
        text = json.dumps({"settings": settings, **self.to_dict()}, ensure_ascii=False, indent=1)
        (self.directory / "cleaning.json").write_text(text + "\n", encoding="utf-8")

    def table(self) -> list[str]:
        """Lines for the terminal: rows in = kept + removed by reason, then what was changed and flagged."""
        lines = [f"{self.rows:>9}  rows in", f"{self.kept:>9}  kept", f"{self.removed.total():>9}  removed"]
        for title, counts in (("removed", self.removed), ("changed", self.changed), ("flagged", self.flagged)):
            if title != "removed" and counts:
                of = f", {self.changed_rows} rows in all" if title == "changed" else ""
                lines.append(f"{'':>9}  kept rows {title}{of}:")
            for code, count in counts.most_common():
                told = f"  {MEANINGS[code]}" if code in MEANINGS else ""
                lines.append(f"{count:>9}    {code}{told}")
        return lines
