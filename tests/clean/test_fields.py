"""Texts are found in the fields of every format, and go back to where they came from.

sh run_tests.sh tests/clean/test_fields.py
"""

import copy

import pytest

from bedside.clean.fields import texts_of, with_texts
from bedside.data.conversation import RowError

ROWS = {
    "alpaca": (
        {"instruction": "q", "input": "i", "output": "a", "system": "s", "history": [["hq", "ha"]], "id": 7},
        "question answer system",
        ["q", "i", "a", "s", "hq", "ha"],
    ),
    "sharegpt": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "tools": "[]"},
        "question answer",
        ["q", "a"],
    ),
    "messages": (
        {"messages": [{"role": "user", "content": "q"}, {"role": "gpt", "content": "a", "reasoning_content": "t"}]},
        "question answer thought",
        ["q", "a", "t"],
    ),
    "parts": (
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}, {"type": "image"}]}]},
        "question",
        ["q"],
    ),
    "tool": (
        {"messages": [{"role": "user", "content": "q"}, {"role": "tool", "content": "{}"}]},
        "question tool",
        ["q", "{}"],
    ),
    "toyhom": ({"department": "d", "title": "t", "ask": "q", "answer": "a"}, "question answer", ["t", "q", "a"]),
    "medical_o1": ({"Question": "q", "Complex_CoT": "t", "Response": "a"}, "question thought answer", ["q", "t", "a"]),
    "pair": (
        {"conversations": [{"from": "human", "value": "q"}], "chosen": {"from": "gpt", "value": "c"}, "rejected": "r"},
        "question answer",
        ["q", "c", "r"],
    ),
    "pair of lists": (
        {"chosen": [{"role": "user", "content": "q"}, {"content": "c"}], "rejected": [{"content": "r"}]},
        "question answer",
        ["q", "c", "r"],
    ),
    "kto": (
        {"prompt": [{"role": "user", "content": "q"}], "completion": "a", "label": True},
        "question answer",
        ["q", "a"],
    ),
    "choices": (
        {"question": "q", "options": {"A": "x", "B": "y"}, "answer_idx": "A", "answer": "x"},
        "question option answer",
        ["q", "x", "y", "x"],
    ),
    "choices in a list": (
        {"question": "q", "options": [{"key": "A", "value": "x"}], "answer": "A"},
        "question option",
        ["q", "x"],
    ),
    "choices in columns": ({"question": "q", "A": "x", "B": "y", "answer": "B"}, "question option", ["q", "x", "y"]),
    "document": ({"text": "d", "source": "s"}, "document", ["d"]),
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_texts_are_found_with_what_they_are(name):
    row, parts, wanted = ROWS[name]
    texts = texts_of(row)
    assert [text.text for text in texts] == wanted
    assert {text.part for text in texts} == set(parts.split())


@pytest.mark.parametrize("name", ROWS)
def test_texts_go_back_and_nothing_else_moves(name):
    row = copy.deepcopy(ROWS[name][0])
    texts = texts_of(row)
    assert with_texts(row, texts) == row
    upper = with_texts(row, [text._replace(text=text.text.upper()) for text in texts])
    assert [text.text for text in texts_of(upper)] == [text.text.upper() for text in texts]
    assert with_texts(upper, texts) == row == ROWS[name][0]
    assert list(upper) == list(row)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], "E_TYPE the row is no object"),
        ({"x": "y"}, "E_SCHEMA no text in the fields x"),
        ({"ask": " "}, "E_SCHEMA"),
    ],
)
def test_a_row_without_known_texts_is_refused(row, message):
    with pytest.raises(RowError) as caught:
        texts_of(row)
    assert f"{caught.value.code} {caught.value.detail}".startswith(message)
