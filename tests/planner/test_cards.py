"""Cards by their names; each has its source.

sh run_tests.sh tests/planner/test_cards.py
"""

import pytest

from bedside.errors import ConfigError
from bedside.planner import cards


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("RTX 4090", "RTX 4090"), ("4090", "RTX 4090"), ("NVIDIA GeForce RTX 2080 Ti", "RTX 2080 Ti"),
        ("rtx3090", "RTX 3090"), ("A100", "A100 80GB"), ("a100-40gb", "A100 40GB"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("H100 80GB", "H100"), ("Tesla T4", "T4"), ("h200", "H200"),
    ],
)  # fmt: skip
def test_a_card_is_known_by_its_names(text, name):
    assert cards.card(text).name == name


def test_a_memory_alone_is_a_card_of_that_memory():
    found = cards.card("11GB")
    assert (found.bytes, found.tflops, found.bf16) == (11 * 2**30, 0.0, True)
    assert cards.card("24").memory == 24


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RTX 4091", "Did you mean RTX 4090"), ("910B", "Ascend 910B: bedside's kernels"),
        ("1GB", "expected the memory of a card in GB"), ("toaster", "unknown card. Known: RTX 2080 Ti"),
    ],
)  # fmt: skip
def test_an_unknown_card_is_refused(text, told):
    with pytest.raises(ConfigError, match=told):
        cards.card(text)


def test_every_card_has_figures_and_their_source():
    for card in cards.CARDS.values():
        assert card.source and card.bandwidth > 100 and card.tflops > 10 and card.link > 0, card.name
    assert cards.CARDS["H200"].bytes == pytest.approx(139e9 * 1.0737, rel=0.001)


def test_the_smallest_card_that_holds_so_much():
    assert cards.smallest(30e9, 0.8e9, 0.92).name == "RTX 5090"
    assert cards.smallest(20e9, 0.8e9, 0.92).memory == 24
    assert cards.smallest(500e9, 0.8e9, 0.92) is None
