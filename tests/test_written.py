"""Completions while they are written: stop texts over any pieces.

sh run_tests.sh tests/test_written.py
"""

import pytest

from bedside.written import StopTexts, Written


def cut(text, stops, size):
    found = StopTexts(stops)
    shown = [found.feed(text[i : i + size]) for i in range(0, len(text), size)]
    return "".join(shown) + found.rest(), found.found


@pytest.mark.parametrize("size", [1, 2, 3, 50])
@pytest.mark.parametrize(
    ("text", "stops", "kept"),
    [
        ("one END two", ("END",), ("one ", True)),
        ("one EN two", ("END",), ("one EN two", False)),
        ("aab", ("ab",), ("a", True)),
        ("x abc", ("abc", "b"), ("x a", True)),
        ("先测体温。再听诊", ("。再",), ("先测体温", True)),
        ("END", ("END",), ("", True)),
        ("anything", (), ("anything", False)),
        ("ends in EN", ("END",), ("ends in EN", False)),
    ],
)
def test_a_stop_text_is_found_in_pieces_of_any_size(text, stops, kept, size):
    assert cut(text, stops, size) == kept


def written(text, stops=(), stop_ids=(0,), opened=False):
    """Each character is a token of its own; 0 ends."""
    found = Written(lambda ids: "".join(map(chr, ids)), stop_ids, stops, opened)
    deltas = [delta for char in text for delta in found.add(ord(char))]
    return found, deltas


def test_nothing_of_a_stop_text_is_ever_shown():
    found, deltas = written("<think>hm</think>Rest. STOP more", ("STOP",))
    deltas += found.close()
    assert "".join(delta.text for delta in deltas if delta.kind == "answer") == "Rest."
    answer = found.answer(5)
    assert (answer.thought, answer.answer, answer.finish_reason) == ("hm", "Rest.", "stop")
    assert answer.completion_tokens == len("<think>hm</think>Rest. STOP")


def test_tokens_after_the_end_are_not_taken():
    found, _ = written("Rest.\0more")
    list(found.close())
    answer = found.answer(5)
    assert (answer.text, answer.finish_reason, answer.completion_tokens) == ("Rest.", "stop", 6)


def test_what_may_begin_a_stop_text_is_shown_at_the_end():
    found, deltas = written("Rest. ST", ("STOP",))
    assert "".join(delta.text for delta in deltas) == "Rest."
    assert "".join(delta.text for delta in found.close()) == " ST"
    assert found.answer(5).finish_reason == "length"
    assert found.answer(5, cancelled=True).finish_reason == "cancelled"
