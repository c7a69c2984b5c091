"""Does an answer give the right value, in a unit that measures the same? 1 or 0.

`500 mg` is `0.5 g`; mmol/L and mg/dL are different things unless gold names both; a range is not a value.
"""

import re
from decimal import Decimal, InvalidOperation
from typing import Any

import bedside.rewards.negation as negation
import bedside.rewards.statements as statements
import bedside.rewards.units as units
from bedside.rewards.completion import Completion, answer, asked, plain

_RESULT = re.compile(r"=\s*")
_BETWEEN = re.compile(r"\s*(?:or|and/or|或者?|还是|/)\s*", re.IGNORECASE)


def applies(gold: dict[str, Any]) -> bool:
    """True if the right answer is nothing but a quantity."""
    return bool(_wanted(gold))


def score(completion: Completion, gold: dict[str, Any], messages: list[dict[str, Any]]) -> float | None:
    """1 if the answer states gold's quantity, else 0; None where gold is no quantity."""
    wanted = _wanted(gold)
    if not wanted:
        return None
    text = statements.own_words(answer(completion), plain(asked(messages)))
    return float(any(same(stated_in(text, one), one, gold.get("tolerance")) for one in wanted))


def _wanted(gold: dict[str, Any]) -> list[units.Quantity]:
    """The quantities that are right: the answer and its aliases, with gold's unit where they name none."""
    found = []
    for written in (gold.get("answer"), *(gold.get("aliases") or [])):
        quantity = whole(plain(str(written)), str(gold.get("unit") or "")) if written not in (None, "") else None
        if quantity:
            found.append(quantity)
        elif not found:
            return []
    return found


def whole(text: str, unit: str = "") -> units.Quantity | None:
    """The quantity that a text consists of, or None."""
    text = text.strip().rstrip(".。")
    for candidate in (text, f"{text} {plain(unit)}") if unit else (text,):
        found = units.find(candidate)
        if len(found) == 1 and not re.sub(r"[<>=≤≥\s]|百分之|每.*次", "", candidate[: found[0].start]):
            rest = candidate[found[0].end :].strip()
            if not rest and (found[0].measures is not None or not unit):
                return found[0]
    return None


def stated_in(text: str, like: units.Quantity) -> units.Quantity | None:
    """The value that the answer ends in: behind "answer", "答案" or "=", else the last; None where alternatives stand.

    Only what measures the same as `like` is looked at: a dose is not confused with how often it is given.
    """
    everything = [one for one in units.find(text) if not _denied(text, one)]
    found = [one for one in everything if like.measures is None or one.measures == like.measures]
    if not found:
        return None
    chosen = found[-1]
    places = [match.end() for match in _RESULT.finditer(text)]
    if final := statements.last(text, statements.FINAL):
        sums = [place for place in places if final.marker <= place <= final.end]
        places = sums or [final.marker]
    for place in reversed(places):
        behind = [one for one in found if one.start >= place]
        if behind:
            chosen = behind[0]
            break
    return None if _one_of_several(text, everything, chosen) else chosen


def _one_of_several(text: str, quantities: list[units.Quantity], chosen: units.Quantity) -> bool:
    """Whether another value stands beside it as an alternative: "250 or 500 mg"."""
    index = quantities.index(chosen)
    for other in quantities[max(0, index - 1) : index] + quantities[index + 1 : index + 2]:
        first, second = sorted((chosen, other), key=lambda one: one.start)
        comparable = other.measures in (None, chosen.measures)
        if comparable and _BETWEEN.fullmatch(text[first.end : second.start]) and first.written != second.written:
            return True
    return False


def _denied(text: str, quantity: units.Quantity) -> bool:
    start, _ = negation.sentence(text, quantity.start)
    return bool(
        re.search(
            r"(?:\bnot|rather than|instead of|rules? out|exclude|不是|而非|并非|排除)\s*$",
            text[max(start, quantity.start - 24) : quantity.start],
            re.IGNORECASE,
        )
    )


def same(stated: units.Quantity | None, wanted: units.Quantity, tolerance: Any = None) -> bool:
    """Whether two quantities are equal: relative `tolerance`, else as exact as the wanted one is written."""
    if stated is None or stated.form != wanted.form or len(stated.written) != len(wanted.written):
        return False
    if wanted.measures is not None and stated.measures != wanted.measures:
        return False
    size = Decimal(1) if wanted.measures is None else stated.size / wanted.size
    try:
        share = Decimal(str(tolerance)) if tolerance is not None else None
    except InvalidOperation:
        share = None
    share = share if share is not None and share.is_finite() else None
    for value, target in zip(stated.written, wanted.written, strict=True):
        allowed = abs(target) * share if share is not None else wanted.rounding
        if abs(value * size - target) > allowed:
            return False
    return True
