"""One pure function per row format: a parsed row in, a checked conversation out.

>>> alpaca({"instruction": "How do you do?", "input": "", "output": "Well."})["messages"]
[{'role': 'user', 'content': 'How do you do?'}, {'role': 'assistant', 'content': 'Well.'}]
"""

from collections.abc import Callable
from typing import Any

from bedside.data import strict_json
from bedside.data.conversation import (
    Conversation,
    Message,
    RowError,
    assistant,
    check_conversation,
    kind_of,
    text_of,
)
from bedside.data.strict_json import shown_names

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


def field(row: Row, name: str) -> Any:
    """The field called `name`; E_FIELD if the row has none."""
    if name not in row:
        raise RowError("E_FIELD", f"no field '{name}' (has: {shown_names(row)})")
    return row[name]


def _blank(value: Any) -> bool:
    return value is None or isinstance(value, str) and not value.strip()


def optional_text(row: Row, name: str) -> str:
    """The text of a field that may be missing, null or empty; anything but a string is a RowError."""
    value = row.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RowError("E_TYPE", f"{name} is {kind_of(value)}, expected string")
    return value if value.strip() else ""


def list_of(value: Any, where: str) -> list:
    """`value` if it is a list with something in it."""
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


def system(row: Row) -> list[Message]:
    """The `system` column as a message, if there is text in it."""
    text = optional_text(row, "system")
    return [{"role": "system", "content": text}] if text else []


def _parsed(value: Any, where: str) -> Any:
    """`value`, read as JSON if it is a string."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json.parse(value)
    except strict_json.JsonFault as fault:
        raise RowError("E_TOOL", f"{where} is not JSON ({fault.detail})") from None


def _tools(row: Row) -> list[dict] | None:
    """The `tools` column (a list, or a JSON string of one) in the form that servers receive tools in."""
    tools = row.get("tools")
    if tools is None or tools == [] or isinstance(tools, str) and not tools.strip():
        return None
    tools = _parsed(tools, "tools")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise RowError("E_TOOL", f"tools is {kind_of(tools)}, expected a list of objects")
    # Bare functions are wrapped as a request to a server has them, so that both render to the same text.
    tools = [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
    for index, tool in enumerate(tools):
        if not isinstance(tool["function"], dict) or not isinstance(tool["function"].get("name"), str):
            raise RowError("E_TOOL", f"tools[{index}] has no function name")
    return tools or None


def _tool_calls(calls: Any, where: str) -> list[dict]:
    """Tool calls from a list (or one) of `{"name", "arguments"}`, each perhaps inside `{"function": ...}`."""
    functions = []
    for call in list_of(calls if isinstance(calls, list) else [calls], where):
        call = call.get("function", call) if isinstance(call, dict) else call
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise RowError("E_TOOL", f"{where} has no function name")
        arguments = _parsed(call.get("arguments", {}), f"{where}: arguments")
        if not isinstance(arguments, dict):
            raise RowError("E_TOOL", f"{where}: arguments is {kind_of(arguments)}, expected object")
        functions.append({"type": "function", "function": {"name": call["name"], "arguments": arguments}})
    return functions


def _finish(messages: list[Message], tools: list[dict] | None = None) -> Conversation:
    conversation: Conversation = {"messages": messages}
    if tools:
        conversation["tools"] = tools
    check_conversation(conversation)
    return conversation


def alpaca(row: Row) -> Conversation:
    """`instruction`, `input`, `output`, and optionally `system` and `history` (pairs of question and answer)."""
    messages = system(row)
    history = row.get("history") or []
    if not isinstance(history, list):
        raise RowError("E_TYPE", f"history is {kind_of(history)}, expected list")
    for index, pair in enumerate(history):
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"{len(pair)} items" if isinstance(pair, list) else kind_of(pair)
            raise RowError("E_TYPE", f"history[{index}] is {found}, expected [question, answer]")
        messages.append({"role": "user", "content": text_of(pair[0], f"history[{index}][0]")})
        messages.append(assistant(pair[1], f"history[{index}][1]"))
    question = text_of(field(row, "instruction"), "instruction")
    extra = optional_text(row, "input")
    messages.append({"role": "user", "content": f"{question}\n{extra}" if extra else question})
    thought = row.get("thought") or None
    messages.append(assistant(field(row, "output"), "output", thought, "thought"))
    return _finish(messages)


def sharegpt(row: Row, roles: dict[str, str] | None = None) -> Conversation:
    """`conversations` of `{"from", "value"}`, with `system` and `tools` beside or `system` as the first turn."""
    known = {**SHAREGPT_ROLES, **(roles or {})}
    messages = system(row)
    for index, turn in enumerate(list_of(field(row, "conversations"), "conversations")):
        where = f"conversations[{index}]"
        if not isinstance(turn, dict):
            raise RowError("E_TYPE", f"{where} is {kind_of(turn)}, expected object")
        # Some sets write {"role", "content"} turns under the same key.
        who, what = ("from", "value") if "from" in turn or "role" not in turn else ("role", "content")
        for key in (who, what):
            if key not in turn:
                raise RowError("E_FIELD", f"{where} has no '{key}' (has: {shown_names(turn)})")
        role = _role(turn[who], f"{where}.{who}", known)
        value, where = turn[what], f"{where}.{what}"
        if role == "assistant":
            messages.append(assistant(value, where, turn.get("reasoning_content"), f"{where} (reasoning_content)"))
        elif role == "function_call":
            calls = _tool_calls(_parsed(text_of(value, where), where), where)
            messages.append({"role": "assistant", "content": "", "tool_calls": calls})
        elif role == "system" and _blank(value):
            continue
        else:
            messages.append({"role": role, "content": text_of(value, where)})
    return _finish(messages, _tools(row))


def openai(row: Row, key: str = "messages") -> Conversation:
    """OpenAI `messages` of `{"role", "content"}`, with `reasoning_content`, `tool_calls` and `tools`."""
    return _finish([*system(row), *messages_of(field(row, key), key)], _tools(row))


def messages_of(value: Any, where: str) -> list[Message]:
    """A list of OpenAI messages."""
    made = [message_of(item, f"{where}[{index}]") for index, item in enumerate(list_of(value, where))]
    return [message for message in made if message is not None]


def message_of(message: Any, where: str) -> Message | None:
    """One OpenAI message; None for a system message without words, which is as good as none."""
    if not isinstance(message, dict):
        raise RowError("E_TYPE", f"{where} is {kind_of(message)}, expected object")
    if "role" not in message:
        raise RowError("E_FIELD", f"{where} has no 'role' (has: {shown_names(message)})")
    role = _role(message["role"], f"{where}.role", MESSAGE_ROLES)
    content = message.get("content")
    if isinstance(content, list):  # OpenAI content parts; the text ones, as vLLM joins them
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        if len(parts) != len(content) or not all(isinstance(part, str) for part in parts):
            raise RowError("E_TYPE", f"{where}.content has parts that are not text")
        content = "\n".join(parts)
    if role == "system" and _blank(content):
        return None
    if role != "assistant":
        return {"role": role, "content": text_of(content, f"{where}.content")}
    calls, thought = message.get("tool_calls"), message.get("reasoning_content") or message.get("reasoning") or None
    if calls and _blank(content):  # a call needs no words, but may follow a thought
        answer: Message = {"role": "assistant", "content": ""}
        if thought is not None:
            answer["reasoning_content"] = text_of(thought, f"{where}.reasoning_content")
    else:
        if "content" not in message:
            raise RowError("E_FIELD", f"{where} has no 'content' (has: {shown_names(message)})")
        answer = assistant(content, f"{where}.content", thought, f"{where}.reasoning_content")
    return {**answer, "tool_calls": _tool_calls(calls, f"{where}.tool_calls")} if calls else answer


def medical_o1(row: Row) -> Conversation:
    """`Question`, `Complex_CoT`, `Response`: the thought becomes `reasoning_content`."""
    question = text_of(field(row, "Question"), "Question")
    thought = row.get("Complex_CoT")
    if "Complex_CoT" in row:
        thought = text_of(thought, "Complex_CoT")
    answer = assistant(field(row, "Response"), "Response", thought, "Complex_CoT")
    return _finish([*system(row), {"role": "user", "content": question}, answer])


def question_answer(row: Row, question: str, answer: str) -> Conversation:
    """Two columns of plain text, such as `ask`/`answer`, `input`/`output` or `prompt`/`response`."""
    messages = system(row)
    messages.append({"role": "user", "content": text_of(field(row, question), question)})
    messages.append(assistant(field(row, answer), answer, row.get("thought") or None, "thought"))
    return _finish(messages)


def toyhom(row: Row) -> Conversation:
    """`department`, `title`, `ask`, `answer`: the patient's question is the title, then what was asked."""
    title, ask = optional_text(row, "title"), text_of(field(row, "ask"), "ask")
    question = ask if not title or title.strip() in ask else f"{title.strip()}\n{ask}"
    return question_answer({**row, "ask": question}, "ask", "answer")


# How a row is recognised: the first format whose keys are all in the row. Order matters where keys overlap.
FORMATS: dict[str, tuple[set[str], Callable[[Row], Conversation]]] = {
    "sharegpt": ({"conversations"}, sharegpt),
    "messages": ({"messages"}, openai),
    "medical_o1": ({"Question"}, medical_o1),
    "toyhom": ({"ask"}, toyhom),
    "alpaca": ({"instruction"}, alpaca),
    "input_output": ({"input", "output"}, lambda row: question_answer(row, "input", "output")),
    "prompt_response": ({"prompt", "response"}, lambda row: question_answer(row, "prompt", "response")),
    "prompt_completion": ({"prompt", "completion"}, lambda row: question_answer(row, "prompt", "completion")),
    "query_response": ({"query", "response"}, lambda row: question_answer(row, "query", "response")),
    "question_answer": ({"question", "answer"}, lambda row: question_answer(row, "question", "answer")),
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
        if row.keys() >= keys:
            return name
    for key, name in _PARTIAL.items():
        if key in row:
            return name
    hint = "; this looks like pretraining text" if "text" in row else ""
    raise RowError(
        "E_SCHEMA",
        f"fields {shown_names(row, 'none')} belong to no known format{hint} (see docs/data-formats.md)",
    )


def to_conversation(row: Any, roles: dict[str, str] | None = None) -> Conversation:
    """Any supported SFT row as a checked conversation; RowError says what is wrong with it."""
    name = detect(row)
    if name == "preference":
        raise RowError("E_SCHEMA", f"fields {shown_names(row)}: this looks like preference data, not SFT data")
    if name == "sharegpt":
        return sharegpt(row, roles)
    return FORMATS[name][1](row)
