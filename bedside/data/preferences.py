"""Rows of two answers to one question, of which one is better, to checked preference pairs."""

from typing import Any

from bedside.data.conversation import Message, Preference, RowError, assistant, check_preference, kind_of, text_of
from bedside.data.fields import Row, field, optional_text
from bedside.data.loss import unmarked
from bedside.data.records import PREFERENCE_KEYS, history, messages_of, sharegpt, system
from bedside.data.strict_json import shown_names

# The two sides, better one first, as rows call them.
_SIDES = (PREFERENCE_KEYS, ("response_chosen", "response_rejected"))


def to_preference(row: Any, roles: dict[str, str] | None = None) -> Preference:
    """`prompt`, `question`, `instruction` or `conversations` with `chosen` and `rejected` (or `response_chosen` and
    `response_rejected`), `system` and `history`; or two message lists that share their beginning."""
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    names = next((names for names in _SIDES if any(name in row for name in names)), None)
    if names is None:
        raise RowError("E_SCHEMA", f"fields {shown_names(row, 'none')}: expected chosen and rejected")
    sides = [field(row, name) for name in names]
    if None not in sides and isinstance(sides[0], str) != isinstance(sides[1], str):
        raise RowError("E_TYPE", f"{names[0]} is {kind_of(sides[0])} but {names[1]} is {kind_of(sides[1])}")
    answers = [_side(side, name) for side, name in zip(sides, names, strict=True)]
    prompt = system(row) + prompt_of(row, roles)
    if all(message["role"] == "system" for message in prompt):
        shared, answers = _shared_beginning(*answers)
        prompt = prompt + shared
    else:
        answers = _without_prompt(prompt, answers)
    pair: Preference = {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}
    check_preference(pair)
    return pair


def _side(value: Any, name: str) -> list[Message]:
    if isinstance(value, dict):
        value = [{"role": "assistant", "content": value.get("value"), **value}]
    return messages_of(value, name) if isinstance(value, list) else [assistant(value, name)]


def prompt_of(row: Row, roles: dict[str, str] | None = None) -> list[Message]:
    """What a row asks, answer apart: `conversations`, `prompt`, `question` or `instruction`; empty if it has none."""
    if "conversations" in row:
        turns = row["conversations"]
        stub = {"from": "gpt", "value": "-"}  # lets the sharegpt reader check a conversation that has no answer yet
        with_answer = [*map(unmarked, turns), stub] if isinstance(turns, list) and turns else turns
        return sharegpt({"conversations": with_answer}, roles)["messages"][:-1]
    for key in ("prompt", "question", "instruction"):
        if key not in row:
            continue
        if isinstance(row[key], list):
            return messages_of(row[key], key)
        extra = optional_text(row, "input") if key == "instruction" else ""
        text = text_of(row[key], key)
        return [*history(row), {"role": "user", "content": f"{text}\n{extra}" if extra else text}]
    return []


def _without_prompt(prompt: list[Message], answers: list[list[Message]]) -> list[list[Message]]:
    """Answers that repeat the prompt in front of them (as UltraFeedback's do), without it."""
    asked = [message for message in prompt if message["role"] != "system"]
    for skipped in (len(prompt), len(asked)):
        if all(len(answer) > skipped and answer[:skipped] == prompt[-skipped:] for answer in answers):
            return [answer[skipped:] for answer in answers]
    return answers


def _shared_beginning(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], list[list[Message]]]:
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if not shared:
        raise RowError("E_FIELD", "no prompt, and chosen and rejected do not begin with the same messages")
    return chosen[:shared], [chosen[shared:], rejected[shared:]]
