"""Checkpoints on the host: gradients bit by bit, buffers, and copies that overlap.

sh run_tests.sh tests/kernels/test_offload.py
"""

import gc

import pytest
import torch

from bedside.kernels import checkpointing, offload
from tests.kernels.layers import tiny


class LateCopies:
    """Copies that happen when they are waited for, and no sooner: a missing wait gives wrong numbers."""

    def __init__(self):
        self.waiting, self.most, self.started = [], 0, 0

    def start(self, to, source):
        self.waiting.append((to, source))
        self.started += 1
        self.most = max(self.most, len(self.waiting))
        return self.started

    def wait(self, done):
        while self.waiting and self.started - len(self.waiting) < done:  # in order, as on a stream
            to, source = self.waiting.pop(0)
            to.data.copy_(source)


def host(size):
    return torch.full((size,), 255, dtype=torch.uint8)


def a_lane(small=0):
    return offload.Lane(torch.device("cpu"), LateCopies(), offload.Buffers(host), small)


def gradients(model, batches, together=False):
    model.train().zero_grad(set_to_none=True)
    losses = [model(input_ids=ids, labels=ids).loss for ids in batches] if together else None
    if together:
        sum(losses).backward()
    else:
        for ids in batches:
            model(input_ids=ids, labels=ids).loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


BATCHES = [(torch.arange(2 * n).view(2, n) * 7) % 160 for n in (24, 16, 20)]


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("together", [False, True], ids=["one after another", "two forwards, one backward"])
@pytest.mark.parametrize("whole", [0, 1])
def test_gradients_are_bitwise_those_without_the_host(reentrant, together, whole):
    model = tiny()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    expected = gradients(model, BATCHES, together)
    lane = a_lane()
    checkpointing.apply(checkpointing.decoder_layers(model), whole, lane)
    found = gradients(model, BATCHES, together)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    # All but the last checkpointed layer's input go out and come back, for each of three batches.
    assert lane.copies.started == 2 * 3 * (3 - whole)


@pytest.mark.parametrize("packed", [False, True])
def test_with_the_fused_kernels_gradients_are_bitwise_the_same_too(packed):
    from peft import LoraConfig, get_peft_model

    from bedside import kernels

    model = get_peft_model(
        tiny().to(torch.bfloat16), LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    )
    model.enable_input_require_grads()
    kernels.install(model, anywhere=True)
    positions = torch.cat([torch.arange(9), torch.arange(15)]).expand(2, -1)
    more = {"position_ids": positions} if packed else {"attention_mask": (BATCHES[0] >= 0).long()}

    def step():
        model.train().zero_grad(set_to_none=True)
        for _ in range(2):
            model(input_ids=BATCHES[0], labels=BATCHES[0], **more).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    expected = step()
    lane = a_lane()
    checkpointing.apply(checkpointing.decoder_layers(model), 1, lane)
    found = step()
    assert len(expected) == 4 * 7 * 2
    # A layer that is not checkpointed sums its MLP in other slices; the rest are equal bit by bit.
    assert all(torch.equal(expected[name], found[name]) for name in expected if "layers.3" in name)
    for name in expected:
        torch.testing.assert_close(expected[name], found[name], rtol=0.05, atol=1e-3)
    assert lane.copies.started == 2 * 2 * 2
    checkpointing.apply(checkpointing.decoder_layers(model), 1)
    again = step()
    assert all(torch.equal(again[name], found[name]) for name in found)


def test_buffers_are_made_once_and_copies_overlap_by_one_layer():
    model = tiny(6)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    lane = a_lane()
    checkpointing.apply(checkpointing.decoder_layers(model), 0, lane)
    gradients(model, BATCHES)
    made = lane.buffers.made
    assert made == 5
    for _ in range(3):
        gradients(model, BATCHES)
    assert lane.buffers.made == made and len(lane.buffers._free) == 5
    assert lane.copies.most == 2  # never more than two tensors on their way


def test_the_copy_back_of_a_layer_starts_while_the_one_above_is_computed():
    lane = a_lane()
    inputs = [torch.full((4,), float(n)) for n in range(3)]
    kept = [lane.pack(tensor, stays=n == 2) for n, tensor in enumerate(inputs)]
    assert lane.copies.started == 2
    assert torch.equal(lane.unpack(kept[2]), inputs[2])
    assert kept[1].coming is not None and kept[0].coming is None
    assert torch.equal(lane.unpack(kept[1]), inputs[1])
    assert kept[0].coming is not None and lane.copies.started == 4
    assert torch.equal(lane.unpack(kept[0]), inputs[0])
    assert torch.equal(lane.unpack(kept[0]), inputs[0])  # a second backward pass of a kept graph


def test_a_graph_that_is_dropped_gives_its_buffers_back():
    model = tiny()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    lane = a_lane()
    checkpointing.apply(checkpointing.decoder_layers(model), 0, lane)
    model.train()
    loss = model(input_ids=BATCHES[0], labels=BATCHES[0]).loss
    assert lane.buffers._free == []
    del loss
    gc.collect()
    assert len(lane.buffers._free) == lane.buffers.made == 3


def test_nothing_leaves_without_gradients_or_below_the_size():
    model = tiny()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    lane, small = a_lane(), a_lane(small=10**9)
    checkpointing.apply(checkpointing.decoder_layers(model), 0, lane)
    model.train()
    with torch.no_grad():
        model(input_ids=BATCHES[0])
    model.eval()
    model(input_ids=BATCHES[0])
    assert lane.copies.started == 0
    tensor = torch.ones(8)
    assert small.pack(tensor) is tensor and small.unpack(tensor) is tensor


def test_an_input_that_is_changed_while_it_leaves_is_an_error():
    lane = a_lane()
    tensor = torch.ones(8)
    kept = [lane.pack(tensor), lane.pack(torch.ones(8))]
    tensor += 1
    with pytest.raises(RuntimeError, match=r"changed in place while it was copied to the host"):
        lane.unpack(kept[1])


def test_a_longer_batch_replaces_a_buffer_instead_of_adding_one():
    buffers = offload.Buffers(host)
    first = buffers.take(100)
    buffers.give_back(first)
    assert buffers.take(60) is first
    buffers.give_back(first)
    longer = buffers.take(200)
    assert longer.numel() == 200 and buffers._free == []
