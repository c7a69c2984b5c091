"""Files of multiple-choice questions to questions: every row is one, or is told with its file and line.

Formats are told apart by their columns (`formats`). Chinese files in GB18030 are recognised. Answers that lie in
another file beside the questions (CMB's test split) are found by their `id`.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.data import encodings, files
from bedside.data.choices import to_choice
from bedside.data.conversation import RowError
from bedside.data.rows import Row
from bedside.errors import DataError
from bedside.evaluate.choice.formats import (
    ANSWERS,
    LETTERS,
    QUESTIONS,
    cop_number,
    department,
    exam,
    first,
    folded,
    normalised,
)
from bedside.evaluate.choice.question import Question
from bedside.evaluate.task import Settings, spread
from bedside.rewards.completion import has_han

DEFAULT = "data/eval/mcq.jsonl"
_TOLD = 5  # rows that cannot be used are shown up to here and counted beyond
_SPLITS = ("_test", "_val", "_dev", "-test", "-val", "-dev")
_ANSWER_IN = re.compile(
    r"\b(?:ans(?:wer)?|correct (?:answer|option))\b[\s.:\-]*(?:is|are)?[\s:\-]*[('\"‘`\[]*\s*([a-d])(?![a-z])",
    re.IGNORECASE,
)
Bad = tuple[str, str, str]  # where, code, what is wrong


def load(path: str | Sequence[str], settings: Settings) -> list[Question]:
    """The questions of one or more files or directories (joined by commas), `settings.most` of them evenly spread.

    Rows that cannot be used are told and counted; a file of nothing but answers gives none. Raises ConfigError for
    what is not there, DataError for a file without any question and answer.
    """
    places = files.find(_paths(path))
    encoding, cop_from = settings.options.get("encoding"), settings.options.get("choice_cop")
    rows = {place: _rows(place, encoding) for place in places}
    answers = _answers_apart([row for read, _ in rows.values() for row in read])
    found: list[Question] = []
    for place, (read, bad) in rows.items():
        if read and not bad and all(_only_an_answer(row.value) for row in read):
            logs.info(f"{place}: {len(read):,} right answers, by id, for the questions beside it")
            continue
        beside = answers or _answers_beside(place, read, encoding)
        made = _questions(place, read, bad, beside, cop_from)
        found += made
        _tell(place, made, bad)
    return spread(_with_own_ids(found), settings.most)


def _paths(path: str | Sequence[str]) -> list[str]:
    if not isinstance(path, str):
        return [str(one) for one in path]
    return [path] if Path(path).exists() else [one.strip() for one in path.split(",") if one.strip()] or [path]


def _rows(place: Path, encoding: str | None) -> tuple[list[Row], list[Bad]]:
    """What can be read of a file, and what cannot."""
    kept: list[Row] = []
    bad: list[Bad] = []
    encoding = encoding or _chinese(place)
    for item in files.read(place, encoding, _columns(place, encoding)):
        if isinstance(item, Row):
            kept.append(item)
        elif item.code.startswith("I_"):
            logs.info(f"{item.origin}: {item.detail}")
        else:
            bad.append((str(item.origin), item.code, item.detail))
    return kept, bad


def _chinese(place: Path) -> str | None:
    """gb18030 for lines or an array of JSON that are Chinese in it; tables are recognised where they are read."""
    if files.suffix(place) not in (".json", ".jsonl"):
        return None
    stream, _ = encodings.binary(place, None)
    with stream:
        head = stream.read(encodings.SAMPLE)
    if encodings.mostly_utf8(head) or not encodings.is_gb18030(head):
        return None
    logs.info(f"{place}: not UTF-8; read as GB18030")
    return "gb18030"


def _columns(place: Path, encoding: str | None) -> list[str] | None:
    """The columns of a table that has no header, as MMLU's: question, options, letter. None where there is one."""
    if files.suffix(place) not in files.TABLES:
        return None
    name, _, error = encodings.settle(place, encoding)
    if error is not None:  # said where the file is read
        return None
    stream, _ = encodings.binary(place, encoding)
    delimiter = "\t" if files.suffix(place) == ".tsv" else ","
    with io.TextIOWrapper(stream, name, newline="") as text:
        try:
            cells = next((row for row in csv.reader(text, delimiter=delimiter) if any(row)), [])
        except csv.Error:
            return None
    named = {cell.strip().lower() for cell in cells}
    options = len(cells) - 2
    letter = cells[-1].strip() if cells else ""
    headed = named & {*QUESTIONS, "opa"} or {"a", "b"} <= named
    if headed or not 2 <= options <= len(LETTERS) or letter not in list(LETTERS):
        return None
    return ["question", *LETTERS[:options], "answer"]


def _only_an_answer(row: Any) -> bool:
    """Whether a row is the answer to a question that stands elsewhere."""
    if not isinstance(row, dict):
        return False
    cells = folded(row)
    return "id" in cells and first(cells, ANSWERS) is not None and first(cells, QUESTIONS) is None


def _answers_apart(rows: Iterable[Row]) -> dict[str, Any]:
    """Answers by the id of their question, of rows that are nothing else."""
    cells = [folded(row.value) for row in rows if _only_an_answer(row.value)]
    return {str(row["id"]): row[first(row, ANSWERS)] for row in cells}


def _answers_beside(place: Path, rows: list[Row], encoding: str | None) -> dict[str, Any]:
    """Answers by id from a file beside the questions that is called so, where the questions have none."""
    cells = [folded(row.value) for row in rows if isinstance(row.value, dict)]
    if not cells or any("cop" in one or first(one, ANSWERS) for one in cells) or any("id" not in one for one in cells):
        return {}
    for other in sorted(place.parent.glob("*answer*")):
        if other != place and files.suffix(other) in (".json", ".jsonl"):
            read, _ = _rows(other, encoding)
            if found := _answers_apart(read):
                logs.info(f"{place}: the right answers are taken from {other.name}, by id")
                return found
    return {}


def _questions(
    place: Path, rows: list[Row], bad: list[Bad], answers: dict[str, Any], cop_from: int | None
) -> list[Question]:
    """The questions of a file; what is none goes to `bad`."""
    counts_from = _cop_from(place, rows) if cop_from is None else int(cop_from)
    made = []
    for row in rows:
        value = row.value
        if answers and isinstance(value, dict) and first(cells := folded(value), ANSWERS) is None:
            value = {**value, "answer": answers.get(str(cells.get("id")))}
        try:
            made.append(_question(value, str(row.origin), place, counts_from))
        except RowError as error:
            bad.append((str(row.origin), error.code, error.detail))
    return made


def _question(value: Any, where: str, place: Path, cop_from: int) -> Question:
    made = to_choice(normalised(value, cop_from))
    texts = [text.strip() for _, text in made["options"]]
    right = [text.strip() for letter, text in made["options"] if letter in made["answers"]]
    if any(texts.count(text) > 1 for text in right):
        raise RowError("E_CHOICE", "two options say the same, and one of them is right")
    several = made["kind"] == "multiple"
    said = str(value.get("lang") or "")[:2].lower()
    language = said if said in ("zh", "en") else "zh" if has_han(made["question"] + "".join(texts)) else "en"
    # The directory's name too: medqa/test.jsonl and medmcqa/test.jsonl may be evaluated together.
    own = value.get("id") if value.get("id") not in (None, "") else where.removeprefix(f"{place}:")
    return Question(
        f"{place.resolve().parent.name}/{place.name}:{own}",
        made["question"],
        tuple((letter, text.strip()) for letter, text in made["options"]),
        frozenset(made["answers"]),
        several,
        language,
        where,
        {"language": language, **_groups(value, place, len(texts), several)},
    )


def _groups(value: dict[str, Any], place: Path, options: int, several: bool) -> dict[str, str]:
    """What accuracy is split by; the number of options says what one who guesses gets."""
    chance = 1 / (2**options - 1) if several else 1 / options
    groups = {
        "answers": "several answers" if several else "one answer",
        "options": f"{options} options (chance {100 * chance:.3g} %)",
        "file": place.name,
    }
    by_letters = "A" in value and "answer" in value  # MMLU's columns: the subject is the file's name
    subject = department(value) or (_subject(place.name.partition(".")[0]) if by_letters else None)
    groups |= {"department": subject} if subject else {}
    return groups | ({"exam": part} if (part := exam(value)) else {})


def _subject(stem: str) -> str | None:
    """The subject that MMLU's file names say: `anatomy` of `anatomy_test`."""
    return next((stem.removesuffix(end).replace("_", " ") for end in _SPLITS if stem.endswith(end)), None)


def _cop_from(place: Path, rows: list[Row]) -> int:
    """Whether MedMCQA's `cop` counts from 0 (the hub's files) or from 1 (the authors'), by all rows of the file.

    Raises DataError where it holds both 0 and 4.
    """
    numbers: dict[int, str] = {}
    for row in rows:
        number = cop_number(row.value.get("cop")) if isinstance(row.value, dict) else None
        if number is not None:
            numbers.setdefault(number, str(row.origin))
    told = {number for number in numbers if number >= 0}
    if not told:
        return 0
    if {0, 4} <= told:
        raise DataError("E_CHOICE", numbers[4], f"cop is 4 here and 0 at {numbers[0]}: it counts from 0 or from 1")
    if 4 in told:
        logs.info(f"{place}: cop counts from 1 (it is 4 at {numbers[4]})")
        return 1
    if 0 in told:
        logs.info(f"{place}: cop counts from 0 (it is 0 at {numbers[0]})")
        return 0
    votes = _cop_votes(rows)
    base = 1 if votes[1] > votes[0] else 0
    proof = f"explanations that agree: {votes[base]}, that do not: {votes[1 - base]}"
    proof = proof if votes[base] else "an assumption, as on the hub: nothing in the file tells"
    logs.warn(f"{place}: cop is never 0 and never 4; taken to count from {base} ({proof})")
    return base


def _cop_votes(rows: list[Row]) -> Counter:
    """How many explanations ("Ans. is 'b'") agree with a cop that counts from 0, and from 1."""
    votes: Counter = Counter()
    for row in rows:
        letter = _ANSWER_IN.search(str(row.value.get("exp") or "")) if isinstance(row.value, dict) else None
        number = cop_number(row.value.get("cop")) if letter else None
        if letter and number is not None:
            votes[number - LETTERS.index(letter[1].upper())] += 1
    return votes


def _with_own_ids(questions: list[Question]) -> list[Question]:
    """The questions, each with an id of its own: of the rows of a file that share one, the second is called `id#2`."""
    seen: Counter = Counter()
    made = []
    for one in questions:
        seen[one.id] += 1
        made.append(one if seen[one.id] == 1 else replace(one, id=f"{one.id}#{seen[one.id]}"))
    return made


def _tell(place: Path, made: list[Question], bad: list[Bad]) -> None:
    """How many questions a file holds, and each row that is none; DataError where all are none."""
    for where, code, detail in bad[:_TOLD]:
        logs.warn(f"{where}: {code} {detail}")
    if not made:
        reasons = Counter(code for _, code, _ in bad)
        most = reasons.most_common(1)[0][0] if reasons else "E_EMPTY_FILE"
        hint = (
            "; a test split without answers? CMB's lie in CMB-test-choice-answer.json: give both files"
            if most == "E_NO_ANSWER"
            else ""
        )
        raise DataError(most, str(place), f"none of {len(bad)} row(s) is a question with options and answer{hint}")
    several = sum(one.several for one in made)
    twice = len(made) - len({(one.text, one.options) for one in made})
    logs.info(
        f"{place}: {len(made):,} question(s)"
        + (f", {several:,} of them with several answers" if several else "")
        + (f"; {twice:,} stand in it twice" if twice else "")
    )
    if bad:
        counted = ", ".join(f"{code} {count:,}" for code, count in Counter(code for _, code, _ in bad).most_common())
        logs.warn(f"{place}: {len(bad):,} of {len(made) + len(bad):,} rows are left out ({counted})")
