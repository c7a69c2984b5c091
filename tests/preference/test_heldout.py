"""Held-out pairs: numbers worked by hand, and equal to a plain forward.

sh run_tests.sh tests/preference/test_heldout.py
"""

import math

import pytest
import torch

from bedside.evaluate.statistics import mean_interval
from bedside.preference.heldout import Ranked, answer_logprob, moved_right, rank, table


def test_wins_and_margins_by_hand():
    ranked = Ranked([-1.0, -2.0, -3.0], [-2.0, -2.0, -1.0], [(1, 1)] * 3)
    assert ranked.margins == [1.0, 0.0, -2.0]
    assert ranked.wins == 1.5, "a tie counts half"


def test_the_mean_is_over_the_answers_tokens_only(tiny_model_dir):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32).eval()
    ids, labels = [5, 6, 7, 8, 9], [-100, -100, 7, 8, -100]
    logprobs = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
    by_hand = (logprobs[1, 7] + logprobs[2, 8]).item() / 2
    with torch.inference_mode():
        assert answer_logprob(model, ids, labels, "cpu") == pytest.approx(by_hand, abs=1e-5)
    row = {"chosen_ids": ids, "chosen_labels": labels, "rejected_ids": ids[:3], "rejected_labels": labels[:3]}
    found = rank(model.train(), [row])
    assert found.chosen == [pytest.approx(by_hand, abs=1e-5)]
    assert found.lengths == [(2, 1)]
    assert found.rejected == [pytest.approx(logprobs[1, 7].item(), abs=1e-5)]
    assert model.training, "the mode stays"


def test_the_table_shows_both_sides_and_the_paired_change():
    before = Ranked([-1.0, -1.0], [-1.5, -0.5], [(4, 2), (2, 4)])
    after = Ranked([-0.5, -0.5], [-1.5, -1.5], before.lengths)
    shown = table(before, after)
    assert "held-out pairs: 2" in shown and " 50.0 %  [9, 91]" in shown and "100.0 %  [34, 100]" in shown
    assert "+0.000" in shown and "+1.000" in shown
    assert shown.splitlines()[-2] == "change of the margin: +1.000  [+0.500, +1.500]"
    assert shown.splitlines()[-1] == "moved towards the chosen answer: 100.0 %  [34, 100]"


def test_what_moved_is_summed_over_the_tokens():
    before = Ranked([-1.0, -1.0], [-1.0, -1.0], [(10, 2), (10, 2)])
    after = Ranked([-0.9, -1.1], [-0.6, -1.4], before.lengths)
    # +1.0 against +0.8, and -1.0 against -0.8: the mean a token would have it the other way round.
    assert moved_right(before, after) == 1.0


def test_the_interval_of_a_mean_narrows_with_the_root_of_n():
    few, many = mean_interval([0.0, 1.0] * 10), mean_interval([0.0, 1.0] * 1000)
    assert (few[1] - few[0]) / (many[1] - many[0]) == pytest.approx(10, rel=0.2)
    assert mean_interval([2.0]) == (2.0, 2.0) and math.isnan(mean_interval([])[0])
