"""What fits on which card: weights, cache, length, number of cards.

sh run_tests.sh tests/deploy/test_memory.py
"""

import pytest

from bedside.deploy import memory
from bedside.deploy.memory import GIB, Shape
from bedside.deploy.weights import Weights
from bedside.errors import ConfigError

# Qwen2.5-7B: 28 layers, 28 heads, 4 of keys, width 3584.
CONFIG = {
    "num_attention_heads": 28, "num_key_value_heads": 4, "hidden_size": 3584, "num_hidden_layers": 28,
    "max_position_embeddings": 32768,
}  # fmt: skip
SHAPE = Shape(28, 4, 28_672, 32_768)
WEIGHTS = Weights(linear=6_525_000_000, rest=1_090_000_000)


def test_the_shape_is_read_off_the_config():
    assert memory.shape_of(CONFIG) == SHAPE
    assert memory.shape_of({"text_config": CONFIG | {"head_dim": 64}}).token_values == 28 * 2 * 4 * 64
    mla = CONFIG | {"kv_lora_rank": 512, "qk_rope_head_dim": 64}
    assert memory.shape_of(mla) == Shape(28, 1, 28 * 576, 32_768)
    hybrid = CONFIG | {"layer_types": ["linear_attention"] * 21 + ["full_attention"] * 7}
    assert memory.shape_of(hybrid).token_values == 7 * 2 * 4 * 128
    assert memory.shape_of({"n_head": 12, "n_layer": 2, "n_embd": 24, "n_positions": 64}) == Shape(12, 12, 96, 64)


def test_bytes_of_the_weights():
    assert WEIGHTS.held("bfloat16") == 15_230_000_000
    assert WEIGHTS.held("float32") == 30_460_000_000
    assert WEIGHTS.held("bfloat16", four_bit=True) == 5_850_312_500
    assert Weights(10, 10, bytes=7, packed=True).held("float32") == 7


@pytest.mark.parametrize(
    ("cards", "heads", "kv_heads", "used"),
    [(1, 28, 4, 1), (2, 28, 4, 2), (3, 28, 4, 2), (8, 28, 4, 4), (8, 32, 8, 8), (8, 14, 2, 2), (6, 12, 1, 6)],
)  # fmt: skip
def test_heads_are_shared_out_evenly(cards, heads, kv_heads, used):
    assert memory.cards_used(cards, Shape(heads, kv_heads, 1, 1)) == used


def test_a_lab_card_holds_all_positions():
    room = memory.on_cards(SHAPE, WEIGHTS, "bfloat16", 1, 80 * GIB, 79 * GIB)
    assert (room.length, room.four_bit, room.utilisation) == (32768, False, None)
    assert room.told[1] == "--max-model-len 32768: all positions of the model"


def test_on_24_gb_the_memory_limits_nothing_or_the_length():
    room = memory.on_cards(SHAPE, WEIGHTS, "bfloat16", 1, 24 * GIB, 24 * GIB)
    assert (room.length, room.four_bit) == (32768, False)
    room = memory.on_cards(SHAPE, WEIGHTS, "bfloat16", 1, 19 * GIB, 19 * GIB)
    assert (room.length, room.four_bit) == (16640, False)
    assert room.told[1] == "--max-model-len 16640: the memory holds no more of the model's 32,768 positions"


def test_on_11_gb_the_weights_are_held_in_4_bits():
    room = memory.on_cards(SHAPE, WEIGHTS, "float16", 1, 11 * GIB, 11 * GIB)
    assert (room.length, room.four_bit) == (32768, True)
    assert room.told[2].startswith("4 bits: the weights would take 14.2 GiB in float16; bitsandbytes holds")


def test_what_does_not_fit_is_refused_with_its_size():
    with pytest.raises(ConfigError, match=r"take 14.2 GiB in bfloat16 or 5.4 GiB in 4 bits, vLLM 1.4 GiB .* 5.5 GiB"):
        memory.on_cards(SHAPE, WEIGHTS, "bfloat16", 1, 6 * GIB, 6 * GIB)
    with pytest.raises(ConfigError, match=r"or 4 bits: --quantization bitsandbytes$"):
        memory.on_cards(SHAPE, WEIGHTS, "bfloat16", 1, 11 * GIB, 11 * GIB, four_bit=False)


def test_two_cards_share_weights_and_cache():
    room = memory.on_cards(SHAPE, WEIGHTS, "bfloat16", 2, 11 * GIB, 11 * GIB)
    assert (room.length, room.four_bit) == (32768, False)
    assert "weights 7.1 GiB (bfloat16)" in room.told[0] and "28 KiB a token" in room.told[0]


def test_a_card_that_others_use_is_shared():
    room = memory.on_cards(SHAPE, WEIGHTS, "bfloat16", 1, 80 * GIB, 40 * GIB)
    assert room.utilisation == 0.48
    assert room.told[-1] == (
        "--gpu-memory-utilization 0.48: others hold a part of the card, 40.0 GiB of 80.0 GiB free"
    )  # fmt: skip
    assert memory.on_cards(SHAPE, WEIGHTS, "bfloat16", 1, 80 * GIB, 40 * GIB, utilisation=0.3).utilisation is None


def test_on_a_cpu_the_cache_takes_at_most_half_of_what_is_left():
    small = Shape(4, 4, 3072, 2048)
    room = memory.on_cpu(small, Weights(4_800_000, 1_280_000), "bfloat16", 16 * GIB)
    assert (room.length, room.cache_gib) == (2048, 1)
    room = memory.on_cpu(SHAPE, WEIGHTS, "bfloat16", 32 * GIB)
    assert (room.length, room.cache_gib) == (32768, 7)
    assert memory.on_cpu(SHAPE, WEIGHTS, "bfloat16", 18 * GIB).length == 18688
    assert memory.on_cpu(SHAPE, WEIGHTS, "bfloat16", 32 * GIB, cache_gib=2).cache_gib == 2
    with pytest.raises(ConfigError, match=r"16.0 GiB are free; the weights take 14.2 GiB in bfloat16, vLLM 2.0 GiB"):
        memory.on_cpu(SHAPE, WEIGHTS, "bfloat16", 16 * GIB)


def test_a_config_without_positions_leaves_the_length_to_vllm():
    room = memory.on_cpu(Shape(4, 4, 3072, None), Weights(10, 10), "float32", 8 * GIB)
    assert room.length is None
    assert room.told[1] == "--max-model-len is left to vLLM: config.json names no number of positions"
