"""Which 4-bit bases are kept, where and by whom, and what stands in the way.

sh run_tests.sh tests/nf4_cache/test_kept_copies.py
"""

import shutil

import pytest
import torch

from bedside import models, nf4_cache
from bedside.nf4_cache import whereabouts
from tests.nf4_cache.copies import NF4, assert_same, copies


def test_modes(load, tmp_path, monkeypatch, said):
    load("auto")  # small and local: not worth a copy
    load("read")
    assert copies(tmp_path) == [] and said == []
    monkeypatch.setattr(whereabouts, "_LARGE", 1000)
    load("auto")
    assert len(copies(tmp_path)) == 1
    said.clear()
    load("off")
    assert said == []


def test_only_the_first_process_of_a_machine_writes(load, tmp_path, monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    load("on")
    assert copies(tmp_path) == []
    monkeypatch.setenv("LOCAL_RANK", "0")
    load("on")
    assert len(copies(tmp_path)) == 1


def test_a_hub_model_is_known_by_its_commit(base, tmp_path, said):
    commit, name = "c" * 40, "owner/tiny"
    repo = tmp_path / "hub" / "models--owner--tiny"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text(commit)
    shutil.copytree(base, repo / "snapshots" / commit)

    def run(mode):
        return models.load_base(name, quantisation=NF4, nf4_cache=mode, cache_dir=str(tmp_path / "hub"))

    plain, written = run("off"), run("auto")  # any hub model is kept
    (copy,) = (tmp_path / "hub" / nf4_cache.FOLDER).iterdir()
    assert copy.name.startswith("owner-tiny-")
    again = run("auto")
    assert said[-1].startswith(f"4-bit base: read from {copy}")
    assert_same(plain, written)
    assert_same(plain, again)
    assert again.name_or_path == name
    newer = "d" * 40
    shutil.copytree(repo / "snapshots" / commit, repo / "snapshots" / newer)
    (repo / "refs" / "main").write_text(newer)
    run("auto")
    assert len(list((tmp_path / "hub" / nf4_cache.FOLDER).iterdir())) == 2


def test_a_full_or_closed_disk_is_a_line_and_the_run_goes_on(load, tmp_path, monkeypatch, said):
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as full:
        full.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
        assert load("on") is not None
    assert said[0].startswith("4-bit base: no copy is kept, 0.00 GB are needed in")
    assert said[0].endswith("and 0.00 GB are free (see --nf4_cache_dir)")
    (tmp_path / "copies").rmdir()
    (tmp_path / "copies").write_text("a file is in the way")
    assert load("on") is not None
    assert said[1:] == [f"4-bit base: no copy is kept, {tmp_path / 'copies'}: File exists"]


def test_what_cannot_be_kept(load, tmp_path):
    load("on", None)
    load("on", {"bits": 8})
    assert copies(tmp_path) == []


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"device_map": "auto"}, "its layers are spread over several devices"),
        ({"device_map": {"model": 0, "lm_head": "cpu"}}, "its layers are spread over several devices"),
        ({"storage": torch.bfloat16}, "FSDP cuts the 4-bit weights into shards"),
        ({"stored": {"quant_method": "gptq"}}, "the base is quantised already"),
        ({"code": {"AutoModel": "modeling.Own"}}, "the model brings code of its own"),
        ({}, None),
    ],
)
def test_obstacles(given, why):
    from transformers import BitsAndBytesConfig, Qwen3Config

    config = Qwen3Config()
    if "stored" in given:
        config.quantization_config = given["stored"]
    if "code" in given:
        config.auto_map = given["code"]
    quantised = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_storage=given.get("storage"))
    assert nf4_cache.obstacle(config, quantised, given.get("device_map", {"": 0})) == why
