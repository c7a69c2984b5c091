"""Numbers as a reader sees them: a value with its interval, a change in the unit of its measure."""

from __future__ import annotations

import math

from bedside.evaluate.report.words import NOT_TAKEN
from bedside.evaluate.results import Change, Estimate
from bedside.evaluate.said import Said
from bedside.evaluate.task import PERPLEXITY, SHARE, Case, Measure


def of_case(measure: Measure, case: Case) -> float | None:
    """The value of one case as the measure shows values: of a perplexity that of its own tokens."""
    found = case.values.get(measure.name)
    if found is None or measure.kind != PERPLEXITY:
        return found
    tokens = case.weights.get(measure.name) or 0.0
    return math.exp(min(found / tokens, 700.0)) if tokens > 0 else None


def finite(value: float | None) -> bool:
    """Whether this is a number that can be shown or drawn."""
    return value is not None and math.isfinite(value)


def value(measure: Measure, number: float | None, unit: bool = True, scale: float | None = None) -> str:
    """A value of a measure: a share in per cent, a perplexity with two decimals, others with the decimals of
    a number as large as `scale` (or as itself).

    >>> value(Measure("a", "a", "a"), 0.625), value(Measure("p", "p", "p", "perplexity"), 4.0)
    ('62.5 %', '4.00')
    """
    if not finite(number):
        return NOT_TAKEN if number is None or math.isnan(number) else str(number)
    if measure.kind == SHARE:
        return f"{100 * number:.1f}" + (" %" if unit else "")
    if measure.kind == PERPLEXITY:
        return f"{number:,.2f}"
    return _plain(number, scale) + (f" {measure.unit}" if measure.unit and unit else "")


def estimate(found: Estimate | None, unit: bool = True) -> str:
    """A value with its 95 % interval, as `62.5 % [54.1, 70.2]`; without where there is none."""
    if found is None or not finite(found.value):
        return NOT_TAKEN if found is None else value(found.measure, found.value)
    text = value(found.measure, found.value, unit)
    if finite(found.low) and finite(found.high):
        ends = [value(found.measure, end, False, found.value) for end in (found.low, found.high)]
        text += f" [{ends[0]}, {ends[1]}]"
    return text


def p_value(p: float | None) -> str:
    """
    >>> p_value(0.04), p_value(0.00004), p_value(None)
    ('0.040', '< 0.001', '–')
    """
    if not finite(p):
        return NOT_TAKEN
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def signed(text: str) -> str:
    """
    >>> signed("2.0"), signed("-2.0"), signed("0.0")
    ('+2.0', '-2.0', '0.0')
    """
    zero = not text.strip("-0.,")
    return text.removeprefix("-") if zero else text if text.startswith("-") else f"+{text}"


def change(found: Change) -> Said:
    """A change with its interval, in points of per cent, in per cent of a perplexity, or in the measure's unit."""
    if not finite(found.change):
        return Said(NOT_TAKEN, NOT_TAKEN)
    scale = max((abs(side) for side in (found.before, found.after) if finite(side)), default=None)
    numbers = [shift(found.measure, number, scale) for number in (found.change, found.low, found.high)]
    unit = _unit(found.measure)
    span = f" [{numbers[1]}, {numbers[2]}]" if finite(found.low) and finite(found.high) else ""
    return Said(*(f"{numbers[0]}{' ' + word if word else ''}{span}" for word in unit))


def shift(measure: Measure, number: float | None, scale: float | None = None) -> str:
    """A difference as a signed number, without its unit, with the decimals of the values that differ (`scale`)."""
    if not finite(number):
        return NOT_TAKEN
    if measure.kind in (SHARE, PERPLEXITY):
        return signed(f"{100 * number:.1f}")
    return signed(_plain(number, scale))


def _unit(measure: Measure) -> Said:
    if measure.kind == SHARE:
        return Said("points", "个百分点")
    if measure.kind == PERPLEXITY:
        return Said("%", "%")
    return Said(measure.unit, measure.unit)


def _plain(number: float, scale: float | None = None) -> str:
    size = abs(number if scale is None else scale)
    decimals = 0 if size >= 1000 else 1 if size >= 10 else 3
    return f"{number:,.{decimals}f}"
