"""Attention within documents: the same numbers as a mask, and what each torch is asked by.

sh run_tests.sh tests/kernels/test_varlen.py
"""

import pytest
import torch

from bedside.kernels import varlen

BOUNDS = [0, 5, 6, 13]


def parts(heads: int, groups: int, dtype=torch.float32) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(13, count, 16, generator=draw).to(dtype) for count in (heads, groups, groups)]


def by_mask(query, key, value, scale: float, window: int | None) -> torch.Tensor:
    """Plain softmax over all of a document's earlier tokens."""
    seen = torch.zeros(13, 13, dtype=torch.bool)
    for start, end in ((0, 5), (5, 6), (6, 13)):
        for place in range(start, end):
            first = start if window is None else max(start, place - window + 1)
            seen[place, first : place + 1] = True
    key, value = (part.repeat_interleave(query.shape[1] // key.shape[1], 1) for part in (key, value))
    scores = torch.einsum("qhd,khd->hqk", query, key) * scale
    chances = scores.masked_fill(~seen, float("-inf")).softmax(-1)
    return torch.einsum("hqk,khd->qhd", chances, value)


@pytest.mark.parametrize("heads, groups", [(2, 2), (4, 2), (6, 1)])
@pytest.mark.parametrize("window", [None, 1, 3, 100])
def test_each_document_sees_itself_only(heads, groups, window):
    query, key, value = (part.requires_grad_() for part in parts(heads, groups))
    bounds = torch.tensor(BOUNDS, dtype=torch.int32)
    found = varlen.attend(query, key, value, bounds, 7, 0.3, window)
    wanted = by_mask(query, key, value, 0.3, window)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=1e-5)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(1))
    mine = torch.autograd.grad((found * weights).sum(), (query, key, value))
    theirs = torch.autograd.grad((wanted * weights).sum(), (query, key, value))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_without_a_scale_it_is_one_over_the_root_of_the_width():
    query, key, value = parts(2, 1)
    bounds = torch.tensor(BOUNDS, dtype=torch.int32)
    torch.testing.assert_close(varlen.attend(query, key, value, bounds, 7), by_mask(query, key, value, 0.25, None))


def test_autocast_is_followed_as_torchs_own_attention_follows_it():
    query, key, value = parts(2, 1)
    with torch.autocast("cpu", torch.bfloat16):
        found = varlen.attend(query, key, value, torch.tensor(BOUNDS, dtype=torch.int32), 7)
    assert found.dtype == torch.bfloat16


def test_transformers_shapes():
    query, key, value = parts(4, 2)
    bounds = torch.tensor(BOUNDS, dtype=torch.int32)
    found, weights = varlen.attention(
        None, *(part.transpose(0, 1)[None] for part in (query, key, value)), None,
        scaling=0.3, sliding_window=3, cu_seq_lens_q=bounds, max_length_q=7,
    )  # fmt: skip
    assert weights is None and found.shape == (1, 13, 4, 16)
    torch.testing.assert_close(found[0], by_mask(query, key, value, 0.3, 3), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [{"cu_seq_lens_q": None}, {"attention_mask": torch.ones(1, 1, 13, 13)}, {"dropout": 0.1}],
    ids=["no bounds", "a mask", "dropout"],
)
def test_what_a_flat_row_cannot_have_is_an_error(wrong):
    query, key, value = (part.transpose(0, 1)[None] for part in parts(2, 2))
    given = {"attention_mask": None, "cu_seq_lens_q": torch.tensor(BOUNDS, dtype=torch.int32), "max_length_q": 7}
    with pytest.raises(ValueError, match="one flat row"):
        varlen.attention(None, query, key, value, **{**given, **wrong})


@pytest.mark.parametrize(
    "parameters, window, scale, wanted",
    [
        ({"is_causal"}, None, None, {"is_causal": True}),
        ({"is_causal"}, None, 0.25, {"is_causal": True}),  # 1 / sqrt(16): its own
        ({"is_causal"}, None, 0.3, None),
        ({"is_causal"}, 4, None, None),
        ({"window_size", "scale"}, None, 0.3, {"window_size": (-1, 0), "scale": 0.3}),
        ({"window_size", "scale"}, 4, 0.3, {"window_size": (3, 0), "scale": 0.3}),
        ({"window_size", "enable_gqa"}, None, None, {"window_size": (-1, 0), "enable_gqa": True}),
        ({"something_new"}, None, None, None),
    ],
)
def test_what_each_torch_is_asked_by(parameters, window, scale, wanted):
    assert varlen.keywords(frozenset(parameters), scale, window, 16) == wanted


def test_the_installed_torch_is_known():
    import inspect

    from torch.nn.attention.varlen import varlen_attn

    names = frozenset(inspect.signature(varlen_attn).parameters)
    assert varlen.keywords(names, 0.3, 4, 16) is not None
    assert list(inspect.signature(varlen_attn).parameters)[:7] == [
        "query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k",
    ]  # fmt: skip


class OnAGpu:
    """What `takes` reads of a tensor there."""

    is_cuda, device = True, "cuda:0"

    def __init__(self, shape, dtype=torch.bfloat16):
        self.shape, self.dtype = shape, dtype


@pytest.mark.parametrize(
    "shape, documents, dtype, capability, wanted",
    [
        ((16384, 28, 128), 24, torch.bfloat16, (9, 0), True),
        ((16384, 28, 128), 24, torch.float16, (8, 0), True),
        ((16384, 28, 128), 24, torch.float32, (9, 0), False),
        ((16384, 28, 128), 24, torch.float16, (7, 5), False),
        ((16384, 28, 60), 24, torch.bfloat16, (9, 0), False),
        ((16384, 28, 512), 24, torch.bfloat16, (9, 0), False),
        ((599_000, 28, 128), 1, torch.bfloat16, (9, 0), True),
        ((599_000, 28, 128), 2, torch.bfloat16, (9, 0), False),  # 599,256 x 3,584 places: over 2**31
    ],
)
def test_which_rows_the_kernel_takes(monkeypatch, shape, documents, dtype, capability, wanted):
    monkeypatch.setattr(varlen, "_capability", lambda device: capability)
    assert varlen.takes(OnAGpu(shape, dtype), documents) is wanted


def test_the_cpu_is_not_for_the_kernel():
    assert not varlen.takes(torch.zeros(4, 2, 64, dtype=torch.bfloat16), 1)


def test_an_older_torch_gets_repeated_keys_where_it_takes_no_groups(monkeypatch):
    """The kernel of a torch without `enable_gqa`, played by a function."""
    seen = []

    def kernel(query, key, value, cu_q, cu_k, max_q, max_k, *, scale=None, window_size=(-1, -1)):
        if key.shape[1] != query.shape[1]:
            raise RuntimeError("as many heads, please")
        seen.append((key.shape[1], max_q, window_size, scale))
        return varlen._one_by_one(query, key, value, cu_q, scale, None)

    monkeypatch.setattr(varlen, "_kernel", lambda: (kernel, frozenset({"scale", "window_size"})))
    monkeypatch.setattr(varlen, "takes", lambda query, documents: True)
    query, key, value = parts(4, 2)
    found = varlen.attend(query, key, value, torch.tensor(BOUNDS, dtype=torch.int32), 7, 0.3)
    torch.testing.assert_close(found, by_mask(query, key, value, 0.3, None), atol=1e-6, rtol=1e-5)
    assert seen[-1] == (4, 7, (-1, 0), 0.3)


def test_an_older_torch_that_takes_groups_gets_them(monkeypatch):
    seen = []

    def kernel(query, key, value, cu_q, cu_k, max_q, max_k, *, scale=None, window_size=(-1, -1)):
        seen.append(key.shape[1])
        return varlen._one_by_one(query, key, value, cu_q, scale, None)

    monkeypatch.setattr(varlen, "_kernel", lambda: (kernel, frozenset({"scale", "window_size"})))
    monkeypatch.setattr(varlen, "takes", lambda query, documents: True)
    query, key, value = parts(4, 2)
    varlen.attend(query, key, value, torch.tensor(BOUNDS, dtype=torch.int32), 7, 0.3)
    assert seen[-1] == 2


def test_registering_makes_no_mask():
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    assert varlen.register() == "bedside_varlen"
    assert ALL_ATTENTION_FUNCTIONS["bedside_varlen"] is varlen.attention
    assert "bedside_varlen" not in ALL_MASK_ATTENTION_FUNCTIONS._global_mapping
