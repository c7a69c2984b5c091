"""A whole stage that reports to TensorBoard and Weights & Biases and sends its model: what leaves the machine.

sh run_tests.sh tests/hub/test_loggers.py
"""

import importlib.machinery
import sys
import types
from types import SimpleNamespace

import pytest

import supervised_finetuning
from bedside import lineage
from bedside.errors import ConfigError
from bedside.hub import push
from tests.hub.recorder import SECRET, copied, refused
from tests.resume import toys

pytestmark = pytest.mark.slow


class Config(dict):
    """wandb.config: a mapping whose `update` takes a flag."""

    def update(self, values, allow_val_change=False):
        super().update(values)


class Wandb(types.ModuleType):
    """Weights & Biases' client as far as transformers uses it; keeps what it is given."""

    def __init__(self):
        super().__init__("wandb")
        self.__spec__ = importlib.machinery.ModuleSpec("wandb", None)
        self.run, self.config, self.summary = None, Config(), {}
        self.started, self.logged, self.artifacts = {}, [], []

    def init(self, **known):
        self.started = known
        self.run = SimpleNamespace(
            id="1", name="run", url="https://wandb.ai/x", _label=lambda **_: None,
            log_artifact=lambda *found, **_: self.artifacts.append(found),
            summary=self.summary,
        )  # fmt: skip
        return self.run

    def log(self, values, **_):
        self.logged.append(values)

    def define_metric(self, *_, **__):
        pass

    def watch(self, *_, **__):
        pass

    def finish(self):
        pass


@pytest.fixture
def wandb(monkeypatch):
    """The client in the place of the installed one."""
    module = Wandb()
    util = types.ModuleType("wandb.sdk.lib.config_util")
    util.ConfigError = type("ConfigError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "wandb", module)
    from transformers.integrations import integration_utils
    from trl.trainer import base_trainer

    for user in (integration_utils, base_trainer):  # another test may have imported them without the client
        monkeypatch.setattr(user, "wandb", module, raising=False)
    for name in ("wandb.sdk", "wandb.sdk.lib"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "wandb.sdk.lib.config_util", util)
    monkeypatch.setenv("WANDB_API_KEY", "0123456789abcdef")
    monkeypatch.delenv("WANDB_LOG_MODEL", raising=False)
    return module


def flags(tmp_path, model: str, *more: str) -> list[str]:
    return toys.flags(
        "sft", model, toys.write("sft", tmp_path, 8), tmp_path / "out", "--max_steps", "2", "--push_to_hub", "True",
        "--hub_model_id", "me/m", *more,
    )  # fmt: skip


def test_numbers_go_to_the_loggers_the_model_to_the_hub_and_no_text_anywhere(
    monkeypatch, tmp_path, tiny_model_dir, wandb, hub
):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    supervised_finetuning.main(flags(tmp_path, tiny_model_dir, "--report_to", "wandb", "tensorboard"))
    output = tmp_path / "out"
    assert len([values for values in wandb.logged if "train/loss" in values]) == 2 and wandb.artifacts == []
    told = repr((wandb.started, wandb.config, wandb.logged))
    assert "Drink water" not in told and SECRET not in told and "0123456789abcdef" not in told

    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(output / "runs")).Reload()
    assert len(events.Scalars("train/loss")) == 2

    # The repository was made before the model was trained, and the model went when it was sealed.
    assert [name for name, _ in hub.calls][0] == "create_repo" and hub.calls[-1][0] == "create_commit"
    files = copied(hub, tmp_path / "copy")
    assert {"adapter_model.safetensors", "tokenizer.json", "chat_template.jinja", "lineage.json", "README.md"} <= set(
        files
    )
    assert not {"training_args.bin", "rejected.jsonl", "trainer_state.json"} & set(files)
    everything = b"".join(content for name, content in files.items() if not name.endswith(".safetensors"))
    assert b"Drink water" not in everything and str(tmp_path).encode() not in everything
    assert SECRET.encode() not in everything
    assert lineage.damage(tmp_path / "copy") is None


def test_a_failing_upload_costs_no_model(tmp_path, tiny_model_dir, hub):
    hub.fails["create_commit"] = refused(500)
    with pytest.raises(push.PushFailed, match="the model is finished and sealed in .*out; sending it to me/m failed"):
        supervised_finetuning.main(flags(tmp_path, tiny_model_dir))
    assert lineage.damage(tmp_path / "out") is None


def test_a_token_that_may_not_write_ends_the_run_before_the_training(tmp_path, tiny_model_dir, hub):
    hub.fails["create_repo"] = refused(403)
    with pytest.raises(ConfigError, match="does not let this token write there"):
        supervised_finetuning.main(flags(tmp_path, tiny_model_dir))
    assert not list((tmp_path / "out").glob("adapter_model*"))


def test_directories_of_training_are_not_sent_to_weights_and_biases(monkeypatch, tmp_path, tiny_model_dir, wandb):
    monkeypatch.setenv("WANDB_LOG_MODEL", "checkpoint")
    with pytest.raises(ConfigError, match="WANDB_LOG_MODEL=checkpoint: would send directories of the training"):
        supervised_finetuning.main(flags(tmp_path, tiny_model_dir, "--report_to", "wandb"))
