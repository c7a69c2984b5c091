"""One spelling, twice the same, and nothing else changed.

sh run_tests.sh tests/clean/test_normalise.py
"""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bedside.clean.normalise import normalise

CHANGED = [
    ("患者\u200b发热\ufeff", "患者发热"),
    ("cafe\u0301", "caf\u00e9"),
    ("头痛\x07三天", "头痛三天"),
    ("体温３８．５度", "体温38.5度"),
    ("服用ａｓｐｉｒｉｎ", "服用aspirin"),
    ("比例１：１", "比例1:1"),
    ("8：30服药", "8:30服药"),
    ("有效率95％", "有效率95%"),
    ("fever，cough", "fever, cough"),
    ("头痛,发热", "头痛，发热"),
    ("头痛, 发热;咳嗽", "头痛，发热；咳嗽"),
    ("怎么办?", "怎么办？"),
    ("注意休息.多喝水.", "注意休息。多喝水。"),
    ("姓名:张三", "姓名：张三"),
    ("支原体(一种细菌)感染", "支原体（一种细菌）感染"),
    ("a  b\t\tc", "a b c"),
    ("a \nb\n\n\n\nc", "a\nb\n\nc"),
    ("\u3000\u3000第一段\n\u3000\u3000第二段", "第一段\n第二段"),
    ("一行\r\n二行", "一行\n二行"),
    ("a\u00a0b", "a b"),
]
KEPT = [
    "3.5 mg, twice a day.",
    "血压140/90mmHg, 3.5 mg",
    "比例1:1000，时间8:30",
    "见 https://example.com/a,b?c=d:e 一文",
    "www.example.com,好",
    "Aspirin",
    "ASPIRIN and aspirin",
    "他说“头痛”，然后走了……",
    "1. 休息\n2. 多喝水\n   - 温水",
    "IL-6、TNF-α和β受体",
    "👨\u200d👩\u200d👧",
    "(see above), and (below).",
    "Astra：一种药",
    "CT（增强）",
    "37.5℃，½片，㎎",
    "使用方法：见a.b.c",
]
PIECES = [
    "患者",
    "发热",
    ",",
    ".",
    ":",
    "?",
    "!",
    "(",
    ")",
    " ",
    "  ",
    "\n",
    "\u3000",
    "３",
    "．",
    "ｍ",
    "\u200b",
    "%",
    "3.5",
    "a",
    "，",
    "：",
    "\u0301",
    "e",
]


@pytest.mark.parametrize(("text", "wanted"), CHANGED)
def test_spellings_become_one(text, wanted):
    assert normalise(text) == wanted


@pytest.mark.parametrize("text", KEPT)
def test_numbers_addresses_case_and_lists_stay(text):
    assert normalise(text) == text


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(PIECES), max_size=20).map("".join)))
def test_a_second_time_changes_nothing(text):
    once = normalise(text)
    assert normalise(once) == once


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from([p for p in PIECES if p != "\u0301"]), max_size=20).map("".join))
def test_words_and_digits_are_never_lost(text):
    wide = {ord("３"): "3", ord("ｍ"): "m"}
    assert [c for c in normalise(text) if c.isalnum()] == [c for c in text.translate(wide) if c.isalnum()]
