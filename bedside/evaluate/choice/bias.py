"""Does a model prefer a place? The letters of its wrong answers, against what they would be without a preference."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

_DRAWS = 4000


class Places(NamedTuple):
    """`chosen` and `right`: the share of each letter among the answers, and among what was right. `p`: how often
    wrong answers that prefer no letter are spread as unevenly; None without any wrong answer."""

    n: int
    chosen: dict[str, float]
    right: dict[str, float]
    p: float | None


def places(answers: Iterable[tuple[str, str, str]], seed: int = 0) -> Places:
    """Where the answers stand: `(chosen letter, right letter, all letters)` of each order of each question.

    Given the right letter, a wrong answer without a preference is any of the others alike. The statistic is Pearson's
    chi-square over letters (Pearson 1900, Philosophical Magazine 50), its distribution drawn from that model. Wrong
    answers that follow their text through the orders of a question are spread more evenly than that, so p is not too
    small for them.
    """
    given = list(answers)
    letters = sorted({letter for _, _, known in given for letter in known})
    wrong: Counter = Counter()
    kinds: dict[tuple[str, str], int] = defaultdict(int)
    for chosen, right, known in given:
        if chosen != right:
            wrong[chosen] += 1
            kinds[right, known] += 1
    shares = [
        {letter: sum(one[part] == letter for one in given) / max(1, len(given)) for letter in letters}
        for part in (0, 1)
    ]
    return Places(len(given), *shares, _chance(wrong, kinds, letters, seed) if kinds else None)


def _chance(wrong: Counter, kinds: dict[tuple[str, str], int], letters: list[str], seed: int) -> float:
    """The share of draws that are at least as uneven as what was seen, the seen one counted in."""
    rng = np.random.default_rng(seed)
    drawn = np.zeros((_DRAWS, len(letters)))
    expected = np.zeros(len(letters))
    for (right, known), count in sorted(kinds.items()):
        others = np.array([letter in known and letter != right for letter in letters], float)
        others /= others.sum()
        drawn += rng.multinomial(count, others, _DRAWS)
        expected += count * others
    kept = expected > 0
    seen = np.array([wrong[letter] for letter in letters], float)
    statistic = ((seen - expected)[kept] ** 2 / expected[kept]).sum()
    as_uneven = (((drawn - expected)[:, kept] ** 2 / expected[kept]).sum(1) >= statistic - 1e-9).sum()
    return float((1 + as_uneven) / (1 + _DRAWS))


def sentence(found: Places, what: str) -> str:
    """The letters that were chosen, and a warning word where they are not explained by chance.

    >>> sentence(places([("A", "B", "AB")] * 20 + [("A", "A", "AB")] * 20), "by likelihood")[:54]
    'by likelihood, letters chosen: A 100 % (right 50 %), B'
    """
    if not found.n:
        return f"{what}, no letter was chosen"
    told = ", ".join(
        f"{letter} {100 * share:.0f} % (right {100 * found.right[letter]:.0f} %)"
        for letter, share in found.chosen.items()
    )
    line = f"{what}, letters chosen: {told}"
    if found.p is not None and found.p < 0.01:
        line += f"; its wrong answers prefer a place (p = {found.p:.2g}): believe the mean over orders only"
    return line
