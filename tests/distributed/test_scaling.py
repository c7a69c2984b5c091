"""The paper plan of docs/distributed.md: its formulas on figures that can be checked by hand, and its table as it is.

sh run_tests.sh tests/distributed/test_scaling.py
"""

from pathlib import Path

import pytest

from bedside import scaling
from bedside.scaling import Cluster, Run

# 100 parameters in 10 layers, all trained: held in 4 bytes, sent in 2; gradients 4 and 2; Adam 8.
FULL = Run("toy", 100, 100, 10, 4, 2, 4, 2, 8, tokens=5, accumulated=3, operations=800)
LORA = Run("toy", 100, 10, 10, 2, 2, 4, 4, 8, tokens=5, accumulated=3, operations=600)
SLOW = Cluster("toy", machine=4, rate=1000.0, inside=100.0, outside=10.0, latency=0.5)


@pytest.mark.parametrize(
    ("run", "way", "gpus", "held"),
    [
        (FULL, "ddp", 4, 1600),  # 400 of weights, 400 of gradients, 800 of Adam
        (FULL, "zero1", 4, 1000),  # 800 / 4 of Adam
        (FULL, "zero2", 4, 700),  # 1200 / 4 of Adam and gradients
        (FULL, "zero3", 4, 440),  # 1600 / 4, and two layers of 20 bytes
        (FULL, "fsdp2", 4, 440),
        (FULL, "fsdp2", 1, 1600),
        (LORA, "ddp", 8, 320),  # 200 of weights, 40 of gradients, 80 of Adam
        (LORA, "fsdp2", 8, 80),
    ],
)
def test_memory_is_what_each_process_holds(run, way, gpus, held):
    assert scaling.memory(run, way, gpus) == held


@pytest.mark.parametrize(
    ("run", "way", "gpus", "bytes_sent"),
    [
        (LORA, "ddp", 4, 60),  # 2 x 3/4 x 40, once a step
        (FULL, "ddp", 4, 300),  # 2 x 3/4 x 200
        (FULL, "zero1", 4, 300),  # 3/4 x (200 of gradients + 200 of new weights)
        (FULL, "zero2", 4, 600),  # 3/4 x (3 x 200 + 200)
        (FULL, "fsdp2", 4, 1350),  # 3 x 3/4 x (2 x 200 + 200)
        (LORA, "fsdp2", 4, 990),  # 3 x 3/4 x (2 x 200 + 40)
        (FULL, "fsdp2", 1, 0),
    ],
)
def test_bytes_sent_are_those_of_rings(run, way, gpus, bytes_sent):
    assert scaling.sent(run, way, gpus) == bytes_sent


def test_time_is_operations_over_rate_and_bytes_over_the_slowest_link():
    # 3 x 5 tokens x 800 operations / 1000; inside 300 / 100, outside 2 x 7/8 x 200 / 10; 0.5 s for each of log2 steps.
    assert scaling.seconds(FULL, "ddp", 1, SLOW) == (12.0, 0.0)
    assert scaling.seconds(FULL, "ddp", 4, SLOW) == (12.0, 4.0)
    assert scaling.seconds(FULL, "ddp", 8, SLOW) == (12.0, 36.5)


def test_efficiency_is_a_pair_without_and_with_overlap():
    assert scaling.efficiency(FULL, "ddp", 1, SLOW) == (1.0, 1.0)
    assert scaling.efficiency(FULL, "ddp", 4, SLOW) == (0.75, 1.0)
    low, high = scaling.efficiency(FULL, "ddp", 8, SLOW)
    assert low == pytest.approx(12 / 48.5) and high == pytest.approx(12 / 36.5)


def test_operations_are_counted_a_token():
    assert scaling.operations(7, full=False, again=False) == 28
    assert scaling.operations(7, full=True, again=False) == 42
    assert scaling.operations(7, full=True, again=True) == 56


def test_more_gpus_never_hold_more_each():
    for run, way in scaling.RUNS:
        held = [scaling.memory(run, way, gpus) for gpus in (2, 8, 64, 512)]
        assert held == sorted(held, reverse=True)


def test_the_document_shows_this_table(capsys):
    scaling.main()
    shown = capsys.readouterr().out
    assert shown in (Path(__file__).resolve().parents[2] / "docs/distributed.md").read_text(encoding="utf-8")
    assert "| 7B QLoRA, ddp | 8 | 6.0 | 0.28 | 100 % | 100 % |\n" in shown
