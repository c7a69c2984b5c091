"""A 4-bit copy that is damaged, half-written or of another base: never believed, made anew.

sh run_tests.sh tests/nf4_cache/test_stale_copies.py
"""

import json
import os
from pathlib import Path

import pytest
import torch

from bedside import models, nf4_cache
from bedside.nf4_cache import whereabouts, writing
from tests.nf4_cache.copies import assert_same, copies


def spoil_cut(copy: Path):
    path = copy / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])


def spoil_flipped(copy: Path):
    path = copy / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def spoil_missing(copy: Path):
    (copy / "model.safetensors").unlink()


def spoil_record(copy: Path):
    path = copy / nf4_cache.RECORD
    path.write_text(path.read_text()[:40])


def spoil_facts(copy: Path):
    record = json.loads((copy / nf4_cache.RECORD).read_text())
    record["facts"]["bitsandbytes"] = "0.1"
    (copy / nf4_cache.RECORD).write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (spoil_cut, "model.safetensors is missing or cut short"),
        (spoil_missing, "model.safetensors is missing or cut short"),
        (spoil_flipped, "model.safetensors is damaged"),
        (spoil_record, "its nf4_cache.json is damaged"),
        (spoil_facts, "its nf4_cache.json is of another precision or version"),
    ],
)
def test_a_damaged_copy_is_not_believed_and_made_anew(load, tmp_path, said, spoil, why):
    plain = load("off")
    load("on")
    (copy,) = copies(tmp_path)
    spoil(copy)
    said.clear()
    assert_same(plain, load("read"))
    assert said == [f"warning: 4-bit base: the copy in {copy} is not used, {why}; the copy is left alone "
                    "(--nf4_cache True makes it anew)"]  # fmt: skip
    said.clear()
    assert_same(plain, load("on"))
    assert said[0] == f"warning: 4-bit base: the copy in {copy} is not used, {why}; the copy is made anew"
    assert said[1].startswith(f"4-bit base: a copy is kept in {copy}")
    said.clear()
    assert_same(plain, load("read"))
    assert len(said) == 1 and said[0].startswith(f"4-bit base: read from {copy}")
    assert copies(tmp_path) == [copy], "nothing half-written is left"


def test_a_changed_base_makes_a_new_copy(load, base, tmp_path, said):
    load("on")
    (copy,) = copies(tmp_path)
    model = models.load_base(str(base))
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight[3, 3] += 1
    model.save_pretrained(base)
    said.clear()
    plain = load("off")
    assert_same(plain, load("on"))
    assert said[0] == (f"warning: 4-bit base: the copy in {copy} is not used, the base changed since "
                       "(model.safetensors); the copy is made anew")  # fmt: skip
    assert_same(plain, load("read"))
    assert copies(tmp_path) == [copy]


def test_a_base_with_other_settings_makes_a_new_copy(load, base, said):
    load("on")
    config = json.loads((base / "generation_config.json").read_text())
    (base / "generation_config.json").write_text(json.dumps(config | {"temperature": 0.3, "do_sample": True}))
    assert load("read").generation_config.temperature == 0.3
    assert "the base changed since (generation_config.json)" in said[-1]


def test_a_base_that_was_only_touched_is_read_once(load, base, monkeypatch, said):
    load("on")
    os.utime(base / "model.safetensors")
    said.clear()
    load("read")
    assert said[-1].startswith("4-bit base: read from")
    read = []
    monkeypatch.setattr(whereabouts, "file_sha256", lambda path: read.append(path.parent) or "")
    load("read")  # hashes are wrong now, so the copy is not believed; but the base's were not asked for
    assert base not in read


def test_a_kill_while_writing_leaves_nothing_that_is_believed(load, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing, "_swap", killed)
        with pytest.raises(KeyboardInterrupt):
            load("on")
    assert copies(tmp_path) == []
    (tmp_path / "copies").mkdir(exist_ok=True)
    (tmp_path / "copies" / ".base-0123-77").mkdir()  # of a process that had no time to tidy up
    assert_same(load("on"), load("read"))


def test_a_base_that_is_written_to_meanwhile_is_not_kept(load, base, tmp_path, monkeypatch, said):
    save = writing._save

    def touched(*arguments):
        save(*arguments)
        os.utime(base / "model.safetensors", (1, 1))

    monkeypatch.setattr(writing, "_save", touched)
    load("on")
    assert said == ["4-bit base: no copy is kept, the base was written to while it was being read"]
    assert copies(tmp_path) == []
