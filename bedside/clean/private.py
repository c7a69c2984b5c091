"""What would tell who a patient is, masked so that the text stays readable: `[电话]`, `[PHONE]`.

Within a row the same value has the same mask: the second phone number is `[电话2]` wherever it stands.
"""

import re
from collections import Counter

from bedside.clean import filters, identifiers, names
from bedside.clean.fields import TOOL, Text

LABELS = {
    "phone": ("电话", "PHONE"),
    "id_card": ("身份证", "ID"),
    "bank_card": ("银行卡", "CARD"),
    "email": ("邮箱", "EMAIL"),
    "account": ("账号", "ACCOUNT"),
    "record": ("病历号", "RECORD"),
    "birth": ("出生日期", "BIRTH DATE"),
    "name": ("姓名", "NAME"),
    "address": ("地址", "ADDRESS"),
}
_SEPARATORS = re.compile(r"[\s\-()（）]+")
_REPEATED = 3  # Chinese characters from which on a name is masked wherever it comes again; two may be a word


def find(text: str) -> list[identifiers.Span]:
    """Spans of private data that do not overlap, from left to right: (kind, start, end).

    >>> find("电话13800138000")
    [('phone', 2, 13)]
    """
    taken: list[identifiers.Span] = []
    for kind, start, end in (*identifiers.find(text), *names.find(text)):
        if all(end <= other[1] or start >= other[2] for other in taken):
            taken.append((kind, start, end))
    return sorted(taken, key=lambda span: span[1])


def _identity(kind: str, value: str) -> tuple[str, str]:
    return kind, value.lower() if kind in ("name", "address") else _SEPARATORS.sub("", value).removeprefix(
        "+86"
    ).lower()


def mask(texts: list[Text]) -> tuple[list[Text], Counter]:
    """The texts with masks, and how many places of each kind were masked."""
    chinese = filters.language("\n".join(text.text for text in texts)) == "zh"
    spans = [find(text.text) for text in texts]
    numbers: dict[tuple[str, str], int] = {}
    per_kind: Counter = Counter()
    for text, found in zip(texts, spans, strict=True):
        for kind, start, end in found:
            identity = _identity(kind, text.text[start:end])
            if identity not in numbers:
                per_kind[kind] += 1
                numbers[identity] = per_kind[kind]
    if not numbers:
        return texts, Counter()
    counts: Counter = Counter()
    masked = []
    for text, found in zip(texts, spans, strict=True):
        made, last = [], 0
        for kind, start, end in _with_repeated_names(text.text, found, numbers):
            number = numbers[_identity(kind, text.text[start:end])]
            made += [text.text[last:start], _label(kind, chinese, number)]
            counts[kind] += 1
            last = end
        masked.append(text._replace(text="".join([*made, text.text[last:]])))
    return masked, counts


def _label(kind: str, chinese: bool, number: int) -> str:
    return f"[{LABELS[kind][0 if chinese else 1]}{number if number > 1 else ''}]"


def _with_repeated_names(text: str, found: list, numbers: dict) -> list:
    """`found` and every other place in `text` where a name of the row that is long enough to be sure comes again."""
    spans = list(found)
    for kind, value in numbers:
        sure = kind == "name" and (" " in value or not value.isascii() and len(value) >= _REPEATED)
        for again in re.finditer(re.escape(value), text, re.IGNORECASE) if sure else ():
            if all(again.end() <= other[1] or again.start() >= other[2] for other in spans):
                spans.append(("name", *again.span()))
    return sorted(spans, key=lambda span: span[1])


def in_tools(texts: list[Text]) -> bool:
    """True if a tool's text holds private data: it is often JSON, which a mask could break."""
    return any(find(text.text) for text in texts if text.part == TOOL)
