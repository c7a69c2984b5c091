"""Agreement of raters and win rates: published examples, statsmodels, and the edges.

sh run_tests.sh tests/evaluate/test_statistics_agreement.py
"""

import random

import numpy as np
import pytest
from statsmodels.stats.inter_rater import cohens_kappa as reference
from statsmodels.stats.inter_rater import fleiss_kappa

from bedside.evaluate.statistics import cohens_kappa, krippendorff_alpha, win_rate


def votes(table: list[list[int]]) -> tuple[list[int], list[int]]:
    pairs = [(i, j) for i, row in enumerate(table) for j, count in enumerate(row) for _ in range(count)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


@pytest.mark.parametrize(
    "table", [[[20, 5], [10, 15]], [[88, 14, 18], [10, 40, 10], [2, 6, 12]], [[3, 30], [30, 3]], [[5, 0], [4, 1]]]
)
def test_kappa_and_its_interval_are_statsmodels(table):
    found, expected = cohens_kappa(*votes(table)), reference(table)
    assert found.value == pytest.approx(expected.kappa)
    limits = max(-1.0, expected.kappa_low), min(1.0, expected.kappa_upp)
    assert (found.low, found.high) == pytest.approx(limits, abs=1e-4)
    assert found.n == sum(map(sum, table))


def test_kappa_by_hand():
    # Agreement 35 / 50 = 0.7; by chance 0.5 x 0.6 + 0.5 x 0.4 = 0.5; (0.7 - 0.5) / 0.5
    found = cohens_kappa(*votes([[20, 5], [10, 15]]))
    assert found.value == pytest.approx(0.4) and found.share == pytest.approx(0.7)


def test_an_item_that_one_rater_left_out_does_not_count():
    assert cohens_kappa(["win", None, "tie", "win"], ["win", "loss", "loss", None]).n == 2


def test_kappa_where_there_is_not_enough():
    assert cohens_kappa([], []) == (None, None, None, None, 0)
    assert cohens_kappa(["a"] * 9, ["a"] * 9)[:4] == (None, None, None, 1.0)
    assert cohens_kappa(["a"], ["b"])[:4] == (0.0, None, None, 0.0)


def test_full_agreement_of_few_is_not_certain():
    found = cohens_kappa("aabb", "aabb")
    # Wilson's lower limit of 4 of 4 is 0.5101; (0.5101 - 0.5) / 0.5
    assert (found.value, found.high) == (1.0, 1.0) and found.low == pytest.approx(0.0202, abs=1e-4)


# Four observers, twelve units, votes missing: Krippendorff 2011, Computing Krippendorff's Alpha-Reliability, part C.
OBSERVERS = ["123321412...", "1233224125.3", ".33323422 51.".replace(" ", ""), "1233244125 1.".replace(" ", "")]


def test_alpha_of_the_published_example():
    units = [[None if vote == "." else vote for vote in unit] for unit in zip(*OBSERVERS, strict=True)]
    found = krippendorff_alpha(units)
    assert found.value == pytest.approx(0.743, abs=5e-4)
    assert found.n == 11, "the unit that one observer coded cannot be compared"
    assert found.low < 0.743 < found.high <= 1.0


def test_alpha_comes_to_fleiss_kappa_where_items_are_many():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 3000)
    coded = np.where(rng.random((3000, 4)) < 0.7, truth[:, None], rng.integers(0, 3, (3000, 4)))
    counts = np.stack([(coded == name).sum(1) for name in range(3)], 1)
    assert krippendorff_alpha(coded.tolist()).value == pytest.approx(fleiss_kappa(counts), abs=1e-3)


def test_alpha_by_hand():
    # aa bb ab aa: votes 5 a and 3 b, so chance pairs 8^2 - 25 - 9 = 30; apart 2; 1 - 7 x 2 / 30
    assert krippendorff_alpha(["aa", "bb", "ab", "aa"]).value == pytest.approx(16 / 30)


def test_alpha_where_there_is_not_enough():
    assert krippendorff_alpha([]) == (None, None, None, None, 0)
    assert krippendorff_alpha([["a", None], [None, None]]) == (None, None, None, None, 0)
    assert krippendorff_alpha(["aa", "aa"])[:4] == (None, None, None, 1.0)
    few, agreed = krippendorff_alpha(["ab", "aa", "bb"]), krippendorff_alpha(["aa", "bb"] * 20)
    assert (few.low, agreed.value, agreed.low) == (None, 1.0, None)


def test_alpha_of_chance_is_about_zero():
    draw = random.Random(2)
    found = krippendorff_alpha([[draw.choice("wtl") for _ in range(3)] for _ in range(300)])
    assert found.low < 0 < found.high and abs(found.value) < 0.08


def test_a_win_rate_by_hand():
    found = win_rate([1, 1, 1, 0.5, 0, None])
    assert (found.wins, found.ties, found.losses, found.n) == (3, 1, 1, 5)
    assert found.rate == 0.7 and found.net == pytest.approx(0.4) and found.p == 0.625
    assert found.low < 0.5 < 0.7 < found.high


def test_all_ties_are_half_and_not_certain():
    found = win_rate([0.5] * 20)
    # z^2 / (n + z^2) = 0.1611 either way of no difference, halved
    assert (found.rate, found.net, found.p) == (0.5, 0.0, 1.0)
    assert (found.low, found.high) == pytest.approx((0.4194, 0.5806), abs=1e-4)


def test_win_rates_of_nothing_one_and_all():
    assert win_rate([])[:3] == (None, None, None) and win_rate([None]).n == 0
    assert win_rate([1])[:3] == (1.0, None, None)
    everything = win_rate([1.0] * 10)
    assert everything.high == 1.0 and 0.5 < everything.low < 0.9


def test_a_verdict_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="a verdict is 1, 0.5 or 0, not 2"):
        win_rate([1, 2])
