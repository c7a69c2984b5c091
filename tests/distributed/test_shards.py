"""Weights, gradients and optimizer in shards of FSDP2 over two processes train as in one. gloo, on a CPU.

sh run_tests.sh tests/distributed/test_shards.py
"""

import pytest

from .launches import check_all


@pytest.mark.slow
def test_fsdp2_trains_the_same_model_as_one_process(alone, argv, tmp_path):
    """The policy's checkpoint, and that of PPO's critic, are put together from shards; a base may be in 4-bit."""
    names = ["sft in full", "dpo", "grpo", "ppo", "sft qlora", "ppo qlora"]
    check_all("fsdp2", names, ["sft in full", "ppo"], alone, argv, tmp_path)
