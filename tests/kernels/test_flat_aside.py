"""Where flat batches step aside: other calls, other models; and what a layout says.

sh run_tests.sh tests/kernels/test_flat_aside.py
"""

import copy
import re

import pytest
import torch
import transformers

from bedside.kernels import flat
from tests.kernels.tiny import packed, padded, pair, tiny


def test_what_a_call_leaves_open_is_no_wish(attended):
    """PEFT passes on every keyword that it knows, as None."""
    _, other = pair()
    open_ones = {"return_dict": None, "output_attentions": None, "output_hidden_states": None, "inputs_embeds": None}
    other.model(**padded("left"), use_cache=False, **open_ones)
    assert len(attended) == 2


def test_generation_is_untouched(attended):
    plain, other = pair()
    for model in (plain, other):
        model.eval()
    asked = {**padded("left"), "max_new_tokens": 5, "do_sample": False}
    assert torch.equal(plain.generate(**asked), other.generate(**asked))
    assert attended == []


@pytest.mark.parametrize(
    "more",
    [
        {"use_cache": True},
        {"output_hidden_states": True},
        {"attention_mask": torch.ones(4, 1, 12, 12, dtype=torch.bool).tril()},
        {"attention_mask": torch.ones(4, 14, dtype=torch.long), "past_key_values": None, "use_cache": True},
        {"return_dict": False},
    ],
    ids=["a cache", "hidden states", "a mask of its own", "a longer mask", "a tuple"],
)
def test_other_calls_are_passed_on(more, attended):
    plain, other = pair()
    batch = {"input_ids": padded("right")["input_ids"], "use_cache": False, **more}
    if batch.get("attention_mask") is not None and batch["attention_mask"].shape == (4, 14):
        batch["attention_mask"] = None
    wanted, found = plain.model(**batch), other.model(**batch)
    torch.testing.assert_close(found[0], wanted[0], atol=0, rtol=0)
    assert type(found) is type(wanted) and len(found) == len(wanted)
    assert attended == []


def test_embeddings_are_passed_on(attended):
    plain, other = pair()
    embedded = plain.get_input_embeddings()(padded("right")["input_ids"]).detach()
    given = {"inputs_embeds": embedded, "attention_mask": padded("right")["attention_mask"], "use_cache": False}
    assert torch.equal(plain(**given).logits, other(**given).logits)
    assert attended == []


def test_a_batch_of_padding_alone_is_passed_on(attended):
    plain, other = pair()
    batch = {"input_ids": torch.zeros(2, 3, dtype=torch.long), "attention_mask": torch.zeros(2, 3, dtype=torch.long)}
    assert torch.equal(
        plain.model(**batch, use_cache=False).last_hidden_state,
        other.model(**batch, use_cache=False).last_hidden_state,
    )
    assert attended == []


@pytest.mark.parametrize("family, flat_rows", [("qwen2", 2), ("mistral with windows", 0)])
def test_a_mask_with_holes(family, flat_rows, attended):
    """A window counts places, of which a flat row has fewer."""
    plain, other = pair(family)
    batch = padded("right")
    batch["attention_mask"][:, 1:3] = 0
    keep = batch["attention_mask"].bool()
    with torch.no_grad():
        wanted = plain.model(**batch, use_cache=False).last_hidden_state[keep]
        found = other.model(**batch, use_cache=False).last_hidden_state[keep]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert len(attended) == flat_rows


def test_dropout_in_attention_is_said_and_kept(attended, said):
    _, other = pair(attention_dropout=0.1)
    other.train()
    for _ in range(2):
        other.model(**padded("right"), use_cache=False)
    assert attended == []
    assert said == ["flat batches: off while training: attention has dropout 0.1, which its kernel lacks"]
    other.eval()
    other.model(**padded("right"), use_cache=False)
    assert len(attended) == 2


def test_bounds_of_a_callers_own_change_nothing(attended):
    """Some collators send bounds beside positions; sdpa reads positions only."""
    plain, other = pair()
    batch = {name: part[:1] for name, part in packed().items()}
    more = {"cu_seq_lens_q": torch.tensor([0, 2, 12], dtype=torch.int32), "max_length_q": 10}
    wanted = plain.model(**batch, use_cache=False).last_hidden_state
    torch.testing.assert_close(
        other.model(**batch, **more, use_cache=False).last_hidden_state, wanted, atol=1e-5, rtol=1e-5
    )
    assert attended[0] == ([0, 4, 5, 12], 7)


def test_another_attention_that_is_chosen_later_stays(attended):
    plain, other = pair()
    for model in (plain, other):
        model.set_attn_implementation("eager")
    batch = padded("left")
    assert torch.equal(
        plain.model(**batch, use_cache=False).last_hidden_state,
        other.model(**batch, use_cache=False).last_hidden_state,
    )
    assert attended == []


def test_twice_is_once(attended):
    _, other = pair()
    forward = other.model.forward
    flat.install(other)
    assert other.model.forward == forward
    assert flat.installed(other.model)


def test_a_deep_copy_runs_its_own_weights(attended):
    _, other = pair()
    copied = copy.deepcopy(other)
    with torch.no_grad():
        copied.model.norm.weight.zero_()
        assert (copied.model(**padded("left"), use_cache=False).last_hidden_state == 0).all()
    assert len(attended) == 2


def test_a_failure_leaves_the_attention_as_it_was():
    _, other = pair()
    other.model.layers[1].mlp.down_proj.weight = torch.nn.Parameter(torch.zeros(3, 5))
    with pytest.raises(RuntimeError):
        other.model(**padded("right"), use_cache=False)
    assert other.config._attn_implementation == "sdpa"


@pytest.mark.parametrize(
    "model, why",
    [
        (lambda: transformers.GPT2LMHeadModel(transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9)),
         r"not known to be safe for GPT2Model \(known: LlamaModel, MistralModel, Qwen2Model, Qwen3Model\)"),
        (lambda: tiny(attn_implementation="eager"), "attention eager was asked for"),
        (lambda: tiny("llama", rope_parameters={"rope_type": "dynamic", "factor": 2.0, "rope_theta": 10000.0}),
         "positions of kind dynamic depend on the length"),
    ],
    ids=["family", "attention", "positions"],
)  # fmt: skip
def test_what_stays_padded_is_said(model, why, attended):
    made = model()
    line = flat.install(made)
    assert line.startswith("flat batches: off: ") and line.endswith("; rows are padded")
    assert re.search(why, line)
    assert not flat.installed(flat.body_of(made))


def test_a_layout_by_hand():
    mask = torch.tensor([[0, 1, 1, 1], [1, 0, 0, 0], [0, 0, 1, 1]])
    made = flat.layout((3, 4), mask, None, mask.device)
    assert made.index.tolist() == [1, 2, 3, 4, 10, 11]
    assert made.positions.tolist() == [[1, 2, 3, 0, 2, 3]]
    assert made.bounds.tolist() == [0, 3, 4, 6] and made.bounds.dtype == torch.int32
    assert (made.longest, made.holes) == (3, False)


def test_a_packed_layout_by_hand():
    positions = torch.tensor([[0, 1, 0, 1, 2], [0, 0, 1, 0, 1]])
    made = flat.layout((2, 5), None, positions, positions.device)
    assert made.index is None
    assert made.positions.tolist() == [[0, 1, 0, 1, 2, 0, 0, 1, 0, 1]]
    assert made.bounds.tolist() == [0, 2, 5, 6, 8, 10]
    assert made.longest == 3
