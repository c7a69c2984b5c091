"""PPO learns what it should: a bandit's best arm, the regularised optimum, a toy reward; and goes on after a stop.

sh run_tests.sh tests/ppo/test_learning.py
"""

import json
import math

import pytest
import torch

from bedside.ppo.trainer import PPOTrainer
from tests.ppo import toys
from tests.ppo.toys import TOKEN, rows_of

QUESTION = [9, 4, 33]


def asked_again(rows: int = 32):
    """One question, many times."""
    data = toys.tasks(rows).remove_columns(["prompt_ids", "length"])
    return data.add_column("prompt_ids", [QUESTION] * rows).add_column("length", [3] * rows)


@torch.no_grad()
def chances(model, want: str = "policy") -> torch.Tensor:
    """The probabilities of all one-token answers to the question."""
    ids = torch.tensor([[*QUESTION, token] for token in range(toys.WORDS)])
    logps, _ = model.eval()(ids, torch.ones_like(ids), torch.full((toys.WORDS,), 3), 1, want)
    return logps.squeeze(1).exp()


def bandit(files, output, arm: int, **flags) -> torch.Tensor:
    """The probabilities after training on a reward of 1 for one arm."""
    model = toys.assembled(files, reward=False, head=False)
    trainer = toys.trainer(
        model, output, lambda ids: float(ids == [arm]), data=asked_again(), response_length=1, stops=(63,),
        missing_eos_penalty=None, per_device_train_batch_size=32, gradient_accumulation_steps=1,
        **{"num_mini_batches": 1, "logging_steps": 100, **flags},
    )  # fmt: skip
    trainer.train()
    return chances(model)


def test_a_bandit_is_solved(files, tmp_path):
    before = chances(toys.assembled(files))
    after = bandit(files, tmp_path, TOKEN, max_steps=80, kl_coef=0.001)
    assert before[TOKEN] < 0.1 and after[TOKEN] > 0.95


def test_with_a_cost_of_distance_it_ends_at_the_regularised_optimum(files, tmp_path):
    """The best policy is proportional to `ref e^(reward / kl_coef)`: odds of the arm e times as large."""
    before = chances(toys.assembled(files), "reference")
    arm = int(before.argmax())
    after = bandit(files, tmp_path, arm, max_steps=120, kl_coef=1.0, learning_rate=1e-3, num_mini_batches=2,
                   lr_scheduler_type="linear")  # fmt: skip
    wanted = before * torch.where(torch.arange(toys.WORDS) == arm, math.e, 1.0)
    wanted /= wanted.sum()
    assert abs(after[arm] - wanted[arm]) < 0.05
    assert (after - wanted).abs().sum() < 0.5 * (before - wanted).abs().sum()


@pytest.mark.parametrize("quantisation", [None, toys.NF4], ids=["fp32", "nf4"])
def test_a_toy_reward_rises(files, quantised, tmp_path, quantisation):
    model = toys.assembled(quantised if quantisation else files, quantisation)
    trainer = toys.trainer(model, tmp_path, max_steps=72, missing_eos_penalty=0.1, learning_rate=4e-3)
    trainer.train()
    rewards = rows_of(trainer.state.log_history, "rewards/toy")
    assert len(rewards) == 18 and sum(rewards[-3:]) / 3 > sum(rewards[:3]) / 3 + 0.5
    assert max(rows_of(trainer.state.log_history, "first_ratio_gap")) == 0.0


def run(files, output, resume: str | None = None) -> PPOTrainer:
    model = toys.assembled(files)
    trainer = toys.trainer(model, output, max_steps=12, save_strategy="steps", save_steps=4, adaptive_kl=True,
                           lr_scheduler_type="linear", kl_horizon=100, warmup_steps=2, critic_warmup_rollouts=1,
                           weight_decay=0.1)  # fmt: skip
    trainer.train(resume_from_checkpoint=resume)
    return trainer


def rollouts_of(trainer: PPOTrainer) -> list[dict]:
    """The log rows of rollouts."""
    return [row for row in trainer.state.log_history if "reward" in row]


def test_a_resumed_run_is_the_uninterrupted_one_bit_for_bit(files, tmp_path):
    """In 4-bit: tests/resume/test_bitwise.py."""
    straight = run(files, tmp_path / "straight")
    checkpoint = tmp_path / "straight" / "checkpoint-8"
    resumed = run(files, tmp_path / "resumed", str(checkpoint))
    assert toys.alike(toys.policy_of(straight.model), toys.policy_of(resumed.model))
    assert toys.alike(toys.critic_of(straight.model), toys.critic_of(resumed.model))
    assert straight.kl_coef == resumed.kl_coef != 0.02
    kept = json.loads((checkpoint / "ppo_state.json").read_text())
    assert kept == {"kl_coef": rows_of(straight.state.log_history, "kl_coef")[2]}
    assert straight.state.log_history[:-1] == resumed.state.log_history[:-1]
    assert [row["step"] for row in rollouts_of(resumed)] == [0, 4, 8]
    for name in ("adapter_model.safetensors", "critic/adapter_model.safetensors", "critic/value_head.safetensors"):
        one, other = (tmp_path / run / "checkpoint-12" / name for run in ("straight", "resumed"))
        assert one.read_bytes() == other.read_bytes()
