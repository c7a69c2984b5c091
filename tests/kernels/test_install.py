"""All fast paths together: the loss and every adapter's gradient are those of the plain path.

sh run_tests.sh tests/kernels/test_install.py
"""

import copy

import pytest
import torch

from bedside import kernels
from bedside.kernels import head, linear, mlp
from tests.kernels.tiny import FAMILIES, packed, padded, tiny


def adapted(family: str = "qwen2", dtype: torch.dtype = torch.float32, **lora):
    """A tiny model with a LoRA of rank 8 whose b is not zero, in training mode, and the head that TRL gives it."""
    from peft import LoraConfig, get_peft_model
    from trl.trainer.utils import add_fused_lm_head

    base = tiny(family, tie_word_embeddings=False).to(dtype)
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    model = get_peft_model(base, LoraConfig(r=8, lora_alpha=12, target_modules="all-linear", **lora))
    draw = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.1
    return model.train()


def step(model, batch: dict[str, torch.Tensor], checkpointing: bool = False):
    """What a trainer reads of the batch, and the gradients of a weighted sum of log-probabilities."""
    if checkpointing:
        model.enable_input_require_grads()
        model.get_base_model().gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    labels = batch["input_ids"].masked_fill(batch.get("attention_mask", torch.ones(1)) == 0, -100)
    labels[:, :2] = -100
    out = model(**batch, labels=labels, fused_lm_head=True)
    weights = torch.randn(out.log_probs.shape, generator=torch.Generator().manual_seed(4))
    (out.log_probs * weights).sum().backward()
    return out, {name: p.grad for name, p in model.named_parameters() if p.requires_grad}


def agree(plain, fast, batch, checkpointing: bool = False, atol: float = 2e-5) -> None:
    wanted, wanted_gradients = step(plain, batch, checkpointing)
    found, gradients = step(fast, batch, checkpointing)
    for name in ("log_probs", "entropy", "mean_logits"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), atol=atol, rtol=1e-4)
    assert found.is_top1.tolist() == wanted.is_top1.tolist()
    assert found.label_mask.tolist() == wanted.label_mask.tolist()
    assert gradients.keys() == wanted_gradients.keys()
    for name, gradient in wanted_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, atol=atol, rtol=1e-3, msg=lambda m, name=name: name + m)


@pytest.mark.parametrize("kind", ["whole", "checkpointed", "in tiles"])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_plain_path(family, kind):
    plain, fast = adapted(family), adapted(family)
    lines = kernels.install(fast, anywhere=True, mlp_tile=5 if kind == "in tiles" else None)
    assert lines[0] == "fused attention: 2 of 2 layers"
    assert lines[1] == "fused MLP: 2 of 2 layers"
    for batch in (padded("right"), packed()):
        agree(plain, fast, batch, kind != "whole")
        plain.zero_grad()
        fast.zero_grad()


@pytest.mark.parametrize(
    ("lora", "why"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"lora_dropout": 1e-9}, "LoRA dropout"),
        ({"lora_bias": True}, "LoRA with a bias"),
    ],
)
def test_what_cannot_be_fused_keeps_its_own_linears(lora, why):
    plain, fast = adapted(**lora), adapted(**lora)
    lines = kernels.install(fast, anywhere=True)
    assert lines[0] == f"fused attention: 0 of 2 layers (2 only in part: {why})"
    assert lines[1] == f"fused MLP: 0 of 2 layers (2 only in part: {why})"
    agree(plain, fast, padded("right"))


def test_only_the_layers_that_can_be_are_fused():
    plain, fast = (adapted() for _ in range(2))
    for model in (plain, fast):
        model.get_base_model().model.layers[1].mlp.up_proj.base_layer.weight.requires_grad_(True)
    lines = kernels.install(fast, anywhere=True)
    assert lines[1] == "fused MLP: 1 of 2 layers (1 only in part: its weight is trained)"
    agree(plain, fast, padded("right"))


def test_adapters_on_some_linears_only_are_fused_too():
    from peft import LoraConfig, get_peft_model

    models = []
    for _ in range(2):
        base = adapted().unload()
        model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "v_proj", "up_proj"]))
        draw = torch.Generator().manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = torch.randn(parameter.shape, generator=draw) * 0.1
        models.append(model.train())
    kernels.install(models[1], anywhere=True)
    agree(*models, padded("right"))


def test_nf4_weights_in_bfloat16_agree_within_their_rounding():
    import bitsandbytes as bnb
    from peft import LoraConfig, get_peft_model

    bases = [quantised(tiny("qwen2").to(torch.bfloat16)) for _ in range(2)]
    assert bases[0].model.layers[0].mlp.up_proj.weight.quant_state is not None
    truth = copy.deepcopy(bases[0])
    for module in list(truth.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, bnb.nn.Linear4bit):
                new = torch.nn.Linear(child.in_features, child.out_features, child.bias is not None)
                new.weight.data = bnb.functional.dequantize_4bit(child.weight.data, child.weight.quant_state).float()
                if child.bias is not None:
                    new.bias.data = child.bias.data.float()
                setattr(module, name, new)
    gradients = []
    for base, fast in ((truth.float(), False), (bases[0], False), (bases[1], True)):
        model = get_peft_model(base, LoraConfig(r=8, target_modules="all-linear"))
        draw = torch.Generator().manual_seed(1)
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.data = torch.randn(parameter.shape, generator=draw) * 0.1
        model.train()
        if fast:
            assert kernels.install(model, anywhere=True)[1] == "fused MLP: 2 of 2 layers"
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=base is not truth):
            logits = model(**padded("right"), use_cache=False).logits.float()
        kept = padded("right")["attention_mask"].bool()
        logits[kept].logsumexp(-1).sum().backward()
        gradients.append({name: p.grad.float() for name, p in model.named_parameters() if p.requires_grad})
    wanted, plain, fast = gradients
    of_plain, of_fast = (
        sorted(((g[name] - wanted[name]).norm() / wanted[name].norm()).item() for name in wanted)
        for g in (plain, fast)
    )
    middle = len(of_plain) // 2
    assert of_fast[middle] < 0.05
    assert of_fast[middle] < 1.5 * of_plain[middle]


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


def test_a_second_backward_pass_through_a_whole_mlp_is_refused():
    parts = mlp.ready([linear.Projection(torch.ones(8, 8), None, None, None, None, 0.0)] * 3)
    out = mlp.lora_mlp(torch.ones(2, 8, requires_grad=True), parts)
    out.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward pass runs once"):
        out.sum().backward()


def test_on_a_cpu_nothing_is_put_in_and_nothing_said(caplog):
    model = adapted()
    assert kernels.install(model) == []
    assert "prepared" not in vars(model.get_base_model().model.layers[0].mlp)


def test_under_fsdp_the_reason_is_told(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert kernels.install(adapted(), anywhere=True) == ["kernels: off: FSDP cuts the weights that they read"]


def test_each_part_can_be_switched_off():
    plain, fast = adapted(), adapted()
    lines = kernels.install(
        fast, anywhere=True, fused_lora=False, fused_mlp=False, fused_norm=False, fused_loss=False, flat=False
    )
    assert lines == []
    agree(plain, fast, padded("right"))


def test_heads_that_need_more_keep_the_trainers_loss():
    model = tiny(tie_word_embeddings=False)
    assert head.why_not(model) == "its head is trained"
    model.requires_grad_(False)
    assert head.why_not(model) is None
    model.config.final_logit_softcapping = 30.0
    assert head.why_not(model) == "its config changes the logits"


def with_lora(base, seed: int = 1, **lora):
    """`base` with a LoRA whose b is not zero, in training mode."""
    from peft import LoraConfig, get_peft_model

    model = get_peft_model(base, LoraConfig(**{"r": 8, "target_modules": "all-linear", **lora}))
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = torch.randn(parameter.shape, generator=draw) * 0.1
    return model.train()


def fused_base() -> torch.nn.Module:
    """A tiny model with TRL's head."""
    from trl.trainer.utils import add_fused_lm_head

    base = tiny(tie_word_embeddings=False)
    add_fused_lm_head(base, outputs=("log_probs", "entropy", "mean_logits", "is_top1"))
    return base


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


def quantised(model, kept: tuple[str, ...] = ()):
    """Its linears in NF4, which come back in bfloat16; but for those that are `kept`."""
    import bitsandbytes as bnb

    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if name.endswith("_proj") and name not in kept and type(child) is torch.nn.Linear:
                new = bnb.nn.Linear4bit(child.in_features, child.out_features, child.bias is not None, torch.bfloat16)
                new.weight = bnb.nn.Params4bit(child.weight.data, requires_grad=False, quant_type="nf4")
                new.bias = child.bias
                setattr(module, name, new.to("cpu"))
                assert new.weight.quant_state.dtype == torch.bfloat16
    return model.requires_grad_(False)


def in_bfloat16(model, batch) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The logits of real tokens under autocast, and every gradient."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(**batch, use_cache=False).logits.float()[batch["attention_mask"].bool()]
    logits.logsumexp(-1).sum().backward()
    return logits, {name: p.grad.float() for name, p in model.named_parameters() if p.requires_grad}


def near(plain, fast) -> None:
    """Within what bfloat16 rounds."""
    (wanted, gradients), (found, own) = plain, fast
    assert (found - wanted).norm() < 0.02 * wanted.norm()
    for name, gradient in gradients.items():
        assert (own[name] - gradient).norm() < 0.1 * gradient.norm(), name


def test_one_linear_in_16_bit_among_those_in_4_bit_shares_no_buffer_with_them():
    plain, fast = (with_lora(quantised(tiny().to(torch.bfloat16), ("k_proj",))) for _ in range(2))
    assert kernels.install(fast, anywhere=True)[0] == "fused attention: 2 of 2 layers"
    near(in_bfloat16(plain, padded("right")), in_bfloat16(fast, padded("right")))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_stream_in_float32_around_16_bit_linears_stays_in_float32(checkpointing):
    plain, fast = (with_lora(quantised(tiny().to(torch.bfloat16))) for _ in range(2))
    for model in (plain, fast):  # as PEFT prepares a quantised model
        for name, parameter in model.named_parameters():
            if "proj" not in name:
                parameter.data = parameter.data.float()
        if checkpointing:
            model.enable_input_require_grads()
            model.get_base_model().gradient_checkpointing_enable(
                gradient_checkpointing_kwargs={"use_reentrant": False}
            )
    kernels.install(fast, anywhere=True)
    near(in_bfloat16(plain, padded("right")), in_bfloat16(fast, padded("right")))


def test_a_copy_of_a_model_carries_no_prepared_adapters():
    fast = adapted()
    kernels.install(fast, anywhere=True)
    step(fast, padded("right"))
    made = fast.get_base_model().model.layers[0].mlp.prepared
    assert made._made is not None
    copied = copy.deepcopy(fast).get_base_model().model.layers[0].mlp.prepared
    assert copied._made is None
    assert copied._linears[0] is not made._linears[0]
