"""Which cards vLLM may use, and which Python has it.

sh run_tests.sh tests/deploy/test_machine.py
"""

import sys

import pytest

from bedside.deploy import machine
from bedside.deploy.machine import Card, Vllm
from bedside.errors import ConfigError

LISTING = """0, GPU-aaaa, NVIDIA GeForce RTX 2080 Ti, 11264, 11000, 7.5
1, GPU-bbbb, NVIDIA RTX A5000, 24564, 20000, 8.6
2, GPU-cccc, NVIDIA H200, 143771, 143000, 9.0
No devices were found
"""


def test_the_cards_that_cuda_shows():
    mib = 1 << 20
    assert machine.cards_of(LISTING, None)[1] == Card("NVIDIA RTX A5000", 24564 * mib, 20000 * mib, (8, 6))
    assert [card.capability for card in machine.cards_of(LISTING, "2, 0")] == [(9, 0), (7, 5)]
    assert [card.capability for card in machine.cards_of(LISTING, "GPU-b")] == [(8, 6)]
    with pytest.raises(
        ConfigError, match=r"NVIDIA H200: nvidia-smi does not tell its memory or capability \(\[N/A\], "
    ):
        machine.cards_of(LISTING.replace("143771", "[N/A]"), None)
    assert machine.cards_of(LISTING, "") == machine.cards_of(LISTING, "7") == machine.cards_of("", None) == []


def test_a_build_for_gpus_needs_one_that_it_takes(monkeypatch):
    vllm = Vllm("/v/python", "0.29.0", False, True)
    monkeypatch.setattr(machine, "_nvidia_smi", lambda: LISTING)
    assert len(machine.look(vllm, {}).cards) == 3
    assert machine.look(Vllm("/v/python", "0.29.0", True, True), {}).cards == ()
    with pytest.raises(ConfigError, match=r"nvidia-smi shows none \(CUDA_VISIBLE_DEVICES hides them\); on a machine"):
        machine.look(vllm, {"CUDA_VISIBLE_DEVICES": ""})
    monkeypatch.setattr(machine, "_nvidia_smi", lambda: LISTING.replace("7.5", "6.1"))
    with pytest.raises(ConfigError, match=r"RTX 2080 Ti: compute capability 6.1, vLLM needs 7.0 or more"):
        machine.look(vllm, {})


def test_which_python_has_vllm(visible_vllm, monkeypatch, tmp_path):
    found = machine.find_vllm()
    assert found == Vllm(sys.executable, "0.29.0", True, found.bitsandbytes)
    with pytest.raises(ConfigError, match=r"BEDSIDE_VLLM_PYTHON=/none/python: this Python has no vLLM, or there is"):
        machine.find_vllm({"BEDSIDE_VLLM_PYTHON": "/none/python"})
    monkeypatch.setattr(machine, "_ROOT", tmp_path)
    monkeypatch.setattr(machine, "_probed", lambda python: None)
    with pytest.raises(ConfigError, match=r"vLLM is not installed here. .* requirements-serve-cpu.txt"):
        machine.find_vllm({})
