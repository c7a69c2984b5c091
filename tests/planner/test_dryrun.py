"""`--dry_run True` of every stage: what it tells, that it loads no weight and writes nothing.

sh run_tests.sh tests/planner/test_dryrun.py
"""

import importlib

import pytest

from bedside import models
from bedside.args import RunArguments
from bedside.errors import ConfigError
from bedside.planner import dryrun, shapes
from tests.resume import toys

STAGES = ("sft", "pt", "rm", "dpo", "orpo", "kto", "grpo", "ppo")


@pytest.fixture
def no_weights(monkeypatch):
    """A base that nobody may load."""

    def refuse(*_, **__):
        raise AssertionError("a dry run loads no weights")

    monkeypatch.setattr(models, "load_base", refuse)


@pytest.fixture
def seven_billion(monkeypatch):
    """The tiny model's rows and tokenizer, with the size of Qwen2.5-7B."""
    large = shapes.model_of("Qwen2.5-7B")
    monkeypatch.setattr(shapes, "from_config", lambda *_: large)


def told(stage, tmp_path, model, capsys, *more) -> str:
    """What a dry run of the stage prints."""
    argv = toys.flags(stage, model, toys.write(stage, tmp_path), tmp_path / "out", "--dry_run", *more)
    assert importlib.import_module(toys.SCRIPTS[stage]).main(argv) is None
    assert not (tmp_path / "out").exists(), "a dry run writes nothing"
    return capsys.readouterr().out


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_tells_and_ends(stage, tmp_path, tiny_model_dir, no_weights, capsys):
    loss = ["--loss_type", "apo_zero_unpaired"] if stage == "kto" else []  # the other compares rows of a micro-batch
    out = told(stage, tmp_path, tiny_model_dir, capsys, "--gpu", "RTX 4090", *loss)
    assert out.startswith(f"{stage.upper()} of {tiny_model_dir} (") and "on 1 x RTX 4090: fits" in out
    assert "peak of torch's allocator" in out and "tokens/s" in out
    assert "batch 1 x 2 accumulated" in out and "no layer checkpointed" in out
    # max_steps 6 x 2 rows, not --num_train_epochs
    work = {
        "pt": "11 rows of 28 tokens, 1.09 epochs", "sft": "8 rows of 58 tokens, 1.5 epochs",
        "kto": "16 rows of 59 tokens, 0.75 epochs", "grpo": "12 answers of 48 tokens, 1 epoch",
        "ppo": "12 answers of 48 tokens, 1 epoch",
    }  # fmt: skip
    assert f"time:  {work.get(stage, '8 pairs of 118 tokens, 1.5 epochs')}: " in out


def test_it_counts_the_tokens_that_would_be_trained_on(tmp_path, tiny_model_dir, no_weights, capsys):
    argv = ("--gpu", "H200", "--max_steps", "-1", "--num_train_epochs", "2", "--packing", "True")
    out = told("sft", tmp_path, tiny_model_dir, capsys, *argv)
    # Eight rows make 468 tokens, which lie in six rows of 96.
    assert "time:  6 rows of 78 tokens, 2 epochs: " in out


def test_without_a_gpu_the_smallest_card_that_holds_it_is_taken(tmp_path, tiny_model_dir, no_weights, capfd):
    argv = toys.flags("sft", tiny_model_dir, toys.write("sft", tmp_path), tmp_path / "out", "--dry_run", "True")
    importlib.import_module("supervised_finetuning").main(argv)
    said = capfd.readouterr()
    assert "no GPU here: planned for RTX 3060 Ti, the smallest of the known cards that holds this" in said.err
    assert "on 1 x RTX 3060 Ti: fits" in said.out


def test_what_does_not_fit_ends_in_flags_that_do(tmp_path, tiny_model_dir, seven_billion, capsys):
    argv = toys.flags("sft", tiny_model_dir, toys.write("sft", tmp_path), tmp_path / "out", "--dry_run", "--gpu",
                      "8GB", "--qlora", "True", "--max_length", "4096", "--packing", "True")  # fmt: skip
    main = importlib.import_module("supervised_finetuning").main
    with pytest.raises(ConfigError) as raised:
        main(argv)
    assert "this does not fit a card of 8 GB; this would: " in str(raised.value)
    assert "--gradient_checkpointing True" in str(raised.value)
    assert "on 1 x a card of 8 GB: does not fit" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="does not fit 1 x a card of 8 GB: the smallest setting .*--precision qlora"):
        main([*argv, "--qlora", "False"])


def test_faster_flags_are_named(tmp_path, tiny_model_dir, seven_billion, capsys):
    out = told("sft", tmp_path, tiny_model_dir, capsys, "--gpu", "H200", "--qlora", "True",
               "--gradient_accumulation_steps", "16", "--gradient_checkpointing", "True")  # fmt: skip
    assert "faster with the same batch" in out
    assert "--lora_dropout 0" in out and "--per_device_train_batch_size" in out


def test_values_that_mean_the_same_are_no_change():
    assert dryrun._same(0.0, 0) and dryrun._same("None", None) and dryrun._same(True, "True")
    assert not dryrun._same(0.05, 0) and not dryrun._same("auto", None)


def test_another_launcher_is_named(tmp_path, tiny_model_dir, seven_billion, monkeypatch, capsys):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    out = told("sft", tmp_path, tiny_model_dir, capsys, "--gpu", "H200", "--gpus", "2", "--qlora", "True")
    assert "in shards" in out and ": torchrun --nproc_per_node 2 ... --" in out


def test_flags_of_a_dry_run_without_one():
    wishes = RunArguments(gpu="RTX 4090", gpus=2)
    assert [problem.partition(":")[0] for problem in dryrun.problems(wishes)] == [
        "--gpu says what a dry run is for",
        "--gpus says what a dry run is for",
    ]
    assert dryrun.problems(RunArguments(dry_run=True, gpus=0)) == ["--gpus 0: expected at least 1"]
    assert dryrun.problems(RunArguments(dry_run=True, gpu="RTX 4090", gpus=2)) == []
    with pytest.raises(ConfigError, match="unknown card"):
        dryrun.problems(RunArguments(dry_run=True, gpu="RTX 9999"))


def test_an_earlier_run_stays_as_it_is(tmp_path, tiny_model_dir, no_weights, capfd):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "lineage.json").write_text("{}")
    argv = toys.flags("sft", tiny_model_dir, toys.write("sft", tmp_path), tmp_path / "out", "--dry_run", "--gpu",
                      "24GB")  # fmt: skip
    main = importlib.import_module("supervised_finetuning").main
    main(argv)
    assert "the run itself would not begin: --output_dir" in capfd.readouterr().err
    main([*argv, "--overwrite_output_dir", "True"])
    assert "would not begin" not in capfd.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["lineage.json"]
