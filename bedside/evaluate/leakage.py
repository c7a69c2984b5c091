"""Evaluation items that stand in the training data: how many, where, and which results must be read without them.

    files, missing = trained_on.files_of("outputs-sft")
    found = check(files, ["data/eval/mcq.jsonl"], missing)

What counts as the same text is decided by `bedside.clean.contamination`: runs of tokens after folding. Facts told in
other words are no leak. A row may hold several items; every one of them is found.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.clean import contamination, fields
from bedside.clean.contamination import Hit, Index, Item
from bedside.data import files
from bedside.data.conversation import RowError
from bedside.data.rows import Fault
from bedside.errors import DataError
from bedside.evaluate.said import Said
from bedside.evaluate.task import Case

NONE, UNCHECKED, SOME, MANY = "none", "unchecked", "some", "many"
MANY_SHARE = (
    0.1  # of any evaluated file: from here on its results cannot be used as they are, and the sentence says so
)
_UNREAD = Said("could not be read", "无法读取")
_NO_TEXT = Said("hold no text in a known field", "没有已知的文本字段")


@dataclass(frozen=True)
class Leakage:
    """What a check found. `training` counts rows by file, `evaluated` items by file; `missing` are sentences about
    training data that was not looked at; `silent` are places of items too short to prove anything."""

    training: dict[str, int]
    evaluated: dict[str, int]
    hits: list[Hit] = field(default_factory=list)
    missing: list[Said] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)

    @property
    def places(self) -> set[str]:
        """`file:line` of the items that were found in training rows."""
        return {hit.item for hit in self.hits}

    @property
    def items(self) -> int:
        return sum(self.evaluated.values())

    @property
    def severity(self) -> str:
        """`unchecked` where no training row could be read, `none`, `some`, or `many`."""
        if not self.training or not self.items:
            return UNCHECKED
        if not self.hits:
            return NONE
        worst = max(self.leaked_in(file) / items for file, items in self.evaluated.items())
        return MANY if worst >= MANY_SHARE else SOME

    def leaked_in(self, file: str) -> int:
        """How many items of an evaluated file were found in training rows."""
        return sum(_file(place) == file for place in self.places)


def check(
    training: Sequence[Path | str],
    evaluated: Sequence[Path | str],
    missing: Sequence[Said] = (),
    encoding: str | None = None,
) -> Leakage:
    """Look for every item of `evaluated` (files) in every row of `training` (files or directories).

    ConfigError for a path that is not there, DataError for an evaluated file that cannot be read. Training rows that
    hold no text, and files that are no rows, are counted in `missing`.
    """
    items = _items(evaluated, encoding)
    paths = files.find([str(path) for path in training], texts=True) if training else []
    counts: dict[str, int] = {}
    told = list(missing)
    index = Index(items)
    hits: list[Hit] = []
    for path in paths:
        rows, wrong = [], Counter()
        seen = _rows(path, encoding, wrong)
        for chunk in _chunks(logs.progress(seen, None, f"leakage: {path.name}", "row") if items else seen):
            rows += [row for row, hit in zip(chunk, index.hits(chunk), strict=True) if _keep(hit, hits)]
            counts[str(path)] = counts.get(str(path), 0) + len(chunk)
        hits += _further(rows, items, hits)
        told += _told(path, counts.get(str(path), 0), wrong)
    evaluated_counts = dict(Counter(_file(item.place) for item in items))
    return Leakage(counts, evaluated_counts, hits, told, [item.place for item in index.silent])


def clean(cases: Sequence[Case], places: Collection[str]) -> list[Case]:
    """The cases whose item (`shown["where"]`) was not found in the training data.

    >>> clean([Case("a", {}, shown={"where": "./x.jsonl:1"}), Case("b", {})], {"x.jsonl:1"})[0].id
    'b'
    """
    known = {_normal(place) for place in places}
    return [case for case in cases if _normal(str(case.shown.get("where", ""))) not in known]


def sentences(found: Leakage | None) -> list[Said]:
    """What a reader must know before the first number: the verdict, then what was not looked at."""
    if found is None:
        return [
            Said(
                "Leakage of evaluation items into the training data was not checked.",
                "未检查训练数据与评测数据的重叠。",
            )
        ]
    rows, number, items = sum(found.training.values()), len(found.places), found.items
    looked = Said(
        f"{rows:,} training rows of {_number(len(found.training))}",
        f" {len(found.training)} 个文件的 {rows:,} 行训练数据",
    )
    if found.severity == UNCHECKED:
        why = "no training row was to be had" if not found.training else "the evaluated files hold no item to look for"
        zh = "没有可读的训练数据" if not found.training else "评测文件中没有可查找的题目"
        first = Said(f"Leakage could not be checked: {why}.", f"无法检查数据泄漏：{zh}。")
    elif found.severity == NONE:
        first = Said(
            f"No leak found: none of {items:,} evaluation items stands in {looked.en}.",
            f"未发现泄漏：{items:,} 道评测题均未出现在{looked.zh}中。",
        )
    else:
        first = _leak(found, number, items, looked)
    rest = [Said(f"Not checked: {said.en}.", f"未检查：{said.zh}。") for said in found.missing]
    if found.silent:
        count = len(found.silent)
        rest.append(Said(f"{count} items are too short to be told from chance and were not looked for.",
                         f"{count} 道题过短，无法判断是否泄漏，未查找。"))  # fmt: skip
    return [first, *rest]


def to_json(found: Leakage) -> dict[str, Any]:
    """The findings as JSON, with the counts that follow from them."""
    value = dataclasses.asdict(found)
    value["hits"] = [hit._asdict() for hit in found.hits]
    return {**value, "items": found.items, "leaked": len(found.places), "severity": found.severity}


def from_json(value: Mapping[str, Any], where: str = "an evaluation") -> Leakage:
    """What `to_json` wrote; DataError names `where`."""
    try:
        hits = [Hit(**hit) for hit in value["hits"]]
        missing = [Said(*said) for said in value["missing"]]
        return Leakage(dict(value["training"]), dict(value["evaluated"]), hits, missing, list(value["silent"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError("E_LEAKAGE", where, f"holds no leakage check ({error}); run the evaluation again") from None


def _leak(found: Leakage, number: int, items: int, looked: Said) -> Said:
    best: dict[str, str] = {}
    for hit in found.hits:  # of an item that stands in several rows, the plainest way counts
        ways = ("verbatim", "respelled", "overlap", "near")
        best[hit.item] = min(best.get(hit.item, hit.how), hit.how, key=ways.index)
    word = sum(how == "verbatim" for how in best.values())
    share = f"{100 * number / items:.1f} %"
    counts = [(file, found.leaked_in(file), total) for file, total in found.evaluated.items()]
    by_file = Said(
        ", ".join(f"{leaked:,} of {total:,} in {file}" for file, leaked, total in counts if leaked),
        "，".join(f"{file} {total:,} 道中 {leaked:,} 道" for file, leaked, total in counts if leaked),
    )
    if found.severity == MANY:
        end = Said("Those results cannot be used as they are: read the ones without these items.",
                   "相应结果不可直接采用，请以剔除这些题后的结果为准。")  # fmt: skip
    else:
        end = Said("What is measured on them is memory; results without them are given beside the others.",
                   "这些题测到的只是记忆；剔除后的结果一并给出。")  # fmt: skip
    return Said(
        f"LEAK: {number:,} of {items:,} evaluation items ({share}; {by_file.en}) stand in {looked.en}, {word:,} of "
        f"them word for word. {end.en}",
        f"泄漏：{items:,} 道评测题中有 {number:,} 道（{share}；{by_file.zh}）出现在{looked.zh}中，"
        f"其中 {word:,} 道逐字相同。{end.zh}",
    )


def _number(count: int) -> str:
    return f"{count} file" if count == 1 else f"{count} files"


def _items(evaluated: Sequence[Path | str], encoding: str | None) -> list[Item]:
    paths = files.find([str(path) for path in evaluated], texts=True) if evaluated else []
    return [item for path in paths for item in contamination.items_of(path, encoding)]


def _rows(path: Path, encoding: str | None, wrong: Counter) -> Iterator[tuple[str, list[fields.Text]]]:
    for row in files.read(path, encoding):
        if isinstance(row, Fault):
            wrong[_UNREAD] += not row.code.startswith("I_")
            continue
        try:
            yield str(row.origin), fields.texts_of(row.value)
        except RowError:
            wrong[_NO_TEXT] += 1


def _chunks(rows: Any) -> Iterator[list]:
    chunk = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == contamination.CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _keep(hit: Hit | None, hits: list[Hit]) -> bool:
    if hit:
        hits.append(hit)
    return hit is not None


def _further(rows: list, items: list[Item], hits: list[Hit]) -> list[Hit]:
    """Hits of items that no row named yet: a row names one item at a time, the one of which it holds most."""
    found, known = [], {hit.item for hit in hits}
    while rows:
        index = Index([item for item in items if item.place not in known])
        more = [hit for chunk in _chunks(rows) for hit in index.hits(chunk)]
        rows = [row for row, hit in zip(rows, more, strict=True) if hit]
        found += [hit for hit in more if hit]
        known |= {hit.item for hit in more if hit}
    return found


def _told(path: Path, count: int, wrong: Counter) -> list[Said]:
    if not count and not wrong:
        return [Said(f"{path} holds no row", f"{path} 中没有数据行")]
    return [
        Said(f"{number:,} rows of {path} {why.en}", f"{path} 中有 {number:,} 行{why.zh}")
        for why, number in wrong.items()
        if number
    ]


def _file(place: str) -> str:
    return place.rsplit(":", 1)[0]


def _normal(place: str) -> str:
    return os.path.abspath(place) if place else ""
