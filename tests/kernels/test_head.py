"""The chunked loss in TRL's head: its temperature, its fields, and where it leaves the loss to the trainer.

sh run_tests.sh tests/kernels/test_head.py
"""

import copy
from typing import Any

import pytest
import torch
from trl.trainer.utils import add_fused_lm_head

from bedside import kernels
from bedside.kernels import head, loss
from tests.kernels.tiny import padded, tiny

FIELDS = ("log_probs", "entropy", "mean_logits", "is_top1")


def frozen(**asked) -> torch.nn.Module:
    """A frozen causal LM with a head of its own, in training mode, and the head that a trainer gives it."""
    model = tiny(tie_word_embeddings=False).requires_grad_(False)
    add_fused_lm_head(model, **{"outputs": FIELDS, **asked})
    return model.train()


def answers(model: torch.nn.Module) -> tuple[Any, torch.Tensor]:
    """The record of a batch and d/d(embeddings) of a weighted sum of its log-probabilities."""
    batch = padded("right")
    embedded = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)
    out = model(inputs_embeds=embedded, attention_mask=batch["attention_mask"], labels=labels, fused_lm_head=True)
    weights = torch.randn(out.log_probs.shape, generator=torch.Generator().manual_seed(4))
    (out.log_probs * weights).sum().backward()
    return out, embedded.grad


@pytest.mark.parametrize("temperature", [1.0, 0.5, 1.7])
def test_answers_drawn_at_a_temperature_are_scored_at_it(temperature):
    plain, fast = frozen(temperature=temperature), frozen(temperature=temperature)
    assert head.install(fast) is None
    (wanted, gradient), (found, own) = answers(plain), answers(fast)
    for name in ("loss", *FIELDS[:3]):
        torch.testing.assert_close(found[name], wanted[name], atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(own, gradient, atol=2e-5, rtol=1e-4)
    assert found.is_top1.tolist() == wanted.is_top1.tolist()


def test_two_words_at_temperature_one_half_by_hand():
    # Logits (1, 0) over 0.5 are (2, 0): p = 1 / (1 + e^-2) = 0.8808, d log p / d hidden = (1 - p) / 0.5.
    hidden = torch.tensor([[1.0]], requires_grad=True)
    found = loss.score(hidden, torch.tensor([[1.0], [0.0]]), torch.tensor([0]), temperature=0.5)
    found.log_probs.sum().backward()
    torch.testing.assert_close(found.log_probs.exp(), torch.tensor([0.8807971]))
    torch.testing.assert_close(hidden.grad, torch.tensor([[0.2384058]]))


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"cast_lm_head_to_fp32": True}, "--cast_lm_head_to_fp32 asks for a head in float32"),
        ({"outputs": ("log_probs", "log_sum_sq_probs")}, "the trainer asks for log_sum_sq_probs too"),
    ],
)
def test_a_head_that_is_asked_for_more_stays_the_trainers(asked, why):
    model = frozen(**asked)
    before = model.forward
    assert head.install(model) == why
    assert model.forward == before


def test_a_trainer_that_does_not_ask_is_not_told_that_the_loss_is_on():
    lines = kernels.install(tiny(tie_word_embeddings=False).requires_grad_(False), anywhere=True)
    assert "chunked loss: off: this trainer has a loss of its own" in lines


def test_a_forward_that_was_wrapped_for_its_precision_stays_wrapped():
    from accelerate.utils import convert_outputs_to_fp32

    model = frozen()
    model.forward = convert_outputs_to_fp32(model.forward)
    assert head.install(model) == "the model's forward is wrapped already, by what sets its precision"


def test_a_head_with_an_adapter_keeps_it():
    from peft import LoraConfig, get_peft_model

    base = tiny(tie_word_embeddings=False)
    add_fused_lm_head(base, outputs=FIELDS)
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "lm_head"]))
    assert head.install(base) == "its head is a peft.Linear"
    assert type(model.get_output_embeddings()).__name__ == "Linear"


def test_the_entropy_has_no_gradient_and_says_so():
    model = frozen()
    assert head.install(model) is None
    batch = padded("right")
    embedded = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    out = model(inputs_embeds=embedded, labels=batch["input_ids"], fused_lm_head=True)
    with pytest.raises(RuntimeError, match="no gradient of the entropy; use --chunked_loss False"):
        (out.log_probs + out.entropy).sum().backward()


def test_ddp_that_looks_for_unused_parameters_trains(tmp_path):
    from peft import LoraConfig, get_peft_model
    from torch.nn.parallel import DistributedDataParallel

    base = tiny(tie_word_embeddings=False)
    add_fused_lm_head(base, outputs=FIELDS)
    model = get_peft_model(base, LoraConfig(r=4, target_modules="all-linear")).train()
    kernels.install(model, anywhere=True)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        ddp, batch = DistributedDataParallel(model, find_unused_parameters=True), padded("right")
        for _ in range(2):
            out = ddp(**batch, labels=batch["input_ids"], fused_lm_head=True)
            out.log_probs.sum().backward()
    finally:
        torch.distributed.destroy_process_group()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_nothing_to_train_in_a_batch_is_a_loss_of_zero():
    model = frozen()
    assert head.install(model) is None
    batch = padded("right")
    embedded = model.get_input_embeddings()(batch["input_ids"]).detach().requires_grad_()
    out = model(inputs_embeds=embedded, labels=torch.full_like(batch["input_ids"], -100), fused_lm_head=True)
    out.loss.backward()
    assert out.loss.item() == 0.0
    assert embedded.grad.abs().max().item() == 0.0


def test_a_copy_scores_with_its_own_head():
    model = frozen()
    assert head.install(model) is None
    other = copy.deepcopy(model)
    with torch.no_grad():
        other.lm_head.weight.zero_()
    assert not torch.allclose(answers(model)[0].log_probs, answers(other)[0].log_probs, atol=1e-2)
