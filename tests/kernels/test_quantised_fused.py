"""The fast paths on a base in NF4: within what bfloat16 rounds of the plain path.

sh run_tests.sh tests/kernels/test_quantised_fused.py
"""

import copy

import pytest
import torch

from bedside import kernels
from tests.kernels.adapted import with_lora
from tests.kernels.tiny import padded, tiny


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


def test_nf4_weights_in_bfloat16_agree_within_their_rounding():
    import bitsandbytes as bnb

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
        model = with_lora(base)
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
