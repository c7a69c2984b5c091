"""What of a directory goes to a hub, and which directories are not sent; the client is recorded.

sh run_tests.sh tests/hub/test_parcel.py
"""

import json

import pytest

from bedside.errors import ConfigError
from bedside.hub import __main__ as command
from bedside.hub import parcel
from tests.hub.finished import SENT


def test_what_is_not_a_finished_model_is_not_sent(tmp_path, model):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="no lineage.json; give a directory that a stage or a merge finished"):
        parcel.pack(tmp_path / "empty")
    (model / "adapter_model.safetensors").unlink()
    with pytest.raises(ConfigError, match="holds no weights in safetensors"):
        parcel.pack(model)


def test_the_command_lists_and_sends_no_damaged_directory(model, capsys):
    assert command.main([str(model), "--hub_model_id", "me/m", "--dry_run"]) == 0
    assert [line.split()[-1] for line in capsys.readouterr().out.splitlines()] == SENT
    (model / "chat_template.jinja").write_text("another one")
    with pytest.raises(
        ConfigError, match="chat_template.jinja has 11 bytes, was saved with 1; what is damaged is not"
    ):
        command.main([str(model), "--hub_model_id", "me/m"])
    with pytest.raises(ConfigError, match="expected one directory and a name"):
        command.main([str(model)])


def test_an_adapter_whose_base_is_on_this_machine_only_is_told(model):
    manifest = json.loads((model / "lineage.json").read_text())
    assert parcel.only_here(model) is None
    manifest["load"]["base"]["name"] = None
    (model / "lineage.json").write_text(json.dumps(manifest))
    assert parcel.only_here(model) == "qwen"
