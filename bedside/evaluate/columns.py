"""The cases of one measure as arrays, paired by id and checked: what `results` sums up."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bedside.errors import DataError
from bedside.evaluate.task import PERPLEXITY, SHARE, Case, Measure


def taken(measure: Measure, cases: Sequence[Case]) -> list[Case]:
    """The cases that the measure applies to: those with a value and, for a perplexity, with a token."""
    found = [case for case in cases if case.values.get(measure.name) is not None]
    return [case for case in found if _tokens(measure, case) > 0] if measure.kind == PERPLEXITY else found


def by_id(measure: Measure, cases: Sequence[Case], side: str) -> dict[str, Case]:
    """The cases that the measure applies to, by id; DataError for an id that stands twice."""
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            detail = f"the item {case.id!r} is there twice, so it cannot be paired; give every item an id of its own"
            raise DataError("E_CASE", str(case.shown.get("where") or f"the cases of {measure.name}, {side}"), detail)
        seen.add(case.id)
    return {case.id: case for case in taken(measure, cases)}


def arrays(measure: Measure, cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """Values and weights (tokens, or 1 each) of cases that the measure applies to, `(n,)` each; DataError where a
    share is not 0 to 1."""
    values = np.array([float(case.values[measure.name]) for case in cases], np.float64)
    if measure.kind == PERPLEXITY:
        return values, np.array([_tokens(measure, case) for case in cases], np.float64)
    outside = (values < 0) | (values > 1)
    if measure.kind == SHARE and outside.any():
        case = cases[int(outside.argmax())]
        raise DataError("E_CASE", _place(case), f"{measure.name} is {case.values[measure.name]}, expected 0 to 1")
    return values, np.ones(len(cases))


def overflow(values: np.ndarray) -> str:
    """The sentence for values of which some are not finite."""
    wrong = int((~np.isfinite(values)).sum())
    return f"{wrong} of {len(values)} values are not finite numbers: the model overflowed, so there is no result"


def other_tokens(before: np.ndarray, after: np.ndarray) -> str:
    """A warning where two models count the tokens of the same texts `(n,)` differently; else nothing."""
    if np.array_equal(before, after):
        return ""
    counted = f"{before.sum():.0f} tokens before, {after.sum():.0f} after"
    return f"the models cut these texts into different tokens ({counted}), so their perplexities differ in kind"


def _tokens(measure: Measure, case: Case) -> float:
    tokens = case.weights.get(measure.name)
    if tokens is None or not 0 <= tokens < float("inf"):
        found = "no number of tokens" if tokens is None else f"{tokens} tokens"
        raise DataError("E_CASE", _place(case), f"{measure.name} has {found} (weights), expected 0 or more")
    return float(tokens)


def _place(case: Case) -> str:
    return str(case.shown.get("where") or f"item {case.id!r}")
