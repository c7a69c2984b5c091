"""Prompts whose answer can be checked (a number, an option, a diagnosis), for training by rewards."""

import math
import re
from typing import Any, NotRequired, TypedDict

from bedside.data import choices, records
from bedside.data.conversation import Message, RowError, check_conversation, kind_of, text_of
from bedside.data.fields import Row, blank, first_of, optional_text
from bedside.data.strict_json import shown_names

_PROMPTS = ("prompt", "question", "problem", "Question", "instruction", "messages")
_ANSWERS = ("ground_truth", "answer", "solution")
_OPEN_ENDED = ("Open-ended Verifiable Question", "Ground-True Answer")  # HuatuoGPT-o1's verifiable problems
_NUMBER = re.compile(r"[+-]?(?:\d{1,3}(?:,\d{3})+|\d+)?(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LANGUAGES = ("zh", "en")
GOLD = (
    "answer",
    "aliases",
    "kind",
    "options",
    "unit",
    "tolerance",
    "red_flags",
    "lang",
)  # of a prompt: not the prompt


class Prompt(TypedDict):
    """Messages that end with the user, and the text that a right answer states."""

    prompt: list[Message]
    answer: str
    aliases: NotRequired[list[str]]  # other texts that are as right
    kind: NotRequired[str]  # choice, number, or what the row calls it
    options: NotRequired[dict[str, str]]  # letter -> text
    unit: NotRequired[str]  # of a number
    tolerance: NotRequired[float]  # by what share of it a number may be off
    red_flags: NotRequired[list[str]]  # what an answer must warn of
    lang: NotRequired[str]  # zh or en


def to_prompt(row: Any) -> Prompt:
    """A prompt (text or messages) with `answer`, `solution` or `ground_truth`; a question with options is answered by
    its letters. Numbers become text. What else tells a right answer (GOLD) is kept. RowError says what is wrong.

    >>> to_prompt({"question": "Which dose?", "answer": 500, "unit": "mg"})["kind"]
    'number'
    """
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    if _OPEN_ENDED[1] in row:
        question, answer = (row.get(name) for name in _OPEN_ENDED)
        return _finish(row, [_user(question, _OPEN_ENDED[0])], answer, _OPEN_ENDED[1])
    if choices.is_choice(row):
        return _of_choice(row)
    asked = first_of(row, *_PROMPTS)
    if asked is None:
        raise RowError("E_SCHEMA", f"fields {shown_names(row, 'none')}: expected prompt or question, and its answer")
    answer, where = _answer(row)
    if isinstance(row[asked], list):
        messages = records.messages_of(row[asked], asked)
    else:
        extra = optional_text(row, "input") if asked == "instruction" else ""
        message = _user(row[asked], asked)
        messages = [{**message, "content": f"{message['content']}\n{extra}"} if extra else message]
    return _finish(row, records.system(row) + messages, answer, where)


def _user(text: Any, where: str) -> Message:
    return {"role": "user", "content": text_of(text, where)}


def _answer(row: Row) -> tuple[Any, str]:
    """The answer and where it stands."""
    model = row.get("reward_model")  # verl's place for it
    if isinstance(model, dict) and "ground_truth" in model:
        return model["ground_truth"], "reward_model.ground_truth"
    where = first_of(row, *_ANSWERS)
    if where is None:
        raise RowError("E_FIELD", f"no field 'answer', 'solution' or 'ground_truth' (has: {shown_names(row)})")
    return row[where], where


def _of_choice(row: Row) -> Prompt:
    made = choices.to_choice(row)
    prompt = records.system(row) + [_user(choices.question_text(made), "question")]
    texts = dict(made["options"])
    aliases = [texts[made["answers"][0]]] if made["kind"] == "single" else []
    extra = {name: row[name] for name in ("red_flags", "lang") if name in row}
    return _finish({**extra, "aliases": aliases, "options": texts}, prompt, "".join(made["answers"]), "answer")


def _finish(row: Row, prompt: list[Message], answer: Any, where: str) -> Prompt:
    check_conversation({"messages": prompt}, answered=False)
    texts = answer if isinstance(answer, list) and answer else [answer]
    told = [_text(text, where) for text in texts]
    made: Prompt = {"prompt": prompt, "answer": told[0]}
    if others := [*told[1:], *_texts(row, "aliases")]:
        made["aliases"] = others
    if not blank(row.get("options")):  # they stand in the prompt already
        made["options"] = dict(choices.options_of(row))
    if unit := optional_text(row, "unit"):
        made["unit"] = unit.strip()
    if row.get("tolerance") is not None:
        made["tolerance"] = _tolerance(row["tolerance"])
    made |= of_any_answer(row)
    if kind := _kind(made, optional_text(row, "kind")):
        made["kind"] = kind
    return made


def of_any_answer(row: Row) -> dict[str, Any]:
    """What is asked of an answer that may be checked or not: `red_flags` and `lang`, where the row has them."""
    flags = _texts(row, "red_flags")
    lang = optional_text(row, "lang").lower().replace("_", "-").partition("-")[0]
    return ({"red_flags": flags} if flags else {}) | ({"lang": lang} if lang in _LANGUAGES else {})


def _kind(made: Prompt, told: str) -> str:
    """What kind of answer it is: of options, a number with its unit, or what the row calls it."""
    if "options" in made:
        return "choice"
    return "number" if "unit" in made and is_number(made["answer"]) else told


def is_number(text: str) -> bool:
    """Whether a text is one number and nothing else.

    >>> is_number("1,500.5"), is_number("250-500")
    (True, False)
    """
    return any(map(str.isdigit, text)) and _NUMBER.fullmatch(text.strip()) is not None


def _texts(row: Row, name: str) -> list[str]:
    """A field that lists texts and may be missing."""
    values = row.get(name) or []
    if not isinstance(values, list):
        raise RowError("E_TYPE", f"{name} is {kind_of(values)}, expected list")
    return [_text(value, f"{name}[{index}]") for index, value in enumerate(values)]


def _tolerance(value: Any) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool)
    if not known or not math.isfinite(value) or value < 0:
        found = kind_of(value) if not known else f"{value:g}"
        raise RowError("E_TYPE", f"tolerance is {found}, expected a share of the answer, such as 0.05")
    return float(value)


def _text(value: Any, where: str) -> str:
    """An answer as text; a number is written as JSON writes it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return text_of(value, where).strip()
