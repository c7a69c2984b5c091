"""Flat batches give what padded and packed batches give: hidden states, losses, gradients.

sh run_tests.sh tests/kernels/test_flat.py
"""

import copy

import pytest
import torch

from bedside.kernels import flat
from tests.kernels.tiny import FAMILIES, packed, padded, pair, real, tiny

BATCHES = {
    "right": lambda: padded("right"),
    "left": lambda: padded("left"),
    "both sides": lambda: padded("both"),
    "packed": packed,
    "no mask": lambda: {"input_ids": padded("right")["input_ids"]},
    "positions beside a mask": lambda: (
        padded("left") | {"position_ids": (padded("left")["attention_mask"].cumsum(1) - 1).clamp(min=0)}
    ),
    "an empty row": lambda: {
        name: torch.cat([part, torch.zeros(1, 12, dtype=torch.long)]) for name, part in padded("right").items()
    },
}


def trained(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The mean negative log-likelihood of tokens after tokens, and the gradients of what is trained."""
    keep = real(batch)
    if "position_ids" in batch and "attention_mask" not in batch:
        keep = keep & (batch["position_ids"] != 0)
    logits = model(**batch, use_cache=False).logits[:, :-1]
    kept = (keep[:, 1:] & real(batch)[:, :-1]).flatten()
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1)[kept].float(), batch["input_ids"][:, 1:].flatten()[kept]
    )
    model.zero_grad()
    loss.backward()
    return loss.detach(), {name: part.grad for name, part in model.named_parameters() if part.requires_grad}


def agree(plain: torch.nn.Module, other: torch.nn.Module, batch: dict[str, torch.Tensor], atol: float = 1e-5) -> None:
    """The same loss and the same gradients."""
    wanted, wanted_gradients = trained(plain, batch)
    found, gradients = trained(other, batch)
    torch.testing.assert_close(found, wanted, atol=atol, rtol=1e-5)
    assert gradients.keys() == wanted_gradients.keys() and gradients
    for name, gradient in wanted_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, atol=atol, rtol=1e-4, msg=lambda m, name=name: name + m)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", BATCHES)
def test_hidden_states_are_the_same(family, kind, attended):
    plain, other = pair(family)
    batch = BATCHES[kind]()
    with torch.no_grad():
        wanted = plain.model(**batch, use_cache=False).last_hidden_state
        found = other.model(**batch, use_cache=False).last_hidden_state
    assert found.shape == wanted.shape
    torch.testing.assert_close(found[real(batch)], wanted[real(batch)], atol=1e-5, rtol=1e-5)
    assert (found[~real(batch)] == 0).all()
    assert len(attended) == 2  # one row a layer


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["right", "left", "packed"])
def test_losses_and_gradients_are_the_same(family, kind):
    agree(*pair(family), BATCHES[kind]())


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", ["left", "packed"])
def test_checkpointing_computes_layers_again_by_their_bounds(kind, reentrant, attended):
    """A layer is computed again when the forward of the body has long ended."""
    plain, other = pair()
    for model in (plain, other):
        model.train()
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": reentrant})
        model.enable_input_require_grads()
    agree(plain, other, BATCHES[kind]())
    assert len(attended) == 4  # each layer twice
    assert other.config._attn_implementation == "sdpa"


@pytest.mark.parametrize("kind", ["right", "left", "packed"])
def test_through_an_adapter_that_is_trained(kind):
    from peft import LoraConfig, get_peft_model

    plain = tiny("qwen3")
    torch.manual_seed(3)
    config = LoraConfig(r=4, target_modules="all-linear", lora_dropout=0.0, init_lora_weights=False)
    plain = get_peft_model(plain, config)
    other = copy.deepcopy(plain)
    assert flat.install(other).startswith("flat batches: on")
    agree(plain, other, BATCHES[kind]())
    with plain.disable_adapter(), other.disable_adapter(), torch.no_grad():
        batch = BATCHES[kind]()
        wanted, found = plain(**batch, use_cache=False).logits, other(**batch, use_cache=False).logits
    torch.testing.assert_close(found[real(batch)], wanted[real(batch)], atol=1e-5, rtol=1e-5)


def test_on_a_base_of_four_bits(tiny_model_dir):
    from peft import LoraConfig, get_peft_model

    from bedside import models

    def made() -> torch.nn.Module:
        base = models.load_base(tiny_model_dir, "float32", quantisation={"bits": 4, "type": "nf4", "double": True})
        torch.manual_seed(3)
        return get_peft_model(base, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False))

    plain, other = made(), made()
    assert flat.install(other).startswith("flat batches: on")
    agree(plain, other, padded("right"), atol=1e-4)


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "mistral with windows"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_classifier_reads_the_same_scores(family, side):
    plain, other = pair(family, "ForSequenceClassification", num_labels=1)
    wanted, found = (model(**padded(side), use_cache=False).logits for model in (plain, other))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    for model, scores in ((plain, wanted), (other, found)):
        scores.square().sum().backward()
        assert model.score.weight.grad is not None
    for (name, one), (_, two) in zip(plain.named_parameters(), other.named_parameters(), strict=True):
        torch.testing.assert_close(two.grad, one.grad, atol=1e-4, rtol=1e-4, msg=lambda m, name=name: name + m)


def test_padding_costs_nothing(attended):
    """Twenty-five tokens in four rows of twelve places: layers see twenty-five."""
    _, other = pair()
    seen = []
    other.model.layers[0].mlp.register_forward_hook(lambda module, given, out: seen.append(tuple(out.shape)))
    other.model(**padded("left"), use_cache=False)
    assert seen == [(1, 25, 32)]
    assert attended == [([0, 9, 12, 24, 25], 12)] * 2


def test_every_weight_of_the_body_gets_a_gradient():
    """Processes that wait for each other's gradients (DDP) wait for no weight that a flat row left out."""
    _, other = pair()
    other.model(**padded("left"), use_cache=False).last_hidden_state.sum().backward()
    assert [name for name, part in other.named_parameters() if part.grad is None] == ["lm_head.weight"]
