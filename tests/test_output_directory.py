"""The directory a run writes to, and what the trainer or a library refuses when it is set up.

sh run_tests.sh tests/test_output_directory.py
"""

import os
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import AutoConfig

from bedside import outputs, runner
from bedside.data import pack
from bedside.errors import ConfigError


def test_an_output_directory_that_is_used_needs_a_word(tmp_path):
    (tmp_path / "checkpoint-5").mkdir()
    with pytest.raises(ConfigError, match="holds an earlier run; add --overwrite_output_dir True to replace it"):
        outputs.prepare_output(str(tmp_path), overwrite=False, resuming=False)
    outputs.prepare_output(str(tmp_path), overwrite=False, resuming=True)
    assert (tmp_path / "checkpoint-5").is_dir()


def test_overwriting_removes_only_what_a_run_leaves(tmp_path):
    for name in ("checkpoint-5", "runs", "my_notes"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("x")
    for name in ("lineage.json", "adapter_model.safetensors", "adapter_config.json", "notes.txt", "rows.jsonl"):
        (tmp_path / name).write_text("x")
    before = sorted(path.name for path in tmp_path.iterdir())
    outputs.prepare_output(str(tmp_path), overwrite=True, resuming=False)
    outputs.clear_output(tmp_path, overwrite=True, resuming=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == before  # bad data must not cost the old run
    outputs.clear_output(tmp_path, overwrite=True, resuming=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["my_notes", "notes.txt", "rows.jsonl"]


def test_a_directory_of_someone_else_is_left_alone(tmp_path):
    (tmp_path / "config.json").write_text("x")
    outputs.clear_output(tmp_path, overwrite=True, resuming=False)
    assert (tmp_path / "config.json").exists()


def test_an_output_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match=r"cannot be written \((Not a directory|File exists)\); choose another"):
        outputs.prepare_output(str(tmp_path / "file"), overwrite=False, resuming=False)
    if os.geteuid() != 0:  # root writes everywhere
        tmp_path.chmod(0o500)
        with pytest.raises(ConfigError, match=r"cannot be written \(Permission denied\)"):
            outputs.prepare_output(str(tmp_path / "new"), overwrite=False, resuming=False)


def test_what_the_trainer_refuses_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", "before")  # and afterwards as it was

    def refuses(**flags):
        raise ValueError("save_steps must be\n  a multiple of eval_steps")

    with pytest.raises(
        ConfigError, match="^the trainer refuses these flags: save_steps must be a multiple of eval_steps$"
    ):
        runner.trainer_config(refuses, {"output_dir": str(tmp_path)}, None)
    made = runner.trainer_config(
        lambda **flags: SimpleNamespace(
            seed=1,
            process_index=0,
            per_device_train_batch_size=1,
            per_device_eval_batch_size=1,
            gradient_accumulation_steps=1,
            gradient_checkpointing=False,
        ),
        {"output_dir": str(tmp_path)},
        "logs",
    )
    assert made.seed == 1
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "logs"


def test_what_a_library_refuses_is_a_sentence():
    with pytest.raises(ConfigError) as caught, runner.refusals():
        AutoConfig.for_model("a-model-that\nnobody-has")
    assert caught.value.problems[0].startswith("the trainer refuses these flags: ")
    assert "a-model-that nobody-has" in caught.value.problems[0]


def test_what_this_package_raises_is_raised_again_as_it_is():
    with pytest.raises(ValueError, match="^sample 0 has 9 tokens, a row holds 8$"), runner.refusals():
        pack.best_fit(np.array([9]), 8)
    with pytest.raises(ConfigError, match="^--beta 0: expected more$"), runner.refusals():
        raise ConfigError("--beta 0: expected more")
