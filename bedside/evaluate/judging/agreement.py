"""How far those who judge the same pairs agree: win, tie or loss, beyond what chance would give."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from bedside.evaluate.statistics import Agreement, cohens_kappa, krippendorff_alpha

Wins = Mapping[str, float]  # question -> 1, 0.5 or 0


def between(first: Wins, second: Wins) -> Agreement:
    """Cohen's kappa of two who judged, over the questions that both did."""
    shared = [question for question in first if question in second]
    return cohens_kappa([first[question] for question in shared], [second[question] for question in shared])


def told(voters: Mapping[str, Wins], people: Sequence[str]) -> list[str]:
    """A sentence for each pair of which one is a person, and one for all people where there are more than two."""
    lines = [
        f"agreement of {one} and {other}: {_said(between(voters[one], voters[other]), 'kappa')}"
        for one, other in itertools.combinations(voters, 2)
        if one in people or other in people
    ]
    if len(people) > 2:
        questions = dict.fromkeys(question for name in people for question in voters[name])
        units = [[voters[name].get(question) for name in people] for question in questions]
        found = krippendorff_alpha(units)
        lines.append(f"agreement of all {len(people)} people: {_said(found, 'alpha')} (Krippendorff's, nominal)")
    return lines


def _said(found: Agreement, name: str) -> str:
    if not found.n:
        return "they have no question in common"
    same = f"{100 * found.share:.0f} % of {found.n} questions alike"
    if found.value is None:
        return f"{same}; no {name}: all votes are the same"
    interval = "" if found.low is None else f" [{found.low:.2f}, {found.high:.2f}]"
    return f"{name} {found.value:.2f}{interval}, {same}"
