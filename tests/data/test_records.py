"""One row format at a time, with literal conversations."""

import json

import pytest

from bedside.data.conversation import RowError
from bedside.data.preferences import to_preference
from bedside.data.records import FORMATS, detect, to_conversation

U, A, S = ({"role": role, "content": text} for role, text in (("user", "q"), ("assistant", "a"), ("system", "s")))
T = {**A, "reasoning_content": "t"}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": None}}
CALL = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
}
RESULT = {"role": "tool", "content": "r"}


def turns(*pairs):
    return [{"from": who, "value": text} for who, text in pairs]


ROWS = {
    "alpaca": ({"instruction": "q", "input": "", "output": "a"}, [U, A]),
    "alpaca input": ({"instruction": "q", "input": "more", "output": "a"}, [{**U, "content": "q\nmore"}, A]),
    "alpaca nulls": ({"instruction": "q", "input": None, "system": None, "history": None, "output": "a"}, [U, A]),
    "alpaca system": ({"system": "s", "instruction": "q", "output": "a"}, [S, U, A]),
    "alpaca history": ({"instruction": "q", "output": "a", "history": [["q", "a"]]}, [U, A, U, A]),
    "alpaca thought": ({"instruction": "q", "output": "a", "thought": "t"}, [U, T]),
    "alpaca inline thought": ({"instruction": "q", "output": "<think>\nt\n</think>\n\na"}, [U, T]),
    "sharegpt": ({"conversations": turns(("human", "q"), ("gpt", "a"))}, [U, A]),
    "sharegpt system turn": ({"conversations": turns(("system", "s"), ("human", "q"), ("gpt", "a"))}, [S, U, A]),
    "sharegpt system": ({"conversations": turns(("human", "q"), ("gpt", "a")), "system": "s"}, [S, U, A]),
    "sharegpt empty system": ({"conversations": turns(("system", ""), ("human", "q"), ("gpt", "a"))}, [U, A]),
    "sharegpt roles": ({"conversations": [U, A]}, [U, A]),
    "sharegpt tools": (
        {"conversations": turns(("human", "q"), ("function_call", '{"name": "f", "arguments": {"x": 1}}'),
                                ("observation", "r"), ("gpt", "a"))},
        [U, CALL, RESULT, A],
    ),
    "messages": ({"messages": [S, U, A]}, [S, U, A]),
    "messages developer": ({"messages": [{**S, "role": "developer"}, U, A]}, [S, U, A]),
    "messages empty system": ({"messages": [{**S, "content": ""}, U, A]}, [U, A]),
    "messages thought": ({"messages": [U, T]}, [U, T]),
    "messages reasoning": ({"messages": [U, {**A, "reasoning": "t"}]}, [U, T]),
    "messages parts": (
        {"messages": [{**U, "content": [{"type": "text", "text": "q"}, {"type": "text", "text": "p"}]}, A]},
        [{**U, "content": "q\np"}, A],
    ),
    "messages tool calls": (
        {"messages": [U, {"role": "assistant", "content": None, "tool_calls": [
            {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]}, RESULT, A]},
        [U, CALL, RESULT, A],
    ),
    "messages thought before a call": (
        {"messages": [U, {**CALL, "reasoning_content": "t"}, RESULT, A]},
        [U, {**CALL, "reasoning_content": "t"}, RESULT, A],
    ),
    "medical_o1": ({"Question": "q", "Complex_CoT": "t", "Response": "a"}, [U, T]),
    "medical_o1 without CoT": ({"Question": "q", "Response": "a"}, [U, A]),
    "toyhom": ({"department": "d", "title": "头痛", "ask": "q", "answer": "a"}, [{**U, "content": "头痛\nq"}, A]),
    "toyhom title inside": ({"title": "q", "ask": "q", "answer": "a"}, [U, A]),
    "input_output": ({"input": "q", "output": "a"}, [U, A]),
    "prompt_response": ({"prompt": "q", "response": "a"}, [U, A]),
    "prompt_completion": ({"prompt": "q", "completion": "a"}, [U, A]),
    "query_response": ({"query": "q", "response": "a"}, [U, A]),
    "question_answer": ({"question": "q", "answer": "a"}, [U, A]),
    "choice": ({"question": "q", "options": {"A": "x", "B": "y"}, "answer": "A", "explanation": "e"},
               [{**U, "content": "q\nA. x\nB. y"}, {**A, "content": "e\n\nAnswer: A. x"}]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows(name):
    row, messages = ROWS[name]
    before = json.dumps(row)
    assert to_conversation(row)["messages"] == messages
    assert detect(row) == name.split()[0]
    assert json.dumps(row) == before


def test_every_format_has_a_row_here():
    assert {name.split()[0] for name in ROWS} == set(FORMATS)


@pytest.mark.parametrize("tools", [[TOOL], json.dumps([TOOL]), [TOOL["function"]], json.dumps([TOOL["function"]])])
def test_tools_get_the_form_that_servers_receive(tools):
    row = {"conversations": turns(("human", "q"), ("gpt", "a")), "tools": tools}
    assert to_conversation(row)["tools"] == [TOOL]


@pytest.mark.parametrize("tools", [None, "", " ", [], "[]"])
def test_no_tools(tools):
    assert "tools" not in to_conversation({"messages": [U, A], "tools": tools})


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"messages": [U, {**CALL, "reasoning_content": 3}, RESULT, A]}, r"E_TYPE .*reasoning_content is int"),
        ({"messages": [U, {**CALL, "tool_calls": [{"function": {"name": "f", "arguments": "x"}}]}, RESULT, A]},
         r"E_TOOL messages\[1\].tool_calls: arguments is not JSON"),
        ({"messages": [U, {**CALL, "tool_calls": [{"function": {"name": "f", "arguments": [1]}}]}, RESULT, A]},
         r"E_TOOL messages\[1\].tool_calls: arguments is list, expected object"),
        ({"messages": [U, {**CALL, "tool_calls": 3}, RESULT, A]}, r"E_TOOL .*tool_calls has no function name"),
        ({"messages": [U, A], "tools": [{"function": 3}]}, r"E_TOOL tools\[0\] has no function name"),
        ({"messages": [U, A], "tools": {"a": 1}}, "E_TOOL tools is object, expected a list of objects"),
        ({}, "E_SCHEMA fields none belong to no known format"),
    ],
)  # fmt: skip
def test_faults(row, message):
    with pytest.raises(RowError, match=message):
        to_conversation(row)


PAIR = {"prompt": [U], "chosen": [A], "rejected": [{**A, "content": "b"}]}
PAIRS = {
    "strings": {"prompt": "q", "chosen": "a", "rejected": "b"},
    "question": {"question": "q", "chosen": "a", "rejected": "b"},
    "instruction": {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"},
    "messages": {"prompt": [U], "chosen": [A], "rejected": [{**A, "content": "b"}]},
    "objects": {"conversations": turns(("human", "q")), "chosen": {"from": "gpt", "value": "a"},
                "rejected": {"role": "assistant", "content": "b"}},
    "conversations": {"conversations": turns(("human", "q")), "chosen": "a", "rejected": "b"},
    "MedicalGPT's older names": {"question": "q", "response_chosen": "a", "response_rejected": "b", "system": "",
                                 "history": []},
    "prompt repeated in front": {"prompt": "q", "chosen": [U, A], "rejected": [U, {**A, "content": "b"}]},
    "shared beginning": {"chosen": [U, A], "rejected": [U, {**A, "content": "b"}]},
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_preferences(name):
    assert to_preference(PAIRS[name]) == PAIR


def test_preferences_with_history_and_system():
    row = {
        "system": "s",
        "conversations": turns(("human", "q"), ("gpt", "a"), ("human", "q")),
        "chosen": "a",
        "rejected": "b",
    }
    assert to_preference(row)["prompt"] == [S, U, A, U]
    assert to_preference({"system": "s", **PAIRS["shared beginning"]})["prompt"] == [S, U]
    older = {"system": "s", "history": [["q", "a"]], **PAIRS["strings"]}
    assert to_preference(older)["prompt"] == [S, U, A, U]
    repeated = {"system": "s", "prompt": "q", "chosen": [U, A], "rejected": [U, T]}
    assert to_preference(repeated)["chosen"] == [A]
    assert to_preference({**PAIRS["strings"], "chosen": "<think>t</think>a"})["chosen"] == [T]
