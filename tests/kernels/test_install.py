"""All fast paths together: the loss and every adapter's gradient are those of the plain path.

sh run_tests.sh tests/kernels/test_install.py
"""

import pytest
import torch

from bedside import kernels
from bedside.kernels import head, linear, mlp
from tests.kernels.adapted import adapted, agree
from tests.kernels.tiny import FAMILIES, packed, padded, tiny


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


def test_a_second_backward_pass_through_a_whole_mlp_is_refused():
    parts = mlp.ready([linear.Projection(torch.ones(8, 8), None, None, None, None, 0.0)] * 3)
    out = mlp.lora_mlp(torch.ones(2, 8, requires_grad=True), parts)
    out.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward pass runs once"):
        out.sum().backward()


def test_on_a_cpu_nothing_is_put_in_and_nothing_said(said):
    model = adapted()
    assert kernels.install(model) == [] and said == []
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
