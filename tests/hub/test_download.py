"""download_model.py against a hub on this machine: whole, resumed, verified, refused with a sentence.

sh run_tests.sh tests/hub
"""

import json
import sys
import types
from collections import namedtuple

import pytest

import download_model
from bedside.errors import ConfigError
from bedside.hub import huggingface, record, remote, transfer
from tests.hub.server import COMMIT, Hub

WEIGHTS = bytes(range(256)) * 4000  # 1.02 MB
FILES = {"config.json": b"{}", "model.safetensors": WEIGHTS, "pytorch_model.bin": b"p" * 50, "onnx/model.onnx": b"o"}


@pytest.fixture
def hub(monkeypatch):
    """The hub that HF_ENDPOINT names; nothing waits between tries."""
    served = Hub(dict(FILES))
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", served.address)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(transfer, "FIRST_PAUSE", 0.0)
    yield served
    served.close()


def fetched(place, *more):
    assert download_model.main(["owner/model", "--output_dir", str(place), *more]) == 0
    return json.loads((place / "download.json").read_text())


def test_a_model_at_one_commit_with_its_hashes(hub, tmp_path):
    record_ = fetched(tmp_path / "m")
    assert (record_["commit"], record_["name"], record_["complete"]) == (COMMIT, "owner/model", True)
    assert sorted(record_["files"]) == ["config.json", "model.safetensors"]
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == WEIGHTS
    assert record_["files"]["config.json"] == {
        "size": 2, "sha256": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    }  # fmt: skip
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == [
        "config.json", "download.json", "model.safetensors",
    ]  # fmt: skip


def test_a_second_run_fetches_nothing(hub, tmp_path):
    fetched(tmp_path / "m")
    hub.asked.clear()
    fetched(tmp_path / "m")
    assert [path for _, path, _ in hub.asked] == ["/api/models/owner/model"]


def test_a_broken_line_is_continued_where_it_broke(hub, tmp_path):
    hub.cut = 400_000
    fetched(tmp_path / "m")
    ranges = [asked for _, path, asked in hub.asked if path.endswith(".safetensors")]
    assert ranges[0] == "" and len(ranges) >= 3
    starts = [int(asked.removeprefix("bytes=").rstrip("-")) for asked in ranges[1:]]
    assert starts == sorted(set(starts)) and starts[0] > 300_000


def test_the_next_run_goes_on_from_what_arrived(hub, tmp_path):
    place = tmp_path / "m"
    found = huggingface.listing("owner/model", "model", None)
    weights = next(file for file in found.files if file.path == "model.safetensors")
    part = transfer.part_of(place, weights)
    part.parent.mkdir(parents=True)
    part.write_bytes(WEIGHTS[:700_000])
    record.write(place, found, {}, complete=False)
    hub.asked.clear()
    fetched(place)
    assert [asked for _, path, asked in hub.asked if path.endswith(".safetensors")] == ["bytes=700000-"]
    assert (place / "model.safetensors").read_bytes() == WEIGHTS


def test_what_arrives_damaged_is_removed_and_said(hub, tmp_path):
    hub.lies["model.safetensors"] = WEIGHTS[:-1] + b"!"
    with pytest.raises(ConfigError, match=r"model\.safetensors: damaged on the way \(its hash is not the hub's\)"):
        fetched(tmp_path / "m")
    assert not (tmp_path / "m" / "model.safetensors").exists()
    hub.lies.clear()
    assert fetched(tmp_path / "m")["complete"]


def test_a_new_commit_replaces_what_differs(hub, tmp_path):
    fetched(tmp_path / "m")
    hub.files["model.safetensors"] = WEIGHTS[::-1]
    fetched(tmp_path / "m")
    assert (tmp_path / "m" / "model.safetensors").read_bytes() == WEIGHTS[::-1]


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (
            403,
            "GatedRepo",
            r"owner/model: gated, .* put a token of your account into HF_TOKEN \(HF_TOKEN is not set\)",
        ),
        (401, "RepoNotFound", "owner/model: no such model at .*, or a private one"),
        (503, "", "owner/model: .* answered with status 503; try again later"),
        (429, "", "owner/model: .* answered with status 429; too many requests"),
    ],
)
def test_refusals_are_sentences(hub, tmp_path, status, code, message, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    hub.status, hub.code = status, code
    with pytest.raises(ConfigError, match=message):
        fetched(tmp_path / "m")


def test_an_unknown_revision(hub, tmp_path):
    with pytest.raises(ConfigError, match=r"owner/model: has no revision v9"):
        fetched(tmp_path / "m", "--revision", "v9")


def test_no_network(hub, tmp_path):
    hub.close()
    with pytest.raises(ConfigError, match=r"cannot be reached .*HF_ENDPOINT to a mirror, or use --source modelscope"):
        fetched(tmp_path / "m")


def test_offline_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ConfigError, match="HF_HUB_OFFLINE=1 is set, which forbids every download; unset it"):
        fetched(tmp_path / "m")


def test_a_full_disk_is_told_before(hub, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr("shutil.disk_usage", lambda place: usage)
    with pytest.raises(ConfigError, match=r"1\.02 MB are to be fetched, 0\.00 MB are free there"):
        fetched(tmp_path / "m")


def test_a_directory_with_something_else_is_kept(hub, tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match=r"not empty \(it holds notes\.txt\); choose another one"):
        fetched(tmp_path / "m")


def listing(*paths, kind="model"):
    return remote.Listing("o/m", kind, "huggingface", "main", COMMIT, tuple(remote.File(path, 1) for path in paths))


def chosen(*paths, kind="model", include=None, exclude=None, pickled=False):
    return [file.path for file in remote.choose(listing(*paths, kind=kind), include, exclude, pickled)[0]]


def test_which_files_of_a_model():
    paths = ["config.json", "model-1.safetensors", "consolidated.safetensors", "pytorch_model.bin", "tf_model.h5",
             "gguf/q4.gguf", "original/params.json", "tokenizer.model", ".gitattributes"]  # fmt: skip
    assert chosen(*paths) == ["config.json", "model-1.safetensors", "tokenizer.model"]
    assert chosen(*paths, pickled=True) == [
        "config.json",
        "model-1.safetensors",
        "pytorch_model.bin",
        "tokenizer.model",
    ]
    assert chosen(*paths, include=["*.gguf"]) == ["gguf/q4.gguf"]
    assert chosen(*paths, exclude=["*.model"]) == ["config.json", "model-1.safetensors"]
    assert chosen("a/zh.json", "a/en.json", kind="dataset", include=["*zh*"]) == ["a/zh.json"]


def test_a_model_of_pickle_files_only():
    with pytest.raises(ConfigError, match=r"pickle files only \(pytorch_model\.bin\).*--pickle True"):
        chosen("config.json", "pytorch_model.bin")


def test_a_path_out_of_the_directory_is_refused():
    with pytest.raises(ConfigError, match=r"outside of its directory \(\.\./x\.json\); nothing was fetched"):
        chosen("../x.json")


def test_nothing_left():
    with pytest.raises(ConfigError, match=r"no file is left to fetch; it holds a\.json"):
        chosen("a.json", include=["*.parquet"])


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "expected one name, found none"),
        (["a/b", "--dataset", "c/d"], "expected one name, found a/b, c/d"),
        (["models/starter"], "models/starter: is a directory here already"),
        (["a/b", "--source", "modelscope"], "its client is not installed; run `pip install modelscope-hub`"),
    ],
)
def test_mistakes_are_sentences(argv, message):
    with pytest.raises(ConfigError, match=message):
        download_model.main(argv)


def test_modelscope_through_its_client(tmp_path, monkeypatch):
    """Its two calls, as modelscope-hub 0.1 has them."""
    Info = namedtuple("Info", "path size sha256 is_dir")
    client, compat, snapshot, errors = (
        types.ModuleType(name)
        for name in ("modelscope_hub", "modelscope_hub.compat", "modelscope_hub.compat.snapshot_download",
                     "modelscope_hub.errors")
    )  # fmt: skip
    for name in ("NotExistError", "AuthenticationError", "PermissionDeniedError", "HubError"):
        setattr(errors, name, type(name, (Exception,), {}))
    client.errors = errors

    class HubApi:
        def list_repo_files(self, name, kind, *, revision=None):
            if name != "owner/model":
                raise errors.NotExistError(name)
            return [Info("sub", 0, None, True), Info("config.json", 2, None, False)]

    def snapshot_download(name, *, repo_type, revision, local_dir, allow_patterns, max_workers):
        assert (name, repo_type, revision, allow_patterns) == ("owner/model", "model", "master", ["config.json"])
        (tmp_path / "m" / "config.json").write_bytes(b"{}")

    client.HubApi, snapshot.snapshot_download = HubApi, snapshot_download
    for module in (client, compat, snapshot, errors):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr("bedside.hub.modelscope.find_spec", lambda name: object())
    record_ = fetched(tmp_path / "m", "--source", "modelscope")
    assert (record_["source"], record_["commit"], record_["revision"]) == ("modelscope", None, "master")
    with pytest.raises(ConfigError, match="owner/none: no such model, or no such revision, at ModelScope"):
        download_model.main(["owner/none", "--source", "modelscope", "--output_dir", str(tmp_path / "n")])
