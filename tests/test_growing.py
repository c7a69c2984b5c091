"""The cache that grows in place holds what transformers' own holds.

sh run_tests.sh -k growing
"""

import pytest
import torch
from transformers import DynamicCache, Qwen3Config, Qwen3ForCausalLM

from bedside import growing


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, max_position_embeddings=1024,
    )  # fmt: skip
    return Qwen3ForCausalLM(config).eval()


def states(count: int, start: int = 0) -> torch.Tensor:
    """Keys `(1, 1, count, 1)` that say where they stand."""
    return torch.arange(start, start + count, dtype=torch.float32).reshape(1, 1, count, 1)


def test_states_stand_one_behind_the_other():
    layer = growing.GrowingLayer()
    layer.update(states(3), -states(3))
    keys, values = layer.update(states(2, 3), -states(2, 3))
    assert keys.flatten().tolist() == [0, 1, 2, 3, 4] and values.flatten().tolist() == [0, -1, -2, -3, -4]
    assert layer.get_seq_length() == 5 and layer.keys is keys


def test_room_is_made_once_for_many_tokens():
    layer = growing.GrowingLayer()
    layer.update(states(3), states(3))
    place = layer.keys.data_ptr()
    for token in range(3, 3 + 128):
        layer.update(states(1, token), states(1, token))
    assert layer.keys.data_ptr() == place
    layer.update(states(1, 131), states(1, 131))
    assert layer.keys.data_ptr() != place and layer.keys.flatten().tolist() == list(range(132))


def test_what_others_set_is_what_counts():
    layer = growing.GrowingLayer()
    layer.update(states(4).repeat(3, 1, 1, 1), states(4).repeat(3, 1, 1, 1))
    layer.batch_select_indices(torch.tensor([2, 0]))
    layer.crop(-1)
    keys, _ = layer.update(states(1, 9).repeat(2, 1, 1, 1), states(1, 9).repeat(2, 1, 1, 1))
    assert keys[:, 0, :, 0].tolist() == [[0, 1, 2, 9]] * 2


def test_after_a_reset_it_is_empty():
    layer = growing.GrowingLayer()
    layer.update(states(4), states(4))
    layer.reset()
    assert layer.get_seq_length() == 0
    assert layer.update(states(2, 7), states(2, 7))[0].flatten().tolist() == [7, 8]


@pytest.mark.parametrize("tokens", [5, 200])
def test_the_same_tokens_are_generated(model, tokens):
    ids = torch.randint(1, 64, (3, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, :3] = 0
    given = {"attention_mask": mask, "max_new_tokens": tokens, "do_sample": False, "pad_token_id": 0}
    plain = model.generate(ids, past_key_values=DynamicCache(config=model.config), **given)
    grown = model.generate(ids, past_key_values=growing.cache(model.config), **given)
    assert torch.equal(plain, grown)


def test_a_model_with_windows_has_none():
    config = Qwen3Config(num_hidden_layers=2, use_sliding_window=True, sliding_window=8, max_window_layers=0)
    assert growing.cache(config) is None


def test_rows_that_leave_give_their_memory_back():
    layer = growing.GrowingLayer()
    layer.update(torch.cat([states(3), -states(3)]), torch.cat([states(3), -states(3)]))
    layer.batch_select_indices(torch.tensor([1]))
    assert layer._longer is None and layer.keys.untyped_storage().nbytes() == 3 * 4
    keys, _ = layer.update(states(1, 3), states(1, 3))
    assert keys.flatten().tolist() == [0, -1, -2, 3]
