"""What a run needed beside what was planned.

sh run_tests.sh tests/fitting/test_reality.py
"""

from types import SimpleNamespace

import pytest

import supervised_finetuning
from bedside.fitting import attempt, reality
from bedside.fitting.reality import Measured, Planned
from bedside.planner import cards, memory, shapes
from tests.fitting.hungry import flags

sft = supervised_finetuning.main


def test_plan_and_reality_in_a_line():
    told = reality.compare(Planned(8.0, 8.1, 6000.0), Measured(10.0, 4000.0))
    assert told == (
        "after step 2: peak memory 10.00 GB, planned 8.00 GB (the plan is 20 % below); 4,000 tokens/s, planned 6,000"
    )
    told = reality.compare(Planned(8.0, 12.0, None), Measured(7.5, 4000.0), 1)
    assert told == (
        "after step 1: peak memory 7.50 GB, planned 8.00 GB (the plan is 7 % above); the largest micro-batch may take "
        "12.00 GB; 4,000 tokens/s; the first step with its preparations included"
    )
    assert reality.compare(None, Measured(None, None)) == ""
    assert reality.compare(None, Measured(1.0, None)) == "after step 2: peak memory 1.00 GB"


def test_much_more_than_planned_is_far():
    plan = Planned(8.0, 8.0, None)
    assert reality.far(plan, Measured(10.0, None)) and not reality.far(plan, Measured(9.0, None))
    assert not reality.far(plan, Measured(None, None))


def test_the_line_comes_after_the_second_step(tiny_model_dir, tmp_path, capfd):
    sft(flags(tiny_model_dir, tmp_path, "out"))
    said = capfd.readouterr().err
    assert said.count("after step") == 1
    assert "after step 2: " in said and "tokens/s; on a GPU this line compares memory and speed with the plan" in said


def test_a_run_of_one_step_has_a_line_too(tiny_model_dir, tmp_path, capfd):
    sft([*flags(tiny_model_dir, tmp_path, "out"), "--max_steps", "1"])
    said = capfd.readouterr().err
    assert said.count("after step") == 1 and "; the first step with its preparations included" in said


@pytest.fixture
def seen(monkeypatch):
    """A run on an H200 that is none: the plans that were made, with what they were made for."""
    made, own = [], reality._planned

    def planned(trainer, now, measured):
        made.append((own(trainer, now, measured), measured, trainer))
        return made[-1][0]

    monkeypatch.setattr(reality, "_planned", planned)
    monkeypatch.setattr(reality, "_card", lambda _: cards.CARDS["H200"])
    tell = reality.tell

    def on_gpu(trainer, now, measured, steps):
        args = SimpleNamespace(**vars(trainer.args) | {"device": SimpleNamespace(type="cuda")}, world_size=1)
        like = SimpleNamespace(
            args=args, accelerator=trainer.accelerator, model=trainer.model, train_dataset=trainer.train_dataset
        )
        tell(like, now, measured._replace(peak_gb=1.0), steps)

    monkeypatch.setattr(reality, "tell", on_gpu)
    return made


def test_the_plan_is_that_of_the_micro_batches_that_were_seen(tiny_model_dir, tmp_path, seen, capfd):
    sft([*flags(tiny_model_dir, tmp_path, "out"), "--lora_r", "4", "--lora_dropout", "0",
         "--gradient_checkpointing", "False"])  # fmt: skip
    ((plan, measured, trainer),) = seen
    model = shapes.model_of(tiny_model_dir)
    whole = memory.Setting(
        "sft", "lora", 1, measured.largest, lora_r=4, whole=model.shape.layers, kernels=False, width=4, stored=4
    )
    assert plan.peak_gb == pytest.approx(memory.peak(model, whole) / 1e9)
    assert plan.largest_gb >= plan.peak_gb and plan.tokens_per_second > 0
    assert measured.largest >= measured.mean > 0
    said = capfd.readouterr().err
    assert "after step 2: peak memory 1.00 GB, planned 0.00 GB" in said
    assert "more memory is used than was planned" in said


def test_a_model_that_is_not_counted_says_so_and_trains_on(tiny_model_dir, tmp_path, seen, monkeypatch, capfd):
    def refuse(*_):
        raise shapes.ConfigError("mamba is not counted here")

    monkeypatch.setattr(shapes, "from_config", refuse)
    sft(flags(tiny_model_dir, tmp_path, "out"))
    said = capfd.readouterr().err
    assert "no plan for this run: mamba is not counted here" in said and "after step 2: peak memory 1.00 GB; " in said
    assert (tmp_path / "out" / "lineage.json").exists()


def test_nobody_asks_without_an_attempt():
    assert reality.plan_of(None, attempt.Attempt(), Measured(1.0, 1.0)) is None
