"""What is left of a text when spelling does not count: the tokens that duplicates and contamination compare.

A token is one Chinese character or one word of letters and digits. Width, case, punctuation, blanks and the
difference between simplified and traditional characters are folded away.
"""

import functools
import re
import unicodedata

_HAN_BLOCKS = ((0x3400, 0xA000), (0xF900, 0xFB00), (0x20000, 0x30000))
_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002ffff"
_TOKEN = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")


@functools.cache
def _simplified() -> dict[int, str]:
    """Traditional characters to simplified ones, character by character; read once from OpenCC (0.15 s)."""
    from opencc import OpenCC

    chars = [chr(code) for code in range(*_HAN_BLOCKS[0])]
    # One a line: no two of them make a phrase that OpenCC would translate as a whole.
    simple = OpenCC("t2s").convert("\n".join(chars)).split("\n")
    return {ord(old): new for old, new in zip(chars, simple, strict=True) if old != new}


def fold(text: str) -> str:
    """NFKC, lower case, simplified characters; punctuation and blanks still there.

    >>> fold("３．５ｍｇ 發熱")
    '3.5mg 发热'
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKC", text).lower().translate(_simplified())


def tokens(text: str) -> list[str]:
    """
    >>> tokens("发热 38.5℃，take Aspirin")
    ['发', '热', '38', '5', 'c', 'take', 'aspirin']
    """
    return _TOKEN.findall(fold(text))


def bare(text: str) -> str:
    """The tokens of a text with nothing between Chinese characters and one blank between words.

    Two texts that differ in punctuation, blanks, width, case or script have one and the same.

    >>> bare("發熱，Three  days!")
    '发 热 three days'
    """
    return " ".join(tokens(text))


def is_han(token: str) -> bool:
    """True for a token that is a Chinese character (ideograph)."""
    code = ord(token[0])
    return any(first <= code < last for first, last in _HAN_BLOCKS)
