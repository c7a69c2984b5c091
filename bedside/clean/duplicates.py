"""Rows that say what an earlier one says: exactly (spelling aside), or nearly. The first stays."""

import hashlib
from collections.abc import Iterator

from bedside.clean import folding
from bedside.clean.fields import ANSWER, DOCUMENT, OPTION, QUESTION, Case, joined

_PARTS = (QUESTION, OPTION, ANSWER, DOCUMENT)


def fingerprint(case: Case) -> bytes:
    """16 bytes that two rows share if their questions, options and answers differ in spelling only."""
    lines = (f"{text.part[0]}{folding.bare(text.text)}" for text in case.texts if text.part in _PARTS)
    return hashlib.blake2b("\n".join(lines).encode("utf-8", "surrogatepass"), digest_size=16).digest()


class Exact:
    """Fingerprints of the rows seen and the place of each one's first."""

    def __init__(self) -> None:
        self._first: dict[bytes, int] = {}

    def partner(self, case: Case, number: int) -> int | None:
        """The number of the first row like `case`, or None; then `case` is that first one, called `number`."""
        first = self._first.setdefault(fingerprint(case), number)
        return None if first == number else first


class Near:
    """The rows kept so far, found again by MinHash; looked up in chunks, decided in order."""

    def __init__(self, threshold: float) -> None:
        from bedside.clean import minhash

        self._minhash, self._index, self._threshold = minhash, minhash.Index(), threshold
        self._numbers: list[int] = []

    def partners(self, cases: list[tuple[Case, int]]) -> Iterator[int | None]:
        """For each (row, number) of a chunk the number of the first kept row near it; None keeps the row."""
        import numpy as np

        minhash = self._minhash
        signatures = minhash.signatures([joined(case.texts, *_PARTS) for case, _ in cases])
        found = self._index.near(signatures, self._threshold)
        empty = ~signatures.any(axis=1)
        fresh = np.flatnonzero((found < 0) & ~empty)
        inside = self._inside(signatures[fresh])
        partner_of = {int(row): int(fresh[first]) for row, first in zip(fresh, inside, strict=True) if first >= 0}
        answers: list[int | None] = []
        for row in range(len(cases)):
            if found[row] >= 0:
                answers.append(self._numbers[found[row]])
            else:
                answers.append(cases[partner_of[row]][1] if row in partner_of else None)
        kept = [row for row, partner in enumerate(answers) if partner is None and not empty[row]]
        self._index.add(signatures[kept])
        self._numbers += [cases[row][1] for row in kept]
        yield from answers

    def _inside(self, signatures) -> list[int]:
        """Within one chunk: for each row the earliest kept row before it that is near, or -1."""
        own = self._minhash.Index()
        own.add(signatures)
        first: list[int] = []
        for row, nearest in enumerate(own.near(signatures, self._threshold)):
            if nearest == row:
                first.append(-1)
            else:
                # The earliest near one may itself have been removed: then look among the kept ones before this row.
                first.append(int(nearest) if first[nearest] < 0 else self._among(signatures, first, row))
        return first

    def _among(self, signatures, first: list[int], row: int) -> int:
        import numpy as np

        kept = [earlier for earlier in range(row) if first[earlier] < 0]
        agreement = (signatures[kept] == signatures[row]).mean(axis=1)
        near = np.flatnonzero(agreement >= self._threshold)
        return kept[near[0]] if len(near) else -1
