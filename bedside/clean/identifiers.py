"""Numbers and addresses that belong to one person: phone, identity card, bank card, e-mail, records, dates of birth.

Each finder yields (kind, start, end) of what is to be masked. Precision first: doses, laboratory values, codes of
drugs and emergency numbers are none of these.
"""

import re
from collections.abc import Iterator

Span = tuple[str, int, int]

_MOBILE = re.compile(
    r"(?<![\d.A-Za-z])(?:\+?86[- ]?)?1[3-9]\d(?:\d{8}|[- ]\d{4}[- ]\d{4})(?![\d%.]*\d)(?!\s?(?:[A-Za-z]|拷贝|个|次|元))"
)
_LANDLINE = re.compile(r"(?<![\d.\-])(?:\(0\d{2,3}\)|（0\d{2,3}）|0\d{2,3}[- ])\d{7,8}(?:[-转]\d{1,5})?(?!\d)")
_HOTLINE = re.compile(r"(?<![\d.\-])[48]00-\d{3,4}-\d{3,4}(?!\d)")
_NORTH_AMERICAN = re.compile(r"(?<![\d.\-(])(?:\+?1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\d-])")
_INTERNATIONAL = re.compile(r"(?<![\w+])\+\d{1,3}(?:[ -]\d{2,6}){2,5}(?!\d)")
_PHONE_WORD = re.compile(
    r"(?:联系电话|电话号码|电话|手机号码|手机号|手机|(?i:\btel(?:ephone)?|\bphone(?: number)?|\bmobile))(?:是|为|\bis\b|:|：|\.|\s)*"
    r"(\d{7,12})(?!\d)"
)
_ID_CARD = re.compile(r"(?<![\dA-Za-z])\d{17}[\dXx](?![\dA-Za-z])")
_OLD_ID_CARD = re.compile(r"身份证(?:号码|号)?(?:是|为|:|：|\s)*(\d{15})(?!\d)")
_CARD = re.compile(r"(?<![\d.])(?:62|4|5[1-5]|3[47])\d(?:[ -]?\d){11,16}(?!\d)")
_EMAIL = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9][A-Za-z0-9._%+-]*@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}"
)
_ACCOUNT = re.compile(
    r"(?:微信|薇信|(?i:wechat|(?<![a-z])(?:wx|vx)))(?:号码|号|\s?(?i:id))?(?:是|为|\bis\b|:|：|\s)*((?=[A-Za-z]+[\d_-])[A-Za-z][A-Za-z0-9_-]{5,19}|\d{5,11})"
    r"(?![A-Za-z0-9_])"
    r"|(?i:(?<![a-z])qq)(?:号码|号|群)?(?:是|为|:|：|\s)*(\d{5,11})(?!\d)"
)
_RECORD = re.compile(
    r"(?:住院号|病历号|病案号|门诊号|就诊号|登记号|就诊卡号|医保卡号|医保号|社保号|(?i:\bMRN|\b(?:medical record|hospital|patient|chart|"
    r"insurance)\s(?:number|no\.?|id)))(?:是|为|is|:|：|#|\s)*([A-Za-z]{0,4}-?\d[\dA-Za-z-]{3,19})(?![\dA-Za-z])"
)

_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_DATE = (
    r"(?:(?:19|20)\d\d\s?年\s?\d{1,2}\s?月\s?\d{1,2}\s?[日号]|(?:19|20)\d\d[-/.]\d{1,2}[-/.]\d{1,2}"
    rf"|\d{{1,2}}[-/.]\d{{1,2}}[-/.](?:19|20)\d\d|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? (?:19|20)\d\d"
    rf"|\d{{1,2}}(?:st|nd|rd|th)? {_MONTH},? (?:19|20)\d\d)(?!\d)"
)
_BIRTH = re.compile(
    rf"(?:出生日期|出生年月日?|生日|出生于|生于|(?i:\bdate of birth|\bd\.?o\.?b\.?|\bbirth ?date|\bbirthday|\bborn(?: on)?))"
    rf"(?:是|为|is|on|:|：|\s)*({_DATE})"
    rf"|({_DATE})\s?(?:出生|生人)"
)

_ID_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_LAST_DATE, _DAYS = (2100, 12), 31


def valid_id_card(number: str) -> bool:
    """True if the 18 characters have a date in place and the check character of GB 11643.

    >>> valid_id_card("11010519491231002X"), valid_id_card("110105194912310021")
    (True, False)
    """
    year, month, day = int(number[6:10]), int(number[10:12]), int(number[12:14])
    if not (1900 <= year < _LAST_DATE[0] and 1 <= month <= _LAST_DATE[1] and 1 <= day <= _DAYS):
        return False
    total = sum(weight * int(digit) for weight, digit in zip(_ID_WEIGHTS, number[:17], strict=True))
    return "10X98765432"[total % 11] == number[17].upper()


def valid_card(number: str) -> bool:
    """True if the digits pass Luhn's check.

    >>> valid_card("4111111111111111"), valid_card("4111111111111112")
    (True, False)
    """
    digits = [int(char) for char in number if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return 15 <= len(digits) <= 19 and len(set(digits)) > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _groups(pattern: re.Pattern, text: str, kind: str) -> Iterator[Span]:
    """The span of the group that took part, or of the whole match where the pattern has none."""
    for found in pattern.finditer(text):
        group = found.lastindex or 0
        yield kind, *found.span(group)


def find(text: str) -> Iterator[Span]:
    """Spans in order of precedence: where two overlap, the earlier one counts."""
    if "@" in text:
        yield from _groups(_EMAIL, text, "email")
    if not any(char.isdigit() for char in text):
        yield from (span for span in _groups(_ACCOUNT, text, "account"))
        return
    for found in _ID_CARD.finditer(text):
        if valid_id_card(found[0]):
            yield "id_card", *found.span()
    yield from _groups(_OLD_ID_CARD, text, "id_card")
    for found in _CARD.finditer(text):
        if valid_card(found[0]):
            yield "bank_card", *found.span()
    yield from _groups(_RECORD, text, "record")
    yield from _groups(_ACCOUNT, text, "account")
    yield from _groups(_BIRTH, text, "birth")
    for pattern in (_MOBILE, _LANDLINE, _HOTLINE, _NORTH_AMERICAN, _INTERNATIONAL, _PHONE_WORD):
        yield from _groups(pattern, text, "phone")
