"""Curves of a training by rewards: the files that a log has points for, from either trainer's names.

sh run_tests.sh tests/rollouts/test_plots.py
"""

import math

from bedside.rollouts import measures, plots

PNG = b"\x89PNG"


def test_only_what_was_measured_is_drawn(tmp_path):
    log = [
        {"step": 1, "reward": 0.2, "kl": 0.5, "loss": 1.0, "rewards/accuracy": 0.2, "rewards/format": 0.9},
        {"step": 1, "eval_reward": 0.3, "eval_loss": 1.0},
        {"step": 2, "reward": 0.4, "kl": math.nan, "explained_variance": 0.1, "rewards/accuracy": 0.4},
        {"step": 2, "train_runtime": 3.0},
        {"reward": 1.0},
    ]
    found = plots.curves(log, tmp_path / "plots")
    names = ["reward", "kl", "format", "explained_variance", "rewards"]
    assert [path.name for path in found] == [f"{name}.png" for name in names]
    assert all(path.read_bytes()[:4] == PNG and path.stat().st_size > 5000 for path in found)
    assert sorted((tmp_path / "plots").iterdir()) == sorted(found)


def test_held_out_points_and_sampled_ones_are_kept_apart(monkeypatch, tmp_path):
    drawn = {}
    monkeypatch.setattr(plots, "draw", lambda path, title, label, lines: drawn.update({path.name: (label, lines)}))
    log = [{"step": step, "reward": step / 10, "kl": 0.01, "completions/mean_length": 50.0} for step in range(1, 31)]
    log[9]["kl"] = None
    log += [{"step": step, "eval_reward": 0.5} for step in (10, 20)]
    plots.curves(log, tmp_path)
    assert [(line[2], len(line[0])) for line in drawn["reward.png"][1]] == [
        ("sampled, each log", 30), ("sampled, smoothed", 30), ("held-out", 2),
    ]  # fmt: skip
    assert drawn["reward.png"][1][2][:2] == ([10, 20], [0.5, 0.5])
    label, lines = drawn["kl.png"]
    assert label == "nats an answer" and set(lines[0][1]) == {0.5} and len(lines[0][0]) == 29
    assert set(drawn) == {"reward.png", "kl.png", "length.png"}


def test_a_log_without_measures_draws_nothing(tmp_path):
    assert plots.curves([{"step": 1, "loss": 2.0}], tmp_path) == []


def test_rewards_by_name_leave_spreads_out():
    row = {"rewards/accuracy/mean": 0.5, "rewards/accuracy/std": 0.4, "rewards/judge/mean": None, "rewards/len": 1}
    assert measures.rewards(row) == {"accuracy": 0.5, "len": 1.0}
    assert measures.rewards({f"eval_{key}": value for key, value in row.items()}, "eval_") == {
        "accuracy": 0.5, "len": 1.0,
    }  # fmt: skip
