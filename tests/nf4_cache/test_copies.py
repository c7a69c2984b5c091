"""The 4-bit copy of a base: bit for bit what quantising gives.

sh run_tests.sh tests/nf4_cache/test_copies.py
"""

import json
import shutil

import pytest
import torch

from bedside import adapters, lineage, models, nf4_cache
from bedside.nf4_cache import writing
from tests.nf4_cache.copies import NF4, assert_same, copies

IDS = torch.tensor([[5, 9, 200, 31, 77, 12]])


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
