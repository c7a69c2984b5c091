"""Texts that were decoded as something else than they were encoded in, and back again where that is certain.

Three mistakes are mended: UTF-8 read as Latin-1 or Windows-1252 (by ftfy), UTF-8 read as GBK, GBK read as Latin-1.
A repair is taken only where what comes out is made of common characters and what went in was not. What lost its
bytes on the way (U+FFFD, and the two characters that it becomes in GBK) cannot be mended and is reported.
"""

import functools
import re

_WIDE_RUN = re.compile("[^\x00-\xff]{2,}")
_LATIN_RUN = re.compile("[\xa1-\xff]{4,}")
_SUSPECT = re.compile("[\x80-\xff][\x80-\xff\u0152-\u0192\u02c6\u02dc\u2010-\u203a\u20ac\u2122]|â")
# What a repair may bring: Latin and Greek letters, marks and symbols, Chinese, emoji. Another script is a wrong guess.
_WELCOME = re.compile(
    "[\x00-\u024f\u0370-\u03ff\u2000-\u2bff\u3000-\u303f\u4e00-\u9fff\ufe0f\uff00-\uffef\U0001f300-\U0001faff]*"
)
_LOST = re.compile("\ufffd|锟斤拷|锟|烫烫烫|屯屯屯")
# What the commonest characters and marks (的是一我有不在 ，。) become when their UTF-8 is read as GBK.
_TRACES = re.compile("[锛銆鐨鏄涓鎴鏈浠杩鍙鍚鐥鎮]")
_CHINESE_PAIRS = re.compile(rb"(?:(?:[\xe4-\xe9][\x80-\xbf]{2}|\xe3\x80[\x81-\x91]|\xef\xbc[\x81-\x9f]){2})+")
_GOOD, _BAD = 0.9, 0.7  # shares of common characters


@functools.cache
def _common() -> frozenset[str]:
    """The 3,755 characters of everyday Chinese (level 1 of GB 2312) and Chinese punctuation."""
    level = [bytes((row, cell)) for row in range(0xB0, 0xD8) for cell in range(0xA1, 0xFF)]
    return frozenset("，。！？；：、（）《》“”‘’…—【】·") | frozenset(
        "".join(p.decode("gb2312", "ignore") for p in level)
    )


def common_share(text: str) -> float:
    """Share of everyday characters among the non-ASCII ones of `text`, 0 to 1; 1 if there are none."""
    found = [char for char in text if char > "\x7f"]
    return sum(char in _common() for char in found) / len(found) if found else 1.0


def lost(text: str) -> int:
    """How many places of `text` hold characters whose bytes are gone, or that look like a mix-up past mending."""
    traces = len(_TRACES.findall(text))
    return len(_LOST.findall(text)) + (traces if traces > 2 and common_share(text) < _BAD else 0)


def repair(text: str) -> str:
    """`text` with its mix-ups undone, or `text` itself where there are none or no repair is certain.

    >>> repair("鍙戠儹"), repair("发热"), repair("Ménière")
    ('发热', '发热', 'Ménière')
    """
    if text.isascii():
        return text
    if _SUSPECT.search(text):
        # GBK first: ftfy takes pairs of its bytes for letters of other scripts.
        text = _utf8_read_as_latin(_LATIN_RUN.sub(_gbk_read_as_latin, text))
    return _WIDE_RUN.sub(_utf8_read_as_gbk, text) if any(char not in _common() for char in text) else text


def _utf8_read_as_latin(text: str) -> str:
    import ftfy

    mended = ftfy.fix_encoding(text)
    if mended == text or "\ufffd" in mended and "\ufffd" not in text:
        return text
    # Fewer characters is what undoing this mistake always gives: two or more of them stood for one.
    brought = "".join(set(mended) - set(text))
    good = len(mended) < len(text) and _WELCOME.fullmatch(brought) and common_share(mended) >= common_share(text)
    return mended if good else text


def _gbk_read_as_latin(found: re.Match) -> str:
    run = found[0]
    if len(run) % 2 or len(set(run)) < 3:
        return run
    try:
        mended = run.encode("latin-1").decode("gb2312")
    except UnicodeDecodeError:
        return run
    return mended if common_share(mended) >= _GOOD - 0.1 else run


def _utf8_read_as_gbk(found: re.Match) -> str:
    """A run of characters with those pieces mended whose GBK bytes are UTF-8 of Chinese."""
    run = found[0]
    try:
        raw = run.encode("gbk")
    except UnicodeEncodeError:
        return run
    # Two bytes a character: a piece begins and ends between two of them.
    mended, last = [], 0
    for piece in _CHINESE_PAIRS.finditer(raw):
        if piece.start() % 2 == 0 and _better(piece[0].decode("gbk"), piece[0].decode("utf-8")):
            mended += [raw[last : piece.start()].decode("gbk"), piece[0].decode("utf-8")]
            last = piece.end()
    return "".join([*mended, raw[last:].decode("gbk")]) if mended else run


def _better(before: str, after: str) -> bool:
    """True if `after` is made of common characters and `before` is not; two characters need clearer evidence."""
    return common_share(after) >= _GOOD and common_share(before) <= (_BAD if len(after) > 2 else _BAD / 2)
