"""Rows of one answer that is labelled good or bad, to checked KTO examples."""

from typing import Any, TypedDict

from bedside.data import records
from bedside.data.conversation import Message, RowError, kind_of
from bedside.data.fields import Row, field, list_of
from bedside.data.strict_json import shown_names

LABELS = ("label", "kto_tag")
_WORDS = {"true": True, "false": False, "1": True, "0": False}


class Labelled(TypedDict):
    """A prompt, one answer to it, and whether that is the kind of answer to give."""

    prompt: list[Message]
    completion: list[Message]
    label: bool


def to_kto(row: Any, roles: dict[str, str] | None = None) -> Labelled:
    """`prompt`/`completion`, `messages`, `conversations` or alpaca fields with `label` or `kto_tag`.

    Raises RowError, of which E_SCHEMA means that the row has no label.

    >>> to_kto({"prompt": "Fever?", "completion": "Rest.", "label": True})["completion"]
    [{'role': 'assistant', 'content': 'Rest.'}]
    """
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    names = [name for name in LABELS if name in row]
    if not names:
        raise RowError("E_SCHEMA", f"fields {shown_names(row, 'none')}: expected label or kto_tag")
    labels = {_label(row[name], name) for name in names}
    if len(labels) > 1:
        raise RowError("E_LABEL", "label and kto_tag contradict each other")
    messages = _messages({key: value for key, value in row.items() if key not in LABELS}, roles)
    last = max(index for index, message in enumerate(messages) if message["role"] in ("user", "tool"))
    return {"prompt": messages[: last + 1], "completion": messages[last + 1 :], "label": labels.pop()}


def _label(value: Any, name: str) -> bool:
    """True or false, also as 0 and 1 and as the words that a table holds."""
    if value is None:
        raise RowError("E_NULL", f"{name} is null")
    known = _WORDS.get(str(value).strip().lower()) if isinstance(value, bool | int | str) else None
    if known is None:
        raise RowError("E_LABEL", f"{name} is neither true nor false ({kind_of(value)})")
    return known


def _messages(row: Row, roles: dict[str, str] | None) -> list[Message]:
    """The row without its label as a conversation that ends with the answer."""
    if "completion" in row or "prompt" in row and "response" not in row:
        prompt, completion = (field(row, name) for name in ("prompt", "completion"))
        if isinstance(prompt, list) or isinstance(completion, list):
            kept = {key: row[key] for key in ("system", "tools") if key in row}
            row = {"messages": _side(prompt, "prompt", "user") + _side(completion, "completion", "assistant"), **kept}
    return records.to_conversation(row, roles)["messages"]


def _side(value: Any, name: str, role: str) -> list[dict]:
    return [{"role": role, "content": value}] if isinstance(value, str) else list_of(value, name)
