"""PPO as a Trainer: what an optimizer step is, and that its parts add up.

sh run_tests.sh tests/ppo/test_trainer.py
"""

from types import SimpleNamespace

import pytest
import torch
from transformers import Trainer

from bedside.ppo import rollout
from bedside.ppo.batches import RolloutSampler, TaskCollator, mini_batches, steps_for
from bedside.ppo.trainer import PPOTrainer
from tests.ppo import toys
from tests.ppo.toys import rows_of

PLAIN = {"optim": "sgd", "num_ppo_epochs": 1, "num_mini_batches": 1, "max_steps": 1, "max_grad_norm": 0.0}


def after(files, output, kind=PPOTrainer, **flags) -> tuple[dict, dict]:
    """Policy and critic after a short run."""
    model = toys.assembled(files)
    toys.trainer(model, output, kind=kind, **flags).train()
    return toys.policy_of(model), toys.critic_of(model)


def distance(one: dict, other: dict) -> float:
    """The norm of the difference of two sets of weights."""
    return torch.stack([(one[name] - other[name]).norm() for name in one]).norm().item()


def test_how_many_steps_a_run_has():
    args = SimpleNamespace(
        per_device_train_batch_size=2, gradient_accumulation_steps=4, num_mini_batches=2, num_ppo_epochs=3,
        world_size=2, total_episodes=None, num_train_epochs=2.0,
    )  # fmt: skip
    assert steps_for(args, 96) == 36  # rollouts of 2 x 4 x 2 x 2 = 32 answers: three an epoch, six steps each
    assert steps_for(args, 97) == 48  # the last group is filled up
    args.num_train_epochs = 0.5
    assert steps_for(args, 96) == 12
    args.total_episodes = 65
    assert steps_for(args, 96) == 18 and steps_for(args, 3) == 18
    args.total_episodes = 1
    assert steps_for(args, 96) == 6


def test_every_question_is_asked_and_a_group_comes_as_often_as_it_is_trained_on():
    sampler = RolloutSampler(count=7, size=3, repeats=2, seed=0)
    order = list(sampler)
    groups = [order[at : at + 3] for at in range(0, 18, 3)]
    assert len(order) == len(sampler) == 18
    assert groups[0] == groups[1] and groups[2] == groups[3] and groups[4] == groups[5]
    once = groups[0] + groups[2] + groups[4]
    assert sorted(once[:7]) == list(range(7)) and once[7:] == once[:2]  # filled from the beginning
    assert list(sampler) == order
    sampler.set_epoch(1)
    assert sorted(set(sampler)) == list(range(7)) and list(sampler) != order
    few = list(RolloutSampler(count=2, size=5, repeats=1, seed=0))
    assert len(few) == 5 and few[:2] == few[2:4] and few[4] == few[0]


def test_questions_are_padded_on_the_left_by_their_lengths():
    rows = [{"prompt_ids": [5, 0], "index": 3}, {"prompt_ids": [6, 7, 8], "index": 1}]
    batch = TaskCollator(pad=0)(rows)
    assert batch["input_ids"].tolist() == [[0, 5, 0], [6, 7, 8]]
    assert batch["attention_mask"].tolist() == [[0, 1, 1], [1, 1, 1]] and batch["index"].tolist() == [3, 1]


def test_mini_batches_are_drawn_and_sorted_within():
    mask = (torch.arange(12) < torch.tensor([[3], [12], [7], [1], [9], [5], [11], [2]])).long()
    answers = rollout.Answers(torch.zeros(8, 1), torch.ones(8, 1, dtype=torch.long), mask, mask, torch.ones(8))
    parts = mini_batches(answers, 2, 2, torch.Generator().manual_seed(0))
    assert [[len(rows) for rows in part] for part in parts] == [[2, 2], [2, 2]]
    assert sorted(int(row) for part in parts for rows in part for row in rows) == list(range(8))
    for part in parts:
        lengths = [int(mask[row].sum()) for rows in part for row in rows]
        assert lengths == sorted(lengths)
    again = mini_batches(answers, 2, 2, torch.Generator().manual_seed(1))
    assert [rows.tolist() for rows in again[0]] != [rows.tolist() for rows in parts[0]]


def test_each_mini_batch_of_each_pass_is_a_step_of_its_own(files, tmp_path):
    seen, kept = [], []

    class Watched(PPOTrainer):
        def compute_loss(self, model, inputs, **more):
            seen.append((self.state.global_step, len(inputs["mask"]), tuple(inputs["input_ids"].flatten().tolist())))
            kept.append(toys.policy_of(model))
            return super().compute_loss(model, inputs, **more)

    trainer = toys.trainer(toys.assembled(files), tmp_path, kind=Watched, per_device_train_batch_size=2,
                           num_mini_batches=4, max_steps=8)  # fmt: skip
    trainer.train()
    assert [step for step, _, _ in seen] == [step for step in range(8) for _ in range(2)]
    assert {rows for _, rows, _ in seen} == {2}
    passes = [[ids for step, _, ids in seen if step // 4 == number] for number in (0, 1)]
    assert sorted(passes[0]) == sorted(passes[1]) and len(set(passes[0])) == 8  # all answers, in both passes
    assert passes[0] != passes[1]
    assert all(distance(kept[at], kept[at + 1]) == 0 for at in range(0, 16, 2))  # within a step
    assert all(distance(kept[at], kept[at + 1]) > 0 for at in range(1, 15, 2))  # from step to step
    assert len(rows_of(trainer.state.log_history, "reward")) == 1


def test_the_loss_is_a_mean_over_the_tokens_of_the_whole_step(files, tmp_path):
    class OfMeans(PPOTrainer):
        """Averages the means of micro-batches."""

        def compute_loss(self, model, inputs, num_items_in_batch=None, **more):
            own = inputs["mask"].sum() * self.args.gradient_accumulation_steps
            return super().compute_loss(model, inputs, num_items_in_batch=own, **more)

    start = toys.policy_of(toys.assembled(files))
    whole = after(files, tmp_path / "1", per_device_train_batch_size=16, gradient_accumulation_steps=1, **PLAIN)
    parts = after(files, tmp_path / "2", per_device_train_batch_size=2, gradient_accumulation_steps=8, **PLAIN)
    wrong = after(
        files, tmp_path / "3", OfMeans, per_device_train_batch_size=2, gradient_accumulation_steps=8, **PLAIN
    )
    moved = distance(whole[0], start)
    assert moved > 1e-3
    assert distance(whole[0], parts[0]) < 1e-5 * moved and distance(whole[1], parts[1]) < 1e-6
    assert distance(whole[0], wrong[0]) > 0.01 * moved


def test_policy_and_critic_are_clipped_apart(files, tmp_path, monkeypatch):
    model = toys.assembled(files)
    policy, critic = toys.policy_of(model), toys.critic_of(model)
    flags = {**PLAIN, "max_grad_norm": 0.1, "vf_coef": 1e4, "learning_rate": 1.0, "critic_learning_rate": 0.5}
    moved = after(files, tmp_path / "1", **flags)
    # Both gradients are longer than 0.1: each step is its rate times that.
    assert distance(moved[0], policy) == pytest.approx(0.1, rel=1e-3)
    assert distance(moved[1], critic) == pytest.approx(0.05, rel=1e-3)
    monkeypatch.setattr(PPOTrainer, "_clip_grad_norm", Trainer._clip_grad_norm)
    moved = after(files, tmp_path / "2", **flags)
    assert distance(moved[0], policy) < 0.001  # what a large error of the critic leaves


def test_the_critic_has_a_rate_of_its_own(files, tmp_path):
    model = toys.assembled(files)
    trainer = toys.trainer(model, tmp_path, learning_rate=1e-3, weight_decay=0.1)
    groups = trainer.create_optimizer().param_groups
    assert [group["lr"] for group in groups] == [1e-3, 5e-3] and [group["weight_decay"] for group in groups] == [
        0.1
    ] * 2
    assert [len(group["params"]) for group in groups] == [28, 13]
    trainer = toys.trainer(model, tmp_path, learning_rate=1e-3, critic_learning_rate=0.0)
    assert [group["lr"] for group in trainer.create_optimizer().param_groups] == [1e-3, 0.0]
    policy, critic = toys.policy_of(model), toys.critic_of(model)
    moved = after(files, tmp_path, **PLAIN, critic_learning_rate=0.0)
    assert distance(moved[0], policy) > 0 and toys.alike(moved[1], critic)


def test_the_critic_warms_up_alone(files, tmp_path):
    model = toys.assembled(files)
    policy, critic = toys.policy_of(model), toys.critic_of(model)
    flags = {"num_ppo_epochs": 2, "num_mini_batches": 1, "critic_warmup_rollouts": 1, "weight_decay": 0.1}
    warm = after(files, tmp_path / "1", **flags, max_steps=2)
    assert toys.alike(warm[0], policy) and distance(warm[1], critic) > 1e-3
    trained = after(files, tmp_path / "2", **flags, max_steps=3)
    assert distance(trained[0], policy) > 1e-3
    at_once = after(files, tmp_path / "3", **{**flags, "critic_warmup_rollouts": 0}, max_steps=2)
    assert distance(at_once[0], policy) > 1e-3


@pytest.mark.parametrize("policy", [True, False], ids=["an SFT adapter", "a new adapter"])
def test_the_first_ratio_is_1_in_every_rollout_and_the_first_kl_0(files, tmp_path, policy):
    trainer = toys.trainer(toys.assembled(files, policy=policy), tmp_path, max_steps=5, num_ppo_epochs=1)
    trainer.train()
    history = trainer.state.log_history
    assert rows_of(history, "first_ratio_gap") == [0.0, 0.0, 0.0]
    assert [row["ratio"] for row in history if "first_ratio_gap" in row] == [1.0, 1.0, 1.0]
    assert rows_of(history, "ratio")[1] != 1.0
    kl = rows_of(history, "kl")
    assert len(kl) == 3 and kl[0] == 0.0 and kl[1] != 0.0


def test_a_question_that_comes_again_is_answered_anew(files, tmp_path):
    asked = []

    class Watched(PPOTrainer):
        def _answers(self, prompts, mask, drawing, seeds):
            asked.append(list(seeds))
            return super()._answers(prompts, mask, drawing, seeds)

    short = {"num_ppo_epochs": 1, "num_mini_batches": 1, "max_steps": 3}
    toys.trainer(toys.assembled(files), tmp_path, kind=Watched, **short).train()
    assert [len(seeds) for seeds in asked] == [8, 8, 8] and len({seed for seeds in asked for seed in seeds}) == 24


def curve(files, output, **flags) -> list[dict]:
    """The log rows of a short run, without what a clock says."""
    trainer = toys.trainer(toys.assembled(files), output, max_steps=3, num_ppo_epochs=1, **flags)
    trainer.train()
    return trainer.state.log_history[:-1]


def test_a_seed_decides_and_batch_sizes_of_sampling_and_checkpointing_do_not(files, tmp_path):
    first = curve(files, tmp_path / "1")
    assert len(first) == 5 and curve(files, tmp_path / "2") == first
    assert curve(files, tmp_path / "3", rollout_batch_size=3) == first
    assert curve(files, tmp_path / "4", gradient_checkpointing=True) == first
    other = curve(files, tmp_path / "5", seed=8)
    assert [row["step"] for row in other] == [row["step"] for row in first] and other != first


def test_evaluation_is_the_same_each_time_and_in_batches_of_any_size(files, tmp_path):
    def trainer(size: int) -> PPOTrainer:
        return toys.trainer(toys.assembled(files), tmp_path, toys.share, eval_dataset=toys.tasks(5), response_length=4,
                            per_device_eval_batch_size=size)  # fmt: skip

    one = trainer(2)
    rows = one.examine(one.eval_dataset)
    assert len(rows) == 5 and list(rows[0]) == ["reward", "rewards/toy", "kl", "length", "eos", "format"]
    assert {row["kl"] for row in rows} == {0.0}
    metrics = one.evaluate()
    assert one.evaluate() == metrics == one.evaluate(toys.tasks(5))
    assert trainer(5).examine(one.eval_dataset) == rows
    wanted = sum(row["reward"] for row in rows) / 5
    assert metrics["eval_reward"] == pytest.approx(wanted) and metrics["eval_kl"] == 0.0
    assert one.state.log_history[-1]["eval_reward"] == metrics["eval_reward"]


def test_the_coefficient_of_the_kl_adapts(files, tmp_path):
    def coefficients(target: float) -> list[float]:
        trainer = toys.trainer(toys.assembled(files), tmp_path, max_steps=3, adaptive_kl=True, target_kl=target,
                               kl_horizon=160, num_ppo_epochs=1, num_mini_batches=1,
                               gradient_accumulation_steps=4)  # fmt: skip
        trainer.train()
        return rows_of(trainer.state.log_history, "kl_coef")

    # Sixteen answers of 160: exp(-0.2 / 10) and exp(0.2 / 10) at most, down while the policy is at its reference.
    down, up = 0.980198673, 1.02020134
    low = coefficients(0.01)
    assert low[:2] == [0.02, pytest.approx(0.02 * down)] and low[2] == pytest.approx(low[1] * up)
    high = coefficients(1000.0)
    assert high[2] == pytest.approx(0.02 * down**2)
