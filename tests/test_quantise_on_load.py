"""Loading in 4-bit never holds the 16-bit model: one weight at a time is read, quantised and let go.

sh run_tests.sh tests/test_quantise_on_load.py
"""

import gc

import bitsandbytes
import pytest
import torch
from transformers import AutoModelForCausalLM, Qwen2Config, Qwen2ForCausalLM

from bedside import models

NF4 = {"bits": 4, "type": "nf4", "double": True}
LINEAR = 8 * (4 * 64 * 64 + 3 * 64 * 256)  # numbers in the linear layers of the model below
LARGEST = 64 * 256


def floats_alive() -> int:
    """Bytes of all 16-bit and 32-bit tensors of this test that are held by anything, each place in memory once."""
    found: dict[int, int] = {}
    for thing in gc.get_objects():
        if isinstance(thing, torch.Tensor) and thing.device.type != "meta" and thing.is_floating_point():
            found[thing.data_ptr()] = max(found.get(thing.data_ptr(), 0), thing.nbytes)
    return sum(found.values())


@pytest.fixture(scope="module", params=["one file", "several files"])
def deep(request, tmp_path_factory) -> str:
    """Eight layers whose linear weights are 524,288 numbers, 1 MiB in bfloat16, with little beside them."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=128, hidden_size=64, intermediate_size=256, num_hidden_layers=8, num_attention_heads=4,
        num_key_value_heads=4, tie_word_embeddings=True,
    )  # fmt: skip
    directory = str(tmp_path_factory.mktemp("deep"))
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(directory, max_shard_size="5GB" if request.param == "one file" else "300KB")
    return directory


@pytest.fixture
def watched(monkeypatch) -> list[int]:
    """Bytes of floats alive right after each weight was quantised, its 16-bit source being still there."""
    seen: list[int] = []
    quantise = bitsandbytes.functional.quantize_4bit

    def watching(*arguments, **keywords):
        made = quantise(*arguments, **keywords)
        seen.append(floats_alive())
        return made

    monkeypatch.setattr(bitsandbytes.functional, "quantize_4bit", watching)
    return seen


@pytest.fixture(autouse=True)
def _what_was_there_is_not_searched():
    """After each weight, only objects that are newer than the test are looked through: thousands, not a million."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize("dtype", ["auto", "float16"])
def test_no_more_than_one_weight_is_alive_in_16_bit(deep, watched, dtype):
    gc.collect()
    before = floats_alive()
    model = models.load_base(deep, dtype, NF4)
    after = floats_alive()
    assert len(watched) == 8 * 7
    # What stays (embedding, norms, biases, block scales) and one weight: read, and cast where the dtype is another.
    copies = 1 if dtype == "auto" else 2
    assert max(watched) - before <= (after - before) + copies * 2 * LARGEST
    assert max(watched) - before < LINEAR / 4, "the 16-bit model takes 2 x LINEAR bytes"
    assert model.model.layers[0].mlp.up_proj.weight.dtype == torch.uint8


def test_the_watch_sees_a_model_that_is_loaded_whole(deep):
    gc.collect()
    before = floats_alive()
    model = AutoModelForCausalLM.from_pretrained(deep, dtype="auto")
    assert floats_alive() - before >= 2 * LINEAR
    assert model.dtype == torch.bfloat16
