"""What a model is made of, against numbers worked out by hand and against models that were loaded.

sh run_tests.sh tests/memory
"""

import json
import math
from pathlib import Path

import pytest
from transformers import LlamaConfig, Qwen2Config, Qwen3Config

from bedside import models
from bedside.errors import ConfigError
from bedside.memory import sizes

QWEN_7B = Qwen2Config(
    hidden_size=3584, intermediate_size=18944, num_hidden_layers=28, num_attention_heads=28, num_key_value_heads=4,
    vocab_size=152064, tie_word_embeddings=False, max_position_embeddings=32768,
)  # fmt: skip
QWEN3_06B = Qwen3Config(
    hidden_size=1024, intermediate_size=3072, num_hidden_layers=28, num_attention_heads=16, num_key_value_heads=8,
    head_dim=128, vocab_size=151936, tie_word_embeddings=True,
)  # fmt: skip
LLAMA_8B = LlamaConfig(
    hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
    vocab_size=128256, tie_word_embeddings=False,
)  # fmt: skip


@pytest.mark.parametrize(
    ("config", "numbers"), [(QWEN_7B, 7_615_616_512), (QWEN3_06B, 596_049_920), (LLAMA_8B, 8_030_261_248)]
)
def test_parameters_are_counted_as_their_authors_count_them(config, numbers):
    assert sizes.of_config(config).numbers == numbers


def test_qwen_7b_by_hand_in_each_precision():
    # Linear layers: 28 x (2 x 3584^2 + 2 x 512 x 3584 + 3 x 3584 x 18944) = 6,525,288,448 weights in 196 matrices
    # with 28 x 49,664 rows; embeddings, head, biases and norms: 1,090,328,064 numbers.
    found = sizes.of_config(QWEN_7B)
    assert found.size(16) == 2 * 7_615_616_512
    assert found.size(16, 4) == 4 * 7_615_616_512
    assert found.size(8) == 6_525_288_448 + 4 * 28 * 49_664 + 2 * 1_090_328_064
    scales = 101_957_632 + 4 * 398_272  # a byte a block of 64, a float32 for 256 of those
    assert found.size(4) == 3_262_644_224 + scales + 196 * (64 + 1028) + 2 * 1_090_328_064
    assert found.largest == 3584 * 18944
    assert (len(found.layers), found.layers[0], found.layers[-1]) == (28, "model.layers.0", "model.layers.27")


def test_the_cache_by_hand():
    # 28 layers x keys and values x 4 heads x 128 numbers x 2 bytes = 57,344 bytes a token.
    assert sizes.cache_of(QWEN_7B.to_dict(), context=1536, batch=1) == 57_344 * 1536
    assert sizes.cache_of(QWEN_7B.to_dict(), context=1536, batch=8) == 8 * 57_344 * 1536
    assert sizes.cache_of(QWEN3_06B.to_dict(), context=100, batch=1) == 114_688 * 100


def test_a_sliding_window_bounds_the_cache_of_its_layers():
    config = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 8, "sliding_window": 10,
              "layer_types": ["sliding_attention", "full_attention"]}  # fmt: skip
    assert sizes.cache_of(config, context=100, batch=1) == (10 + 100) * 2 * 2 * 4 * 2


def test_a_config_without_heads_is_refused_with_what_to_do():
    with pytest.raises(ConfigError, match=r"no num_hidden_layers.*choose the precision yourself: --load_in_4bit"):
        sizes.cache_of({"model_type": "odd"}, 100, 1)


def bytes_of(model) -> int:
    """Bytes that a loaded model's weights take, with what bitsandbytes keeps beside them."""
    total = 0
    for weight in model.parameters():
        total += weight.numel() * weight.element_size()
        state, scales = getattr(weight, "quant_state", None), getattr(weight, "SCB", None)
        if state is not None:
            parts = [state.absmax, state.code, state.state2.absmax, state.state2.code, state.offset]
            total += sum(part.numel() * part.element_size() for part in parts)
        total += 0 if scales is None else scales.numel() * 4
    return total


@pytest.mark.parametrize(
    ("bits", "quantisation"), [(16, None), (8, {"bits": 8}), (4, {"bits": 4, "type": "nf4", "double": True})]
)
def test_the_starter_takes_what_is_reckoned(bits, quantisation):
    found, config = sizes.measure("models/starter")
    loaded = models.load_base("models/starter", quantisation=quantisation)
    assert bytes_of(loaded) == found.size(bits, 2)
    assert config["quantized"] is None


def test_an_unknown_architecture_is_measured_by_its_files(tiny_model_dir, tmp_path):
    from safetensors.torch import load_file, save_file

    config = json.loads(Path(tiny_model_dir, "config.json").read_text(encoding="utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(config | {"model_type": "never-heard-of"}), encoding="utf-8")
    weights = load_file(f"{tiny_model_dir}/model.safetensors")
    save_file(weights, tmp_path / "model.safetensors")
    found, plain = sizes.measure(str(tmp_path))
    known, _ = sizes.measure(tiny_model_dir)
    assert found.numbers == sum(math.prod(weight.shape) for weight in weights.values()) == known.numbers
    assert found.size(4) == known.size(4)
    assert plain["hidden_size"] == 64


def test_an_unknown_architecture_without_files_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "never-heard-of"}', encoding="utf-8")
    with pytest.raises(ConfigError, match=r"does not know the architecture of .* no safetensors to measure; choose"):
        sizes.measure(str(tmp_path))
