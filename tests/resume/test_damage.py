"""Every kind of damage to the newest checkpoint: it is set aside with its reason, and the one before is used.

sh run_tests.sh tests/resume/test_damage.py
"""

import os
import re
import shutil

import pytest

from bedside import checkpoints, lineage
from bedside.errors import ConfigError
from tests.stages.files import losses, same

from . import toys


@pytest.fixture(scope="module")
def saved(fork, sft_adapter, tmp_path_factory):
    """The output of a DPO run on an SFT adapter, with its copy in ref/: checkpoints 2, 4 and 6, and its flags."""
    root = tmp_path_factory.mktemp("damage")
    data = toys.write("dpo", root)

    def argv(output, *more):
        return toys.flags("dpo", sft_adapter, data, output, *more)

    status, said = fork.run("dpo_training", argv(root / "out"))
    assert status == 0, said
    return root / "out", argv


def cut(path):
    os.truncate(path, path.stat().st_size // 2)


def zeros(path):
    """What a power loss leaves of pages that had not reached the disk."""
    size = path.stat().st_size
    with open(path, "r+b") as stream:
        stream.seek(size - 512)
        stream.write(bytes(512))


def flip(path):
    """One bit, in the middle of the weights."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def remove(path):
    path.unlink()


def emptied(path):
    shutil.rmtree(path)
    path.mkdir()


DAMAGES = {
    "adapter cut": ("adapter_model.safetensors", cut, r"adapter_model.safetensors has \d+ bytes, was saved with \d+"),
    "adapter's tail zeros": ("adapter_model.safetensors", zeros, "adapter_model.safetensors changed since it was"),
    "one bit of the adapter": ("adapter_model.safetensors", flip, "adapter_model.safetensors changed since it was"),
    "adapter missing": ("adapter_model.safetensors", remove, "adapter_model.safetensors is missing"),
    "optimizer missing": ("optimizer.pt", remove, "optimizer.pt is missing"),
    "optimizer cut": ("optimizer.pt", cut, "optimizer.pt has"),
    "scheduler missing": ("scheduler.pt", remove, "scheduler.pt is missing"),
    "one bit of the scheduler": ("scheduler.pt", flip, "scheduler.pt changed since it was saved"),
    "rng missing": ("rng_state.pth", remove, "rng_state.pth is missing"),
    "state missing": ("trainer_state.json", remove, "trainer_state.json is missing"),
    "state cut": ("trainer_state.json", cut, "trainer_state.json has"),
    "state empty": ("trainer_state.json", empty, "trainer_state.json has 0 bytes"),
    "reference missing": ("ref", shutil.rmtree, "ref/.* is missing"),
    "one bit of the reference": ("ref/adapter_model.safetensors", flip, "ref/adapter_model.safetensors changed"),
    "killed before the seal": ("lineage.json", remove, r"not sealed \(its saving was interrupted\)"),
    "seal cut": ("lineage.json", cut, "lineage.json: damaged"),
    "seal empty": ("lineage.json", empty, "lineage.json: damaged"),
    "everything gone": ("", emptied, "not sealed"),
}


@pytest.mark.parametrize(("file", "damage", "why"), DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_newest_checkpoint_is_set_aside(saved, tmp_path, caplog, file, damage, why):
    output = tmp_path / "out"
    shutil.copytree(saved[0], output)
    damage(output / "checkpoint-6" / file)
    assert checkpoints.last_good(output) == output / "checkpoint-4"
    assert (output / "broken-checkpoint-6").is_dir() and not (output / "checkpoint-6").exists()
    assert checkpoints.last_good(output) == output / "checkpoint-4"  # and it is looked at once
    assert _matches(why, caplog.text)


def _matches(why, said):
    line = next(line for line in said.splitlines() if "set aside as broken-checkpoint-6" in line)
    return re.search(f"checkpoint-6: .*{why}.*; set aside as broken-checkpoint-6, looking for an older one", line)


def test_stray_directories_are_not_checkpoints(saved, tmp_path, caplog):
    output = tmp_path / "out"
    shutil.copytree(saved[0], output)
    (output / "checkpoint-999").mkdir()
    (output / "checkpoint-best").mkdir()
    (output / "broken-checkpoint-999").mkdir()
    (output / "broken-checkpoint-999" / "old").write_text("of an earlier damage")
    assert checkpoints.last_good(output) == output / "checkpoint-6"
    assert not (output / "broken-checkpoint-999" / "old").exists()
    assert (output / "checkpoint-best").is_dir()
    assert "checkpoint-999: not sealed" in caplog.text


def test_several_damaged_ones_fall_back_further_and_none_is_left_at_last(saved, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(saved[0], output)
    remove(output / "checkpoint-6" / "optimizer.pt")
    flip(output / "checkpoint-4" / "adapter_model.safetensors")
    assert checkpoints.last_good(output) == output / "checkpoint-2"
    cut(output / "checkpoint-2" / "scheduler.pt")
    with pytest.raises(ConfigError, match="no usable checkpoint in .*; drop it to start anew"):
        checkpoints.to_resume("True", str(output), {})
    assert checkpoints.to_resume("auto", str(output), {}) is None
    assert sorted(p.name for p in output.glob("broken-*")) == [f"broken-checkpoint-{n}" for n in (2, 4, 6)]


@pytest.mark.slow
def test_a_run_goes_on_from_the_checkpoint_before_the_damaged_one(fork, saved, sft_adapter, tmp_path):
    alone, argv = saved
    output = tmp_path / "out"
    output.mkdir()
    for name in ("checkpoint-2", "checkpoint-4"):
        shutil.copytree(alone / name, output / name)
    flip(output / "checkpoint-4" / "ref" / "adapter_model.safetensors")
    status, said = fork.run("dpo_training", argv(output, "--resume_from_checkpoint", "True"))
    assert status == 0, said
    assert "ref/adapter_model.safetensors changed since it was saved; set aside as broken-checkpoint-4" in said
    assert lineage.read(output)["resumed_from"] == [str(output / "checkpoint-2")]
    assert same(output, alone) and losses(output) == losses(alone)
    assert same(output / "ref", sft_adapter)
