"""SwiGLU, norms and rotary positions: both paths against autograd in float64.

sh run_tests.sh tests/kernels/test_layer_ops.py
"""

import pytest
import torch

from bedside.kernels import layer_ops


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def close(found, wanted) -> None:
    torch.testing.assert_close(found.double(), wanted.double(), atol=2e-5, rtol=2e-5)


@pytest.mark.parametrize("rank", [8, 16, 24])
def test_swiglu_adds_both_adapters(path, rank):
    gate, up, low = draw(37, 70), draw(37, 70, seed=1), draw(37, 2 * rank, seed=2)
    gate_b, up_b = draw(70, rank, seed=3, scale=0.1), draw(70, rank, seed=4, scale=0.1)
    found = layer_ops.swiglu(gate, up, low, gate_b, up_b)
    g = gate.double() + low[:, :rank].double() @ gate_b.double().T
    u = up.double() + low[:, rank:].double() @ up_b.double().T
    close(found, g / (1 + torch.exp(-g)) * u)


@pytest.mark.parametrize(
    ("rank", "kilobytes", "columns"),
    [(16, 99, 128), (64, 99, 128), (128, 99, 64), (256, 227, 32), (64, 64, 64), (256, 64, 16), (512, 99, 16)],
)
def test_large_ranks_take_fewer_columns_at_a_time(rank, kilobytes, columns):
    assert layer_ops.columns_for(rank, kilobytes << 10) == columns


@pytest.mark.parametrize("rank", [8, 16, 130])
def test_swiglu_backward_gives_every_gradient_that_autograd_gives(path, rank):
    tokens, width = 75, 50
    names = {
        "gate": (tokens, width), "up": (tokens, width), "low": (tokens, 2 * rank), "gate_b": (width, rank),
        "up_b": (width, rank),
    }  # fmt: skip
    given = {
        name: draw(*shape, seed=seed, scale=min(0.5, 4 / rank)) for seed, (name, shape) in enumerate(names.items())
    }
    d_out, out_low, down_a = (
        draw(tokens, width, seed=9),
        draw(tokens, rank, seed=10),
        draw(rank, width, seed=11, scale=min(1.0, 4 / rank)),
    )

    wide = {name: value.double().requires_grad_() for name, value in given.items()}
    g = wide["gate"] + wide["low"][:, :rank] @ wide["gate_b"].T
    u = wide["up"] + wide["low"][:, rank:] @ wide["up_b"].T
    h = torch.nn.functional.silu(g) * u
    d_h = d_out.double() + out_low.double() @ down_a.double()
    h.backward(d_h)

    d_gate, d_up, sums = layer_ops.swiglu_backward(
        d_out, given["gate"].clone(), given["up"].clone(), given["low"], out_low, given["gate_b"], given["up_b"],
        down_a,
    )  # fmt: skip
    close(d_gate, wide["gate"].grad)
    close(d_up, wide["up"].grad)
    close(sums[0], h.detach().T @ out_low.double())
    close(sums[1], wide["gate_b"].grad)
    close(sums[2], wide["up_b"].grad)


def test_plain_swiglu_leaves_what_it_was_given(path):
    gate, up = draw(2, 3, 20).requires_grad_(), draw(2, 3, 20, seed=1).requires_grad_()
    kept = gate.detach().clone()
    out = layer_ops.SwiGLU.apply(gate, up)
    close(out, torch.nn.functional.silu(gate.double()) * up.double())
    first = torch.autograd.grad(out.sum(), (gate, up), retain_graph=True)
    again = torch.autograd.grad(out.sum(), (gate, up))  # twice: nothing was overwritten
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert torch.equal(gate, kept)


def test_rms_norm_of_a_row_worked_by_hand(path):
    # mean of squares (9 + 16) / 2 = 12.5, root 3.5355
    out = layer_ops.RMSNorm.apply(torch.tensor([[3.0, 4.0]]), torch.tensor([1.0, 2.0]), 0.0)
    torch.testing.assert_close(out, torch.tensor([[0.84852814, 2.2627417]]))


@pytest.mark.parametrize("trained", [True, False])
def test_rms_norm_gradients(path, trained):
    x, weight, d_out = draw(21, 50).requires_grad_(), draw(50, seed=1).requires_grad_(trained), draw(21, 50, seed=2)
    out = layer_ops.RMSNorm.apply(x, weight, 1e-6)
    out.backward(d_out)
    wide = x.detach().double().requires_grad_()
    factor = weight.detach().double().requires_grad_()
    wanted = factor * wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    wanted.backward(d_out.double())
    close(out, wanted)
    close(x.grad, wide.grad)
    assert (weight.grad is not None) == trained
    if trained:
        close(weight.grad, factor.grad)


@pytest.mark.parametrize("adds", [True, False])
def test_a_norm_of_a_sum_carries_the_stream_and_its_gradient(path, adds):
    x, more, weight = draw(9, 40).requires_grad_(), draw(9, 40, seed=1).requires_grad_(), draw(40, seed=2)
    stream, out = layer_ops.AddNorm.apply(x, more if adds else None, weight, 1e-6)
    (stream * 2 + out * out).sum().backward()
    wide, other = x.detach().double().requires_grad_(), more.detach().double().requires_grad_()
    total = wide + other if adds else wide
    normed = weight.double() * total * torch.rsqrt(total.pow(2).mean(-1, keepdim=True) + 1e-6)
    (total * 2 + normed * normed).sum().backward()
    close(stream, total)
    close(x.grad, wide.grad)
    assert (more.grad is not None) == adds
    if adds:
        close(more.grad, other.grad)


def angles(tokens: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    turn = torch.arange(tokens)[:, None] * torch.logspace(0, -2, size // 2)
    both = torch.cat([turn, turn], -1)
    return both.cos(), both.sin()


def test_a_quarter_turn_by_hand(path):
    cos, sin = torch.tensor([[0.0, 0.0]]), torch.tensor([[1.0, 1.0]])
    out = layer_ops.Rotary.apply(torch.tensor([[[3.0, 5.0]]]), cos, sin)
    assert out.tolist() == [[[-5.0, 3.0]]]


def test_heads_are_split_and_turned_as_transformers_does(path):
    from transformers.models.qwen2.modeling_qwen2 import apply_rotary_pos_emb

    heads, kv_heads, size, tokens = 4, 2, 12, 11
    cos, sin = angles(tokens, size)
    qkv = draw(tokens, (heads + 2 * kv_heads) * size).requires_grad_()
    q, k, v = layer_ops.SplitRotary.apply(qkv, cos, sin, heads, kv_heads)
    weights = [draw(*part.shape, seed=7 + index) for index, part in enumerate((q, k, v))]
    sum((part * weight).sum() for part, weight in zip((q, k, v), weights, strict=True)).backward()

    plain = qkv.detach().clone().requires_grad_()
    parts = plain.view(tokens, -1, size).split([heads, kv_heads, kv_heads], 1)
    turned = apply_rotary_pos_emb(*(part.transpose(0, 1)[None] for part in parts[:2]), cos[None], sin[None])
    wanted = [part[0].transpose(0, 1) for part in turned] + [parts[2]]
    sum((part * weight).sum() for part, weight in zip(wanted, weights, strict=True)).backward()
    for found, part in zip((q, k, v), wanted, strict=True):
        close(found, part)
    close(qkv.grad, plain.grad)


def test_turning_back_undoes_a_turn(path):
    cos, sin = angles(13, 16)
    x = draw(13, 3, 16).requires_grad_()
    out = layer_ops.Rotary.apply(x, cos, sin)
    close(torch.autograd.grad(out, x, out.detach())[0], x)  # the gradient of a rotation is its inverse
