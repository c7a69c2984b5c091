"""What a well-formed row must be to be trained on, and what of it is worth a remark."""

from typing import Any

from bedside.data import control, loss, preferences, records, toolcalls
from bedside.data.conversation import Conversation, Preference, check_answers

Remarks = list[tuple[str, str]]  # code and detail


def conversation(row: Any, roles: dict[str, str] | None = None) -> Conversation:
    """An SFT row as a conversation with an answer to train and none that forges a turn; else RowError."""
    made = records.to_conversation(row, roles)
    check_answers(made["messages"])
    loss.check_trained(made["messages"])
    return made


def pair(row: Any, roles: dict[str, str] | None = None) -> Preference:
    """A preference row as a checked pair, none of whose answers forges a turn; else RowError."""
    made = preferences.to_preference(row, roles)
    for part in ("prompt", "chosen", "rejected"):
        check_answers(made[part], where=part)
    return made


def clean_conversation(made: Conversation) -> tuple[Conversation, Remarks]:
    """The conversation with control tokens neutralised, and remarks on them and on tool calls that fit no schema."""
    remarks = []
    if misfits := toolcalls.misfits(made):
        more = f" (and {len(misfits) - 1} more)" if misfits[1:] else ""
        remarks.append(("W_TOOL", misfits[0] + more))
    messages, tools, found = control.neutralised(made["messages"], made.get("tools"))
    if not found:
        return made, remarks
    clean: Conversation = {"messages": messages}
    return {**clean, **({"tools": tools} if tools else {})}, [*remarks, ("W_SPECIAL", control.told(found))]


def clean_pair(made: Preference) -> tuple[Preference, Remarks]:
    """The pair with the control tokens of its prompt neutralised, and the remark on them."""
    prompt, _, found = control.neutralised(made["prompt"])
    return ({**made, "prompt": prompt}, [("W_SPECIAL", control.told(found))]) if found else (made, [])
