"""The numbers of a data report, from the facts of conversations and the ledgers."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from bedside.data.chats import Data, Part
from bedside.data.facts import LANGUAGES
from bedside.data.ledger import Account

_SHOWN = 8  # rows that are named as examples
_PERCENTILES = (5, 25, 50, 75, 95, 99, 100)
_TURNS = ((1, 1), (2, 2), (3, 3), (4, 6), (7, None))


@dataclass
class Duplicates:
    """Conversations that say the same as an earlier one: how many, and pairs of `file:line` (later, earlier)."""

    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Numbers:
    """Of one set. Tokens are of samples; lengths are of the longest sample of each conversation."""

    name: str
    conversations: int
    used: int  # conversations, each as often as it is trained on
    samples: int
    tokens: int
    trained: int
    thought_tokens: int
    thoughts: int  # conversations with one
    languages: dict[str, int]
    turns: dict[str, int]
    lengths: np.ndarray
    percentiles: dict[int, int]
    duplicates: Duplicates
    overlong: list[tuple[str, int]]  # the longest that did not fit: `file:line` and tokens


@dataclass
class Report:
    """All of it. `also_held_out` are training conversations that are held out too, word for word."""

    max_length: int
    template: str
    sets: list[Numbers]
    files: dict[str, Account]
    examples: dict[str, list[str]]  # code -> places
    also_held_out: Duplicates


def _turns(turns: np.ndarray) -> dict[str, int]:
    counts = {}
    for low, high in _TURNS:
        name = str(low) if low == high else f"{low}-{high}" if high else f"{low} or more"
        counts[name] = int(((turns >= low) & (turns <= (high or 10**9))).sum())
    return {name: count for name, count in counts.items() if count}


def _repeated(part: Part) -> Duplicates:
    prints = part.facts()["fingerprint"]
    _, first, inverse = np.unique(prints, return_index=True, return_inverse=True)
    later = np.flatnonzero(first[inverse] != np.arange(len(prints)))
    place = lambda number: str(part.made.place(part.chosen[number]))  # noqa: E731
    return Duplicates(len(later), [(place(n), place(first[inverse[n]])) for n in later[:_SHOWN].tolist()])


def _shared(parts: list[Part]) -> Duplicates:
    if len(parts) < 2:
        return Duplicates()
    train, held_out = (part.facts()["fingerprint"] for part in parts)
    _, mine, theirs = np.intersect1d(train, held_out, return_indices=True)
    count = int(np.isin(train, held_out).sum())
    pairs = sorted(zip(mine.tolist(), theirs.tolist(), strict=True))[:_SHOWN]
    places = [
        tuple(str(part.made.place(part.chosen[n])) for part, n in zip(parts, pair, strict=True)) for pair in pairs
    ]
    return Duplicates(count, places)


def _numbers(name: str, part: Part, max_length: int) -> Numbers:
    facts, times = part.facts(), part.times().astype(np.int64)
    lengths = facts["longest"][facts["longest"] > 0]
    too_long = np.flatnonzero(facts["overlong"] > max_length)
    too_long = too_long[np.argsort(-facts["overlong"][too_long], kind="stable")][:_SHOWN]
    languages = np.bincount(facts["language"], minlength=len(LANGUAGES)).tolist()
    total = lambda column: int((facts[column] * times).sum())  # noqa: E731
    return Numbers(
        name=name,
        conversations=int((facts["samples"] > 0).sum()),
        used=int(times[facts["samples"] > 0].sum()),
        samples=total("samples"),
        tokens=total("tokens"),
        trained=total("trained"),
        thought_tokens=total("thought_tokens"),
        thoughts=int(facts["thought"].sum()),
        languages={name: count for name, count in zip(LANGUAGES, languages, strict=True) if count},
        turns=_turns(facts["turns"]),
        lengths=lengths,
        percentiles={p: int(np.percentile(lengths, p, method="higher")) for p in _PERCENTILES},
        duplicates=_repeated(part),
        overlong=[(str(part.made.place(part.chosen[n])), int(facts["overlong"][n])) for n in too_long.tolist()],
    )


def counted(data: Data, max_length: int, template: str) -> Report:
    """The report on a run's data."""
    names = ("training", "held out")
    ledgers = {id(part.ledger): part.ledger for part in data.parts}.values()
    files: dict[str, Account] = {}
    examples: dict[str, list[str]] = {}
    for ledger in ledgers:
        files |= ledger.files
        for place in ledger.rejected:
            named = examples.setdefault(place["code"], [])
            if len(named) < _SHOWN:
                item = f" (item {place['item']})" if "item" in place else ""
                named.append(f"{place['file']}:{place['line']}{item}")
    return Report(
        max_length,
        template,
        [_numbers(name, part, max_length) for name, part in zip(names, data.parts, strict=False)],
        files,
        examples,
        _shared(data.parts),
    )


def reasons(account: Account) -> Counter:
    """What became of a file's rows that are not used, by code."""
    other = {"W_OVERLONG": account.overlong, "over the cap": account.capped}
    return account.dropped + Counter({name: count for name, count in other.items() if count})
