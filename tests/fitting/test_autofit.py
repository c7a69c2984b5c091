"""Memory runs out in a stage: it ends in a sentence, and with --auto_fit True it fits itself.

sh run_tests.sh tests/fitting/test_autofit.py
"""

import json

import pytest
import torch

import dpo_training
import supervised_finetuning
from bedside import lineage
from bedside.errors import ConfigError
from bedside.fitting import retry
from bedside.fitting.shortage import OutOfMemory
from tests.fitting.hungry import SAID, Hungry, batch, flags
from tests.stages.files import losses, same

sft, dpo = supervised_finetuning.main, dpo_training.main


def test_a_stage_survives_and_is_the_run_with_these_settings(tiny_model_dir, tmp_path, monkeypatch, caplog):
    sft(flags(tiny_model_dir, tmp_path, "given", *batch(1, 4)))
    sft(flags(tiny_model_dir, tmp_path, "roomy", *batch(4, 1)))
    hungry = Hungry(monkeypatch, rows=1)
    sft(flags(tiny_model_dir, tmp_path, "fitted", *batch(4, 1), "--auto_fit", "True"))
    assert max(hungry.seen[-5:]) == 1 and len(hungry.alive) == 3  # 4, 2, 1
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "given"), abs=1e-5)
    assert same(tmp_path / "fitted", tmp_path / "given")
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "roomy"), abs=1e-5)
    used = lineage.read(tmp_path / "fitted")
    asked = json.dumps(used)
    assert '"per_device_train_batch_size": 1' in asked and '"gradient_accumulation_steps": 4' in asked
    assert '"auto_fit": true' in asked


def test_pairs_keep_their_loss(tiny_model_dir, tmp_path, monkeypatch):
    dpo(flags(tiny_model_dir, tmp_path, "roomy", *batch(4, 1), stage="dpo"))
    Hungry(monkeypatch, rows=4)  # a pair is two rows
    dpo(flags(tiny_model_dir, tmp_path, "fitted", *batch(4, 1), "--auto_fit", "True", stage="dpo"))
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "roomy"), abs=1e-5)


def test_without_the_flag_the_stage_ends_in_the_sentence(tiny_model_dir, tmp_path, monkeypatch):
    Hungry(monkeypatch, rows=1)
    with pytest.raises(OutOfMemory) as caught:
        sft(flags(tiny_model_dir, tmp_path, "out", *batch(4, 1)))
    first, disk, next_, *_ = str(caught.value).splitlines()
    assert first.startswith("the GPU's memory ran out (sft, training in step 1): micro-batches of 4 rows, the last of")
    assert "1.50 GiB more were asked for" in first and disk == "on the disk: no checkpoint was made yet"
    assert "python supervised_finetuning.py --model_name_or_path" in next_
    assert next_.endswith("--per_device_train_batch_size 2 --gradient_accumulation_steps 2")
    assert caught.value.__cause__ is None and caught.value.__context__ is None


def test_three_tries_are_all(tiny_model_dir, tmp_path, monkeypatch):
    hungry = Hungry(monkeypatch, rows=0)
    with pytest.raises(OutOfMemory) as caught:
        sft(flags(tiny_model_dir, tmp_path, "out", *batch(8, 1), "--auto_fit", "True"))
    assert len(hungry.alive) == 4
    assert "--auto_fit True tried 3 times: --per_device_train_batch_size 4 --gradient_accumulation_steps 2, " in str(
        caught.value
    )
    assert "--offload_checkpoints True" in str(caught.value).splitlines()[-2]


def test_a_retry_goes_on_from_a_sealed_checkpoint(tiny_model_dir, tmp_path, monkeypatch, caplog):
    more = ("--save_strategy", "steps", "--save_steps", "1", "--overwrite_output_dir", "True")
    sft(flags(tiny_model_dir, tmp_path, "roomy", *batch(2, 2), *more))
    hungry = Hungry(monkeypatch, rows=1, after=5)  # two steps of two micro-batches each, then too little
    sft(flags(tiny_model_dir, tmp_path, "fitted", *batch(2, 2), *more, "--auto_fit", "True"))
    assert len(hungry.alive) == 2
    assert losses(tmp_path / "fitted") == pytest.approx(losses(tmp_path / "roomy"), abs=1e-5)


def test_a_change_of_the_training_is_left_to_the_user(tiny_model_dir, tmp_path, monkeypatch):
    """A base in 4 bit, or shorter rows, would be another training: it is named, and not tried."""
    hungry = Hungry(monkeypatch, rows=0)
    error = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 64000 bytes.")
    monkeypatch.setattr(torch, "OutOfMemoryError", lambda _: error)
    with pytest.raises(OutOfMemory, match="host memory ran out") as caught:
        sft(flags(tiny_model_dir, tmp_path, "out", *batch(1, 1), "--auto_fit", "True"))
    assert len(hungry.alive) == 1
    assert str(caught.value).splitlines()[-1].endswith("--qlora True")


def test_memory_that_runs_out_while_loading_is_told(tiny_model_dir, tmp_path, monkeypatch):
    from bedside import policy

    def load(*_):
        raise torch.OutOfMemoryError(SAID)

    monkeypatch.setattr(policy, "load", load)
    with pytest.raises(OutOfMemory, match=r"ran out \(sft, loading the model\): .*(?s:.)*--qlora True$"):
        sft(flags(tiny_model_dir, tmp_path, "out", "--auto_fit", "True"))


def test_flags_that_cannot_be_are_refused(tiny_model_dir, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="--auto_find_batch_size True: shrinks .* use --auto_fit True"):
        sft(flags(tiny_model_dir, tmp_path, "out", "--auto_find_batch_size", "True"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="--auto_fit True under a launcher: .* settings on one GPU, then drop"):
        sft(flags(tiny_model_dir, tmp_path, "out", "--auto_fit", "True"))


def test_another_error_comes_through_as_it_is():
    def main(argv=None):
        raise KeyError(argv[0])

    with pytest.raises(KeyError, match="x"):
        retry.fitted(main)(["x"])
    assert retry.fitted(lambda argv: 3)([]) == 3
