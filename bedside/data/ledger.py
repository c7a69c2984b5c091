"""The account of every row: kept, dropped for a named reason, over-long or over the cap. Totals always add up."""

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from bedside.data.rows import NOT_DRAWN, Origin
from bedside.errors import DataError

SHOWN = 20  # faults printed one by one; the rest is in rejected.jsonl


@dataclass
class Account:
    """What became of one file's rows."""

    rows: int = 0
    kept: int = 0
    overlong: int = 0
    capped: int = 0
    dropped: Counter = field(default_factory=Counter)
    remarks: Counter = field(default_factory=Counter)

    def adds_up(self) -> bool:
        return self.rows == self.kept + self.overlong + self.capped + sum(self.dropped.values())


@dataclass
class Ledger:
    """Accounts by file, and the list of what was rejected (place and code; never text of the row)."""

    files: dict[str, Account] = field(default_factory=dict)
    rejected: list[dict] = field(default_factory=list)
    details: list[str] = field(default_factory=list)
    samples: Counter = field(default_factory=Counter)
    printed: int = 0  # how many of `details` a person has seen
    shown: int | None = SHOWN  # how many faults `details` holds; None is all

    def account(self, file: str) -> Account:
        return self.files.setdefault(file, Account())

    def row(self, origin: Origin) -> None:
        self.account(origin.file).rows += 1

    def keep(self, origin: Origin) -> None:
        self.account(origin.file).kept += 1

    def unkeep(self, origin: Origin) -> None:
        """Take back that a row is kept: it is counted in another way."""
        self.account(origin.file).kept -= 1

    def drop(self, origin: Origin, code: str, detail: str) -> None:
        """Count a row as dropped under `code`; one that a mixture does not use is over the cap."""
        if code == NOT_DRAWN:
            self.cap(origin)
            return
        self.account(origin.file).dropped[code] += 1
        self._list(origin, code, detail)

    def overlong(self, origin: Origin, tokens: int, limit: int, flag: str = "--max_length") -> None:
        """Count a row none of whose samples fits into the `limit` that `flag` sets, in tokens."""
        self.account(origin.file).overlong += 1
        self._list(origin, "W_OVERLONG", f"{tokens} tokens, {flag} is {limit}")

    def cap(self, origin: Origin) -> None:
        self.account(origin.file).capped += 1

    def remark(self, origin: Origin, code: str, detail: str) -> None:
        """Count something worth knowing that costs no row."""
        remarks = self.account(origin.file).remarks
        if not remarks[code]:
            self.details.append(f"{origin}: {code} {detail}")
        remarks[code] += 1

    def _list(self, origin: Origin, code: str, detail: str) -> None:
        place = {"file": origin.file, "line": origin.line, "code": code}
        if origin.item is not None:
            place["item"] = origin.item
        self.rejected.append(place)
        if self.shown is None or len(self.rejected) <= self.shown:
            self.details.append(f"{origin}: {code} {detail}")

    def total(self) -> Account:
        """All files' accounts as one."""
        total = Account()
        for account in self.files.values():
            for name in ("rows", "kept", "overlong", "capped"):
                setattr(total, name, getattr(total, name) + getattr(account, name))
            total.dropped += account.dropped
            total.remarks += account.remarks
        return total

    def check_rate(self, max_bad_rate: float) -> None:
        """Raise DataError if more than `max_bad_rate` of all rows, or all rows of a file, are bad."""
        for file, account in self.files.items():
            bad = sum(account.dropped.values())
            if bad and bad == account.rows:
                code = account.dropped.most_common(1)[0][0]
                raise DataError(
                    code, file, f"all {bad} rows are bad ({_counts(account.dropped)}); nothing to train on"
                )
        total = self.total()
        bad, looked_at = sum(total.dropped.values()), total.rows - total.capped
        if bad > max_bad_rate * looked_at:
            files = ", ".join(file for file, account in self.files.items() if account.dropped)
            raise DataError(
                "E_BAD_RATE",
                files,
                f"{bad} of {looked_at} rows are bad ({_counts(total.dropped)}), more than --max_bad_rate "
                f"{max_bad_rate:g}; mend the rows named above, or raise the limit",
            )

    def summary(self) -> str:
        """One line for the terminal."""
        total = self.total()
        parts = [f"{total.rows} rows = {total.kept} kept"]
        dropped = sum(total.dropped.values())
        parts.append(f"{dropped} dropped" + (f" ({_counts(total.dropped)})" if dropped else ""))
        parts.append(f"{total.overlong} over-long")
        if total.capped:
            parts.append(f"{total.capped} over the cap")
        return " + ".join(parts)

    def to_dict(self) -> dict:
        """The ledger as it lies beside the model."""
        assert all(account.adds_up() for account in self.files.values()), "a row went missing: a bug in bedside.data"
        total = self.total()
        return {
            "total": _account(total),
            "samples": dict(self.samples),
            "files": {file: _account(account) for file, account in self.files.items()},
        }

    def write(self, directory: Path) -> None:
        """`ledger.json` and `rejected.jsonl` into `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        text = json.dumps(self.to_dict(), ensure_ascii=False, indent=1)
        (directory / "ledger.json").write_text(text + "\n", encoding="utf-8")
        self.write_rejected(directory / "rejected.jsonl")

    def write_rejected(self, path: Path) -> None:
        """The places and codes of the rejected rows, one a line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.writelines(json.dumps(place, ensure_ascii=False) + "\n" for place in self.rejected)

    @classmethod
    def load(cls, directory: Path) -> "Ledger":
        """What `write` wrote; the details of faults are not in it."""
        written = json.loads((directory / "ledger.json").read_text(encoding="utf-8"))
        counted = ("dropped", "remarks")
        files = {
            file: Account(**{name: Counter(n) if name in counted else n for name, n in account.items()})
            for file, account in written["files"].items()
        }
        lines = (directory / "rejected.jsonl").read_text(encoding="utf-8").splitlines()
        return cls(files, [json.loads(line) for line in lines], samples=Counter(written["samples"]))


def _counts(counter: Counter) -> str:
    return ", ".join(f"{code} {count}" for code, count in counter.most_common())


def _account(account: Account) -> dict:
    return {
        "rows": account.rows,
        "kept": account.kept,
        "overlong": account.overlong,
        "capped": account.capped,
        "dropped": dict(account.dropped),
        "remarks": dict(account.remarks),
    }
