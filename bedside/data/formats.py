"""A checked conversation as a row of a format: the way back from `records`, and what of it has no place there.

`to_row` writes what the format can hold; `lost` names the rest. A conversation that loses nothing is read back equal.

>>> chat = {"messages": [{"role": "user", "content": "Fever?"}, {"role": "assistant", "content": "Rest."}]}
>>> to_row(chat, "alpaca")
{'instruction': 'Fever?', 'input': '', 'output': 'Rest.'}
>>> lost({"messages": [*chat["messages"], *chat["messages"]]}, "medical_o1")
['turns']
"""

import json
from typing import Any

from bedside.data.conversation import Conversation, Message
from bedside.thoughts import CLOSE, OPEN

# Formats of two columns: question and answer.
PAIRS = {
    "question_answer": ("question", "answer"),
    "input_output": ("input", "output"),
    "prompt_response": ("prompt", "response"),
    "prompt_completion": ("prompt", "completion"),
    "query_response": ("query", "response"),
    "toyhom": ("ask", "answer"),
}
# Fields of a conversation that each format has a place for, beside one question and its answer.
_HOLDS = {
    "messages": {"system", "turns", "thoughts", "tools", "tool_calls", "train"},
    "sharegpt": {"system", "turns", "thoughts", "tools", "tool_calls", "train"},
    "alpaca": {"system", "turns", "thoughts"},
    "medical_o1": {"system", "thoughts"},
    **{name: {"system", "thoughts"} for name in PAIRS},
}
FORMATS = tuple(_HOLDS)


def fields_of(conversation: Conversation) -> list[str]:
    """Which of system, turns, thoughts, tools, tool_calls and train a conversation has."""
    messages = conversation["messages"]
    found = {
        "system": messages[0]["role"] == "system",
        "turns": sum(message["role"] == "user" for message in messages) > 1,
        "thoughts": any(message.get("reasoning_content") for message in messages),
        "tools": bool(conversation.get("tools")),
        "tool_calls": any(message.get("tool_calls") or message["role"] == "tool" for message in messages),
        "train": any(message.get("train") is False for message in messages),
    }
    return [name for name, there in found.items() if there]


def lost(conversation: Conversation, format: str) -> list[str]:
    """The fields of a conversation that a row of the format has no place for; of `turns` only the last is written."""
    names = [name for name in fields_of(conversation) if name not in _HOLDS[format]]
    if format == "sharegpt" and any(_wordy_call(message) for message in conversation["messages"]):
        names.append("words beside tool_calls")
    if format == "alpaca" and any(
        message.get("reasoning_content") and not _fits_block(message) for message in conversation["messages"][:-1]
    ):
        names.append("blanks around thoughts")
    return names


def _wordy_call(message: Message) -> bool:
    return bool(message.get("tool_calls")) and bool(message["content"] or message.get("reasoning_content"))


def _fits_block(message: Message) -> bool:
    """Whether thought and answer are read back as they are from a block in front of the answer."""
    parts = (message.get("reasoning_content") or "", message["content"])
    return all(part == part.strip() for part in parts)


def answer_text(message: Message) -> str:
    """An answer as one text: its thought, if there is one, in a block in front of it."""
    thought = message.get("reasoning_content")
    return f"{OPEN}\n{thought}\n{CLOSE}\n\n{message['content']}" if thought else message["content"]


def to_row(conversation: Conversation, format: str) -> dict[str, Any]:
    """The row that holds the conversation, without what `lost` names."""
    if format == "messages":
        return openai(conversation)
    if format == "sharegpt":
        return sharegpt(conversation)
    system, turns = _plain_turns(conversation)
    if format == "alpaca":
        return _alpaca(system, turns)
    question, answer = turns[-1]
    if format == "medical_o1":
        row: dict[str, Any] = {"Question": question["content"]}
        if thought := answer.get("reasoning_content"):
            row["Complex_CoT"] = thought
        row["Response"] = answer["content"]
    else:
        asked, answered = PAIRS[format]
        row = {"department": "", "title": ""} if format == "toyhom" else {}
        row |= {asked: question["content"], **_answered(answer, answered)}
    return {**row, "system": system} if system else row


def _plain_turns(conversation: Conversation) -> tuple[str, list[tuple[Message, Message]]]:
    """The system's text, and questions with the answers that words were given to."""
    messages = conversation["messages"]
    system = messages[0]["content"] if messages[0]["role"] == "system" else ""
    turns: list[tuple[Message, Message]] = []
    question = None
    for message in messages:
        if message["role"] == "user":
            question = message
        elif message["role"] == "assistant" and message["content"] and question is not None:
            turns.append((question, message))
            question = None
    return system, turns


def _answered(answer: Message, name: str) -> dict[str, str]:
    if _fits_block(answer) or not answer.get("reasoning_content"):
        return {name: answer_text(answer)}
    return {name: answer["content"], "thought": answer["reasoning_content"]}


def _alpaca(system: str, turns: list[tuple[Message, Message]]) -> dict[str, Any]:
    *history, (question, answer) = turns
    row: dict[str, Any] = {"instruction": question["content"], "input": "", **_answered(answer, "output")}
    if system:
        row["system"] = system
    if history:
        row["history"] = [[asked["content"], answer_text(answered)] for asked, answered in history]
    return row


def _arguments(call: dict) -> dict:
    return {"name": call["function"]["name"], "arguments": call["function"]["arguments"]}


def openai_message(message: Message) -> dict[str, Any]:
    """A message as servers and clients write it: the arguments of a call are JSON text."""
    turn: dict[str, Any] = {"role": message["role"], "content": message["content"]}
    if message.get("reasoning_content"):
        turn["reasoning_content"] = message["reasoning_content"]
    if message.get("tool_calls"):
        calls = [_arguments(call) for call in message["tool_calls"]]
        turn["tool_calls"] = [
            {"type": "function", "function": {**call, "arguments": json.dumps(call["arguments"], ensure_ascii=False)}}
            for call in calls
        ]
    return {**turn, "train": False} if message.get("train") is False else turn


def openai(conversation: Conversation) -> dict[str, Any]:
    """The conversation as OpenAI `messages`."""
    row: dict[str, Any] = {"messages": [openai_message(message) for message in conversation["messages"]]}
    return {**row, "tools": conversation["tools"]} if conversation.get("tools") else row


def sharegpt_turns(messages: list[Message]) -> list[dict[str, Any]]:
    """Messages as `{"from", "value"}` turns; calls as `function_call`, what a tool said as `observation`."""
    turns = []
    for message in messages:
        names = {"user": "human", "assistant": "gpt", "tool": "observation", "system": "system"}
        turn: dict[str, Any] = {"from": names[message["role"]], "value": message["content"]}
        if message.get("tool_calls"):
            calls = [_arguments(call) for call in message["tool_calls"]]
            value = json.dumps(calls[0] if len(calls) == 1 else calls, ensure_ascii=False)
            turn = {"from": "function_call", "value": value}
        elif message.get("reasoning_content") and _fits_block(message):
            turn["value"] = answer_text(message)
        elif message.get("reasoning_content"):
            turn["reasoning_content"] = message["reasoning_content"]
        turns.append({**turn, "train": False} if message.get("train") is False else turn)
    return turns


def sharegpt(conversation: Conversation) -> dict[str, Any]:
    """The conversation as sharegpt `conversations`, with `system` and `tools` (JSON text) beside."""
    messages = conversation["messages"]
    row: dict[str, Any] = {}
    if messages[0]["role"] == "system":
        row["system"], messages = messages[0]["content"], messages[1:]
    row["conversations"] = sharegpt_turns(messages)
    if conversation.get("tools"):
        row["tools"] = json.dumps(conversation["tools"], ensure_ascii=False)
    return row
