"""Paired changes: by hand, and an interval that covers what it says.

sh run_tests.sh tests/rollouts/test_statistics.py
"""

import math
import random

from bedside.evaluate.statistics import FEWEST, mean_interval, paired_change, rows_needed


def test_means_and_the_interval_of_the_differences():
    before, after = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    found = paired_change(before, after)
    assert found[:4] == (8, 0.375, 0.75, 0.375)
    assert (found.low, found.high) == mean_interval([1.0, 0.0, 0.0, -1.0, 1.0, 1.0, 0.0, 1.0])


def test_a_row_that_lacks_a_value_counts_on_neither_side():
    found = paired_change([1.0, None, 0.0], [0.0, 1.0, None])
    assert found[:4] == (1, 1.0, 0.0, -1.0)
    nothing = paired_change([None], [1.0])
    assert nothing.n == 0 and math.isnan(nothing.mean) and nothing.enough is None and not nothing.shown


def test_pairs_show_what_two_groups_hide():
    draw = random.Random(0)
    before = [draw.gauss(0, 1) for _ in range(60)]
    found = paired_change(before, [value + 0.1 + draw.gauss(0, 0.05) for value in before])
    assert found.shown and 0.08 < found.low < found.high < 0.12


def test_few_rows_show_nothing():
    assert not paired_change([0.0] * (FEWEST - 1), [1.0] * (FEWEST - 1)).shown
    assert paired_change([0.0] * FEWEST, [1.0] * FEWEST).shown


def test_rows_needed_by_hand():
    # Mean 0.25, deviation 0.5: (1.959964 * 2)^2 = 15.4
    assert rows_needed([1.0, 0.0, 0.0, 0.0]) == 16
    assert rows_needed([1.0] * 3) == FEWEST and rows_needed([0.0, 0.0]) is None and rows_needed([]) is None
    assert rows_needed([0.5]) == FEWEST


def test_the_interval_covers_the_truth_as_often_as_it_says():
    draw, covered = random.Random(1), 0
    for _ in range(200):
        found = paired_change([0.0] * 40, [draw.gauss(0.3, 1) for _ in range(40)])
        covered += found.low <= 0.3 <= found.high
    assert 180 <= covered <= 198
