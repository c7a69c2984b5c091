"""Adapters of any kind, rank and place on the fast paths, and what becomes of them: changed, switched, copied.

sh run_tests.sh tests/kernels/test_adapters_fused.py
"""

import copy

import pytest
import torch

from bedside import kernels
from tests.kernels.adapted import adapted, agree, fused_base, step, with_lora
from tests.kernels.tiny import packed, padded


def test_adapters_on_some_linears_only_are_fused_too():
    plain, fast = (with_lora(fused_base(), r=4, target_modules=["q_proj", "v_proj", "up_proj"]) for _ in range(2))
    kernels.install(fast, anywhere=True)
    agree(plain, fast, padded("right"))


def test_another_adapter_or_none_is_used_as_soon_as_it_acts():
    from peft import LoraConfig

    plain, fast = adapted(), adapted()
    for model in (plain, fast):
        torch.manual_seed(5)
        model.add_adapter("other", LoraConfig(r=4, lora_alpha=4, target_modules="all-linear"))
    kernels.install(fast, anywhere=True)
    batch = padded("right")
    for name in ("default", "other"):
        for model in (plain, fast):
            model.set_adapter(name)
            model.zero_grad()
        agree(plain, fast, batch)
    with plain.disable_adapter(), fast.disable_adapter(), torch.no_grad():
        wanted, found = (model(**batch, use_cache=False).logits for model in (plain, fast))
    kept = batch["attention_mask"].bool()
    torch.testing.assert_close(found[kept], wanted[kept], atol=2e-5, rtol=1e-4)


def test_adapters_that_changed_are_read_anew():
    fast = adapted()
    kernels.install(fast, anywhere=True)
    batch = padded("right")
    first = step(fast, batch)[0].log_probs.detach()
    with torch.no_grad():
        for name, parameter in fast.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    second = step(fast, batch)[0].log_probs.detach()
    plain = adapted()
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    wanted = step(plain, batch)[0].log_probs.detach()
    assert not torch.allclose(first, second, atol=1e-3)
    torch.testing.assert_close(second, wanted, atol=2e-5, rtol=1e-4)


def test_generation_after_training_is_the_plain_one():
    plain, fast = adapted(), adapted()
    kernels.install(fast, anywhere=True)
    step(fast, padded("right"))
    ids = padded("right")["input_ids"][:1, :5]
    answers = [model.eval().generate(input_ids=ids, max_new_tokens=6, do_sample=False) for model in (plain, fast)]
    assert answers[0].tolist() == answers[1].tolist()


def test_a_copy_of_a_fast_model_runs_its_own_weights():
    fast = adapted()
    kernels.install(fast, anywhere=True)
    other = copy.deepcopy(fast)
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if "lora_B" in name:
                parameter.zero_()
    batch = padded("right")
    assert not torch.allclose(step(fast, batch)[0].log_probs, step(other, batch)[0].log_probs, atol=1e-3)


def test_biases_that_are_trained_get_their_gradients():
    plain, fast = (with_lora(fused_base(), bias="all") for _ in range(2))
    lines = kernels.install(fast, anywhere=True)
    assert lines[0] == "fused attention: 0 of 2 layers (2 only in part: its bias is trained)"
    agree(plain, fast, padded("right"))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_norms_that_are_trained_as_modules_of_their_own_are(checkpointing):
    names = ["input_layernorm", "post_attention_layernorm", "norm"]
    plain, fast = (with_lora(fused_base(), modules_to_save=names) for _ in range(2))
    for model in (plain, fast):
        for name, parameter in model.named_parameters():
            if "modules_to_save" in name:
                parameter.data = torch.linspace(0.5, 1.5, parameter.numel())
    kernels.install(fast, anywhere=True)
    agree(plain, fast, padded("right"), checkpointing)


@pytest.mark.parametrize(
    "lora",
    [{"r": 1}, {"r": 3}, {"r": 24, "use_rslora": True}, {"r": 5, "rank_pattern": {"k_proj": 2, "up_proj": 11}}],
)
def test_any_rank_and_ranks_of_one_module_each(lora):
    plain, fast = (with_lora(fused_base(), **lora) for _ in range(2))
    assert kernels.install(fast, anywhere=True)[1] == "fused MLP: 2 of 2 layers"
    for checkpointing in (False, True):
        for model in (plain, fast):
            model.zero_grad()
        agree(plain, fast, packed(), checkpointing)


def test_an_adapter_of_another_kind_keeps_its_layers():
    from peft import IA3Config, get_peft_model

    names = ["q_proj", "k_proj", "v_proj", "down_proj"]
    plain, fast = (
        get_peft_model(fused_base(), IA3Config(target_modules=names, feedforward_modules=["down_proj"])).train()
        for _ in range(2)
    )
    lines = kernels.install(fast, anywhere=True)
    assert lines[0] == "fused attention: 0 of 2 layers (2 only in part: an adapter of another kind (ia3))"
    agree(plain, fast, padded("right"))


def test_a_copy_of_a_model_carries_no_prepared_adapters():
    fast = adapted()
    kernels.install(fast, anywhere=True)
    step(fast, padded("right"))
    made = fast.get_base_model().model.layers[0].mlp.prepared
    assert made._made is not None
    copied = copy.deepcopy(fast).get_base_model().model.layers[0].mlp.prepared
    assert copied._made is None
    assert copied._linears[0] is not made._linears[0]
