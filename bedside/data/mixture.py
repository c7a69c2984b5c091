"""How much of a data set is used: a seeded draw that is settled before its rows are read, so that every row is told
and counted once, whether it is used, left out, or used several times."""

import random
from collections.abc import Iterable, Iterator

from bedside.data.rows import NOT_DRAWN, Fault, Row

MOST = 255  # times that one row may be used


def times(total: int, share: float = 1.0, num_samples: int | None = None, seed: str = "42") -> bytes:
    """How often each of `total` rows is used, 0 to 255: `num_samples` of them are drawn, and of these the `share`.

    A share above 1 uses every row that often, and its fraction a drawn part of them once more. At least one row is
    used. The same seed draws the same rows.

    >>> list(times(4, 2.5, seed="7"))
    [2, 3, 2, 3]
    """
    rng = random.Random(seed)
    rows = range(total)
    if num_samples is not None and num_samples < total:
        rows = sorted(rng.sample(rows, num_samples))
    whole = int(share)
    more = round((share - whole) * len(rows))
    used = bytearray(total)
    for row in rows:
        used[row] = whole
    for row in rng.sample(rows, max(more, int(not whole and bool(rows)))):
        used[row] += 1
    return bytes(used)


def count(items: Iterable[Row | Fault]) -> int:
    """How many rows there are; remarks on the file are none."""
    return sum(not (isinstance(item, Fault) and item.code.startswith("I_")) for item in items)


def drawn(items: Iterable[Row | Fault], used: bytes) -> Iterator[Row | Fault]:
    """The items, where rows know how often they are used (with a remark from twice on), and those that are not are
    faults NOT_DRAWN, which a ledger counts as over the cap. `used` is what `times` gave for the rows of this file."""
    number = 0
    for item in items:
        if isinstance(item, Fault) and item.code.startswith("I_"):
            yield item
            continue
        often = used[number]
        number += 1
        if not often:
            yield Fault(item.origin, NOT_DRAWN, "not drawn")
            continue
        if often > 1 and isinstance(item, Row):
            yield Fault(item.origin, "I_REPEATED", f"used {often} times")
            item = item._replace(times=often)
        yield item
