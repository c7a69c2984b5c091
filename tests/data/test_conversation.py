"""Thoughts, turns, control tokens: what a conversation must be before anything is rendered."""

import pytest

from bedside.data.conversation import RowError, assistant, check_answers, check_conversation, split_thought, text_of


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("plain", (None, "plain")),
        ("<think>\nA\n</think>\n\nB", ("A", "B")),
        ("  <think>A</think>B ", ("A", "B")),
        ("A\n</think>\nB", ("A", "B")),  # the server wrote the opening tag
        ("a < b > c <thinking>", (None, "a < b > c <thinking>")),
    ],
)
def test_split_thought(text, parts):
    assert split_thought(text, "x") == parts


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<think>a", "E_THINK x has <think> x1 and </think> x0"),
        ("</think>a</think>b", "E_THINK x has <think> x0 and </think> x2"),
        ("b<think>a</think>c", "E_THINK x has <think> x1 and </think> x1, expected one block in front"),
        ("</think>a", "E_EMPTY x: think is empty; drop the tags"),
        ("<think>a</think> ", "E_EMPTY x: the answer after </think> is empty"),
    ],
)
def test_malformed_thoughts(text, message):
    with pytest.raises(RowError, match=message):
        split_thought(text, "x")


def test_a_thought_apart_may_hold_no_tags():
    assert assistant("B", "answer", "A", "cot") == {"role": "assistant", "content": "B", "reasoning_content": "A"}
    with pytest.raises(RowError, match="E_THINK cot holds a think tag although the thought is a field of its own"):
        assistant("B", "answer", "<think>A", "cot")
    with pytest.raises(RowError, match="E_THINK answer holds a think tag"):
        assistant("B</think>", "answer", "A", "cot")


@pytest.mark.parametrize(
    ("value", "message"),
    [(None, "E_NULL f is null"), (True, "E_TYPE f is boolean, expected string"), (3, "E_TYPE f is int"),
     ({}, "E_TYPE f is object"), ("\u3000\n", "E_EMPTY f is empty")],
)  # fmt: skip
def test_text_of(value, message):
    with pytest.raises(RowError, match=message):
        text_of(value, "f")


def roles(text):
    """`s`, `u`, `a`, `c` (an assistant that calls a tool), `t` to messages."""
    names = {"s": "system", "u": "user", "a": "assistant", "c": "assistant", "t": "tool"}
    messages = [{"role": names[letter], "content": "x"} for letter in text]
    for letter, message in zip(text, messages, strict=True):
        if letter == "c":
            message["tool_calls"] = [{"type": "function", "function": {"name": "f", "arguments": {}}}]
    return messages


@pytest.mark.parametrize("shape", ["ua", "sua", "uaua", "ucta", "uctta", "sucta", "uctcta", "uctaua"])
def test_shapes_that_train(shape):
    check_conversation({"messages": roles(shape)})


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ("", "E_EMPTY no messages"),
        ("a", r"E_ROLE_ORDER messages\[0\] is assistant, expected user"),
        ("su", "E_NO_ANSWER the conversation ends with user"),
        ("uc", "E_NO_ANSWER"),
        ("uta", r"messages\[1\] is tool, expected assistant"),
        ("uca", r"messages\[2\] is assistant, expected tool"),
        ("uctu", r"messages\[3\] is user, expected assistant or tool"),
        ("ussa", r"messages\[1\] is system, expected assistant"),
    ],
)
def test_shapes_that_do_not(shape, message):
    with pytest.raises(RowError, match=message):
        check_conversation({"messages": roles(shape)})


def test_a_call_may_end_a_conversation_that_names_its_tools():
    check_conversation({"messages": roles("uc"), "tools": [{"type": "function", "function": {"name": "f"}}]})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("content", "a</s>"),
        ("reasoning_content", "</s>"),
        ("tool_calls", [{"function": {"arguments": {"x": "</s>"}}}]),
    ],
)
def test_no_answer_is_trained_to_write_a_control_token(field, value):
    messages = [{"role": "user", "content": "</s>"}, {"role": "assistant", "content": "a", field: value}]
    with pytest.raises(RowError, match=rf"W_SPECIAL prompt\[1\].{field} holds the control token </s>; no answer"):
        check_answers(messages, where="prompt")
    check_answers(messages[:1])


@pytest.mark.parametrize("mark", ["\ufdd0", "\ufdd1"])
@pytest.mark.parametrize("role", [0, 1])
def test_marks_of_trained_text_are_refused_from_everybody(mark, role):
    conversation = {"messages": roles("ua")}
    conversation["messages"][role]["content"] += mark
    with pytest.raises(RowError, match=rf"W_SPECIAL messages\[{role}\].content holds U\+FDD."):
        check_conversation(conversation)
    with pytest.raises(RowError, match="W_SPECIAL tools holds U"):
        check_conversation({"messages": roles("ua"), "tools": [{"function": {"name": mark}}]})
