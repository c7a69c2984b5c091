"""Evaluation questions that stand in training rows: verbatim, respelled, reordered, inside longer texts, or nearly.

    hits = find([("a.jsonl:1", texts_of(row))], items_of("mcq.jsonl"))

Compared are runs of tokens after folding (`folding`): width, case, punctuation, blanks and the difference between
simplified and traditional characters do not count, and the options of a choice question are a set.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from bedside import logs
from bedside.clean import fields, folding
from bedside.clean.fields import ANSWER, DOCUMENT, OPTION, QUESTION, Text
from bedside.data import files
from bedside.data.conversation import RowError
from bedside.data.rows import Fault

RUN, SHORT_RUN = 5, 3  # tokens of the runs that are counted: over the whole row, and text against text
SHARE, LIKENESS = 0.8, 0.7
SHORTEST = 10  # weight (`_weight`) below which a question is no evidence; its answer or its options are taken with it
ALONE = 24  # weight from which on the stem of a choice question is evidence without its options
OPTIONS = 0.75  # share of the options that must stand in the row otherwise
CHUNK = 512


class Item(NamedTuple):
    """One evaluation item: where it stands, its question (or document), its options and its answer."""

    place: str
    question: str
    options: tuple[str, ...] = ()
    answer: str = ""


class Hit(NamedTuple):
    """A training row (by its place) that holds an item (by its), how, and the share of the item that it holds."""

    place: str
    item: str
    how: str
    share: float


def item_of(place: str, texts: list[Text]) -> Item | None:
    """The item of one evaluation row: its longest question, or its document; None if it has neither."""
    questions = [text.text for text in texts if text.part in (QUESTION, DOCUMENT)]
    if not questions:
        return None
    answers = [text.text for text in texts if text.part == ANSWER]
    options = tuple(text.text for text in texts if text.part == OPTION)
    return Item(place, max(questions, key=len), options, answers[0] if answers else "")


def items_of(path: Path | str, encoding: str | None = None) -> list[Item]:
    """The items of an evaluation file in any known format; DataError as `files.read`.

    A warning tells how many rows hold none: a question that is not read is not looked for.
    """
    found, without = [], 0
    for row in files.read(path, encoding):
        if isinstance(row, Fault):
            without += not row.code.startswith("I_")
            continue
        try:
            item = item_of(str(row.origin), fields.texts_of(row.value))
        except RowError:
            item = None
        if item:
            found.append(item)
        else:
            without += 1
    if without:
        logs.warn(f"{path}: {without} rows hold no question that can be read, and are not looked for; "
                  f"validate_jsonl.py {path} names what is wrong")  # fmt: skip
    return found


def find(
    training: Iterable[tuple[str, list[Text]]],
    evaluation: Iterable[Item],
    share: float = SHARE,
    likeness: float = LIKENESS,
) -> Iterator[Hit]:
    """The hit of every training row (place and texts) that holds an evaluation item, in order; the fullest one."""
    index, chunk = Index(list(evaluation), share, likeness), []
    for pair in training:
        chunk.append(pair)
        if len(chunk) == CHUNK:
            yield from filter(None, index.hits(chunk))
            chunk = []
    yield from filter(None, index.hits(chunk))


def _weight(text: str) -> int:
    """How much a text says: a Chinese character counts 1, a word 2."""
    return sum(1 if folding.is_han(token) else 2 for token in folding.tokens(text))


def _compact(text: str) -> str:
    return "".join(folding.tokens(text))


class _Runs:
    """Which units (by number) hold which runs of tokens."""

    def __init__(self, texts: list[str], size: int):
        import numpy as np

        self.size = size
        values, units = self._of(texts)
        order = np.lexsort((units, values))
        values, self._units = values[order], units[order]
        self._values, self._starts = np.unique(values, return_index=True)
        self._ends = np.append(self._starts[1:], len(values))
        self.totals = np.bincount(self._units, minlength=len(texts))

    def _of(self, texts: list[str]):
        """Runs and the text each is of, every run once a text."""
        import numpy as np

        from bedside.clean import minhash

        values, counts = minhash.shingles(*minhash.token_hashes(texts), self.size)
        # A text shorter than a run has one shingle of its own, which is no run.
        owners = np.repeat(np.arange(len(texts)), counts)
        pairs = np.unique(np.stack([owners.astype(np.uint64), values], axis=1), axis=0)
        return pairs[:, 1], pairs[:, 0].astype(np.int64)

    def shared(self, texts: list[str], group: list[int], groups: int):
        """Arrays (group, unit, runs in common, runs of the group's texts) for pairs that share any run."""
        import numpy as np

        values, owners = self._of(texts)
        groups_of = np.asarray(group, np.int64)[owners]
        sizes = np.bincount(groups_of, minlength=groups)
        where = np.searchsorted(self._values, values)
        known = where < len(self._values)
        known[known] = self._values[where[known]] == values[known]
        runs = np.unique(np.stack([groups_of[known], where[known]], axis=1), axis=0)
        lengths = (self._ends - self._starts)[runs[:, 1]]
        first = np.repeat(self._starts[runs[:, 1]] - (np.cumsum(lengths) - lengths), lengths)
        units = self._units[first + np.arange(lengths.sum())]
        pairs, common = np.unique(
            np.stack([np.repeat(runs[:, 0], lengths), units], axis=1), axis=0, return_counts=True
        )
        return pairs[:, 0], pairs[:, 1], common, sizes[pairs[:, 0]]


class Index:
    """Evaluation items, ready to be looked for. `silent` are those too short to be evidence."""

    def __init__(self, items: list[Item], share: float = SHARE, likeness: float = LIKENESS):
        self._share, self._likeness = share, likeness
        units = [(item, *_evidence(item)) for item in items]
        self.silent = [item for item, text, _ in units if not text]
        told = [unit for unit in units if unit[1]]
        self.items = [item for item, _, _ in told]
        self._options = [options for _, _, options in told]
        texts = [folding.fold(text) for _, text, _ in told]
        self._stems = [_compact(item.question) for item in self.items]
        self._long, self._short = _Runs(texts, RUN), _Runs(texts, SHORT_RUN)

    def hits(self, rows: list[tuple[str, list[Text]]]) -> list[Hit | None]:
        """For each row the item of which it holds most, or None."""
        found: list[Hit | None] = [None] * len(rows)
        if not rows or not self.items:
            return found
        texts, owners = [], []
        for number, (_, row) in enumerate(rows):
            for text in row:
                if text.part in (QUESTION, ANSWER, DOCUMENT, OPTION):
                    texts.append(folding.fold(text.text))
                    owners.append(number)
        self._overlapping(rows, texts, owners, found)
        self._alike(rows, texts, owners, found)
        return found

    def _overlapping(self, rows: list, texts: list[str], owners: list[int], found: list) -> None:
        row_of, units, common, _ = self._long.shared(texts, owners, len(rows))
        share = common / self._long.totals[units]
        for pair in (share >= self._share).nonzero()[0]:
            self._note(rows, found, int(row_of[pair]), int(units[pair]), float(share[pair]), "")

    def _alike(self, rows: list, texts: list[str], owners: list[int], found: list) -> None:
        text_of, units, common, sizes = self._short.shared(texts, list(range(len(texts))), len(texts))
        jaccard = common / (self._short.totals[units] + sizes - common)
        for pair in (jaccard >= self._likeness).nonzero()[0]:
            row = owners[int(text_of[pair])]
            if found[row] is None:
                self._note(rows, found, row, int(units[pair]), float(jaccard[pair]), "near")

    def _note(self, rows: list, found: list, row: int, unit: int, share: float, how: str) -> None:
        place, texts = rows[row]
        if found[row] is not None and found[row].share >= share:
            return
        whole = _compact("\n".join(text.text for text in texts))
        options = self._options[unit]
        if options and sum(_compact(option) in whole for option in options) < OPTIONS * len(options):
            return
        item = self.items[unit]
        if not how:
            raw = any(item.question in text.text for text in texts)
            how = "verbatim" if raw else "respelled" if self._stems[unit] in whole else "overlap"
        found[row] = Hit(place, item.place, how, round(share, 2))


def _evidence(item: Item) -> tuple[str, tuple[str, ...]]:
    """The text whose runs prove the item, and the options that must stand beside it; an empty text proves nothing."""
    weight = _weight(item.question)
    options = tuple(option for option in item.options if folding.tokens(option))
    if options:
        return item.question, () if weight >= ALONE else options
    if weight >= SHORTEST:
        return item.question, ()
    both = f"{item.question}\n{item.answer}"
    return (both if _weight(both) >= 2 * SHORTEST else ""), ()
