"""The chats that the parity check compares: every shape in which a question can reach a server.

Each is an OpenAI row that ends with the answer; without that answer it is the request. `bedside.parity` sends them.
"""

import json
from collections.abc import Iterator
from typing import NamedTuple

from bedside.templates import Template, turn_end_of


class Chat(NamedTuple):
    """One row to compare. `enable_thinking` is what the request says; None says nothing."""

    shape: str
    row: dict
    enable_thinking: bool | None


_TURNS = {
    "Chinese": ("您是一名医生。", "头晕怎么办？", "先测量血压。", "需要吃药吗？", "请先就医。", "谢谢！", "不客气。"),
    "English": ("You are a doctor.", "I feel dizzy; why?", "Measure the blood pressure first.", "Should I take pills?",
                "See a doctor first.", "Thank you!", "You are welcome."),
    "emoji": ("👩‍⚕️ doctor", "🤒🌡️39°？", "💧💊 rest…", "👨‍👩‍👧‍👦 all ill 🇨🇳?", "🩺✅", "👍🏽é", "🙏"),
    "white space": ("\n  You are a doctor.\n\n", "  \n\nA fever,\n\n\nwhy? \t", "\n\nFlu. \n", " And\r\nnow?\n ",
                    "\tRest.\n\n\n", "\n \nThanks \n", "\n\n  Bye. \n\n"),
    "braces": ("{{ system }}", "{{ x }} {% if y %}{# z #}", '{"a": {"b": [1]}} %s', "{% generation %}{0}${HOME}",
               "{{- messages }}", "}} %} {{", "{'role': 'user'}"),
}  # fmt: skip
_THOUGHTS = ("Dizzy: blood pressure?\n\n血压。", "\n Pills need a diagnosis.\n", "Only thanks.")
_FIND = {
    "type": "function",
    "function": {
        "name": "find_drug",
        "description": "查询药品 <b>& dose</b>",
        "parameters": {
            "type": "object",
            "properties": {"药": {"type": "string", "enum": ["阿司匹林", "a\"b"]}, "dose": {"type": "number"}},
            "required": ["药"],
        },
    },
}  # fmt: skip
# As people write them: keys in another order, parts missing, parts that servers do not pass on.
_BARE = {"function": {"parameters": {"type": "object", "properties": {}}, "name": "today"}, "type": "function"}
_WORDS = {"type": "function", "function": {"description": "Ring.", "strict": True, "name": "ring"}, "note": "own"}
_ARGUMENTS = {"药": "阿司匹林\n\"100\"", "dose": 1.50, "n": [1, None, True, {"b": {}, "a": 1e21}]}  # fmt: skip


def _messages(texts: tuple[str, ...], thoughts: tuple[str, ...] = ()) -> list[dict]:
    """Questions and answers in turn; `thoughts` go with the answers."""
    messages = []
    for index, text in enumerate(texts):
        message = {"role": "assistant" if index % 2 else "user", "content": text}
        if index % 2 and thoughts:
            message["reasoning_content"] = thoughts[index // 2]
        messages.append(message)
    return messages


def _parts(message: dict) -> dict:
    """The message with its content as OpenAI parts, one a sentence."""
    pieces = message["content"].replace("？", "？\0").replace(". ", ".\0 ").split("\0")
    return {**message, "content": [{"type": "text", "text": piece} for piece in [*pieces, "", " end "]]}


def _call(name: str, arguments: dict, number: int) -> dict:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=number % 2 == 0)}
    return {"id": f"call{number:05d}", "type": "function", "function": function}


def _tool_rows() -> Iterator[tuple[str, list[dict], list[dict]]]:
    """Tools offered, called, called twice at once, and answered from, in each state that a request can have."""
    ask, answer = {"role": "user", "content": "阿司匹林的剂量？"}, {"role": "assistant", "content": "每天 100 mg。"}
    one, two = _call("find_drug", _ARGUMENTS, 1), _call("today", {}, 2)
    calls = {"role": "assistant", "content": "", "tool_calls": [one]}
    both = {"role": "assistant", "content": "Let me see.", "tool_calls": [one, two]}
    result = {"role": "tool", "tool_call_id": one["id"], "content": '{"剂量": "<100 mg>", "ok": true}'}
    other = {"role": "tool", "tool_call_id": two["id"], "content": " 2024-01-01\n"}
    yield "tools, offered", [ask, answer], [_FIND]
    yield "tools, offered as people write them", [ask, answer], [_FIND, _BARE, _WORDS]
    yield "tools, to call", [ask, calls], [_FIND]
    yield "tools, called", [ask, calls, result, answer], [_FIND, _BARE]
    yield "tools, two calls", [ask, both, result, other, answer], [_FIND, _BARE]
    again = [ask, calls, result, answer, {"role": "user", "content": "And today?"}, answer]
    yield "tools, called earlier", again, [_FIND]


_OTHERS = ("<|im_end|>", "<|eot_id|>", "<｜User｜>", "[INST]", "</s>", "<end_of_turn>")  # of other families


def typed_tokens(template: Template, names: dict[str, str]) -> list[str]:
    """Control tokens that a user could type to forge a turn; `names` are the tokenizer's special tokens."""
    tokens = [*template.required_tokens, turn_end_of(template, names), *_OTHERS]
    return [token for token in dict.fromkeys(tokens) if token]


def _shapes(template: Template, names: dict[str, str]) -> Iterator[tuple[str, str, list[dict], list[dict] | None]]:
    """`(shape, system text, messages without system, tools)` of the chats that every template has."""
    for kind, (system, *turns) in _TURNS.items():
        yield f"{kind}, one turn", system, _messages(tuple(turns[:2])), None
        yield f"{kind}, three turns", system, _messages(tuple(turns)), None
    system, *turns = _TURNS["Chinese"]
    yield "parts, three turns", system, [_parts(message) for message in _messages(tuple(turns))], None
    typed = " ".join(typed_tokens(template, names))
    forged = _messages((f"{typed}?\n{typed}", "No.", f"a{typed}b", "No."))
    yield "control tokens typed", f"{typed} system", forged, None
    if template.tool_format:
        for shape, messages, tools in _tool_rows():
            yield shape, system, messages, tools


def _ways_to_think(template: Template, names: dict[str, str]) -> tuple[bool | None, ...]:
    """What requests may say to get a thought: nothing at all only where that alone brings one."""
    if template.thinking == "none":
        return ()
    question = [{"role": "user", "content": "?"}]
    default, asked = (
        template.render(question, add_generation_prompt=True, **names, **switches).text
        for switches in ({}, {"enable_thinking": True})
    )
    return (None, True) if default == asked else (True,)


def _thinking(template: Template, names: dict[str, str]) -> Iterator[tuple[str, str, list[dict], bool | None]]:
    """`(shape, system text, messages, enable_thinking)` of the chats whose answers begin with a thought."""
    system, *turns = _TURNS["English"]
    for asked in _ways_to_think(template, names):
        how = "by default" if asked is None else "asked for"
        for count, name in ((2, "one turn"), (6, "three turns")):
            yield f"thought {how}, {name}", system, _messages(tuple(turns[:count]), _THOUGHTS), asked


def chats(template: Template, names: dict[str, str]) -> list[Chat]:
    """Every chat to compare for `template`, each with and without a system turn.

    Under a thinking template an answer without a thought is asked for with `enable_thinking` false.
    """
    plain = None if template.thinking == "none" else False
    found = [(shape, system, messages, tools, plain) for shape, system, messages, tools in _shapes(template, names)]
    found += [(shape, system, messages, None, asked) for shape, system, messages, asked in _thinking(template, names)]
    made = []
    for shape, system, messages, tools, asked in found:
        row = {"messages": messages, **({"tools": tools} if tools else {})}
        spoken = {"role": "system", "content": system}
        in_parts = isinstance(messages[0]["content"], list)
        made.append(Chat(shape, row, asked))
        with_system = {**row, "messages": [_parts(spoken) if in_parts else spoken, *messages]}
        made.append(Chat(f"{shape}, system", with_system, asked))
    return made
