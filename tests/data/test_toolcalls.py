"""Tool definitions, calls and results in every spelling that data sets have."""

import json

import pytest

from bedside.data import build, toolcalls
from bedside.data.conversation import RowError
from bedside.data.ledger import Ledger
from bedside.data.records import to_conversation

from .malformed import jsonl, turns

SCHEMA = {"type": "object", "properties": {"b": {"type": "string"}, "a": {"type": "integer"}}, "required": ["b"]}
FUNCTION = {"name": "find_drug", "description": "Finds a drug.", "parameters": SCHEMA}
H, G, OBSERVED = ("human", "q"), ("gpt", "a"), ("observation", "r")


def call(name="find_drug", **arguments):
    return {"name": name, "arguments": arguments}


def row(*calls, tools=(FUNCTION,), results=None):
    value = json.dumps(calls[0] if len(calls) == 1 else list(calls))
    made = turns(H, ("function_call", value), *(results or [OBSERVED]), G)
    return {**made, "tools": list(tools)} if tools else made


@pytest.mark.parametrize(
    "tool",
    [FUNCTION, {"type": "function", "function": FUNCTION}, {"function": FUNCTION}, {"type": "function", **FUNCTION},
     {"parameters": SCHEMA, "description": "Finds a drug.", "name": "find_drug"}, {**FUNCTION, "x": 1},
     {**FUNCTION, "parameters": json.dumps(SCHEMA)}],
)  # fmt: skip
def test_a_tool_is_what_a_server_hands_its_template(tool):
    """To the order of the keys: they are written into the prompt in that order."""
    for tools in ([tool], json.dumps([tool])):
        made = toolcalls.definitions(tools)
        assert json.dumps(made) == json.dumps([{"type": "function", "function": FUNCTION}])


def test_what_a_tool_does_not_say_is_null_and_strict_is_kept():
    assert toolcalls.definitions([{"name": "f"}]) == [
        {"type": "function", "function": {"name": "f", "description": None, "parameters": None}}
    ]
    assert list(toolcalls.definitions([{"strict": True, "name": "f"}])[0]["function"]) == [
        "name", "description", "parameters", "strict",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ({"name": " "}, r"E_TOOL tools\[0\] has no function name"),
        ({"name": "f", "parameters": [1]}, r"E_TOOL tools\[0\].parameters is list, expected object"),
        ({"name": "f", "parameters": "{"}, r"E_TOOL tools\[0\].parameters is not JSON"),
        ({"name": "f", "description": {}}, r"E_TOOL tools\[0\].description is object, expected string"),
    ],
)
def test_tools_that_no_server_would_take(tool, message):
    with pytest.raises(RowError, match=message):
        toolcalls.definitions([tool])


def calls_of(conversation):
    return [item["function"] for item in conversation["messages"][1]["tool_calls"]]


@pytest.mark.parametrize(
    "value",
    [
        '{"name": "f", "arguments": {"x": 1}}',
        {"name": "f", "arguments": {"x": 1}},
        '{"name": "f", "arguments": "{\\"x\\": 1}"}',
        '{"name": "f", "parameters": {"x": 1}}',
        '[{"name": "f", "arguments": {"x": 1}}]',
        '[{"type": "function", "id": "7", "function": {"name": "f", "arguments": "{\\"x\\": 1}"}}]',
    ],
)
def test_a_call_in_every_spelling(value):
    made = to_conversation(turns(H, ("function_call", value), OBSERVED, G))
    assert calls_of(made) == [{"name": "f", "arguments": {"x": 1}}]


@pytest.mark.parametrize("rest", [{}, {"arguments": None}, {"arguments": ""}, {"arguments": {}}, {"arguments": "{}"}])
def test_a_call_without_arguments(rest):
    made = to_conversation(turns(H, ("function_call", json.dumps({"name": "f", **rest})), OBSERVED, G))
    assert calls_of(made) == [{"name": "f", "arguments": {}}]


def test_several_calls_and_their_results():
    made = to_conversation(row(call(b="x"), call(b="y"), results=[("observation", "1"), ("observation", "2")]))
    assert [item["arguments"] for item in calls_of(made)] == [{"b": "x"}, {"b": "y"}]
    assert [message["role"] for message in made["messages"]] == ["user", "assistant", "tool", "tool", "assistant"]


def test_openai_turns_under_conversations_keep_their_calls():
    messages = [
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "I look.", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "content": "r"},
        {"role": "assistant", "content": "a"},
    ]
    assert to_conversation({"conversations": messages}) == to_conversation({"messages": messages})
    assert calls_of(to_conversation({"conversations": messages})) == [{"name": "f", "arguments": {}}]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"drug": "布洛芬", "mg": 200}, '{"drug": "布洛芬", "mg": 200}'),
        ([{"a": 1}, 2], '[{"a": 1}, 2]'),
        ([], "[]"),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ("as it is", "as it is"),
    ],
)
def test_what_a_tool_answers(value, text):
    made = to_conversation(turns(H, ("function_call", json.dumps(call("f"))), ("observation", value), G))
    assert made["messages"][2] == {"role": "tool", "content": text}
    messages = [{"role": "user", "content": "q"}, {"role": "assistant", "content": None, "tool_calls": [call("f")]},
                {"role": "tool", "content": value}, {"role": "assistant", "content": "a"}]  # fmt: skip
    assert to_conversation({"messages": messages}) == made


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(call("find_durg", b="x")), r"E_TOOL messages\[1\].tool_calls\[0\] calls find_durg, which tools does not "
         r"define \(find_drug\)"),
        (row(call(b="x"), call("Mrs Smith, 44")), r"tool_calls\[1\] calls <13 characters>, which tools does not"),
        (turns(H, ("function_call", "[]"), OBSERVED, G), r"E_TOOL conversations\[1\].value is an empty list"),
        (turns(H, OBSERVED, G), r"E_ROLE_ORDER messages\[1\] is tool, expected assistant"),
        (turns(H, ("function_call", '{"name": "f", "arguments": [1]}'), OBSERVED, G), "arguments is list, exp"),
    ],
)  # fmt: skip
def test_calls_that_cannot_be_trained(bad, message):
    with pytest.raises(RowError, match=message):
        to_conversation(bad)


def test_without_definitions_any_function_may_be_called():
    assert calls_of(to_conversation(row(call("anything", x=1), tools=()))) == [call("anything", x=1)]


@pytest.mark.parametrize(
    ("arguments", "schema", "found"),
    [
        ({"b": "x"}, SCHEMA, []),
        ({"a": 1}, SCHEMA, ["messages[1].tool_calls[0] (f) lacks the required b"]),
        ({"b": "x", "c": 1}, SCHEMA, ["messages[1].tool_calls[0] (f) has the unknown c"]),
        ({"c": 1}, SCHEMA, ["messages[1].tool_calls[0] (f) lacks the required b",
                            "messages[1].tool_calls[0] (f) has the unknown c"]),
        ({"b": "x", "c": 1}, {**SCHEMA, "additionalProperties": True}, []),
        ({"b": "x", "c": 1}, {**SCHEMA, "additionalProperties": {"type": "string"}}, []),
        ({"b": "x", "c": 1}, {**SCHEMA, "additionalProperties": False}, [
            "messages[1].tool_calls[0] (f) has the unknown c"]),
        ({"c": 1}, {"type": "object"}, []),
        ({"c": 1}, None, []),
        ({"c": 1}, {"required": "c", "properties": [1]}, []),
    ],
)  # fmt: skip
def test_arguments_against_their_schema(arguments, schema, found):
    made = to_conversation(row(call("f", **arguments), tools=[{"name": "f", "parameters": schema}]))
    assert toolcalls.misfits(made) == found


def test_odd_arguments_are_a_remark(tmp_path):
    path, ledger = tmp_path / "a.jsonl", Ledger()
    path.write_bytes(jsonl(row(call(b="x")), row(call(a=1), call(c=1)), row(call(a=1))))
    assert len(build.read_conversations(build.sources([str(path)]), ledger)) == 3
    assert dict(ledger.total().remarks) == {"W_TOOL": 2}
    assert ledger.details == [
        f"{path}:2: W_TOOL messages[1].tool_calls[0] (find_drug) lacks the required b (and 2 more)"
    ]
