"""What every row becomes, and the check that says whether a conversation can be trained on.

A conversation is `{"messages": [...], "tools": [...] | None}`; a message has `role` and `content`, an assistant's
may have `reasoning_content` (the thought), `tool_calls`, and `train: False` where it is context only. The check
names the field, never what it holds: rows are patients' words, and logs travel.
"""

import re
from typing import Any, NotRequired, TypedDict

from bedside.data import control
from bedside.data.control import MARKS as MARKS

ROLES = ("system", "user", "assistant", "tool")


class Message(TypedDict):
    """One turn."""

    role: str
    content: str
    reasoning_content: NotRequired[str]
    tool_calls: NotRequired[list[dict]]
    train: NotRequired[bool]  # only ever False: an answer that is not trained on


class Conversation(TypedDict):
    """A checked dialogue, and the tools it may call."""

    messages: list[Message]
    tools: NotRequired[list[dict] | None]


class Preference(TypedDict):
    """A prompt with the better and the worse answer to it."""

    prompt: list[Message]
    chosen: list[Message]
    rejected: list[Message]


class RowError(Exception):
    """One row that cannot be used: a code from docs/data-formats.md and a detail without the row's text."""

    def __init__(self, code: str, detail: str):
        self.code, self.detail = code, detail
        super().__init__(f"{code} {detail}")


_TAGS = re.compile(r"</?think>")


def text_of(value: Any, where: str) -> str:
    """`value` if it is a string with something in it; a RowError that names `where` otherwise."""
    if value is None:
        raise RowError("E_NULL", f"{where} is null")
    if not isinstance(value, str):
        raise RowError("E_TYPE", f"{where} is {_kind(value)}, expected string")
    if not value.strip():
        raise RowError("E_EMPTY", f"{where} is empty")
    return value


def _kind(value: Any) -> str:
    return {dict: "object", list: "list", str: "string", bool: "boolean"}.get(type(value), type(value).__name__)


def kind_of(value: Any) -> str:
    """JSON's name for the type of `value` (for messages to the user)."""
    return "null" if value is None else _kind(value)


def split_thought(text: str, where: str) -> tuple[str | None, str]:
    """`"<think>\\nA\\n</think>\\n\\nB"` -> `("A", "B")`; text without tags -> `(None, text)`.

    Raises RowError when the tags do not form exactly one closed block with something inside and after it.
    """
    opened, closed = text.count("<think>"), text.count("</think>")
    if not opened and not closed:
        return None, text
    # Servers pre-fill the opening tag, so logs of such models hold the closing one only.
    if closed != 1 or opened > 1 or (opened and text.lstrip().find("<think>") != 0):
        raise RowError("E_THINK", f"{where} has <think> x{opened} and </think> x{closed}, expected one block in front")
    thought, answer = text.split("</think>")
    thought = thought.replace("<think>", "", 1).strip()
    if not thought:
        raise RowError("E_EMPTY", f"{where}: think is empty; drop the tags to train an answer without a thought")
    if not answer.strip():
        raise RowError("E_EMPTY", f"{where}: the answer after </think> is empty")
    return thought, answer.strip()


def assistant(content: Any, where: str, thought: Any = None, thought_where: str = "") -> Message:
    """An assistant message from its answer and, where there is one, its thought (given apart or inside tags)."""
    answer = text_of(content, where)
    if thought is None:
        thought, answer = split_thought(answer, where)
    else:
        thought = text_of(thought, thought_where)
        for text, place in ((thought, thought_where), (answer, where)):
            if _TAGS.search(text):
                raise RowError("E_THINK", f"{place} holds a think tag although the thought is a field of its own")
    message: Message = {"role": "assistant", "content": answer}
    if thought is not None:
        message["reasoning_content"] = thought
    return message


def check_conversation(conversation: Conversation, answered: bool = True) -> None:
    """Raise RowError unless turns alternate, start with the user and (if `answered`) end with the assistant."""
    messages = conversation["messages"]
    if not messages:
        raise RowError("E_EMPTY", "no messages")
    expected = {"user"}
    for index, message in enumerate(messages):
        role = message["role"]
        if role == "system" and index == 0:
            continue
        if role not in expected:
            raise RowError("E_ROLE_ORDER", f"messages[{index}] is {role}, expected {' or '.join(sorted(expected))}")
        if role == "assistant":
            expected = {"tool"} if message.get("tool_calls") else {"user"}
        elif role == "tool":
            expected = {"assistant", "tool"}
        else:
            expected = {"assistant"}
    last = messages[-1]["role"]
    if answered and (last != "assistant" or messages[-1].get("tool_calls") and not conversation.get("tools")):
        raise RowError("E_NO_ANSWER", f"the conversation ends with {last}, so there is nothing to train on")
    if not answered and last == "assistant":
        raise RowError("E_ROLE_ORDER", "the prompt ends with assistant, expected user")
    _refuse_marks(conversation)


def _refuse_marks(conversation: Conversation) -> None:
    for index, message in enumerate(conversation["messages"]):
        for field in control.FIELDS:
            if message.get(field) and (mark := control.mark_in(message[field])):
                raise RowError("W_SPECIAL", f"messages[{index}].{field} holds {mark}, which marks trained text here")
    if (tools := conversation.get("tools")) and (mark := control.mark_in(tools)):
        raise RowError("W_SPECIAL", f"tools holds {mark}, which marks trained text here")


def check_answers(messages: list[Message], forbidden: tuple[str, ...] = (), where: str = "messages") -> None:
    """Raise RowError W_SPECIAL if an answer, thought or call holds a control token (or a `forbidden` text): no model
    is trained to write one. What others say is neutralised instead (`bedside.data.control`)."""
    for index, message in enumerate(messages):
        if message["role"] == "assistant" and (found := control.found_in(message, forbidden)):
            raise RowError(
                "W_SPECIAL", f"{where}[{index}].{found[0]} holds the control token {found[1]}; no answer may write one"
            )


def check_preference(pair: Preference) -> None:
    """Raise RowError unless prompt + chosen and prompt + rejected are conversations and the two answers differ."""
    check_conversation({"messages": pair["prompt"]}, answered=False)
    for side in ("chosen", "rejected"):
        check_conversation({"messages": [*pair["prompt"], *pair[side]]})
    chosen, rejected = (
        [(m["role"], m["content"].strip(), (m.get("reasoning_content") or "").strip()) for m in pair[side]]
        for side in ("chosen", "rejected")
    )
    if chosen == rejected:
        raise RowError("E_EQUAL", "chosen and rejected are the same text")
