"""The planner against what was measured: within 8 % of memory and 20 % of speed of every setting.

sh run_tests.sh tests/planner/test_measured.py
"""

import pytest

from bedside.planner import measured


@pytest.mark.parametrize("row", measured.TABLE, ids=lambda row: row.name)
def test_the_planner_agrees_with_a_measurement(row):
    size, rate = row.planned()
    assert size == pytest.approx(row.peak, rel=0.08)
    assert rate == pytest.approx(row.tokens, rel=0.20)


def test_every_measurement_says_how_it_was_made():
    assert all("bench" in row.command for row in measured.TABLE)
    assert len(measured.table().splitlines()) == 2 + len(measured.TABLE)


def test_speed_by_the_plan_agrees_too():
    """`speed_of` counts what a training of packed rows does, not one micro-batch."""
    from bedside.planner import cards, shapes, speed
    from bedside.planner.memory import Setting

    model, card = shapes.model_of("7B"), cards.CARDS["H200"]
    found = speed.speed_of(model, Setting(rows=8), card, 710)
    assert found.tokens == pytest.approx(14029, rel=0.08)
    assert found.low < 14029 < found.high
    assert found.hours(14029 * 3600)[0] == pytest.approx(1, rel=0.08)
    assert speed.speed_of(model, Setting(), cards.card("11GB"), 700) is None
