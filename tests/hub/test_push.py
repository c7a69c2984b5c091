"""What is sent to a hub, what never is, and what becomes of a model whose upload fails; the clients are recorded.

sh run_tests.sh tests/hub/test_push.py
"""

import importlib.machinery
import inspect
import json
import sys
import types
from types import SimpleNamespace

import huggingface_hub
import pytest
from huggingface_hub.errors import HfHubHTTPError

from bedside import lineage
from bedside.errors import ConfigError
from bedside.hub import __main__ as command
from bedside.hub import parcel, push

SENT = [
    "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "generation_config.json",
    "ledger.json", "metrics.json", "tokenizer.json", "tokenizer_config.json", "lineage.json",
]  # fmt: skip
KEPT_HERE = [
    "rejected.jsonl", "rejected_of_stopped_run.jsonl", "samples.jsonl", "eval_before.json", "eval_after.json",
    "heldout_pairs.json", "data_report.html", "trainer_state.json", "training_args.bin", "optimizer.pt",
    "rng_state.pth", "scheduler.pt", "pytorch_model.bin", "notes.txt", "tokenizer.json.bak",
    "checkpoint-2/optimizer.pt",
    "checkpoint-2/adapter_model.safetensors", "runs/events.out.tfevents.1.ward7", "ref/adapter_model.safetensors",
]  # fmt: skip
SECRET = "hf_thisIsATokenOfSomebody"


@pytest.fixture
def model(tmp_path):
    """A sealed adapter among everything that a run leaves behind it."""
    directory = tmp_path / "outputs-sft"
    for name in (*SENT[:-1], *KEPT_HERE):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the patient's words" if name in KEPT_HERE else "x", encoding="utf-8")
    loaded = {"base_model_name_or_path": "/srv/dr.li/models/qwen", "r": 8}
    (directory / "adapter_config.json").write_text(json.dumps(loaded))
    (directory / "tokenizer_config.json").write_text('{"eos_token": "</s>", "name_or_path": "/srv/dr.li/models/qwen"}')
    account = {"rows": 3, "kept": 3}
    files = {"/srv/dr.li/patients/a.jsonl": account, "/srv/dr.li/b/a.jsonl": account, "data/c.jsonl": account}
    (directory / "ledger.json").write_text(json.dumps({"total": account, "files": files}))
    base = {"path": "../models/qwen", "name": "Qwen/Qwen3-0.6B", "revision": "main", "fp": "q2:1"}
    lineage.write(
        directory, "sft", "adapter", {"task": "CAUSAL_LM", "base": base},
        args={"train_file_dir": "/srv/dr.li/patients", "output_dir": "outputs-sft"},
    )  # fmt: skip
    return directory


class Recorder:
    """HfApi as far as it is used: every call is checked against the installed client's signature, and kept."""

    def __init__(self, monkeypatch):
        self.calls: list[tuple[str, dict]] = []
        self.private, self.fails = True, {}
        real = huggingface_hub.HfApi
        monkeypatch.setattr(huggingface_hub, "HfApi", lambda **known: inspect.signature(real).bind(**known) and self)
        monkeypatch.setattr(huggingface_hub, "get_token", lambda: SECRET)
        for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        self.answers = {
            "create_repo": lambda call: SimpleNamespace(repo_id=self.full(call["repo_id"])),
            "repo_info": lambda call: SimpleNamespace(private=self.private),
            "create_branch": lambda call: None,
            "create_commit": lambda call: None,
        }  # fmt: skip
        self.signatures = {name: inspect.signature(getattr(real, name)) for name in self.answers}

    @staticmethod
    def full(name: str) -> str:
        """A name alone is the token's owner's."""
        return name if "/" in name else f"me/{name}"

    def __getattr__(self, name):
        if name not in self.signatures:
            raise AttributeError(name)

        def called(*args, **known):
            call = self.signatures[name].bind(self, *args, **known).arguments
            call.pop("self")
            self.calls.append((name, call))
            if name in self.fails:
                raise self.fails[name]
            return self.answers[name](call)

        return called

    def call(self, name: str) -> dict:
        return next(call for called, call in self.calls if called == name)


@pytest.fixture
def hub(monkeypatch):
    """A hub that lets everything in."""
    return Recorder(monkeypatch)


def refused(status: int) -> HfHubHTTPError:
    """The client's error for an answer of the hub."""
    import httpx

    asked = httpx.Request("POST", "https://huggingface.co/api/repos/create")
    return HfHubHTTPError("no", response=httpx.Response(status, request=asked))


def copied(hub: Recorder, place) -> dict:
    """The files of the commit, written to `place`; returns their bytes by name."""
    files = {}
    for added in hub.call("create_commit")["operations"]:
        content = added.path_or_fileobj
        files[added.path_in_repo] = content if isinstance(content, bytes) else open(content, "rb").read()  # noqa: SIM115
        place.mkdir(exist_ok=True)
        (place / added.path_in_repo).write_bytes(files[added.path_in_repo])
    return files


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


class ModelScope:
    """The client of modelscope-hub 0.5.1 as far as it is used, with its signatures."""

    def __init__(self):
        self.calls, self.there = [], None

    def whoami(self):
        return SimpleNamespace(username="me")

    def repo_exists(self, repo_id, repo_type):
        return self.there is not None

    def get_repo(self, repo_id, repo_type, *, revision=None):
        return SimpleNamespace(visibility=self.there, private=None)

    def create_repo(self, repo_id, repo_type, *, visibility=None, license=None, **extra):
        self.calls.append(("create_repo", repo_id, visibility))

    def upload_file(
        self, repo_id, repo_type, path_or_fileobj, path_in_repo, *, commit_message=None, commit_description=None,
        revision=None, buffer_size_mb=16, disable_tqdm=False,
    ):  # fmt: skip
        self.calls.append(("upload_file", repo_id, path_in_repo))


@pytest.fixture
def modelscope(monkeypatch):
    """The client in the place of the installed one."""
    api, module, errors = ModelScope(), types.ModuleType("modelscope_hub"), types.ModuleType("modelscope_hub.errors")
    module.__spec__ = importlib.machinery.ModuleSpec("modelscope_hub", None)
    errors.HubError = type("HubError", (Exception,), {})
    errors.AuthenticationError = type("AuthenticationError", (errors.HubError,), {})
    errors.PermissionDeniedError = type("PermissionDeniedError", (errors.HubError,), {})
    module.HubApi, module.errors = lambda: api, errors
    monkeypatch.setitem(sys.modules, "modelscope_hub", module)
    monkeypatch.setitem(sys.modules, "modelscope_hub.errors", errors)
    return api


def test_modelscope_gets_the_same_files_the_seal_last(model, modelscope):
    push.finished(push.ready(push.Wish("m", source="modelscope")), model)
    assert modelscope.calls[0] == ("create_repo", "me/m", "private")
    assert [call[2] for call in modelscope.calls if call[0] == "upload_file"] == SENT


def test_modelscope_refusals_are_sentences(model, modelscope):
    modelscope.there = 5  # public
    with pytest.raises(ConfigError, match="me/m: is there already and not private"):
        push.ready(push.Wish("me/m", source="modelscope"))
    modelscope.there = 1

    def refused(*_, **__):
        raise sys.modules["modelscope_hub"].errors.AuthenticationError("no")

    modelscope.upload_file = refused
    with pytest.raises(
        push.PushFailed, match="put a token of that owner into MODELSCOPE_API_TOKEN.* --source modelscope"
    ):
        push.finished(push.ready(push.Wish("me/m", source="modelscope")), model)
