"""The chunked cross entropy: log-probabilities, entropy and gradients against the whole logits.

sh run_tests.sh tests/kernels/test_loss.py
"""

import math

import pytest
import torch

from bedside.kernels import loss


def test_two_words_by_hand(path):
    # Logits (ln 3, 0): probabilities 3/4 and 1/4.
    hidden, head = torch.tensor([[1.0], [1.0]], requires_grad=True), torch.tensor([[math.log(3)], [0.0]])
    found = loss.score(hidden, head, torch.tensor([0, 1]))
    torch.testing.assert_close(found.log_probs, torch.tensor([0.75, 0.25]).log())
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    torch.testing.assert_close(found.entropy, torch.tensor([entropy, entropy]))
    torch.testing.assert_close(found.mean_logit, torch.full((2,), math.log(3) / 2))
    assert found.is_top1.tolist() == [True, False]
    # d log p(label) / d hidden: (1 - 3/4) ln 3 for the first, -3/4 ln 3 for the second.
    found.log_probs.sum().backward()
    torch.testing.assert_close(hidden.grad, torch.tensor([[0.25], [-0.75]]) * math.log(3))


@pytest.mark.parametrize("tile", [1, 4, 7, 100])
def test_any_tile_gives_what_the_whole_logits_give(path, tile):
    draw = torch.Generator().manual_seed(0)
    hidden = torch.randn(19, 12, generator=draw, requires_grad=True)
    head, weights = torch.randn(4999, 12, generator=draw), torch.randn(19, generator=draw)
    labels = torch.randint(0, 4999, (19,), generator=draw)
    found = loss.score(hidden, head, labels, tile)
    (found.log_probs * weights).sum().backward()

    plain = hidden.detach().double().requires_grad_()
    logits = plain @ head.double().T
    log_p = logits.log_softmax(-1)
    chosen = log_p.gather(1, labels[:, None])[:, 0]
    (chosen * weights.double()).sum().backward()
    torch.testing.assert_close(found.log_probs.double(), chosen, atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.entropy.double(), -(log_p.exp() * log_p).sum(-1), atol=2e-5, rtol=1e-5)
    torch.testing.assert_close(found.mean_logit.double(), logits.mean(-1), atol=1e-5, rtol=1e-5)
    assert found.is_top1.tolist() == (logits.argmax(-1) == labels).tolist()
    torch.testing.assert_close(hidden.grad.double(), plain.grad, atol=2e-5, rtol=1e-5)


def test_the_sum_is_the_negative_log_likelihood(path):
    hidden, head = torch.zeros(3, 4, requires_grad=True), torch.ones(8, 4)
    assert loss.nll_sum(hidden, head, torch.tensor([1, 2, 3])).item() == pytest.approx(3 * math.log(8))


def test_nothing_trained_is_a_zero_with_a_gradient():
    hidden = torch.zeros(0, 4, requires_grad=True)
    total = loss.nll_sum(hidden, torch.ones(8, 4), torch.zeros(0, dtype=torch.long))
    total.backward()
    assert total.item() == 0.0 and hidden.grad.shape == (0, 4)


def test_a_second_backward_pass_is_refused():
    hidden = torch.zeros(2, 4, requires_grad=True)
    total = loss.nll_sum(hidden, torch.ones(8, 4), torch.tensor([1, 2]))
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="backward pass runs once"):
        total.backward()


def test_small_batches_have_small_tiles():
    assert (loss.tile_for(2048), loss.tile_for(4096), loss.tile_for(4097)) == (256, 256, 1024)
