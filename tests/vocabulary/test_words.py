"""Lines of a word list: each ends as a word or for a reason; words found in raw text.

sh run_tests.sh tests/vocabulary
"""

import random

import pytest

from bedside.errors import DataError
from bedside.vocabulary import find, words


def listed(*lines, controls=(), longest=8):
    return words.from_list([(f"f:{n}", line) for n, line in enumerate(lines, 1)], set(controls), longest)


def test_every_line_ends_as_a_word_or_for_a_reason():
    lines = [
        "心梗",
        "",
        "心梗",
        "!!! 12",
        "</x>",
        "急性心肌梗死后综合征",
        "x",
        "a\ufffdb",
        "heart attack",
        "aspirin\t12",
    ]
    found, account = listed(*lines, controls=["</x>"])
    assert dict(account.places) == {
        "empty": ["f:2"], "duplicate": ["f:3"], "symbols": ["f:4"], "control": ["f:5"], "long": ["f:6"],
        "short": ["f:7"], "damaged": ["f:8"], "apart": ["f:9"],
    }  # fmt: skip
    own = [word for word in found if not word.part]
    assert [(word.text, word.count) for word in own] == [("心梗", 0), ("aspirin", 12)]
    assert [word.text for word in found if word.part] == ["heart", "attack"]
    assert account.lines == len(own) + account.reasons.total()


def test_counts_behind_a_word():
    found, _ = listed("心梗 31", "心衰,7", "statin\t 5", "β 2", "vitamin B 12")
    own = [(word.text, word.count) for word in found if not word.part]
    assert own == [("心梗", 31), ("心衰", 7), ("statin", 5)]


def test_a_phrase_s_part_that_is_a_word_of_the_list_is_that_word():
    found, account = listed("heart attack", "heart", "heart attack")
    assert [(word.text, word.part) for word in found] == [("heart", False), ("attack", True)]
    assert dict(account.reasons) == {"apart": 1, "duplicate": 1}


def test_a_decomposed_letter_is_the_same_word():
    found, account = listed("Sjögren", "Sjo\u0308gren")
    assert [word.text for word in found] == ["Sjögren"]
    assert account.places["duplicate"] == ["f:2"]


def test_a_list_in_gb18030_names_the_flag(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("心肌梗死\n心力衰竭\n".encode("gb18030"))
    with pytest.raises(DataError, match=r"words\.txt:1: E_ENCODING byte 0 is not UTF-8; .*--encoding gb18030"):
        list(words.lines_of(str(path)))
    assert [text for _, text in words.lines_of(str(path), "gb18030")] == ["心肌梗死", "心力衰竭"]


def test_a_list_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match=r"none\.txt: E_MISSING no such file"):
        list(words.lines_of(str(tmp_path / "none.txt")))


# Each word between ever other neighbours, as text has them.
_AROUND = "天地人山水火风云日月星辰金木土石"


def test_words_are_found_by_how_firmly_they_hold_together():
    texts = [f"{a}心肌梗死{b}{c}" for a in _AROUND for b, c in zip(_AROUND, _AROUND[1:], strict=False)]
    texts.append("".join(random.Random(0).choices(_AROUND, k=8000)))
    found = find.chinese_words(texts, least=20, longest=6)
    assert found == {"心肌梗死": 240}  # not 心肌, 肌梗 or 梗死: what follows those is always the same


def test_latin_words_are_counted_as_they_are_written():
    assert find.latin_words(["aspirin, Aspirin 100mg aspirin", "x-ray of aspirins 服用aspirin后"], 2) == {"aspirin": 2}


def test_strings_are_counted_with_overlaps():
    assert find.count_strings(["心心心", "痛心"], {"心心", "痛"}) == {"心心": 2, "痛": 1}
