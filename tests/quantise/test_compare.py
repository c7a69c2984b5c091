"""The numbers of the report by hand: likelihood, agreement, KL, and the table they become.

sh run_tests.sh tests/quantise
"""

import json
import math

import numpy as np
import pytest

from bedside.quantise import compare, report


def logs_of(*rows):
    return np.log(np.array(rows)).astype(np.float16)


def test_likelihood_of_the_labels():
    row = compare.row_of(logs_of([0.5, 0.5], [0.25, 0.75]), np.array([0, 1]))
    assert (row.tokens, row.agree, row.kl) == (2, None, None)
    assert row.nll == pytest.approx(-math.log(0.5) - math.log(0.75), rel=1e-3)


def test_agreement_and_divergence():
    before, after = logs_of([0.5, 0.25, 0.25], [0.8, 0.1, 0.1]), logs_of([0.25, 0.5, 0.25], [0.8, 0.1, 0.1])
    row = compare.row_of(after, np.array([0, 0]), before)
    assert row.agree == 1
    # The first token alone differs: 0.5 ln(0.5/0.25) + 0.25 ln(0.25/0.5) = 0.25 ln 2.
    assert row.kl == pytest.approx(0.25 * math.log(2), rel=1e-3)


def test_a_model_beside_itself():
    same = logs_of([0.3, 0.7], [0.999, 0.001])
    row = compare.row_of(same, np.array([1, 0]), same)
    assert (row.agree, row.kl) == (2, 0.0)


def test_all_tokens_count_alike():
    after = [compare.Row(10, 5.0, 10, 0.0), compare.Row(30, 15.0, 20, 8.0)]
    agreed = compare.agreement(after)
    assert (agreed.tokens, agreed.share, agreed.kl) == (40, 0.75, 0.2)
    assert agreed.low == pytest.approx(2 / 3) and agreed.high == 1.0
    assert compare.perplexity(after) == pytest.approx(math.exp(0.5))


def test_likelihoods_are_paired_by_row():
    before = [compare.Row(10, 5.0), compare.Row(10, 20.0)]
    after = [compare.Row(10, 6.0), compare.Row(10, 21.0)]
    change = compare.nll_change(before, after)
    assert (change.n, change.before, change.after) == (2, 1.25, 1.35)
    assert change.mean == pytest.approx(0.1) and change.low == pytest.approx(0.1) == pytest.approx(change.high)


def side(size, nll, named, **compared):
    cases = [{"strict": True, "finished": True, "named": value} for value in named]
    rows = [{"tokens": 10, "nll": nll, "agree": None, "kl": None} | compared for _ in range(4)]
    return report.Side(size, {"rows": rows, "cases": cases, "passed_over": 1, "seconds": 2.0})


@pytest.fixture
def told():
    before = side(20_000_000, 0.0, [True, True, False, True])
    after = side(5_000_000, 10 * math.log(1.1), [True, False, False, True], agree=9, kl=0.5)
    return report.record(before, after, {"name": "nf4", "seconds": 3.0})


def test_the_record(told):
    assert told["bytes"] == [20_000_000, 5_000_000]
    assert told["perplexity"] == [1.0, pytest.approx(1.1)]
    assert told["agreement"]["share"] == 0.9 and told["agreement"]["kl"] == 0.05
    assert told["questions"]["named"]["before"] == 3 and told["questions"]["named"]["change"] == -0.25
    assert told["passed_over"] == 1


def test_the_table(told):
    text = report.table(told)
    assert text.splitlines()[0].split("  ")[0] == "4 answers (40 tokens), 4 questions"
    assert "4.00 times smaller" in text and "+10.0 % a token [+10.0 %, +10.0 %]" in text
    assert "90.0 %  [90.0, 90.0]" in text and "0.0500" in text
    assert "3/4 [30, 95] %" in text and "2/4 [15, 85] %" in text and "-25 points" in text
    assert text.splitlines()[-1] == "measuring before 2 s, quantising 3 s, measuring after 2 s; 1 row was passed over"


def test_the_files(told, tmp_path):
    report.write(told, tmp_path)
    assert json.loads((tmp_path / "equivalence.json").read_text(encoding="utf-8")) == told
    text = (tmp_path / "equivalence.md").read_text(encoding="utf-8")
    assert "| weights on disk | 20.0 MB | 5.0 MB | 4.00 times smaller |" in text
    assert "Method: name nf4." in text
