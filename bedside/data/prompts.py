"""Prompts whose answer can be checked (a number, an option, a diagnosis), for training by rewards."""

from typing import Any, NotRequired, TypedDict

from bedside.data import choices, records
from bedside.data.conversation import Message, RowError, check_conversation, kind_of, text_of
from bedside.data.fields import Row, first_of, optional_text
from bedside.data.strict_json import shown_names

_PROMPTS = ("prompt", "question", "problem", "Question", "instruction", "messages")
_ANSWERS = ("ground_truth", "answer", "solution")
_OPEN_ENDED = ("Open-ended Verifiable Question", "Ground-True Answer")  # HuatuoGPT-o1's verifiable problems


class Prompt(TypedDict):
    """Messages that end with the user, and the text that a right answer states."""

    prompt: list[Message]
    answer: str
    aliases: NotRequired[list[str]]  # other texts that are as right
    kind: NotRequired[str]  # choice, or what the row calls it


def to_prompt(row: Any) -> Prompt:
    """A prompt (text or messages) with `answer`, `solution` or `ground_truth`; a question with options is answered by
    its letters. Numbers become text. RowError says what is wrong with the row.

    >>> to_prompt({"question": "Dose in mg?", "answer": 500})["answer"]
    '500'
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
    return _finish({"aliases": aliases, "kind": "choice"}, prompt, "".join(made["answers"]), "answer")


def _finish(row: Row, prompt: list[Message], answer: Any, where: str) -> Prompt:
    check_conversation({"messages": prompt}, answered=False)
    texts = answer if isinstance(answer, list) and answer else [answer]
    told = [_text(text, where) for text in texts]
    aliases = row.get("aliases") or []
    if not isinstance(aliases, list):
        raise RowError("E_TYPE", f"aliases is {kind_of(aliases)}, expected list")
    others = [*told[1:], *(_text(text, f"aliases[{index}]") for index, text in enumerate(aliases))]
    made: Prompt = {"prompt": prompt, "answer": told[0]}
    if others:
        made["aliases"] = others
    if kind := optional_text(row, "kind"):
        made["kind"] = kind
    return made


def _text(value: Any, where: str) -> str:
    """An answer as text; a number is written as JSON writes it."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = str(value)
    return text_of(value, where).strip()
