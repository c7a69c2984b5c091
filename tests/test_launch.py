"""What a launcher asked for: told from its environment, and refused where it cannot work.

sh run_tests.sh tests/test_launch.py
"""

import json

import pytest
import yaml

from bedside import launch
from bedside.errors import ConfigError, LineageError

VARIABLES = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP", "ACCELERATE_DEEPSPEED_ZERO_STAGE",
             "ACCELERATE_DEEPSPEED_CONFIG_FILE", "WORLD_SIZE", "DS_ACCELERATOR")  # fmt: skip


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch):
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what a test sets goes away afterwards
        monkeypatch.delenv(name)


def test_the_kind_of_launch(monkeypatch):
    assert launch.kind({}) == "single"
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert launch.kind({}) == "ddp"
    assert launch.kind({"fsdp": True}) == "fsdp"
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert launch.kind({}) == "fsdp"
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    assert launch.kind({}) == "zero3"


def test_the_stage_of_a_deepspeed_file(tmp_path):
    path = tmp_path / "ds.json"
    path.write_text(json.dumps({"zero_optimization": {"stage": 1}}))
    assert launch.kind({"deepspeed": str(path)}) == "zero1"
    path.write_text("{")
    with pytest.raises(ConfigError, match="--deepspeed .*ds.json: not JSON .*; expected a DeepSpeed configuration"):
        launch.kind({"deepspeed": str(path)})


def problems(trainer=None, quantised=False, start="true", questions=None):
    return launch.problems({"do_train": True, **(trainer or {})}, quantised, start, questions)


def test_what_cannot_work_under_shards_is_refused_with_what_can(monkeypatch):
    assert problems(quantised=True, start="pissa", questions="heldout.jsonl") == []
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "3")
    first, second, third = problems(quantised=True, start="pissa", questions="heldout.jsonl")
    assert first.startswith("a quantised base under ZeRO-3") and "use --config_file accelerate/fsdp2.yaml" in first
    assert second.startswith("--init_lora_weights pissa under ZeRO-3") and "accelerate/zero2.yaml" in second
    assert third.startswith("--eval_file heldout.jsonl under zero3") and "inference.py" in third
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", "2")
    assert problems(quantised=True, start="pissa", questions="heldout.jsonl") == []
    assert problems({"do_train": False}) == [
        "an evaluation without training under zero2: run it with accelerate/ddp.yaml or torchrun"
    ]


def test_a_cpu_shards_only_without_use_cpu(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    trainer = {}
    launch.on_cpu(trainer)
    assert trainer == {"use_cpu": True}
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    launch.on_cpu(trainer)
    assert trainer == {"use_cpu": False, "ddp_backend": "gloo", "dataloader_pin_memory": False}


def test_one_process_decides_for_itself():
    assert launch.once(lambda: "here") == "here"
    with pytest.raises(LineageError, match="lost"):
        launch.once(lambda: (_ for _ in ()).throw(LineageError("lost")))


@pytest.mark.parametrize("name", ["ddp", "fsdp2", "zero1", "zero2", "zero3"])
def test_the_configurations_say_what_they_are(repo, name):
    text = (repo / "accelerate" / f"{name}.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(text)
    kinds = {"ddp": "MULTI_GPU", "fsdp2": "FSDP"}
    assert config["distributed_type"] == kinds.get(name, "DEEPSPEED")
    assert config["mixed_precision"] == "no" and config["num_machines"] == 1
    assert text.startswith("# ") and f"--config_file accelerate/{name}.yaml" in text
    if name.startswith("zero"):
        assert config["deepspeed_config"]["zero_stage"] == int(name[-1])
