"""A reward model's head sees the ends of rows: the same scores and gradients from less.

sh run_tests.sh tests/kernels/test_ends.py
"""

import copy

import pytest
import torch
import transformers

from bedside.kernels import ends
from tests.kernels.tiny import padded, tiny


def classifier(family: str = "qwen3") -> torch.nn.Module:
    return tiny(family, "ForSequenceClassification", num_labels=1)


def test_the_last_token_that_is_no_padding():
    ids = torch.tensor([[5, 6, 0, 0], [0, 0, 7, 8], [0, 5, 0, 0], [0, 0, 0, 0], [5, 0, 6, 0]])
    assert ends.last_tokens(ids, 0).tolist() == [1, 3, 1, 0, 2]


@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_scores_and_gradients_are_the_same(family, side):
    plain = classifier(family)
    other = copy.deepcopy(plain)
    assert ends.install(other) and ends.install(other)
    seen = []
    other.score.register_forward_hook(lambda module, given, out: seen.append(tuple(given[0].shape)))
    for model in (plain, other):
        model(**padded(side), use_cache=False).logits.square().sum().backward()
    torch.testing.assert_close(
        other(**padded(side), use_cache=False).logits, plain(**padded(side), use_cache=False).logits
    )
    assert seen == [(4, 32)] * 2
    for one, two in zip(plain.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, atol=1e-5, rtol=1e-4)


def test_a_reward_models_exact_head_under_an_adapter(tiny_model_dir):
    from bedside import models, reward_model

    found = []
    for wanted in (False, True):
        torch.manual_seed(0)
        base = models.load_base(tiny_model_dir, "bfloat16", num_labels=1)
        base.config.pad_token_id = 3
        torch.manual_seed(1)
        model, _ = reward_model.start(base, None, "CAUSAL_LM", {"r": 4, "alpha": 8, "dropout": 0.0})
        assert not wanted or ends.install(model.get_base_model())
        found.append(model(input_ids=torch.tensor([[5, 9, 33, 3], [7, 8, 9, 10]]), use_cache=False).logits)
    assert found[1].dtype == torch.float32
    torch.testing.assert_close(found[1], found[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "more", [{"labels": torch.tensor([0.0, 1.0, 0.5, 0.2])}, {"output_hidden_states": True}, {"return_dict": False}]
)
def test_what_asks_for_more_gets_the_whole_forward(more):
    plain = classifier()
    other = copy.deepcopy(plain)
    ends.install(other)
    wanted, found = plain(**padded("right"), **more), other(**padded("right"), **more)
    assert len(found) == len(wanted)
    assert torch.equal(found[0], wanted[0])


def test_other_models_stay():
    config = transformers.GPT2Config(n_layer=1, n_embd=8, n_head=2, vocab_size=9)
    assert not ends.install(transformers.GPT2ForSequenceClassification(config))
    assert not ends.install(tiny())
