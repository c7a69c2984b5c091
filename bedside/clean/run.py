"""Rows through the steps: a chain of generators, each of which removes, changes or hands on.

Only the duplicate steps remember anything of the rows that have gone by, a few hundred bytes of each.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

from bedside.clean import contamination, duplicates, fields
from bedside.clean.account import Account
from bedside.clean.fields import Case
from bedside.clean.steps import Step
from bedside.data.conversation import RowError
from bedside.data.rows import Fault, Origin, Row

CHUNK = 2048  # rows whose near duplicates are looked up at once


class Seen(NamedTuple):
    """A row on its way, with what was done to it and what was noticed so far."""

    case: Case
    changed: dict[str, str]
    flagged: dict[str, str]

    @property
    def origin(self) -> Origin:
        return self.case.origin


def chunks(rows: Iterable[Seen], size: int) -> Iterator[list[Seen]]:
    """Lists of `size` rows, the last one shorter."""
    rows = iter(rows)
    while chunk := list(islice(rows, size)):
        yield chunk


def admit(rows: Iterable[Row | Fault], account: Account) -> Iterator[Seen]:
    """Rows of known formats; everything else is removed under its code. Remarks on files (I_...) are no rows."""
    for row in rows:
        if isinstance(row, Fault):
            if not row.code.startswith("I_"):
                account.row(row.origin)
                account.remove(row.origin, row.code, row.detail)
            continue
        account.row(row.origin)
        try:
            yield Seen(Case(row.origin, row.value, fields.texts_of(row.value)), {}, {})
        except RowError as error:
            account.remove(row.origin, error.code, error.detail)


def alone(rows: Iterable[Seen], steps: list[Step], account: Account) -> Iterator[Seen]:
    """Each row through the steps that need no other row."""
    for seen in rows:
        texts, removed = seen.case.texts, None
        for step in steps:
            verdict = step(texts)
            if removed := verdict.removed:
                account.remove(seen.origin, *removed)
                break
            texts = verdict.texts
            if verdict.changed:
                seen.changed[verdict.changed[0]] = verdict.changed[1]
            if verdict.flagged:
                seen.flagged[verdict.flagged[0]] = verdict.flagged[1]
        if not removed:
            yield seen._replace(case=seen.case._replace(texts=texts))


def without_evaluation(rows: Iterable[Seen], index: contamination.Index, account: Account) -> Iterator[Seen]:
    """Rows that hold no evaluation item."""
    for chunk in chunks(rows, contamination.CHUNK):
        hits = index.hits([(str(seen.origin), seen.case.texts) for seen in chunk])
        for seen, hit in zip(chunk, hits, strict=True):
            if hit:
                account.remove(seen.origin, "W_CONTAMINATED", f"{hit.how}, {hit.share:.0%} of it", hit.item)
            else:
                yield seen


class Places:
    """Where rows stand, by number: 12 bytes a row."""

    def __init__(self) -> None:
        from array import array

        self._files: dict[str, int] = {}
        self._file, self._line, self._item = array("i"), array("l"), array("l")

    def add(self, origin: Origin) -> int:
        """The number of a new row."""
        self._file.append(self._files.setdefault(origin.file, len(self._files)))
        self._line.append(origin.line)
        self._item.append(origin.item or 0)
        return len(self._line) - 1

    def __getitem__(self, number: int) -> str:
        file = list(self._files)[self._file[number]]
        return str(Origin(file, self._line[number], self._item[number] or None))


def without_duplicates(rows: Iterable[Seen], account: Account) -> Iterator[Seen]:
    """The first of the rows that say the same."""
    exact, places = duplicates.Exact(), Places()
    for seen in rows:
        number = places.add(seen.origin)
        partner = exact.partner(seen.case, number)
        if partner is None:
            yield seen
        else:
            account.remove(seen.origin, "W_DUPLICATE", "same question and answer", places[partner])


def without_near_duplicates(rows: Iterable[Seen], threshold: float, account: Account) -> Iterator[Seen]:
    """The first of the rows that say nearly the same: MinHash similarity of at least `threshold`."""
    near, places = duplicates.Near(threshold), Places()
    for chunk in chunks(rows, CHUNK):
        numbered = [(seen.case, places.add(seen.origin)) for seen in chunk]
        for seen, partner in zip(chunk, near.partners(numbered), strict=True):
            if partner is None:
                yield seen
            else:
                account.remove(seen.origin, "W_NEAR_DUPLICATE", f"similarity >= {threshold:g}", places[partner])


def kept(rows: Iterable[Seen], account: Account) -> Iterator[dict[str, Any]]:
    """The rows that are left, in their own format, with the texts they have now."""
    for seen in rows:
        account.keep(seen.origin)
        account.change(seen.origin, seen.changed)
        account.flag(seen.origin, seen.flagged)
        yield fields.with_texts(seen.case.row, seen.case.texts) if seen.changed else seen.case.row
