"""One pure function per row format: a parsed row in, a checked conversation out.

>>> alpaca({"instruction": "How do you do?", "input": "", "output": "Well."})["messages"]
[{'role': 'user', 'content': 'How do you do?'}, {'role': 'assistant', 'content': 'Well.'}]
"""

from collections.abc import Callable
from typing import Any

from bedside.data import choices, loss, toolcalls
from bedside.data.conversation import (
    Conversation,
    Message,
    RowError,
    assistant,
    check_conversation,
    kind_of,
    text_of,
)
from bedside.data.fields import Row, blank, field, list_of, optional_text
from bedside.data.strict_json import shown_names

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


def _finish(messages: list[Message], tools: list[dict] | None = None) -> Conversation:
    conversation: Conversation = {"messages": messages}
    if tools:
        conversation["tools"] = tools
    check_conversation(conversation)
    toolcalls.check_calls(conversation)
    return conversation


def history(row: Row) -> list[Message]:
    """The `history` column, pairs of question and answer, as messages."""
    pairs = row.get("history") or []
    if isinstance(pairs, str) and not pairs.strip():
        return []  # an empty cell of a table
    if not isinstance(pairs, list):
        raise RowError("E_TYPE", f"history is {kind_of(pairs)}, expected list")
    messages: list[Message] = []
    for index, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            found = f"{len(pair)} items" if isinstance(pair, list) else kind_of(pair)
            raise RowError("E_TYPE", f"history[{index}] is {found}, expected [question, answer]")
        messages.append({"role": "user", "content": text_of(pair[0], f"history[{index}][0]")})
        messages.append(assistant(pair[1], f"history[{index}][1]"))
    return messages


def alpaca(row: Row) -> Conversation:
    """`instruction`, `input`, `output`, and optionally `system` and `history` (pairs of question and answer)."""
    messages = [*system(row), *history(row)]
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
        if role != "system" or not blank(turn[what]):
            messages.append(loss.marked(_sharegpt_turn(role, turn, what, where), turn, where))
    return _finish(messages, toolcalls.definitions(row.get("tools")))


def _sharegpt_turn(role: str, turn: Row, what: str, where: str) -> Message:
    value, place = turn[what], f"{where}.{what}"
    if role == "assistant" and what == "content":
        return _openai_answer(turn, _joined_parts(value, place), where)
    if role == "assistant":
        return assistant(value, place, turn.get("reasoning_content"), f"{place} (reasoning_content)")
    if role == "function_call":
        value = value if isinstance(value, (dict, list)) else text_of(value, place)
        calls = toolcalls.calls(toolcalls.parsed(value, place), place)
        return {"role": "assistant", "content": "", "tool_calls": calls}
    return {"role": role, "content": text_of(toolcalls.result(value) if role == "tool" else value, place)}


def openai(row: Row, key: str = "messages") -> Conversation:
    """OpenAI `messages` of `{"role", "content"}`, with `reasoning_content`, `tool_calls` and `tools`."""
    turns = [(turn, f"{key}[{index}]") for index, turn in enumerate(list_of(field(row, key), key))]
    made = [(message_of(turn, where), turn, where) for turn, where in turns]
    messages = [loss.marked(message, turn, where) for message, turn, where in made if message is not None]
    return _finish([*system(row), *messages], toolcalls.definitions(row.get("tools")))


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
    content = toolcalls.result(content) if role == "tool" else _joined_parts(content, f"{where}.content")
    if role == "system" and blank(content):
        return None
    if role != "assistant":
        return {"role": role, "content": text_of(content, f"{where}.content")}
    return _openai_answer(message, content, where)


def _joined_parts(content: Any, where: str) -> Any:
    """OpenAI content parts as one text, as vLLM joins them; other content as it is."""
    if not isinstance(content, list):
        return content
    parts = [part.get("text") for part in content if isinstance(part, dict)]
    if len(parts) != len(content) or not all(isinstance(part, str) for part in parts):
        raise RowError("E_TYPE", f"{where} has parts that are not text")
    return "\n".join(filter(None, parts))


def _openai_answer(message: Row, content: Any, where: str) -> Message:
    calls, thought = message.get("tool_calls"), message.get("reasoning_content") or message.get("reasoning") or None
    if calls and blank(content):  # a call needs no words, but may follow a thought
        answer: Message = {"role": "assistant", "content": ""}
        if thought is not None:
            answer["reasoning_content"] = text_of(thought, f"{where}.reasoning_content")
    else:
        if "content" not in message:
            raise RowError("E_FIELD", f"{where} has no 'content' (has: {shown_names(message)})")
        answer = assistant(content, f"{where}.content", thought, f"{where}.reasoning_content")
    return {**answer, "tool_calls": toolcalls.calls(calls, f"{where}.tool_calls")} if calls else answer


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


def choice(row: Row) -> Conversation:
    """A question, asked with its options; the answer is the explanation, if there is one, and the right option."""
    made = choices.to_choice(row)
    return _finish([
        *system(row),
        {"role": "user", "content": choices.question_text(made)},
        assistant(choices.answer_text(made), "answer"),
    ])  # fmt: skip


# How a row is recognised: the first format whose keys are all in the row. Order matters where keys overlap.
FORMATS: dict[str, tuple[set[str], Callable[[Row], Conversation]]] = {
    "sharegpt": ({"conversations"}, sharegpt),
    "messages": ({"messages"}, openai),
    "choice": ({"Question", "Options"}, choice),
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
# Rows of other stages, by keys any of which tells them.
_TELLING = {
    "preference": (*PREFERENCE_KEYS, "response_chosen", "response_rejected"),
    "prompt": ("ground_truth", "solution", "Ground-True Answer", "reward_model"),
}
# Rows that say of an answer whether it is good: training on all of them would train the bad ones.
_LABELLED = ({"prompt", "completion"}, {"messages"}, {"conversations"}, {"instruction", "output"})
_PARTIAL = {"output": "alpaca", "Response": "medical_o1", "Complex_CoT": "medical_o1"}
OTHERS = {
    "preference": "preference data",
    "kto": "KTO data (answers labelled good or bad)",
    "prompt": "prompts with a verifiable answer",
}


def detect(row: Any) -> str:
    """The name of the row's format, from its keys alone: one of FORMATS, or of OTHERS for another stage's rows.

    Raises RowError E_TYPE for a row that is no object and E_SCHEMA for keys of no known format.
    """
    if not isinstance(row, dict):
        raise RowError("E_TYPE", f"the row is {kind_of(row)}, expected object")
    keys = row.keys()
    if any(key in row for key in _TELLING["preference"]):
        return "preference"
    if "kto_tag" in row or "label" in row and any(keys >= wanted for wanted in _LABELLED):
        return "kto"
    if "Question" not in row and choices.is_choice(row):
        return "choice"
    for name, (wanted, _) in FORMATS.items():
        if keys >= wanted:
            return name
    if any(key in row for key in _TELLING["prompt"]):
        return "prompt"
    for key, name in _PARTIAL.items():
        if key in row:
            return name
    hint = "; this looks like pretraining text" if "text" in row else ""
    if len(row) == 1 and all(isinstance(one, list) and one and isinstance(one[0], dict) for one in row.values()):
        hint = "; the rows seem to lie in it: jq -c '.[][]' FILE > rows.jsonl"
    raise RowError(
        "E_SCHEMA",
        f"fields {shown_names(row, 'none')} belong to no known format{hint} (see docs/data-formats.md)",
    )


def to_conversation(row: Any, roles: dict[str, str] | None = None) -> Conversation:
    """Any supported SFT row as a checked conversation; RowError says what is wrong with it."""
    name = detect(row)
    if name in OTHERS:
        raise RowError("E_SCHEMA", f"fields {shown_names(row)}: this looks like {OTHERS[name]}, not SFT data")
    if name == "sharegpt":
        return sharegpt(row, roles)
    return FORMATS[name][1](row)
