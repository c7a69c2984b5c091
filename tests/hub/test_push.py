"""What is sent to a hub, what never is, and what becomes of a model whose upload fails; the client is recorded.

sh run_tests.sh tests/hub/test_push.py
"""

import json

import huggingface_hub
import pytest

from bedside import lineage
from bedside.errors import ConfigError
from bedside.hub import __main__ as command
from bedside.hub import push
from tests.hub.finished import SENT
from tests.hub.recorder import SECRET, copied, refused


def test_the_model_and_what_describes_it_are_sent_in_one_commit_and_nothing_else(model, hub, tmp_path):
    wish = push.ready(push.Wish("outputs-sft"))
    assert wish.repo == "me/outputs-sft"
    push.finished(wish, model)
    assert [name for name, _ in hub.calls].count("create_commit") == 1
    assert hub.call("create_repo") == {"repo_id": "outputs-sft", "private": True, "exist_ok": True}
    files = copied(hub, tmp_path / "copy")
    assert list(files) == SENT
    everything = b"".join(files.values())
    assert (
        b"the patient's words" not in everything and b"dr.li" not in everything and SECRET.encode() not in everything
    )
    # The copy verifies like the original: it is told which files it has.
    assert lineage.damage(tmp_path / "copy") is None and lineage.damage(model) is None
    assert lineage.read(tmp_path / "copy")["id"] == lineage.read(model)["id"]
    assert json.loads(files["adapter_config.json"])["base_model_name_or_path"] == "Qwen/Qwen3-0.6B"
    assert json.loads(files["tokenizer_config.json"]) == {"eos_token": "</s>", "name_or_path": "qwen"}
    assert list(json.loads(files["ledger.json"])["files"]) == ["a.jsonl", "a.jsonl (2)", "c.jsonl"]
    assert json.loads(files["lineage.json"])["args"] == {"train_file_dir": "patients", "output_dir": "outputs-sft"}


def test_the_token_is_in_no_call_and_no_sentence(model, hub, capfd):
    hub.fails["create_commit"] = refused(403)
    with pytest.raises(push.PushFailed) as failed:
        push.finished(push.ready(push.Wish("me/m")), model)
    said = capfd.readouterr()
    assert SECRET not in f"{hub.calls}{failed.value}{said.out}{said.err}"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (lambda: refused(403), "does not let this token write there (status 403)"),
        (lambda: refused(500), "answered with status 500"),
        (lambda: ConnectionError("no route"), "cannot be reached (no route)"),
        (lambda: RuntimeError("a fault of the client"), "RuntimeError: a fault of the client"),
    ],
)
def test_a_failing_upload_leaves_the_model_and_says_how_to_send_it_later(model, hub, error, sentence):
    wish = push.ready(push.Wish("me/m", False))
    hub.fails["create_commit"] = error()
    with pytest.raises(push.PushFailed) as failed:
        push.finished(wish, model)
    assert failed.value.status == 1 and sentence in str(failed.value)
    assert f"the model is finished and sealed in {model}" in str(failed.value)
    later = f"python -m bedside.hub {model} --hub_model_id me/m --hub_private_repo False"
    assert str(failed.value).endswith(f"Send it later: {later}")
    assert lineage.damage(model) is None
    hub.fails.clear()
    assert command.main(later.split()[3:]) == 0  # and that command does it
    assert hub.calls[-1][0] == "create_commit" and hub.calls[-1][1]["repo_id"] == "me/m"


def test_a_public_repository_takes_nothing_private(hub):
    hub.private = False
    with pytest.raises(ConfigError, match="me/m: is there already and public; choose another name"):
        push.ready(push.Wish("me/m"))
    assert push.ready(push.Wish("me/m", private=False)).repo == "me/m"


def test_without_a_token_or_the_network_the_run_ends_before_the_training(monkeypatch, hub):
    hub.fails["create_repo"] = ConnectionError("name not known")
    with pytest.raises(
        ConfigError, match="cannot be reached .name not known.; mend the network, or drop --push_to_hub"
    ):
        push.ready(push.Wish("me/m"))
    hub.fails["create_repo"] = refused(401)
    with pytest.raises(ConfigError, match="does not let this token write there .status 401."):
        push.ready(push.Wish("me/m"))
    monkeypatch.setattr(huggingface_hub, "get_token", lambda: None)
    with pytest.raises(ConfigError, match="--push_to_hub: no token; put one with write access into HF_TOKEN"):
        push.ready(push.Wish("me/m"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE=1 is set"):
        push.ready(push.Wish("me/m"))


def test_other_processes_ask_and_send_nothing(monkeypatch, model, hub):
    monkeypatch.setenv("RANK", "1")
    assert push.ready(push.Wish("me/m")) == push.Wish("me/m")
    push.finished(push.Wish("me/m"), model)
    assert hub.calls == []


def test_the_flags_become_a_wish_and_the_trainer_sees_none_of_them():
    trainer = {"output_dir": "some/outputs-dpo", "push_to_hub": True, "hub_strategy": "end", "seed": 1}
    assert push.wish_of(trainer) == push.Wish("outputs-dpo")
    assert trainer == {"output_dir": "some/outputs-dpo", "seed": 1}
    named = {"push_to_hub": True, "hub_model_id": "a/b", "hub_private_repo": False, "hub_revision": "v1"}
    assert push.wish_of({**named, "output_dir": "o"}) == push.Wish("a/b", False, "v1")
    assert push.wish_of({"push_to_hub": False, "output_dir": "o"}) is None


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ({"push_to_hub": True, "hub_strategy": "checkpoint"}, "--hub_strategy checkpoint: the finished model is sent"),
        ({"push_to_hub": True, "hub_always_push": True}, "--hub_always_push True: one upload is made"),
        ({"hub_model_id": "a/b"}, "--hub_model_id without --push_to_hub True: nothing would be sent"),
        ({"hub_private_repo": False}, "--hub_private_repo without --push_to_hub True: nothing would be sent"),
    ],
)
def test_what_cannot_be_done_is_refused(flags, sentence):
    (problem,) = push.problems(flags)
    assert problem.startswith(sentence)
    assert push.problems({"push_to_hub": True, "hub_model_id": "a/b", "hub_strategy": "end"}) == []


def test_the_branch_that_is_asked_for_is_made_and_written(model, hub):
    push.finished(push.ready(push.Wish("me/m", revision="v1")), model)
    assert hub.call("create_branch") == {"repo_id": "me/m", "branch": "v1", "exist_ok": True}
    assert hub.call("create_commit")["revision"] == "v1"
