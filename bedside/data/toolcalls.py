"""Tool definitions and calls of a row in the form that servers receive them in, and whether calls fit definitions."""

import json
from typing import Any

from bedside.data import strict_json
from bedside.data.conversation import Conversation, RowError, kind_of
from bedside.data.strict_json import shown, shown_names


def parsed(value: Any, where: str) -> Any:
    """`value`, read as JSON if it is a string; RowError E_TOOL if it is none."""
    if not isinstance(value, str):
        return value
    try:
        return strict_json.parse(value)
    except strict_json.JsonFault as fault:
        raise RowError("E_TOOL", f"{where} is not JSON ({fault.detail})") from None


def definitions(value: Any) -> list[dict] | None:
    """The `tools` of a row: a list or a JSON string of one, of functions as they are or inside {"function": ...}."""
    if value is None or value == [] or isinstance(value, str) and not value.strip():
        return None
    tools = parsed(value, "tools")
    if not isinstance(tools, list) or not all(isinstance(tool, dict) for tool in tools):
        raise RowError("E_TOOL", f"tools is {kind_of(tools)}, expected a list of objects")
    return [_definition(tool, index) for index, tool in enumerate(tools)] or None


def _definition(tool: dict, index: int) -> dict:
    """`{"type": "function", "function": {"name", "description", "parameters"}}`, to the key what a template is given
    when a client sends this tool to vLLM: in this order, null where absent, `strict` if set, and no other key."""
    function = tool.get("function", tool)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"].strip():
        raise RowError("E_TOOL", f"tools[{index}] has no function name")
    parameters = parsed(function.get("parameters"), f"tools[{index}].parameters")
    description = function.get("description")
    for name, value, kind, word in (
        ("description", description, str, "string"),
        ("parameters", parameters, dict, "object"),
    ):
        if value is not None and not isinstance(value, kind):
            raise RowError("E_TOOL", f"tools[{index}].{name} is {kind_of(value)}, expected {word}")
    made = {"name": function["name"], "description": description, "parameters": parameters}
    if isinstance(function.get("strict"), bool):
        made["strict"] = function["strict"]
    return {"type": "function", "function": made}


def calls(value: Any, where: str) -> list[dict]:
    """Tool calls from a list (or one) of `{"name", "arguments"}`, each perhaps inside `{"function": ...}`.

    `arguments` is an object or a JSON string of one, is {} where there is none, and may be called `parameters`.
    """
    functions = []
    for call in value if isinstance(value, list) else [value]:
        call = call.get("function", call) if isinstance(call, dict) else call
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise RowError("E_TOOL", f"{where} has no function name")
        # Clients write a call without arguments as "", null or nothing; servers read all three as {}.
        arguments = parsed(call.get("arguments", call.get("parameters")) or {}, f"{where}: arguments")
        if not isinstance(arguments, dict):
            raise RowError("E_TOOL", f"{where}: arguments is {kind_of(arguments)}, expected object")
        functions.append({"type": "function", "function": {"name": call["name"], "arguments": arguments}})
    if not functions:
        raise RowError("E_TOOL", f"{where} is an empty list, expected at least one call")
    return functions


def result(value: Any) -> Any:
    """What a tool answered: an object or a list as JSON text, the way clients send it; other values as they are."""
    if isinstance(value, list) and value and all(_is_text_part(part) for part in value):
        return "\n".join(part["text"] for part in value if part["text"])
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (dict, list)) else value


def _is_text_part(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _made(conversation: Conversation) -> list[tuple[str, dict]]:
    """Every call of a conversation with its place."""
    return [
        (f"messages[{index}].tool_calls[{number}]", call["function"])
        for index, message in enumerate(conversation["messages"])
        for number, call in enumerate(message.get("tool_calls") or [])
    ]


def check_calls(conversation: Conversation) -> None:
    """Raise RowError E_TOOL for a call to a function that the row's own tools do not define."""
    tools = conversation.get("tools")
    if not tools:
        return
    known = {tool["function"]["name"]: tool for tool in tools}
    for where, call in _made(conversation):
        if call["name"] not in known:
            raise RowError(
                "E_TOOL", f"{where} calls {shown(call['name'])}, which tools does not define ({shown_names(known)})"
            )


def misfits(conversation: Conversation) -> list[str]:
    """Calls whose arguments their function's schema does not expect: required ones missing, or unknown ones."""
    schemas = {
        tool["function"]["name"]: tool["function"]["parameters"] or {} for tool in conversation.get("tools") or []
    }
    found = []
    for where, call in _made(conversation):
        schema = schemas.get(call["name"], {})
        required, known = schema.get("required"), schema.get("properties")
        required = required if isinstance(required, list) else []
        missing = [name for name in required if isinstance(name, str) and name not in call["arguments"]]
        unknown = []
        if isinstance(known, dict) and schema.get("additionalProperties") in (None, False):
            unknown = [name for name in call["arguments"] if name not in known]
        for names, what in ((missing, "lacks the required"), (unknown, "has the unknown")):
            if names:
                found.append(f"{where} ({shown(call['name'])}) {what} {shown_names(dict.fromkeys(names))}")
    return found
