"""The words of the pages: the same keys in both languages, and the browser's wish.

sh run_tests.sh tests/chatpage/test_texts.py
"""

import re

import pytest

from bedside.chatpage import texts


def test_both_languages_have_the_same_words_and_places():
    places = {
        language: {key: sorted(re.findall(r"{\w+}", text)) for key, text in texts.words(language).items()}
        for language in texts.LANGUAGES
    }
    assert places["zh"] == places["en"]
    assert all(text.strip() for language in texts.LANGUAGES for text in texts.words(language).values())


def test_both_say_that_this_is_no_medical_advice():
    assert "不是医疗建议" in texts.words("zh")["disclaimer"] and "120" in texts.words("zh")["disclaimer"]
    assert "not medical advice" in texts.words("en")["disclaimer"]


def test_four_examples_in_each_language():
    assert {language: len(cases) for language, cases in texts.EXAMPLES.items()} == {"zh": 4, "en": 4}


@pytest.mark.parametrize(
    ("header", "language"),
    [("zh-CN,zh;q=0.9,en;q=0.8", "zh"), ("en;q=0.5, zh-TW", "zh"), ("en,zh", "en"), ("fr", "en"), ("", "en"),
     ("zh;q=0,en", "en"), ("zh;q=x,en", "en")],
)  # fmt: skip
def test_the_browsers_language(header, language):
    assert texts.preferred(header) == language
