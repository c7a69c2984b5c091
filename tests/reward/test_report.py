"""bedside.reward.report on numbers that are worked by hand.

sh run_tests.sh tests/reward/test_report.py
"""

import json
import math

import numpy as np
import pytest

from bedside.reward import plots, report

LN3 = math.log(3)  # sigmoid(ln 3) = 3/4


def scored(chosen, rejected, chosen_tokens=None, rejected_tokens=None, source=None) -> report.Scored:
    n = len(chosen)
    return report.Scored(
        np.array(chosen, float), np.array(rejected, float), np.array(chosen_tokens or [10] * n),
        np.array(rejected_tokens or [10] * n), source or ["a.jsonl"] * n,
    )  # fmt: skip


def test_accuracy_counts_a_tie_as_half_and_says_so():
    found = report.accuracy(np.array([2.0, 0.1, -1.0, 0.0, 3.0]))
    assert (found["pairs"], found["ties"], found["accuracy"]) == (5, 1, 0.7)
    # Wilson for 3.5 of 5: centre 0.7 + z^2/10, half width z * sqrt(0.7 * 0.3 / 5 + z^2 / 100), all over 1 + z^2/5.
    z2 = 1.959964**2
    half = math.sqrt(z2 * (0.042 + z2 / 100))
    assert found["low"] == pytest.approx((0.7 + z2 / 10 - half) / (1 + z2 / 5))
    assert found["high"] == pytest.approx((0.7 + z2 / 10 + half) / (1 + z2 / 5))
    assert (round(found["low"], 3), round(found["high"], 3)) == (0.299, 0.927)


def test_margin_has_mean_deviation_and_interval():
    found = report.mean_margin(np.array([1.0, 2.0, 3.0, 6.0]))
    assert found["mean"] == 3.0
    assert found["sd"] == pytest.approx(math.sqrt((4 + 1 + 0 + 9) / 3))
    assert found["low"] < 3.0 < found["high"]  # of four values: wide, as that of an evaluation's table
    assert report.mean_margin(np.array([2.0])) == {"mean": 2.0, "sd": None, "low": None, "high": None}


def test_probability_does_not_overflow():
    assert report.probability(np.array([0.0, LN3, -LN3])) == pytest.approx([0.5, 0.75, 0.25])
    assert report.probability(np.array([1000.0, -1000.0])) == pytest.approx([1.0, 0.0])


def test_loss_is_that_of_the_paper_with_its_centring():
    chosen, rejected = np.array([LN3, 0.0]), np.array([0.0, 0.0])
    plain = (math.log(4 / 3) + math.log(2)) / 2
    assert report.loss(chosen, rejected) == pytest.approx(plain)
    assert report.loss(chosen, rejected, 0.01) == pytest.approx(plain + 0.01 * LN3**2 / 2)


def test_calibration_by_hand():
    # Confidence 3/4 four times, right three times: |3/4 - 3/4| = 0. Confidence 1/2 twice, tied: |1/2 - 1/2| = 0.
    assert report.calibration(np.array([LN3, LN3, LN3, -LN3, 0.0, 0.0]))["ece"] == pytest.approx(0.0)
    # Confidence 0.77 twice, never right; 0.92 twice, right once: (2 * 0.77 + 2 * 0.42) / 4 = 0.595.
    low, high = math.log(77 / 23), math.log(92 / 8)
    found = report.calibration(np.array([-low, -low, high, -high]))
    assert found["ece"] == pytest.approx(0.595)
    assert [(round(bin["from"], 2), bin["pairs"], bin["accuracy"]) for bin in found["curve"]] == [
        (0.75, 2, 0.0), (0.9, 2, 0.5),
    ]  # fmt: skip


def test_a_certain_pair_falls_into_the_last_bin():
    found = report.calibration(np.array([1000.0]))
    assert found["curve"] == [{"from": 0.95, "to": 1.0, "pairs": 1, "confidence": 1.0, "accuracy": 1.0}]
    assert found["ece"] == 0.0


def test_accuracy_by_file_in_order_of_appearance():
    found = report.by_group(np.array([1.0, -1.0, 1.0, 0.0]), ["b.jsonl", "a.csv", "b.jsonl", "a.csv"])
    assert list(found) == ["b.jsonl", "a.csv"]
    assert [(group["pairs"], group["accuracy"]) for group in found.values()] == [(2, 1.0), (2, 0.25)]


def test_accuracy_by_length_difference():
    longer_by = np.array([-33, -32, -9, -8, -1, 0, 1, 8, 9, 32, 33])
    found = report.by_length(np.ones(11), longer_by)
    assert [(name, group["pairs"]) for name, group in found.items()] == [
        ("chosen shorter by > 32", 1), ("shorter by 9..32", 2), ("shorter by 1..8", 2), ("same length", 1),
        ("longer by 1..8", 2), ("longer by 9..32", 2), ("chosen longer by > 32", 1),
    ]  # fmt: skip
    assert list(report.by_length(np.ones(1), np.array([3]))) == ["longer by 1..8"]


def test_correlation_is_pearsons():
    assert report.correlation(np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])) == pytest.approx(1.0)
    # Deviations (-1, 0, 1) and (0, -1, 1): 1 / sqrt(2 * 2).
    assert report.correlation(np.array([1.0, 2.0, 3.0]), np.array([5.0, 4.0, 6.0])) == pytest.approx(0.5)
    assert report.correlation(np.array([1.0, 1.0]), np.array([5.0, 4.0])) is None


def test_a_model_that_follows_length_is_found_out():
    made = report.report(scored([5.0, 1.0, 4.0], [1.0, 6.0, 2.0], [50, 10, 40], [10, 60, 20]))
    assert made["length_correlation"] == pytest.approx(1.0)
    assert made["longer_wins"]["accuracy"] == made["accuracy"]["accuracy"] == pytest.approx(2 / 3)
    assert made["by_length"]["chosen shorter by > 32"]["accuracy"] == 0.0
    assert made["by_length"]["chosen longer by > 32"]["accuracy"] == 1.0


def test_the_report_is_json_and_a_table():
    made = report.report(scored([1.0, 2.0], [0.0, 3.0], [5, 9], [5, 3], ["a.jsonl", "b.csv"]))
    assert json.loads(json.dumps(made)) == made
    assert made["score"] == {"mean": 1.5, "sd": pytest.approx(math.sqrt((0.25 + 0.25 + 2.25 + 2.25) / 3))}
    text = "\n".join(report.table(made))
    assert "all                                       2    50.0%   [9.5%, 90.5%]" in text
    assert "a.jsonl" in text and "longer by 1..8" in text and "(always the longer answer)" in text


def test_one_pair_and_equal_scores_still_make_a_report(tmp_path):
    one = scored([0.0], [0.0])
    made = report.report(one)
    assert (made["accuracy"]["accuracy"], made["accuracy"]["ties"]) == (0.5, 1)
    assert made["length_correlation"] is None
    assert "no length or no score varies" in "\n".join(report.table(made))
    assert all(path.read_bytes()[:4] == b"\x89PNG" for path in plots.write(one, made, tmp_path / "plots"))


def test_three_plots(tmp_path):
    rng = np.random.default_rng(0)
    some = scored(
        rng.normal(1, 1, 50), rng.normal(0, 1, 50), list(rng.integers(1, 90, 50)), list(rng.integers(1, 90, 50))
    )
    paths = plots.write(some, report.report(some), tmp_path)
    assert [path.name for path in paths] == ["reward_calibration.png", "reward_margins.png", "reward_by_length.png"]
    assert all(path.stat().st_size > 5000 for path in paths)
