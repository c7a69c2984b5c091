"""One spelling for texts that say the same: composed characters, no invisible ones, one kind of punctuation.

Conservative: numbers (3.5 mg, 1:1, 8:30), addresses of web pages, case, quotes and the words themselves stay.
Applying it twice changes nothing more.
"""

import re
import unicodedata

_HAN = "\u3400-\u9fff\uf900-\ufaff\U00020000-\U0002ffff"
_AFTER = rf"[{_HAN}）”’》】]"  # what Chinese punctuation follows

# Tab and line feed stay; so does the joiner between two emoji, which makes them one.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]"
)
_JOINER = re.compile(rf"(?<=[{_HAN}A-Za-z0-9\s，。])[\u200c\u200d]|[\u200c\u200d](?=[{_HAN}A-Za-z0-9\s，。]|$)")
_LINE_ENDS = re.compile("\r\n?|[\x85\u2028\u2029]")
_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_DOUBLED = re.compile(r"(?<=\S)[ \t]{2,}(?=\S)")
_LINE_TAIL = re.compile(r"[ \t]+(?=\n|$)")
_EMPTY_LINES = re.compile(r"\n{3,}")
_INDENT = re.compile("(?:^|(?<=\n))[ \t]*\u3000[ \t\u3000]*")

_WIDE = {code: chr(code - 0xFEE0) for code in (*range(0xFF10, 0xFF1A), *range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))}
_WIDE_MARKS = "！＂＃％＆＇（），．／：；＜＝＞？＠＋－＊＾＿～"
_BETWEEN_DIGITS = re.compile("(?<=[0-9])[．：／－～＋＊＝＜＞](?=[0-9])")
_AFTER_DIGIT = re.compile("(?<=[0-9])％")
_BETWEEN_LATIN = re.compile(
    f"(?<=[A-Za-z])([{_WIDE_MARKS}])(?=[A-Za-z])|(?<=[A-Za-z])([／－＋．＠＿＆])(?=[A-Za-z0-9])"
)

_LATIN_LINE = re.compile(rf"^[^{_HAN}\n]+$", re.MULTILINE)

_TO_CHINESE = {",": "，", ";": "；", ":": "：", "?": "？", "!": "！", ".": "。"}
# After a Chinese character, and before another, a line's end, or a blank that one of these follows.
_ASCII_MARK = re.compile(
    rf"(?<={_AFTER})([,;:?!])(?: +(?=[{_HAN}“‘（《【])|(?=[{_HAN}“‘（《【]|\s*$|\s*\n))", re.MULTILINE
)
_ASCII_STOP = re.compile(rf"(?<={_AFTER})\.(?: +(?=[{_HAN}“（《])|(?=[{_HAN}“（《]|\s*$|\s*\n))", re.MULTILINE)
_BRACKETS = re.compile(rf"(?<=[{_HAN}])\(([^()\n（）]*[{_HAN}][^()\n（）]*)\)")
_PASSES = 4


def normalise(text: str) -> str:
    """`text` in the spelling that this module promises.

    >>> normalise("患者\\u200b发热,咳嗽.  体温３８．５度")
    '患者发热，咳嗽。体温38.5度'
    """
    for _ in range(_PASSES):  # one rule can make room for another: blanks removed, then composed
        after = _once(text)
        if after == text:
            break
        text = after
    return text


def _once(text: str) -> str:
    if text.isascii():
        return _blanks(_INVISIBLE.sub("", _LINE_ENDS.sub("\n", text)))
    text = unicodedata.normalize("NFC", _LINE_ENDS.sub("\n", text))
    text = _JOINER.sub("", _INVISIBLE.sub("", text))
    text = _BLANKS.sub(" ", _INDENT.sub("", text))
    text = text.translate(_WIDE)
    text = _narrow_marks(text)
    return _blanks(_chinese_marks(text))


def _blanks(text: str) -> str:
    return _EMPTY_LINES.sub("\n\n", _LINE_TAIL.sub("", _DOUBLED.sub(" ", text))).strip("\n ")


def _narrow(mark: str) -> str:
    return unicodedata.normalize("NFKC", mark)


def _narrow_marks(text: str) -> str:
    """Full-width marks inside numbers and Latin words as ASCII."""
    text = _BETWEEN_DIGITS.sub(lambda found: _narrow(found[0]), text)
    text = _AFTER_DIGIT.sub("%", text)
    return _LATIN_LINE.sub(lambda line: _BETWEEN_LATIN.sub(_narrow_latin, line[0]), text)


def _narrow_latin(found: re.Match) -> str:
    mark = _narrow(found[0])
    return mark + " " if mark in ",;:!?" else mark


def _chinese_marks(text: str) -> str:
    """ASCII marks that end a piece of a Chinese sentence as Chinese ones."""
    text = _ASCII_MARK.sub(lambda found: _TO_CHINESE[found[1]], text)
    text = _ASCII_STOP.sub("。", text)
    return _BRACKETS.sub(r"（\1）", text)
