"""Our own attention within documents: the numbers of torch's attention, by the kernels in Triton's interpreter.

sh run_tests.sh tests/kernels/test_document_attention.py
"""

import pytest
import torch

from bedside.kernels import document_attention, varlen
from bedside.kernels.device import has_triton

kernels = pytest.mark.skipif(not has_triton(), reason="needs Triton")


def parts(tokens: int, heads: int, groups: int, size: int) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    return [torch.randn(tokens, count, size, generator=draw) for count in (heads, groups, groups)]


def bounds_of(*lengths: int) -> torch.Tensor:
    return torch.tensor([0, *lengths]).cumsum(0).to(torch.int32)


def cut(monkeypatch, size: int, queries: int, keys: int, split: bool) -> None:
    for name in ("forward", "d_query", "d_key_value"):
        blocks = document_attention.Blocks(queries, keys, 4, 2, split)
        monkeypatch.setitem(document_attention.BLOCKS, (name, size), blocks)


def gradients(out: torch.Tensor, wanted: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
    weights = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    return torch.autograd.grad((out * weights).sum(), wanted)


@kernels
@pytest.mark.parametrize(
    "heads, groups, size, queries, keys, split",
    [
        (4, 2, 64, 16, 16, True),
        (4, 2, 64, 16, 16, False),
        (2, 1, 64, 32, 16, True),
        (2, 1, 64, 32, 16, False),
        (2, 1, 64, 16, 32, True),
        (2, 1, 64, 16, 32, False),
        (1, 1, 64, 32, 32, True),
        (3, 1, 96, 32, 32, True),
        (2, 1, 128, 32, 16, True),
    ],
)
def test_the_numbers_of_torchs_own_attention(monkeypatch, heads, groups, size, queries, keys, split):
    cut(monkeypatch, size, queries, keys, split)
    lengths = (5, 1, 33, 16, 31)
    ours = [part.requires_grad_() for part in parts(86, heads, groups, size)]
    found = document_attention.attend(*ours, bounds_of(*lengths), 0.2)
    wanted = varlen._one_by_one(*ours, bounds_of(*lengths), 0.2, None)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(found, ours), gradients(wanted, ours), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@kernels
def test_empty_documents_and_strided_parts(monkeypatch):
    cut(monkeypatch, 64, 16, 16, True)
    ours = [part.transpose(0, 1).contiguous().transpose(0, 1).requires_grad_() for part in parts(20, 2, 2, 64)]
    found = document_attention.attend(*ours, bounds_of(0, 18, 0, 2, 0))
    wanted = varlen._one_by_one(*ours, bounds_of(18, 2), None, None)
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    for one, other in zip(gradients(found, ours), gradients(wanted, ours), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@kernels
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_document_does_not_read_another(monkeypatch):
    cut(monkeypatch, 64, 16, 16, True)
    ours = parts(40, 2, 1, 64)
    alone = document_attention.attend(*(part[:20] for part in ours), bounds_of(20))
    for part in ours:
        part[20:] = float("nan")
    beside = document_attention.attend(*ours, bounds_of(20, 20))
    assert torch.equal(beside[:20], alone)


@kernels
def test_scores_far_above_what_exp_can_hold(monkeypatch):
    cut(monkeypatch, 64, 16, 16, True)
    query, key, value = parts(40, 1, 1, 64)
    found = document_attention.attend(query * 100, key * 100, value, bounds_of(40))
    wanted = varlen._one_by_one(query * 100, key * 100, value, bounds_of(40), None, None)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-3)


def test_tiles_are_every_block_once_and_the_latest_first():
    tiles = document_attention.tiles_of(bounds_of(5, 0, 9, 4), 18, 4)
    assert tiles.dtype == torch.int32
    assert tiles.tolist()[:6] == [[2, 2], [0, 1], [2, 1], [0, 0], [2, 0], [3, 0]]
    assert [block for _, block in tiles.tolist()[6:]] == [-1, -1]


def test_tiles_are_made_once_for_the_same_bounds():
    bounds = bounds_of(5, 3)
    first = document_attention.tiles_of(bounds, 8, 4)
    assert document_attention.tiles_of(bounds, 8, 4) is first
    assert len(document_attention.tiles_of(bounds, 8, 8)) == 3
    bounds[1] = 2  # the same tensor with other documents in it
    assert document_attention.tiles_of(bounds, 8, 4).tolist()[0] == [1, 1]


def test_tiles_go_with_their_bounds():
    bounds = bounds_of(5, 3)
    document_attention.tiles_of(bounds, 8, 4)
    held = len(document_attention._tiles)
    del bounds
    assert len(document_attention._tiles) == held - 1


def test_only_a_hopper_card_is_suited():
    query = parts(4, 1, 1, 64)[0]
    assert not document_attention.suits(query.bfloat16())


@pytest.mark.parametrize(
    "heads, groups, size, scale, said",
    [(3, 2, 64, None, "do not fit"), (2, 2, 80, None, "heads are 80 wide"), (2, 2, 64, 0.0, "scale is 0.0")],
)
def test_what_does_not_fit_is_said(heads, groups, size, scale, said):
    with pytest.raises(ValueError, match=said):
        document_attention.attend(*parts(4, heads, groups, size), bounds_of(4), scale)
