"""DeepSpeed's shards over two processes train as one process: ZeRO-2 and ZeRO-3. gloo, on a CPU.

sh run_tests.sh tests/distributed/test_deepspeed.py
"""

import pytest

from .launches import ALL, can, check_all

pytestmark = pytest.mark.skipif(not can("zero2"), reason="DeepSpeed is not installed")


@pytest.mark.slow
def test_zero2_trains_the_same_model_as_one_process(alone, argv, tmp_path):
    check_all("zero2", ["sft", "ppo"], ["sft"], alone, argv, tmp_path)


@pytest.mark.slow
def test_zero3_trains_the_same_model_as_one_process(alone, argv, tmp_path):
    """A checkpoint of PPO's policy and critic is put together from shards; one of DPO is its policy again."""
    check_all("zero3", ["dpo", "grpo", "ppo"], ["dpo", "ppo"] if ALL else ["ppo"], alone, argv, tmp_path)
