"""A row of a public examination, whatever it calls its columns, as the fields that `data.choices.to_choice` reads.

Read: CMB, CMExam, MedQA (all countries), MedMCQA, MMLU and CMMLU (letters as columns, or a list of choices), and the
shapes in which the hub repeats them (`ending0`, `choices.text`, `data.Question`).
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from typing import Any

from bedside.data import choices
from bedside.data.conversation import RowError
from bedside.data.strict_json import shown_names

LETTERS = "ABCDEFGHIJ"
QUESTIONS = ("question", "题目", "问题", "题干", "sent1", "question_text", "stem", "query", "prompt", "problem")
ANSWERS = (
    "answer_idx", "answer", "answerkey", "correct option", "correct_option", "correct_answer", "correct answer",
    "correctanswer", "答案", "正确答案", "标准答案", "label", "target", "gold", "correct",
)  # fmt: skip
_OPTIONS = ("options", "option", "choices", "选项")
_DEPARTMENTS = (
    "department", "clinical department", "科室", "exam_subject", "subject_name", "subject", "category",
    "medical discipline", "discipline", "学科", "specialty",
)  # fmt: skip
_EXAMS = ("exam_class", "meta_info", "exam_type", "split")
_KINDS = ("question_type", "choice_type", "题型")
_STANDING = re.compile(r"[(（]?([A-Z])[)）]?\s*[.．、:：)）]\s*(\S.*)", re.DOTALL)
_IN_A_LINE = re.compile(r"(?:^|\s+)[(（]?([A-J])[)）]?[.．、:：)）]\s*")  # "A. gout B. flu"
_COP = "cop"


def folded(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with its names in small letters; the cells of an exam that is packed in `data` are taken out of it.

    Where two names differ in their capitals only, the small one counts: HuatuoGPT-o1 has `question`, with options, and
    `Question`, without.
    """
    inner = row.get("data")
    if isinstance(inner, Mapping) and any(str(name).strip().lower() in QUESTIONS for name in inner):
        row = {**row, **inner}
    cells: dict[str, Any] = {}
    for name, value in row.items():
        small = str(name).strip().lower()
        if small not in cells or small == name:
            cells[small] = value
    return cells


def first(cells: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The first of the names under which something stands."""
    return next((name for name in names if not _empty(cells.get(name))), None)


def _empty(value: Any) -> bool:
    return value is None or isinstance(value, str) and not value.strip() or value != value  # a NaN of a table


def normalised(row: Any, cop_from: int = 0) -> dict[str, Any]:
    """`question`, `options` and `answer` of a row; RowError says what is missing. `cop` counts from `cop_from`.

    >>> normalised({"Question": "2 + 2?", "A": "3", "B": "4", "Answer": "b"})["options"]
    {'A': '3', 'B': '4'}
    """
    if not isinstance(row, Mapping):
        raise RowError("E_TYPE", "the row is no object, expected a question with options")
    cells = folded(row)
    asked = first(cells, QUESTIONS)
    if asked is None:
        raise RowError("E_SCHEMA", f"fields {shown_names(dict(row), 'none')}: expected a question with options")
    stem = cells[asked]
    if isinstance(stem, Mapping):  # {"stem": ..., "choices": ...}
        cells = {**cells, **folded(stem)}
        stem = cells.get("stem") or cells.get("text")
    made: dict[str, Any] = {"question": stem, "options": _options(cells, row)}
    if isinstance(stem, str):
        made["question"] = "\n".join(part for part in (stem.strip(), str(cells.get("sent2") or "").strip()) if part)
    made["answer"] = _answer(cells, made["options"], cop_from)
    kind = first(cells, _KINDS)
    return made | ({"question_type": cells[kind]} if kind else {})


def _options(cells: Mapping[str, Any], row: Any) -> Any:
    """Letter to text, from the column that holds all options or from a column each."""
    where = first(cells, _OPTIONS)
    if where is not None:
        value = cells[where]
        if isinstance(value, str) and value.strip()[:1] in ("{", "["):
            value = _literal(value)
        if isinstance(value, Mapping) and isinstance(value.get("text"), list):  # ARC: {"text": [...], "label": [...]}
            value = list(value["text"])
        if isinstance(value, list) and value and all(isinstance(one, Mapping) for one in value):
            value = {str(_of(one, "key", "label", "letter")): _of(one, "value", "text", "content") for one in value}
        if isinstance(value, list):
            value = _unlettered(value)
        if isinstance(value, str) and len(parted := _IN_A_LINE.split(value)) > 4 and "\n" not in value.strip():
            value = dict(zip(parted[1::2], parted[2::2], strict=True))
        return dict(choices.options_of({"options": value}))
    for names in (LETTERS.lower(), [f"op{one}" for one in "abcde"], [f"option_{one}" for one in "abcdefgh"],
                  [f"option{one}" for one in "abcdefgh"], [f"option {one}" for one in "abcdefgh"],
                  [f"选项{one}" for one in "abcdefgh"], [f"ending{number}" for number in range(8)],
                  [f"choice{number}" for number in range(8)]):  # fmt: skip
        found = {LETTERS[index]: cells.get(name) for index, name in enumerate(names) if name in cells}
        if len(found) > 1:
            kept = {letter: text for letter, text in found.items() if not _empty(text)}
            return dict(choices.options_of({"options": kept}))
    raise RowError("E_SCHEMA", f"fields {shown_names(dict(row), 'none')}: no options beside the question")


def _of(one: Mapping[str, Any], *names: str) -> Any:
    return next((one[name] for name in names if name in one), "")


def _literal(text: str) -> Any:
    """A list or an object that a table holds as text, in JSON or as Python writes it; the text where it is neither."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return text  # JSON with null or true: data.choices reads it, or says what is wrong


def _unlettered(texts: list[Any]) -> list[Any]:
    """A list whose texts all begin with their own letters ("A. gout"), without these."""
    found = [_STANDING.fullmatch(str(text).strip()) for text in texts]
    in_order = all(one and one[1] == LETTERS[index] for index, one in enumerate(found[: len(LETTERS)]))
    return [one[2] for one in found] if found and in_order and len(found) <= len(LETTERS) else texts


def _answer(cells: Mapping[str, Any], options: dict[str, str], cop_from: int) -> str | list[str]:
    """The letters of the right options; RowError for none."""
    if _COP in cells:
        return _from_cop(cells[_COP], options, cop_from)
    where = first(cells, ANSWERS)
    if where is None:
        raise RowError("E_NO_ANSWER", "the row says no right answer (a test split without its answers?)")
    value, letters = cells[where], list(options)
    counts = "choices" in cells or "ending0" in cells or isinstance(value, int | float)
    if counts and not isinstance(value, bool) and re.fullmatch(r"\s*\d+(\.0)?\s*", str(value)):
        index = int(float(value))
        if index >= len(letters):
            raise RowError("E_CHOICE", f"{where} is {index}, expected 0 to {len(letters) - 1}: options count from 0")
        return letters[index]
    if isinstance(value, str):
        standing = _STANDING.fullmatch(value.strip())
        if standing and options.get(standing[1], "").strip() == standing[2].strip():
            value = standing[1]
        value = re.sub(r"^[(（\[]\s*([A-Za-z])\s*[)）\]]$", r"\1", value.strip())
    told: dict[str, Any] = {"question": "-", "options": options, where_name(where): value}
    also = cells.get("answer")
    if where_name(where) == "answer_idx" and isinstance(also, str):
        told["answer"] = also
    return choices.to_choice(told)["answers"]


def where_name(name: str) -> str:
    """The name under which `to_choice` reads an answer: beside `answer_idx` a text may stand that has to agree."""
    return name if name == "answer_idx" else "answer"


def _from_cop(value: Any, options: dict[str, str], cop_from: int) -> str:
    number = cop_number(value)
    if number is None:
        raise RowError("E_TYPE", f"cop is {value!r}, expected a number from {cop_from} to {cop_from + 3}")
    if number == -1:
        raise RowError("E_NO_ANSWER", "cop is -1: a question without its answer")
    letter = LETTERS[number - cop_from] if 0 <= number - cop_from < 4 else ""
    if letter not in options:
        raise RowError("E_CHOICE", f"cop is {number}, expected {cop_from} to {cop_from + 3}, an option with text")
    return letter


def cop_number(value: Any) -> int | None:
    """`cop` as a number, or None."""
    text = "" if value is None or isinstance(value, bool) else str(value).strip()
    return int(float(text)) if re.fullmatch(r"-?\d(?:\.0)?", text) else None


def department(row: Mapping[str, Any]) -> str | None:
    """The department or subject that a row names."""
    cells = folded(row)
    where = first(cells, _DEPARTMENTS)
    return str(cells[where]).strip() if where else None


def exam(row: Mapping[str, Any]) -> str | None:
    """Which examination, or part of it, a row is of: step1, 执业医师, held_out."""
    cells = folded(row)
    where = first(cells, _EXAMS)
    return str(cells[where]).strip() if where else None
