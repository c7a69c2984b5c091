"""Alarms on invented histories: they ring for what they are for, and neither for noise nor for a healthy run.

sh run_tests.sh tests/rollouts/test_alarms.py
"""

import inspect
import math
import random
from dataclasses import replace

import pytest

from bedside import errors
from bedside.errors import Alarmed
from bedside.rollouts import alarms, measures
from bedside.rollouts.alarms import Alarms, Thresholds

FLAT = {"reward": 0.5, "kl": 2.0, "length": 120.0, "clipped": 0.05, "format": 0.95, "entropy": 0.4}


def history(count=24, **courses):
    """Rows whose measures are those of FLAT, or follow a function of the rollout's number."""
    return [
        {"step": 4 * number, **FLAT, **{name: course(number) for name, course in courses.items()}}
        for number in range(count)
    ]


def after(number, then, before):
    """A course that changes once."""
    return lambda index: then if index >= number else before


def rings(rows, **thresholds):
    return Alarms(replace(Thresholds(), **thresholds)).check(rows)


def healthy(seed, rollouts=60, answers=32):
    """Reward and KL rise, entropy and length fall, shares are counted of so many answers."""
    draw = random.Random(seed)
    rows = []
    for number in range(rollouts):
        done = 1 - math.exp(-3 * number / rollouts)
        count = lambda share: sum(draw.random() < share for _ in range(answers)) / answers  # noqa: E731
        rows.append({
            "step": number, "reward": -0.5 + 1.5 * done + draw.gauss(0, answers**-0.5),
            "kl": 8 * done + draw.gauss(0, 1),
            "length": 150 - 40 * done + draw.gauss(0, 80 * answers**-0.5), "eos": count(0.9), "format": count(0.9),
            "entropy": (0.6 - 0.4 * done) * (1 + draw.gauss(0, 0.05)),
        })  # fmt: skip
    return rows


def test_a_flat_run_is_silent():
    assert rings(history()) is None and rings([]) is None and rings(history(1)) is None


@pytest.mark.parametrize("answers", [8, 64])
def test_a_healthy_run_is_silent_at_every_step(answers):
    for seed in range(10):
        rows, watch = healthy(seed, answers=answers), Alarms()
        assert [watch.check(rows[:end]) for end in range(len(rows) + 1)] == [None] * (len(rows) + 1)


@pytest.mark.parametrize("name, value", [
    ("kl", 900.0), ("length", 1.0), ("clipped", 1.0), ("format", 0.0), ("entropy", 0.0), ("reward", 40.0),
])  # fmt: skip
def test_one_or_two_mad_rollouts_are_no_alarm(name, value):
    for last in range(15, 30):
        assert rings(history(30, **{name: after(29, value, FLAT[name])})[: last + 1]) is None
    two = history(40)
    two[20][name] = two[30][name] = value
    assert rings(two) is None and rings(two[:31]) is None


def test_kl_above_the_limit():
    assert rings(history(11, kl=after(10, 63.2, 30.0))) is None, "two of the last three are below"
    told = rings(history(13, kl=after(10, 63.2, 30.0)))
    assert told == (
        "stopped at step 48: the KL to the reference is 63.2 nats an answer, above 50; raise --kl_coef or lower "
        "--learning_rate; --alarm_kl 0 switches this alarm off. Checkpoints saved before are intact"
    )
    assert rings(history(13, kl=after(10, 63.2, 30.0)), kl=0) is None


def test_kl_that_jumps_tenfold():
    told = rings(history(24, kl=after(21, 25.0, 2.0)))
    assert "the KL to the reference jumped from 2.00 to 25.0 nats an answer; raise --kl_coef" in told
    assert "--alarm_kl_rise 0 switches" in told
    assert rings(history(24, kl=after(21, 19.0, 2.0))) is None, "less than tenfold"
    assert rings(history(24, kl=after(21, 9.0, 0.01))) is None, "a KL that is small rises manyfold in every run"
    assert rings(history(24, kl=after(21, 25.0, 2.0)), kl_rise=0) is None
    assert "jumped from -0.10" in rings(history(24, kl=after(21, 25.0, -0.1))), "an estimate may be below 0"


def test_answers_that_run_into_the_limit():
    told = rings(history(clipped=after(12, 0.9, 0.05)))
    assert "90 % of the answers are cut at the length limit, 5 % were at the start" in told and "--alarm_cut 0" in told
    assert rings(history(clipped=lambda _: 0.9)) is None, "it was so from the start"
    assert rings(history(clipped=after(12, 0.9, 0.4))) is None, "nearly half were cut before"
    assert rings(history(clipped=after(12, 0.9, 0.05)), cut=0) is None
    by_eos = [{"step": row["step"], "eos": 1 - row["clipped"]} for row in history(clipped=after(12, 0.9, 0.05))]
    assert "90 % of the answers" in rings(by_eos)


def test_answers_that_shrink():
    told = rings(history(length=lambda index: 120 * 0.9**index))
    assert "the answers shrank from 83 to 15 tokens; reward what short answers lack" in told
    assert "--alarm_shrink 0 switches" in told
    assert rings(history(length=lambda index: 120 - 3 * index)) is None
    assert rings(history(length=after(12, 20, 400), clipped=after(12, 0.0, 0.9))) is None, "learning to stop"
    assert rings(history(length=after(12, 20, 400)), shrink=0) is None


def test_a_reward_that_rises_while_the_format_falls():
    rows = history(32, reward=after(16, 1.5, 0.5), format=after(16, 0.4, 0.95))
    told = rings(rows)
    assert "since step 0 the reward rose from 0.50 to 1.50, while strict format fell from 95 to 40 %" in told
    assert "give the format more weight" in told and "--alarm_hacking 0" in told
    assert rings(history(32, reward=after(16, 1.5, 0.5))) is None, "the format is kept"
    assert rings(history(32, format=after(16, 0.4, 0.95))) is None, "nothing is gained by it"
    assert rings(history(32, reward=after(16, 1.5, 0.5), format=after(16, 0.8, 0.95))) is None, "a little"
    assert rings(rows, hacking=0) is None


def test_hacking_that_begins_after_the_format_was_learned():
    rows = history(
        48, reward=lambda index: 0.2 + index / 48, format=lambda index: 0.3 if index < 16 or index >= 32 else 0.95
    )
    assert rings(rows[:32]) is None
    assert "since step 96 the reward rose" in rings(rows) or "since step 64 the reward rose" in rings(rows)


def test_noise_in_small_rollouts_is_no_hacking():
    draw = random.Random(3)
    noisy = history(
        64, reward=lambda i: i / 64 + draw.gauss(0, 0.5), format=lambda _: draw.choice((0.25, 0.5, 0.75, 1))
    )
    assert rings(noisy) is None


def test_entropy_that_collapses_for_nothing():
    rows = history(entropy=after(12, 0.02, 0.4))
    told = rings(rows)
    assert "the entropy fell from 0.400 to 0.0200 nats a token, and the reward did not rise" in told
    assert "raise --temperature or --kl_coef" in told and "--alarm_entropy 0" in told
    assert rings(history(entropy=after(12, 0.02, 0.4), reward=after(12, 0.9, 0.5))) is None, "it is being paid"
    assert rings(history(entropy=after(12, 0.1, 0.4))) is None, "certain, not collapsed"
    assert rings(rows, entropy=0) is None


def test_entropy_below_the_floor_whatever_the_reward():
    rows = history(entropy=after(12, 0.0002, 0.4), reward=after(12, 0.9, 0.5))
    assert "the entropy fell from 0.400 to 0.00020 nats a token: there is nothing left" in rings(rows)
    assert rings(rows, entropy_floor=0) is None
    assert rings(history(entropy=lambda _: 0.0002)) is None, "it was so from the start"


@pytest.mark.parametrize("bad", [math.nan, math.inf, None])
def test_no_number_stops_at_once(bad):
    rows = history(3)
    rows[-1]["kl"] = bad
    assert "stopped at step 8: kl not finite (nan or inf); lower --learning_rate, or use --bf16" in rings(rows)
    rows[-1] = {"step": 8, "loss": 0.5, "explained_variance": math.nan}  # returns may all be equal
    assert rings(rows) is None


def test_grpo_logs_are_read_by_their_own_names():
    row = {
        "step": 3, "reward": 1.0, "kl": 0.5, "completions/mean_length": 200.0, "completions/clipped_ratio": 0.25,
        "rewards/format/mean": 0.9, "entropy": 0.3, "rewards/format/std": 0.1, "clip_ratio/region_mean": 0.01,
    }  # fmt: skip
    assert measures.of(row) == {
        "reward": 1.0, "kl": 100.0, "length": 200.0, "clipped": 0.25, "eos": 0.75, "format": 0.9, "entropy": 0.3,
        "clip_fraction": 0.01,
    }  # fmt: skip
    rows = [{**row, "step": step} for step in range(3)]
    told = Alarms(kl_flag="--beta").check(rows)
    assert "is 100.0 nats an answer, above 50; raise --beta or lower" in told, "TRL's KL is that of a token"


def test_a_watch_reads_a_log_that_grows_once_and_another_log_anew():
    rows, watch = history(30, kl=after(25, 80.0, 2.0)), Alarms()
    assert [watch.check(rows[:end]) is None for end in range(31)] == [True] * 27 + [False] * 4
    assert watch.check(history(30)) is None


def test_values_that_cannot_be_meant_are_named_by_their_flags():
    assert Thresholds().problems() == []
    found = Thresholds(kl=-1, kl_rise=0.5, cut=1.5, window=1).problems()
    assert found == [
        "--alarm_kl -1: expected at least 0 (0 switches the alarm off)",
        "--alarm_cut 1.5: expected a share below 1 (0 switches it off)",
        "--alarm_kl_rise 0.5: expected a factor above 1 (0 switches it off)",
        "--alarm_window 1: expected at least 2 rollouts",
    ]


def test_as_a_callback_it_ends_the_run_and_leaves_curves(tmp_path):
    from transformers import TrainerControl, TrainerState, TrainingArguments

    args = TrainingArguments(output_dir=str(tmp_path), report_to="none")
    watch = alarms.callback(Alarms(), tmp_path / "plots")
    state = TrainerState(log_history=history(20), is_world_process_zero=True)
    watch.on_log(args, state, TrainerControl())
    assert not (tmp_path / "plots").exists()
    state.log_history = history(24, kl=after(20, 80.0, 2.0))
    with pytest.raises(Alarmed, match="stopped at step 92: the KL to the reference is 80.0 nats"):
        watch.on_log(args, state, TrainerControl())
    assert (tmp_path / "plots" / "kl.png").exists()


def test_it_stops_a_trainer_before_that_steps_checkpoint(tmp_path):
    import torch
    from transformers import Trainer, TrainingArguments

    class Runaway(Trainer):
        """A model that learns nothing, and says that its KL grows."""

        def compute_loss(self, model, inputs, **_):
            return model(inputs["x"]).pow(2).mean()

        def log(self, logs, *args):
            super().log({**logs, "kl": 20.0 * self.state.global_step}, *args)

    args = TrainingArguments(
        output_dir=str(tmp_path), report_to="none", use_cpu=True, max_steps=20, logging_steps=1, save_steps=1,
        per_device_train_batch_size=1, remove_unused_columns=False, disable_tqdm=True,
    )  # fmt: skip
    rows = [{"x": torch.ones(1)} for _ in range(20)]
    trainer = Runaway(torch.nn.Linear(1, 1), args, train_dataset=rows, callbacks=[alarms.callback(Alarms())])
    with pytest.raises(Alarmed, match="stopped at step 4: the KL to the reference is 60.0 nats"):
        trainer.train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == [f"checkpoint-{n}" for n in (1, 2, 3)]


@pytest.mark.parametrize("module", ["trl.trainer.grpo_trainer", "trl.trainer.rloo_trainer"])
def test_trls_trainers_still_log_by_these_names(module):
    source = inspect.getsource(pytest.importorskip(module))
    names = ["completions/mean_length", "completions/clipped_ratio", "rewards/{reward_func_name}/mean"]
    names += ['["kl"]', '["entropy"]', '["reward"]']
    assert [name for name in names if name not in source] == []


def test_an_alarm_ends_a_command_with_a_sentence_and_the_status_of_a_failed_check(capsys):
    def main():
        raise Alarmed("stopped at step 8: the answers shrank")

    with pytest.raises(SystemExit) as ended:
        errors.run_command(main)
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: stopped at step 8: the answers shrank\n"
