"""Quantities in a text: numbers with units, in both languages, comparable where they measure the same thing."""

import re
from decimal import Decimal, InvalidOperation
from typing import NamedTuple

# What a unit measures, and how many of the first of its kind it is.
_TABLE: dict[str, dict[str, str]] = {
    "mass": {"g": "1", "kg": "1000", "mg": "0.001", "ug": "1e-6", "μg": "1e-6", "mcg": "1e-6", "ng": "1e-9",
             "pg": "1e-12", "MG": "0.001", "KG": "1000", "MCG": "1e-6", "gram": "1", "gm": "1",
             "milligram": "0.001", "microgram": "1e-6", "kilogram": "1000",
             "克": "1", "公斤": "1000", "千克": "1000", "斤": "500", "毫克": "0.001", "微克": "1e-6", "纳克": "1e-9"},
    "volume": {"L": "1", "l": "1", "dL": "0.1", "dl": "0.1", "mL": "0.001", "ml": "0.001", "ML": "0.001",
               "cc": "0.001",
               "uL": "1e-6", "μL": "1e-6", "ul": "1e-6", "μl": "1e-6", "fL": "1e-15", "fl": "1e-15", "liter": "1",
               "litre": "1", "milliliter": "0.001", "millilitre": "0.001", "升": "1", "分升": "0.1", "毫升": "0.001",
               "微升": "1e-6"},
    "time": {"h": "3600", "hr": "3600", "hour": "3600", "min": "60", "minute": "60", "s": "1", "sec": "1",
             "second": "1", "ms": "0.001", "d": "86400", "day": "86400", "week": "604800", "wk": "604800",
             "小时": "3600", "分钟": "60", "分": "60", "秒": "1", "毫秒": "0.001", "秒钟": "1", "天": "86400",
             "日": "86400",
             "周": "604800", "星期": "604800", "个小时": "3600"},
    "months": {"month": "1", "mo": "1", "year": "12", "yr": "12", "月": "1", "个月": "1", "年": "12", "岁": "12",
               "周岁": "12"},
    "amount": {"mol": "1", "mmol": "0.001", "umol": "1e-6", "μmol": "1e-6", "nmol": "1e-9", "pmol": "1e-12",
               "摩尔": "1", "毫摩尔": "0.001", "微摩尔": "1e-6", "毫摩": "0.001"},
    "equivalent": {"Eq": "1", "mEq": "0.001", "毫当量": "0.001"},
    "units": {"U": "1", "IU": "1", "unit": "1", "mU": "0.001", "mIU": "0.001", "uIU": "1e-6", "μIU": "1e-6",
              "单位": "1", "国际单位": "1", "万单位": "10000"},
    "pressure": {"mmHg": "1", "毫米汞柱": "1", "kPa": "7.50062", "千帕": "7.50062", "cmH2O": "0.735559"},
    "length": {"m": "1", "cm": "0.01", "mm": "0.001", "μm": "1e-6", "um": "1e-6", "nm": "1e-9", "米": "1",
               "厘米": "0.01", "毫米": "0.001", "微米": "1e-6"},
    "celsius": {"°C": "1", "℃": "1", "摄氏度": "1", "degC": "1", "degree Celsius": "1", "degrees Celsius": "1"},
    "fahrenheit": {"°F": "1", "华氏度": "1", "degrees Fahrenheit": "1"},
    "percent": {"%": "1", "percent": "1", "per cent": "1"},
    "count": {"次": "1", "time": "1", "beat": "1", "breath": "1", "次数": "1"},
    "tablet": {"tablet": "1", "tab": "1", "片": "1"},
    "capsule": {"capsule": "1", "粒": "1"},
    "drop": {"drop": "1", "滴": "1"},
    "cell": {"cell": "1", "个": "1"},
    "energy": {"kcal": "1", "千卡": "1", "kJ": "0.239006", "大卡": "1"},
    "angle": {"°": "1", "degree": "1", "度": "1"},
    "area": {"m^2": "1", "m2": "1", "平方米": "1"},
}  # fmt: skip
_WHOLE = {"bpm": (("count", 1), ("time", -1), Decimal(1) / 60), "rpm": (("count", 1), ("time", -1), Decimal(1) / 60)}
_UNITS = {name: (kind, Decimal(size)) for kind, row in _TABLE.items() for name, size in row.items()}
_WORDS = sorted(_UNITS, key=len, reverse=True)
_ONE = "|".join(
    re.escape(word) + ("s?" if word.isascii() and len(word) > 2 and word.isalpha() else "") for word in _WORDS
)
_UNIT = rf"(?:{_ONE})(?![A-Za-z])"
_COMPOUND = re.compile(rf"\s{{0,3}}(bpm|rpm|{_UNIT}(?:\s?(?:/|\bper\b|每)\s?(?:1\.73\s?)?{_UNIT}){{0,4}})")
_DIGITS = r"(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+"
_NUMBER = rf"(?:{_DIGITS})(?:\s?[x×*]\s?10\s?\^?\s?[+-]?\d+|[eE][+-]?\d+)?|10\^[+-]?\d+"
_VALUE = re.compile(
    rf"(?P<less><=?|≤|less than|under|below|at most|up to|不超过|小于|少于|低于|至多)?"
    rf"(?P<more>>=?|≥|more than|over|above|at least|不少于|大于|多于|高于|超过|至少)?\s{{0,2}}"
    rf"(?P<percent>百分之)?(?<![A-Za-z0-9_.])(?P<first>-?(?:{_NUMBER}))"
    rf"(?:(?P<own>{_COMPOUND.pattern})?\s{{0,3}}(?P<joint>-|~|/|\bto\b|\band\b|至|到"
    rf"|—)\s{{0,3}}(?P<second>{_NUMBER})(?!\.?\d))?",
    re.IGNORECASE,
)  # fmt: skip
_TIMES_A = re.compile(r"每(?P<each>日|天|周|小时|分钟|月)\s*(?P<number>\d+)\s*次")


class Quantity(NamedTuple):
    """A value or a range as written, its unit (what it measures, None without one, and its size in basic units)."""

    written: tuple[Decimal, ...]
    measures: tuple[tuple[str, int], ...] | None
    size: Decimal
    rounding: Decimal  # half of the last written digit
    form: str  # "", "-" (a range), "/" (a pair such as a blood pressure), "<", ">"
    start: int
    end: int

    @property
    def values(self) -> tuple[Decimal, ...]:
        """The values in basic units."""
        return tuple(value * self.size for value in self.written)


def unit_of(text: str) -> tuple[tuple[tuple[str, int], ...], Decimal] | None:
    """What a written unit measures and its size in basic units; None for a word that is no unit.

    >>> unit_of("mg/dL")[0]
    (('mass', 1), ('volume', -1))
    """
    text = text.strip()
    if text in _WHOLE:
        *measures, size = _WHOLE[text]
        return tuple(measures), size
    powers: dict[str, int] = {}
    size = Decimal(1)
    for index, word in enumerate(re.split(r"\s*(?:/|\bper\b|每)\s*", text)):
        normal = re.sub(r"^1\.73\s*", "", word)
        known = (
            _UNITS.get(normal) or _UNITS.get(normal.removesuffix("s")) or _UNITS.get(normal.lower().removesuffix("s"))
        )
        if known is None:
            return None
        power = -1 if index else 1
        powers[known[0]] = powers.get(known[0], 0) + power
        size = size * known[1] if power == 1 else size / known[1]
    return tuple(sorted((kind, power) for kind, power in powers.items() if power)), size


def find(text: str) -> list[Quantity]:
    """The quantities of a plain text, in order; a range is one of them.

    >>> [str(value) for quantity in find("0.5 g, then 250-500 mg") for value in quantity.values]
    ['0.5', '0.250', '0.500']
    """
    found = []
    position = 0
    while match := _VALUE.search(text, position):
        quantity = _quantity(text, match)
        position = max(quantity.end if quantity else match.end(), match.start() + 1)
        if quantity:
            found.append(quantity)
    for match in _TIMES_A.finditer(text):
        measures, size = unit_of(f"次/{match['each']}") or ((), Decimal(1))
        found = [other for other in found if other.end <= match.start() or other.start >= match.end()]
        value = (Decimal(match["number"]),)
        found.append(Quantity(value, measures, size, Decimal("0.5"), "", match.start(), match.end()))
    return sorted(found, key=lambda quantity: quantity.start)


def _quantity(text: str, match: re.Match) -> Quantity | None:
    """The quantity of a match; None where its digits are no number."""
    first, second, joint = match["first"], match["second"], match["joint"]
    end = match.end()
    if joint == "and" and not re.search(r"\bbetween\s*$", text[: match.start()], re.IGNORECASE):
        second, end = None, match.end("own") if match["own"] else match.end("first")
    unit = _COMPOUND.match(text, end)
    told = unit[1] if unit else (match["own"] or "").strip()
    if match["percent"]:
        told, unit = "%", None
    known = unit_of(told) if told else None
    written = [number(part) for part in (first, second) if part]
    if any(value is None for value in written):
        return None
    measures, size = known or (None, Decimal(1))
    values = tuple(value for value, _ in written)
    form = ("/" if joint == "/" else "-") if second else "<" if match["less"] else ">" if match["more"] else ""
    end = unit.end() if unit else end
    return Quantity(values, measures, size, written[0][1], form, match.start("first"), end)


def number(text: str) -> tuple[Decimal, Decimal] | None:
    """The value of a written number and half of its last digit.

    >>> number("1,234.5"), number("1.5 x 10^9")
    ((Decimal('1234.5'), Decimal('0.05')), (Decimal('1.5E+9'), Decimal('5E+7')))
    """
    compact = re.sub(r"[\s,]", "", text).lower()
    compact = re.sub(r"^10\^", "1e", compact)
    compact = re.sub(r"[x×*]10\^?", "e", compact)
    try:
        value = Decimal(compact)
        half = Decimal(5).scaleb(value.as_tuple().exponent - 1)
    except (InvalidOperation, TypeError):
        return None
    return (value, half) if value.is_finite() and abs(value.adjusted()) < 40 else None
