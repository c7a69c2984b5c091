"""Questions with options, as CMB, CMExam, MedQA, MedMCQA and our own evaluation files write them, to one form."""

import json
import re
from typing import Any, NotRequired, TypedDict

from bedside.data.conversation import RowError, kind_of, text_of
from bedside.data.fields import Row, blank, field, first_of, optional_text
from bedside.data.strict_json import shown_names

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_MEDMCQA = ("opa", "opb", "opc", "opd")
_LINE = re.compile(r"[ \t]*\(?([A-Z])[ \t]*[\s.．、:：)）]\s*(\S.*)")
_LETTER_LIST = re.compile(r"[A-Z](?:[\s,，、;；|]*[A-Z])*")
_DEPARTMENTS = ("department", "Clinical Department", "exam_subject", "subject_name", "Medical Discipline")


class Choice(TypedDict):
    """A question, its options as (letter, text), and the letters of the right ones."""

    question: str
    options: list[tuple[str, str]]
    answers: list[str]
    kind: str  # single | multiple
    explanation: NotRequired[str]
    department: NotRequired[str]


def is_choice(row: Row) -> bool:
    """True if the row's keys are those of a question with options."""
    has = row.keys().__contains__
    return (
        has("Question") and has("Options")
        or has("question") and (has("options") or has("option"))
        or has("question") and all(map(has, _MEDMCQA))
    )  # fmt: skip


def to_choice(row: Any) -> Choice:
    """The row as a question with lettered options; RowError says what is wrong with it.

    >>> to_choice({"question": "2 + 2?", "options": {"A": "3", "B": "4"}, "answer_idx": "B"})["answers"]
    ['B']
    """
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    if not is_choice(row):
        raise RowError("E_SCHEMA", f"fields {shown_names(row, 'none')}: expected a question with options")
    name = "Question" if "Question" in row and "Options" in row else "question"
    question = text_of(field(row, name), name)
    options = options_of(row)
    answers = _answers(row, options)
    made: Choice = {"question": question, "options": options, "answers": answers, "kind": _kind(row, answers)}
    explanation = first_of(row, "explanation", "Explanation", "exp")
    department = first_of(row, *_DEPARTMENTS)
    if explanation and (text := optional_text(row, explanation)):
        made["explanation"] = text
    if department and (text := optional_text(row, department)):
        made["department"] = text
    return made


def options_of(row: Row) -> list[tuple[str, str]]:
    """The options that have text, as (letter, text); RowError for fewer than two."""
    if "opa" in row:
        pairs = [(_LETTERS[index], row.get(name)) for index, name in enumerate(_MEDMCQA)]
        where = "opa..opd"
    else:
        where = first_of(row, "options", "option", "Options") or "options"
        pairs = _pairs(field(row, where), where)
    kept = []
    for letter, text in pairs:
        if blank(text):  # CMB fills up to five options with empty ones
            continue
        kept.append((letter, text_of(str(text) if isinstance(text, int | float) else text, f"{where}.{letter}")))
    letters = [letter for letter, _ in kept]
    if len(kept) < 2:
        raise RowError("E_EMPTY", f"{where}: {len(kept)} option(s) with text, expected at least 2")
    if len(set(letters)) < len(letters):
        raise RowError("E_CHOICE", f"{where}: two options have the same letter")
    return kept


def _pairs(value: Any, where: str) -> list[tuple[str, Any]]:
    """Options given as an object, a list of texts or of objects, JSON of these, or lines that begin with letters."""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] not in ("{", "["):
            return _lines(text, where)
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            raise RowError("E_CHOICE", f"{where} is text that begins like JSON and is none") from None
    if isinstance(value, dict) and {"key", "value"} == value.keys() and isinstance(value["key"], list):
        value = [{"key": key, "value": text} for key, text in zip(value["key"], value["value"] or [], strict=False)]
    if isinstance(value, dict):
        return [(_letter(key, where), text) for key, text in value.items()]
    if not isinstance(value, list):
        raise RowError(
            "E_NULL" if value is None else "E_TYPE", f"{where} is {kind_of(value)}, expected object or list"
        )
    if len(value) > len(_LETTERS):
        raise RowError("E_CHOICE", f"{where}: {len(value)} options, expected at most {len(_LETTERS)}")
    if all(isinstance(item, dict) for item in value):
        return [(_letter(field(item, "key"), where), item.get("value")) for item in value]
    return [(_LETTERS[index], text) for index, text in enumerate(value)]


def _letter(key: Any, where: str) -> str:
    letter = key.strip().upper() if isinstance(key, str) else ""
    if len(letter) != 1 or letter not in _LETTERS:
        raise RowError("E_CHOICE", f"{where}: an option's name is no single letter")
    return letter


def _lines(text: str, where: str) -> list[tuple[str, str]]:
    pairs = [_LINE.fullmatch(line) for line in text.splitlines() if line.strip()]
    if not pairs or not all(pairs):
        raise RowError("E_CHOICE", f"{where}: expected one option a line, each with its letter in front")
    return [(pair[1], pair[2]) for pair in pairs]


def _answers(row: Row, options: list[tuple[str, str]]) -> list[str]:
    if "cop" in row:
        letters, where = [_medmcqa(row["cop"])], "cop"
    else:
        where = first_of(row, "answer_idx", "answer", "Answer") or "answer"
        letters = _letters(field(row, where), where, options)
    known = dict(options)
    if any(letter not in known for letter in letters):
        raise RowError("E_CHOICE", f"{where} names an option that is not there")
    if where == "answer_idx" and isinstance(text := row.get("answer"), str) and len(letters) == 1:
        named = {text.strip(), text.strip().upper()}
        if not blank(text) and not named & {known[letters[0]].strip(), letters[0]}:
            raise RowError("E_CHOICE", "answer_idx and answer name different options")
    return letters


def _medmcqa(value: Any) -> str:
    """The letter of `cop`, which counts from 0 as on the hub. Files that count from 1 are told by a 4."""
    if isinstance(value, str) and re.fullmatch(r"\s*-?\d\s*", value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise RowError("E_TYPE", f"cop is {kind_of(value)}, expected a number from 0 to 3")
    if value == -1:
        raise RowError("E_NO_ANSWER", "cop is -1: a question without its answer")
    if value not in range(4):
        raise RowError("E_CHOICE", f"cop is {value}, expected 0 to 3; in a file that counts from 1, subtract 1")
    return _LETTERS[value]


def _letters(value: Any, where: str, options: list[tuple[str, str]]) -> list[str]:
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        value = ",".join(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(options):
        return [options[value][0]]
    text = text_of(value, where).strip()
    same = [letter for letter, option in options if option.strip() == text]
    if len(same) == 1:
        return same
    if not _LETTER_LIST.fullmatch(text.upper()):
        raise RowError("E_CHOICE", f"{where} is neither letters of options nor the text of one")
    return sorted(set(re.findall("[A-Z]", text.upper())))


def _kind(row: Row, answers: list[str]) -> str:
    told = row.get("question_type") or row.get("choice_type") or ""
    multiple = len(answers) > 1 or "多" in str(told)
    return "multiple" if multiple else "single"


def question_text(choice: Choice) -> str:
    """The question with its options below, one a line."""
    return "\n".join([choice["question"], *(f"{letter}. {text}" for letter, text in choice["options"])])


def answer_text(choice: Choice) -> str:
    """The explanation, if there is one, and the right options with their letters, in the question's language."""
    texts = dict(choice["options"])
    right = "; ".join(f"{letter}. {texts[letter]}" for letter in choice["answers"])
    chinese = any("\u4e00" <= character <= "\u9fff" for character in choice["question"])
    said = f"答案：{right.replace('; ', '；')}" if chinese else f"Answer: {right}"
    return f"{choice['explanation']}\n\n{said}" if "explanation" in choice else said
