"""The rows that all variants train on: drawn once by the command, read as text by scripts and as ids by the others.

Lengths are lognormal with a mean of a third of the longest (700 of 2,048 tokens), as medical dialogues have them, or
all the longest (`full`). A text is made of words that are one token each, so that it has the length that was drawn
through any path that uses the shipped tokenizer.
"""

from __future__ import annotations

import json
import math
import random
import re
from pathlib import Path
from typing import Any

STARTER = Path(__file__).resolve().parent.parent.parent / "models" / "starter"
TEMPLATE = "chatml"


def words() -> list[str]:
    """Words that are one token of the shipped tokenizer, behind a blank and at the start of a text."""
    vocabulary = json.loads((STARTER / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    found = sorted(token[1:] for token in vocabulary if re.fullmatch("Ġ[a-z]{3,}", token))
    return [word for word in found if word in vocabulary]


def lengths(number: int, longest: int, full: bool, seed: int = 0) -> list[int]:
    """Tokens of each row."""
    if full:
        return [longest] * number
    draw, sigma = random.Random(seed), 0.7
    middle = math.log(longest * 700 / 2048) - sigma * sigma / 2
    return [min(longest, max(20, int(draw.lognormvariate(middle, sigma)))) for _ in range(number)]


def sft_texts(sizes: list[int], around: int, seed: int = 1) -> list[dict[str, str]]:
    """Rows in alpaca's form of these lengths, `around` tokens of which are the template's; a tenth to a half of each
    is its question."""
    draw, known = random.Random(seed), words()
    made = []
    for size in sizes:
        question = max(1, int((size - around) * draw.uniform(0.1, 0.5)))
        asked, said = draw.choices(known, k=question), draw.choices(known, k=size - around - question)
        made.append({"instruction": " ".join(asked), "input": "", "output": " ".join(said)})
    return made


def pair_texts(sizes: list[int], around: int, full: bool, seed: int = 1) -> list[dict[str, Any]]:
    """Rows of preferences: the longer side has the length given, the other at least half of its answer (`full`: the
    same length)."""
    draw, known = random.Random(seed), words()
    made = []
    for size in sizes:
        question = max(1, int((size - around) * draw.uniform(0.1, 0.5)))
        longer = size - around - question
        sides = [longer, longer if full else max(1, int(longer * draw.uniform(0.5, 1.0)))]
        draw.shuffle(sides)
        good, bad = (" ".join(draw.choices(known, k=count)) for count in sides)
        asked = " ".join(draw.choices(known, k=question))
        made.append(
            {"system": "", "history": [], "question": asked, "response_chosen": good, "response_rejected": bad}
        )
    return made


def write(path: Path, rows: list[dict]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read(path: Path) -> list[dict]:
    """The objects of such a file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def encoded(path: Path, longest: int, packing: bool = False, pairs: bool = False) -> list[dict]:
    """The file's rows as ids and labels, through bedside's own data side: what its scripts train on."""
    from bedside import models
    from bedside.data import build, chats, tokens
    from bedside.data import pairs as pair_data
    from bedside.data.judged import Limits

    tokenizer = models.load_tokenizer(str(STARTER))
    template = models.install_template(tokenizer, TEMPLATE, advise=False)
    encoding = tokens.encoding_for(tokenizer, template, longest)
    reading = build.Reading.of_flags(None, None, None)
    sources = build.sources([str(path)], reading=reading, ranking=pairs)
    plan = chats.Plan(sources, [], reading, max_bad_rate=0.0)
    if pairs:
        limits = Limits(longest, None, None)
        return list(pair_data.datasets(plan, tokenizer.backend_tokenizer, encoding, limits).train)
    return list(chats.datasets(plan, tokenizer.backend_tokenizer, encoding, longest if packing else None).train)


def _around(place: Path, longest: int, pairs: bool) -> int:
    """Tokens of the template in a row, counted on one."""
    trial = place / "trial.jsonl"
    write(trial, pair_texts([9], 5, True) if pairs else sft_texts([9], 5))
    (row,) = encoded(trial, longest, pairs=pairs)
    return len(row["chosen_ids"] if pairs else row["input_ids"]) - 4


def prepare(place: Path, name: str, number: int, longest: int) -> None:
    """Write `NAME.jsonl` (text), `NAME.ids.jsonl` and, for rows of SFT, `NAME.packed.jsonl`.

    Names are `mixed`, `full`, `pairs_mixed` and `pairs_full`; the last also gives `sides_full.jsonl`, both sides of
    each pair as rows of SFT. Raises AssertionError if a row came out longer or shorter than it was drawn.
    """
    full, pairs = name.endswith("full"), name.startswith("pairs")
    around, sizes = _around(place, longest, pairs), lengths(number, longest, full)
    path = place / f"{name}.jsonl"
    write(path, pair_texts(sizes, around, full) if pairs else sft_texts(sizes, around))
    found = encoded(path, longest, pairs=pairs)
    kept = ("chosen_ids", "chosen_labels", "rejected_ids", "rejected_labels") if pairs else ("input_ids", "labels")
    made = [max(len(row[column]) for column in kept) for row in found]
    assert sorted(made) == sorted(sizes), "a row has not the length that was drawn"
    write(place / f"{name}.ids.jsonl", [{column: row[column] for column in kept} for row in found])
    if not pairs:
        write(place / f"{name}.packed.jsonl", encoded(path, longest, packing=True))
    elif full:
        said = [(row["question"], row[f"response_{side}"]) for row in read(path) for side in ("chosen", "rejected")]
        # A word less: a row of SFT has the line's end behind its turn.
        sides = [{"instruction": asked, "input": "", "output": answer.partition(" ")[2]} for asked, answer in said]
        write(place / "sides_full.jsonl", sides)


def name_of(stage: str, data: str) -> str:
    """The name of the rows that a stage trains on."""
    return data if stage == "sft" else f"pairs_{data}"
