"""The thought and the answer of a completion, whole and in pieces.

sh run_tests.sh tests/test_thoughts.py
"""

import itertools
import random

import pytest

from bedside.thoughts import Delta, Splitter, lenient, parse, strict


@pytest.mark.parametrize(
    ("text", "finished", "expected"),
    [
        ("<think>\nA fever.\n</think>\n\nRest.", True, True),
        ("A fever.\n</think>\n\nRest.", True, True),  # the prompt gave the opening tag
        ("<think>\nTwo\n\nparagraphs.\n</think>\n\nRest.\n\nDrink.", True, True),
        ("<think>\nA fever.\n</think>\n\nRest.", False, False),  # cut off
        ("Rest.", True, False),
        ("<think>\nA fever.", True, False),
        ("<think>\nA fever.\n</think>", True, False),
        ("<think>\nA fever.\n</think>\n\n  \n", True, False),
        ("<think>\n\n</think>\n\nRest.", True, False),
        ("<think>\n \n</think>\n\nRest.", True, False),
        ("<think>\nA fever.\n</think>\nRest.", True, False),  # one newline, MedCoT's own way
        ("<think>A fever.\n</think>\n\nRest.", True, False),
        ("<think>\nA fever.</think>\n\nRest.", True, False),
        (" <think>\nA fever.\n</think>\n\nRest.", True, False),
        ("<think>\nA\n</think>\n\nB\n</think>\n\nC", True, False),
        ("<think>\n<think>\nA\n</think>\n\nB", True, False),
        ("<think>\nA\n</think>\n\nB <think>", True, False),
    ],
)
def test_the_strict_format(text, finished, expected):
    assert strict(text, finished) is expected


def test_the_lenient_format_wants_something_after_the_closing_tag():
    assert lenient("x</think>y")
    assert not lenient("x</think> \n")
    assert not lenient("y")


@pytest.mark.parametrize(
    ("text", "opened", "expected"),
    [
        ("<think>\nhm\n</think>\n\nyes", False, ("hm", "yes", True)),
        ("hm\n</think>\n\nyes", True, ("hm", "yes", True)),
        ("hm\n</think>\n\nyes", False, ("hm", "yes", True)),  # neither prompt nor model opened it
        ("<think>\nhm\n</think>\n\nyes", True, ("hm", "yes", True)),
        ("<think>\n\n</think>\n\nyes", False, ("", "yes", True)),
        ("yes", False, (None, "yes", True)),
        ("<think>\nhm, so", False, ("hm, so", "", False)),
        ("hm, so", True, ("hm, so", "", False)),
        ("\n <think>hm</think>yes</think>", False, ("hm", "yes</think>", True)),
        ("yes <think> no", False, (None, "yes <think> no", True)),
    ],
)
def test_thought_and_answer_apart(text, opened, expected):
    assert tuple(parse(text, opened)) == expected


def joined(deltas: list[Delta]) -> tuple[str, str]:
    """Thought and answer as a reader of the stream has them at its end."""
    thought = answer = ""
    for kind, text in deltas:
        if kind == "was_thought":
            thought, answer = answer, ""
        elif kind == "thought":
            thought += text
        else:
            answer += text
    return thought, answer


def split(text: str, sizes: list[int], opened: bool = False) -> list[Delta]:
    splitter, deltas, start = Splitter(opened), [], 0
    for size in itertools.chain(sizes, [len(text)]):
        deltas += splitter.feed(text[start : start + size])
        start += size
    return [*deltas, *splitter.flush()]


@pytest.mark.parametrize("sizes", [[], [1] * 40, [3, 4], [7, 5, 9, 2]])
def test_pieces_of_any_size_give_the_same(sizes):
    text = "<think>\nA fever.\n</think>\n\nRest. 多喝水。\n"
    assert joined(split(text, sizes)) == ("A fever.", "Rest. 多喝水。")


def test_nothing_of_a_tag_is_ever_shown():
    text = "<think>\nhm\n</think>\n\nyes"
    for cut in range(len(text)):
        shown = "".join(delta.text for delta in split(text, [cut]))
        assert shown == "hmyes"


def test_a_thought_that_nobody_opened_is_told_when_it_closes():
    assert split("hm\n</think>\n\nyes", [2]) == [
        Delta("answer", "hm"),
        Delta("was_thought", ""),
        Delta("answer", "yes"),
    ]


def test_what_only_looks_like_a_tag_is_text():
    assert split("</thi", [1, 1, 1, 1]) == [Delta("answer", "</thi")]
    assert joined(split("<thin ice>", [1] * 10)) == ("", "<thin ice>")


def test_random_texts_cut_at_random_places_agree_with_parse():
    chance = random.Random(7)
    pieces = ["<think>", "</think>", "\n", " ", "a", "<", "</", "think>", "b c", "\u3000", "好", "</thi"]
    for _ in range(3000):
        text = "".join(chance.choices(pieces, k=chance.randrange(9)))
        for opened in (False, True):
            sizes = chance.choices([1, 2, 3, 9], k=len(text))
            whole = parse(text, opened)
            assert joined(split(text, sizes, opened)) == (whole.thought or "", whole.answer), (text, opened)
