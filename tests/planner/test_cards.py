"""Cards by their names; each has its source.

sh run_tests.sh tests/planner/test_cards.py
"""

import pytest

from bedside.errors import ConfigError
from bedside.planner import cards


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("RTX 4090", "RTX 4090"), ("4090", "RTX 4090"), ("rtx4090-24g", "RTX 4090"),
        ("NVIDIA GeForce RTX 2080 Ti", "RTX 2080 Ti"), ("2080ti", "RTX 2080 Ti"), ("rtx3090", "RTX 3090"),
        ("RTX4070TiSuper", "RTX 4070 Ti Super"), ("4090D", "RTX 4090 D"), ("RTX 4060 Ti", "RTX 4060 Ti 16GB"),
        ("RTX 4060 Ti 8GB", "RTX 4060 Ti 8GB"), ("RTX 3080 12GB", "RTX 3080 12GB"), ("RTX 3080", "RTX 3080"),
        ("A100", "A100 80GB"), ("a100-40gb", "A100 40GB"), ("NVIDIA A100-SXM4-80GB", "A100 80GB"),
        ("A100-PCIE-40GB", "A100 PCIe 40GB"), ("NVIDIA A100 80GB PCIe", "A100 PCIe 80GB"), ("A800", "A800"),
        ("H100 80GB", "H100"), ("NVIDIA H100 80GB HBM3", "H100"), ("H100 PCIe", "H100 PCIe"), ("H800", "H800"),
        ("Tesla T4", "T4"), ("h200", "H200"), ("NVIDIA H20", "H20"), ("V100-SXM2-32GB", "V100 32GB"),
        ("RTX A6000", "A6000"), ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"), ("A10G", "A10G"), ("L20", "L20"),
    ],
)  # fmt: skip
def test_a_card_is_known_by_its_names(text, name):
    assert cards.card(text).name == name


def test_a_memory_alone_is_a_card_of_that_memory():
    found = cards.card("11GB")
    assert (found.bytes, found.tflops, found.bf16) == (11 * 2**30, 0.0, True)
    assert cards.card("24").memory == 24


def test_a_card_with_another_memory_than_it_is_sold_with_keeps_its_rates():
    found = cards.card("2080Ti 22G")
    assert (found.name, found.memory, found.tflops, found.bf16) == ("RTX 2080 Ti with 22 GB", 22, 53.8, False)
    assert found.source.endswith("it is not sold with that memory, which is taken as given")


def test_memory_as_nvidia_smi_prints_it():
    assert (cards.card("24576MiB").memory, cards.card("24 GiB").memory) == (24, 24)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RTX 4091", "Did you mean RTX 4090"), ("910B", "was never run on Ascend"), ("MI300X", "never run on AMD"),
        ("M2 Max", "on a Mac"), ("Tesla P40", "older than the cards"), ("GTX 1080 Ti", "older than the cards"),
        ("RTX 3080 Laptop GPU", "a laptop's card has less memory"), ("cpu", "no card"), ("TPU v4", "only NVIDIA"),
        ("1GB", "expected the memory of a card in GB"), ("toaster", "unknown card. Known: RTX 2060"),
        ("2x4090", "how many is another flag: --gpu '4090' --gpus 2"), ("4090 x 2", "--gpu '4090' --gpus 2"),
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
    assert all(cards.smallest(size * 1e9, 0.8e9, 0.92).bf16 for size in (5, 9, 13, 20, 40))
    assert cards.smallest(20e9, 0.8e9, 0.92).memory == 24
    assert cards.smallest(500e9, 0.8e9, 0.92) is None


def test_the_card_of_a_machine_is_known_by_the_name_that_its_driver_gives_it():
    assert cards.seen("NVIDIA GeForce RTX 4090", 25.2e9).name == "RTX 4090"
    assert cards.seen("NVIDIA GeForce RTX 2080 Ti", 23.6e9).name == "RTX 2080 Ti with 22 GB"
    laptop = cards.seen("NVIDIA GeForce RTX 4090 Laptop GPU", 17e9)  # a desktop's name, and neither memory nor rate
    assert (laptop.tflops, laptop.bytes) == (0.0, 17e9)
