"""One pure function per row format: a parsed row in, a checked conversation (or preference pair) out.

    >>> alpaca({"instruction": "How do you do?", "input": "", "output": "Well."})["messages"]
    [{'role': 'user', 'content': 'How do you do?'}, {'role': 'assistant', 'content': 'Well.'}]
"""

import json
from collections.abc import Callable
from typing import Any

from bedside.data.conversation import (
    Conversation,
    Message,
    Preference,
    RowError,
    assistant,
    check_conversation,
    check_preference,
    kind_of,
    text_of,
)

Row = dict[str, Any]

SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "bing": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_call": "function_call",
}
MESSAGE_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system", "tool": "tool"}


def _field(row: Row, name: str) -> Any:
    if name not in row:
        raise RowError("E_FIELD", f"no field '{name}' (has: {', '.join(map(str, row)) or 'nothing'})")
    return row[name]


def _optional_text(row: Row, name: str) -> str:
    """The text of a field that may be missing, null or empty; anything but a string is a RowError."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError("E_TYPE", f"{name} is {kind_of(value)}, expected string")
    return value if value.strip() else ""


def _list(value: Any, where: str) -> list:
    if value is None:
        raise RowError("E_NULL", f"{where} is null")
    if not isinstance(value, list):
        raise RowError("E_TYPE", f"{where} is {kind_of(value)}, expected list")
    if not value:
        raise RowError("E_EMPTY", f"{where} is an empty list")
    return value


def _role(name: Any, where: str, known: dict[str, str]) -> str:
    if not isinstance(name, str):
        raise RowError("E_TYPE", f"{where} is {kind_of(name)}, expected string")
    if name not in known:
        raise RowError("E_ROLE", f"{where} is not a known role (known: {', '.join(known)}); map it with --role_map")
    return known[name]


def _system(row: Row) -> list[Message]:
    text = _optional_text(row, "system")
    return [{"role": "system", "content": text}] if text else []


def _tools(row: Row) -> list[dict] | None:
    """The `tools` column: a list, or a JSON string of one."""
    tools = row.get("tools")
    if tools is None or tools == "" or tools == []:
        return None
    if isinstance(tools, str):
        try:
            tools = json.loads(tools)
        except ValueError as error:
            raise RowError("E_TOOL", f"tools is not JSON ({error})") from None
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise RowError("E_TOOL", f"tools is {kind_of(tools)}, expected a list of objects")
    return tools


def _tool_call(text: Any, where: str) -> Message:
    """An assistant message that calls tools, from the JSON of `function_call` rows."""
    source = text_of(text, where)
    try:
        calls = json.loads(source)
    except ValueError as error:
        raise RowError("E_TOOL", f"{where} is not JSON ({error})") from None
    calls = calls if isinstance(calls, list) else [calls]
    functions = []
    for call in calls:
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise RowError("E_TOOL", f"{where} has no function name")
        arguments = call.get("arguments", {})
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except ValueError:
                arguments = None
        if not isinstance(arguments, dict):
            raise RowError("E_TOOL", f"{where}: arguments is not a JSON object")
        functions.append({"type": "function", "function": {"name": call["name"], "arguments": arguments}})
    return {"role": "assistant", "content": "", "tool_calls": functions}


def _finish(messages: list[Message], tools: list[dict] | None = None) -> Conversation:
    conversation: Conversation = {"messages": messages}
    if tools:
        conversation["tools"] = tools
    check_conversation(conversation)
    return conversation


def alpaca(row: Row) -> Conversation:
    """`instruction`, `input`, `output`, and optionally `system` and `history` (pairs of question and answer)."""
    messages = _system(row)
    history = row.get("history") or []
    if not isinstance(history, list):
        raise RowError("E_TYPE", f"history is {kind_of(history)}, expected list")
    for index, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"{len(pair)} items" if isinstance(pair, list) else kind_of(pair)
            raise RowError("E_TYPE", f"history[{index}] is {found}, expected [question, answer]")
        messages.append({"role": "user", "content": text_of(pair[0], f"history[{index}][0]")})
        messages.append(assistant(pair[1], f"history[{index}][1]"))
    question = text_of(_field(row, "instruction"), "instruction")
    extra = _optional_text(row, "input")
    messages.append({"role": "user", "content": f"{question}\n{extra}" if extra else question})
    thought = row.get("thought") or None
    messages.append(assistant(_field(row, "output"), "output", thought, "thought"))
    return _finish(messages)


def sharegpt(row: Row, roles: dict[str, str] | None = None) -> Conversation:
    """`conversations` of `{"from", "value"}`, with `system` and `tools` beside or `system` as the first turn."""
    known = {**SHAREGPT_ROLES, **(roles or {})}
    messages = _system(row)
    for index, turn in enumerate(_list(_field(row, "conversations"), "conversations")):
        where = f"conversations[{index}]"
        if not isinstance(turn, dict):
            raise RowError("E_TYPE", f"{where} is {kind_of(turn)}, expected object")
        # Some sets write {"role", "content"} turns under the same key.
        who, what = ("from", "value") if "from" in turn or "role" not in turn else ("role", "content")
        for key in (who, what):
            if key not in turn:
                raise RowError("E_FIELD", f"{where} has no '{key}' (has: {', '.join(map(str, turn)) or 'nothing'})")
        role = _role(turn[who], f"{where}.{who}", known)
        value, where = turn[what], f"{where}.{what}"
        if role == "assistant":
            messages.append(assistant(value, where, turn.get("reasoning_content"), f"{where} (reasoning_content)"))
        elif role == "function_call":
            messages.append(_tool_call(value, where))
        else:
            messages.append({"role": role, "content": text_of(value, where)})
    return _finish(messages, _tools(row))


def openai(row: Row, key: str = "messages") -> Conversation:
    """OpenAI `messages` of `{"role", "content"}`, with `reasoning_content`, `tool_calls` and `tools`."""
    messages = [_message(m, f"{key}[{i}]") for i, m in enumerate(_list(_field(row, key), key))]
    system = _system(row)
    return _finish([*system, *messages], _tools(row))


def _message(message: Any, where: str) -> Message:
    if not isinstance(message, dict):
        raise RowError("E_TYPE", f"{where} is {kind_of(message)}, expected object")
    if "role" not in message:
        raise RowError("E_FIELD", f"{where} has no 'role' (has: {', '.join(map(str, message)) or 'nothing'})")
    role = _role(message["role"], f"{where}.role", MESSAGE_ROLES)
    content = message.get("content")
    if isinstance(content, list):  # OpenAI content parts; the text ones, as vLLM joins them
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(parts) != len(content) or not all(isinstance(part, str) for part in parts):
            raise RowError("E_TYPE", f"{where}.content has parts that are not text")
        content = "\n".join(parts)
    if role != "assistant":
        return {"role": role, "content": text_of(content, f"{where}.content")}
    if message.get("tool_calls"):
        calls = [c.get("function", c) if isinstance(c, dict) else c for c in _list(message["tool_calls"], where)]
        called = _tool_call(json.dumps(calls), f"{where}.tool_calls")
        return {**called, "content": content if isinstance(content, str) else ""}
    if "content" not in message:
        raise RowError("E_FIELD", f"{where} has no 'content' (has: {', '.join(map(str, message))})")
    thought = message.get("reasoning_content") or message.get("reasoning") or None
    return assistant(content, f"{where}.content", thought, f"{where}.reasoning_content")


def medical_o1(row: Row) -> Conversation:
    """`Question`, `Complex_CoT`, `Response`: the thought becomes `reasoning_content`."""
    question = text_of(_field(row, "Question"), "Question")
    thought = row.get("Complex_CoT")
    if "Complex_CoT" in row:
        thought = text_of(thought, "Complex_CoT")
    answer = assistant(_field(row, "Response"), "Response", thought, "Complex_CoT")
    return _finish([*_system(row), {"role": "user", "content": question}, answer])


def question_answer(row: Row, question: str, answer: str) -> Conversation:
    """Two columns of plain text, such as `ask`/`answer`, `input`/`output` or `prompt`/`response`."""
    messages = _system(row)
    messages.append({"role": "user", "content": text_of(_field(row, question), question)})
    messages.append(assistant(_field(row, answer), answer, row.get("thought") or None, "thought"))
    return _finish(messages)


def toyhom(row: Row) -> Conversation:
    """`department`, `title`, `ask`, `answer`: the patient's question is the title, then what was asked."""
    title, ask = _optional_text(row, "title"), text_of(_field(row, "ask"), "ask")
    question = ask if not title or title.strip() in ask else f"{title.strip()}\n{ask}"
    return question_answer({**row, "ask": question}, "ask", "answer")


# How a row is recognised: the first format whose keys are all in the row. Order matters where keys overlap.
FORMATS: dict[str, tuple[tuple[str, ...], Callable[[Row], Conversation]]] = {
    "sharegpt": (("conversations",), sharegpt),
    "messages": (("messages",), openai),
    "medical_o1": (("Question",), medical_o1),
    "toyhom": (("ask",), toyhom),
    "alpaca": (("instruction",), alpaca),
    "input_output": (("input", "output"), lambda row: question_answer(row, "input", "output")),
    "prompt_response": (("prompt", "response"), lambda row: question_answer(row, "prompt", "response")),
    "prompt_completion": (("prompt", "completion"), lambda row: question_answer(row, "prompt", "completion")),
    "query_response": (("query", "response"), lambda row: question_answer(row, "query", "response")),
    "question_answer": (("question", "answer"), lambda row: question_answer(row, "question", "answer")),
}
PREFERENCE_KEYS = ("chosen", "rejected")
_PARTIAL = {"output": "alpaca", "Response": "medical_o1", "Complex_CoT": "medical_o1"}


def detect(row: Any) -> str:
    """The name of the row's format: a key of FORMATS, or "preference".

    Raises RowError E_TYPE for a row that is no object and E_SCHEMA for keys of no known format.
    """
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    if any(key in row for key in PREFERENCE_KEYS):
        return "preference"
    for name, (keys, _) in FORMATS.items():
        if all(key in row for key in keys):
            return name
    for key, name in _PARTIAL.items():
        if key in row:
            return name
    hint = "; this looks like pretraining text" if "text" in row else ""
    raise RowError(
        "E_SCHEMA",
        f"fields {', '.join(map(str, row)) or 'none'} belong to no known format{hint} (see docs/data-formats.md)",
    )


def to_conversation(row: Any, roles: dict[str, str] | None = None) -> Conversation:
    """Any supported SFT row as a checked conversation; RowError says what is wrong with it."""
    name = detect(row)
    if name == "preference":
        raise RowError("E_SCHEMA", f"fields {', '.join(map(str, row))}: this looks like preference data, not SFT data")
    if name == "sharegpt":
        return sharegpt(row, roles)
    return FORMATS[name][1](row)


def to_preference(row: Any, roles: dict[str, str] | None = None) -> Preference:
    """`prompt`/`conversations` + `chosen` + `rejected`, or two message lists that share their beginning."""
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    if not any(key in row for key in PREFERENCE_KEYS):
        raise RowError("E_SCHEMA", f"fields {', '.join(map(str, row)) or 'none'}: expected chosen and rejected")
    sides = [_field(row, side) for side in PREFERENCE_KEYS]
    if isinstance(sides[0], str) != isinstance(sides[1], str):
        raise RowError("E_TYPE", f"chosen is {kind_of(sides[0])} but rejected is {kind_of(sides[1])}")
    answers = [_side(side, name) for side, name in zip(sides, PREFERENCE_KEYS, strict=True)]
    prompt = _system(row) + _prompt(row, roles)
    if not prompt:
        prompt, answers = _shared_beginning(*answers)
    pair: Preference = {"prompt": prompt, "chosen": answers[0], "rejected": answers[1]}
    check_preference(pair)
    return pair


def _side(value: Any, name: str) -> list[Message]:
    if isinstance(value, dict):
        value = [{"role": value.get("role", "assistant"), "content": value.get("content", value.get("value"))}]
    if isinstance(value, list):
        return [_message(message, f"{name}[{index}]") for index, message in enumerate(_list(value, name))]
    return [assistant(value, name)]


def _prompt(row: Row, roles: dict[str, str] | None) -> list[Message]:
    if "conversations" in row:
        turns = _list(row["conversations"], "conversations")
        stub = {"from": "gpt", "value": "-"}  # lets the sharegpt reader check a conversation that has no answer yet
        return sharegpt({"conversations": [*turns, stub]}, roles)["messages"][:-1]
    for key in ("prompt", "question", "instruction"):
        if key not in row:
            continue
        if isinstance(row[key], list):
            return [_message(message, f"{key}[{index}]") for index, message in enumerate(_list(row[key], key))]
        extra = _optional_text(row, "input") if key == "instruction" else ""
        text = text_of(row[key], key)
        return [{"role": "user", "content": f"{text}\n{extra}" if extra else text}]
    return []


def _shared_beginning(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], list[list[Message]]]:
    shared = 0
    while shared < min(len(chosen), len(rejected)) - 1 and chosen[shared] == rejected[shared]:
        shared += 1
    if not shared:
        raise RowError("E_FIELD", "no prompt, and chosen and rejected do not begin with the same messages")
    return chosen[:shared], [chosen[shared:], rejected[shared:]]
