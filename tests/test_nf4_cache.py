"""The 4-bit copy of a base: bit for bit what quantising gives, and never believed when something is wrong.

sh run_tests.sh tests/test_nf4_cache.py
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch

from bedside import adapters, lineage, models, nf4_cache
from bedside.nf4_cache import whereabouts, writing

NF4 = {"bits": 4, "type": "nf4", "double": True}
IDS = torch.tensor([[5, 9, 200, 31, 77, 12]])


@pytest.fixture
def base(tiny_model_dir, tmp_path) -> Path:
    """A base of its own, which a test may spoil."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "base"))


@pytest.fixture
def load(base, tmp_path):
    """`load(mode)` the base in 4-bit with copies under tmp_path/copies."""

    def run(mode="on", quantisation=NF4, name=str(base), **more):
        torch.manual_seed(3)
        return models.load_base(
            name, quantisation=quantisation, nf4_cache=mode, nf4_cache_dir=str(tmp_path / "copies"), **more
        )

    return run


def copies(tmp_path: Path) -> list[Path]:
    root = tmp_path / "copies"
    return sorted(root.iterdir()) if root.is_dir() else []


def packed(model) -> dict[str, torch.Tensor]:
    """Every tensor of the model by name, the parts of a 4-bit weight and their offsets included."""
    tensors = dict(model.state_dict())
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        if state is not None:
            tensors[f"{name}.absmax"], tensors[f"{name}.code"] = state.absmax, state.code
            if state.nested:
                tensors[f"{name}.offset"], tensors[f"{name}.nested"] = state.offset, state.state2.absmax
    return tensors


def assert_same(one, other):
    first, second = packed(one), packed(other)
    assert list(first) == list(second)
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    assert [name for name in first if first[name].dtype != second[name].dtype] == []


def two_steps(model) -> list[torch.Tensor]:
    """Losses, then adapter weights, of two optimizer steps from a fixed seed, dropout on."""
    torch.manual_seed(11)
    model = adapters.attach(model, adapters.lora_config(dropout=0.1)).train()
    optimizer = torch.optim.AdamW((p for p in model.parameters() if p.requires_grad), lr=1e-2)
    losses = []
    for _ in range(2):
        loss = model(input_ids=IDS, labels=IDS).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.detach())
    return losses + [p.detach() for p in model.parameters() if p.requires_grad]


@pytest.mark.parametrize(
    "wish",
    [NF4, {"bits": 4, "type": "nf4", "double": False}, {"bits": 4, "type": "fp4", "double": True}],
    ids=["nf4 double", "nf4", "fp4 double"],
)
@pytest.mark.parametrize("dtype", ["auto", "float16", "float32"])
def test_what_is_read_is_what_was_quantised(load, tmp_path, said, wish, dtype):
    plain = load("off", wish, dtype=dtype)
    written = load("on", wish, dtype=dtype)
    again = load("on", wish, dtype=dtype)
    assert len(copies(tmp_path)) == 1
    assert [line.split(" in ")[0].split(" from ")[0] for line in said] == [
        "4-bit base: a copy is kept", "4-bit base: read",
    ]  # fmt: skip
    assert_same(plain, written)
    assert_same(plain, again)
    with torch.no_grad():
        assert torch.equal(plain(IDS).logits, again(IDS).logits)


def test_training_on_the_copy_is_bitwise_the_same(load):
    load("on")
    for one, other in zip(two_steps(load("off")), two_steps(load("read")), strict=True):
        assert torch.equal(one, other)


def test_nobody_sees_that_it_came_from_a_copy(load, base):
    load("on")
    plain, again = load("off"), load("read")
    assert again.name_or_path == again.model.name_or_path == str(base)
    assert again.config._name_or_path == str(base)
    assert again.config.to_dict() == plain.config.to_dict()
    assert again.generation_config.to_dict() == plain.generation_config.to_dict()
    assert models.quantisation_of(again) == models.quantisation_of(plain)
    assert vars(again).keys() == vars(plain).keys()
    assert again.hf_quantizer.pre_quantized is plain.hf_quantizer.pre_quantized is False
    adapter = adapters.attach(again, adapters.lora_config())
    assert adapter.peft_config["default"].base_model_name_or_path == str(base)
    assert adapters.trainable_share(adapter) == adapters.trainable_share(
        adapters.attach(plain, adapters.lora_config())
    )


def test_a_model_from_a_copy_can_be_saved(load, tmp_path):
    load("on")
    load("off").save_pretrained(tmp_path / "one")
    load("read").save_pretrained(tmp_path / "other")
    assert lineage.identity(tmp_path / "one") == lineage.identity(tmp_path / "other")


def test_a_reward_model_draws_the_same_fresh_head(load, tmp_path):
    plain = load("off", num_labels=1)
    written, again = load("on", num_labels=1), load("read", num_labels=1)
    assert_same(plain, written)
    assert_same(plain, again)
    assert again.score.weight.dtype == torch.float32
    assert again.config.num_labels == 1
    (copy,) = copies(tmp_path)
    names = json.loads((copy / nf4_cache.RECORD).read_text())["files"]
    from safetensors import safe_open

    with safe_open(copy / next(name for name in names if name.endswith(".safetensors")), "pt") as file:
        assert not [name for name in file.keys() if name.startswith("score")]  # noqa: SIM118


def test_a_stored_head_is_read_from_the_base(load, base, tmp_path):
    torch.manual_seed(5)
    models.load_base(str(base), num_labels=1).save_pretrained(tmp_path / "reward")
    shutil.copy(base / "tokenizer.json", tmp_path / "reward")
    reward = str(tmp_path / "reward")
    plain = load("off", name=reward, num_labels=1)
    assert_same(plain, load("on", name=reward, num_labels=1))
    assert_same(plain, load("read", name=reward, num_labels=1))


def test_each_precision_and_task_has_its_own(load, tmp_path):
    load("on")
    load("on", {"bits": 4, "type": "nf4", "double": False})
    load("on", dtype="float16")
    load("on", num_labels=1)
    assert len(copies(tmp_path)) == 4


def test_several_files(load, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "_SHARD", 40_000)
    load("on")
    assert len(list(copies(tmp_path)[0].glob("model-*-of-*.safetensors"))) > 1
    assert_same(load("off"), load("read"))


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

    monkeypatch.setattr(writing, "_swap", killed)
    with pytest.raises(KeyboardInterrupt):
        load("on")
    assert copies(tmp_path) == []
    monkeypatch.undo()
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


def test_a_full_or_closed_disk_is_a_line_and_the_run_goes_on(load, tmp_path, monkeypatch, said):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    assert load("on") is not None
    assert said[0].startswith("4-bit base: no copy is kept, 0.00 GB are needed in")
    assert said[0].endswith("and 0.00 GB are free (see --nf4_cache_dir)")
    monkeypatch.undo()
    (tmp_path / "copies").rmdir()
    (tmp_path / "copies").write_text("a file is in the way")
    load("on")


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
