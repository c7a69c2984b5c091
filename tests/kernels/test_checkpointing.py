"""Which layers are checkpointed within a budget, and checkpoints on the host.

sh run_tests.sh tests/kernels/test_checkpointing.py
"""

import gc
from types import SimpleNamespace

import pytest
import torch
from transformers import Qwen2Config, Qwen3Config, Qwen3ForCausalLM, Trainer, TrainingArguments

from bedside.errors import ConfigError
from bedside.kernels import budget, checkpointing, offload

SEVEN = budget.Shape(layers=28, hidden=3584, intermediate=18944, queries=3584, keys=512, vocabulary=152064)
FIXED = 5.55e9 + 20.19e6 * 16  # NF4 with 16-bit embeddings; adapters, gradients and states


def tiny(layers: int = 4, dropout: float = 0.0) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=160, hidden_size=32, intermediate_size=96, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, tie_word_embeddings=False, attention_dropout=dropout,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)


def test_the_shape_of_qwen_7b_and_what_a_layer_keeps():
    config = Qwen2Config(
        num_hidden_layers=28, hidden_size=3584, intermediate_size=18944, num_attention_heads=28,
        num_key_value_heads=4, vocab_size=152064,
    )  # fmt: skip
    assert budget.shape_of(config) == SEVEN
    assert budget.saved_a_token(SEVEN) == 120_832
    assert budget.saved_a_token(SEVEN) / (2 * 3584) == pytest.approx(16.86, abs=0.01)


def test_a_config_without_a_gated_mlp_is_refused():
    with pytest.raises(ConfigError, match=r"the model's config has no intermediate_size"):
        budget.shape_of(SimpleNamespace(num_hidden_layers=2, hidden_size=8, num_attention_heads=2, vocab_size=9))


@pytest.mark.parametrize(
    ("whole", "measured"), [(0, 13.0), (14, 37.5), (28, 65.1)], ids=["every layer", "every second", "none"]
)
def test_the_peak_of_qlora_7b_is_the_measured_one_within_four_percent(whole, measured):
    """16,384 tokens, as measured on an H200 with fused kernels: GB allocated at the worst moment."""
    step = budget.need(SEVEN, 16384, FIXED, dequantises=1)
    assert budget.peak(step, whole) / 1e9 == pytest.approx(measured, rel=0.04)


def test_layers_whole_fill_the_budget_and_never_exceed_it():
    step = budget.need(SEVEN, 16384, FIXED, dequantises=1)
    counts = [budget.layers_whole(step, gb * 1e9) for gb in (5, 11, 13.5, 24, 40, 63, 80, 141)]
    assert counts == [0, 0, 1, 6, 15, 27, 28, 28]
    for gb, count in zip((13.5, 24, 40, 63), counts[2:6], strict=True):
        assert budget.peak(step, count) <= gb * 1e9 < budget.peak(step, count + 1)


def test_with_checkpoints_on_the_host_more_layers_stay_whole():
    stays = budget.need(SEVEN, 16384, FIXED, dequantises=1)
    leaves = budget.need(SEVEN, 16384, FIXED, offload=True, dequantises=1)
    assert budget.layers_whole(leaves, 24e9) > budget.layers_whole(stays, 24e9)
    assert leaves.kept == 0 and leaves.in_flight == 3 * 2 * 3584 * 16384
    assert budget.peak(leaves, 28) == budget.peak(stays, 28)  # nothing is on its way where nothing is checkpointed


def test_a_loss_that_holds_all_logits_leaves_less():
    chunked = budget.need(SEVEN, 8192, FIXED)
    whole = budget.need(SEVEN, 8192, FIXED, loss_a_token=152064 * 10)
    assert whole.loss - chunked.loss == 152064 * 10 * (8192 - 1024)
    assert budget.layers_whole(whole, 24e9) < budget.layers_whole(chunked, 24e9)


@pytest.mark.parametrize(
    ("text", "found"), [(None, None), ("None", None), ("auto", "auto"), ("10.5", 10.5e9), (11, 11e9)]
)
def test_the_flag_is_read(text, found):
    assert budget.wish(text) == found


@pytest.mark.parametrize("text", ["much", "-1", "0", "nan", "inf"])
def test_a_budget_that_is_none_is_refused(text):
    with pytest.raises(ConfigError, match=rf"--memory_budget_gb {text}: expected auto or a number of GB"):
        budget.wish(text)


def test_flags_that_contradict_a_budget_are_named():
    assert budget.problems("auto", True, {"gradient_checkpointing": True}) == []
    assert budget.problems(None, False, {"gradient_checkpointing": False}) == []
    found = budget.problems("auto", True, {"gradient_checkpointing": False, "activation_offloading": True})
    assert [text.split()[0] for text in found] == ["--memory_budget_gb"] + 2 * ["--offload_checkpoints"]
    kwargs = {"gradient_checkpointing_kwargs": {"every_n_layers": 2, "offload": True}}
    assert len(budget.problems("8", True, kwargs)) == 2


@pytest.mark.parametrize(
    ("optim", "states"), [("adamw_torch_fused", 200), ("adamw_8bit", 50), ("sgd", 0), ("paged_adamw_32bit", 200)]
)
def test_states_of_optimizers(optim, states):
    assert budget.optimizer_bytes(optim, 100) == states


def test_what_a_layer_keeps_is_measured_and_nothing_else_changes():
    model = tiny().eval()
    layers = checkpointing.decoder_layers(model)
    for layer in layers:
        layer.gradient_checkpointing = True
    before = torch.get_rng_state()
    found, constant = checkpointing.measured(model, torch.device("cpu"))
    # A plain float32 layer of width 32: less than three times the fused kernels' count, and more than it.
    fused = budget.saved_a_token(budget.shape_of(model.config), 4)
    assert fused < found < 3 * fused and constant == 0
    assert torch.equal(before, torch.get_rng_state())
    assert all(layer.gradient_checkpointing and not layer.training for layer in layers)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers)


def test_an_mlp_that_keeps_nothing_while_it_is_computed_again_is_measured_and_planned():
    from peft import LoraConfig, get_peft_model

    from bedside import kernels

    model = get_peft_model(tiny().to(torch.bfloat16), LoraConfig(r=4, target_modules="all-linear"))
    kernels.install(model, anywhere=True)
    card = torch.device("cpu")
    saved, again = (checkpointing.measured(model, card, replayed).a_token for replayed in (False, True))
    assert 2 * 2 * 96 <= saved - again < 2 * 2 * 96 + 2 * 64  # gate and up, and their share of the adapters
    assert not hasattr(checkpointing.decoder_layers(model)[0], "_gradient_checkpointing_func")


def test_a_tiled_mlp_makes_the_replay_small():
    kept = budget.saved_a_token(SEVEN)
    less = budget.Kept(kept - 4 * 18944)
    plain = budget.need(SEVEN, 49152, FIXED, offload=True)
    tiled = budget.need(SEVEN, 49152, FIXED, budget.Kept(kept), less, offload=True, mlp_tile=4096)
    assert budget.peak(tiled, 0) < budget.peak(plain, 0) - 4e9
    assert budget.peak(tiled, 28) == budget.peak(plain, 28)
    whole = budget.need(SEVEN, 49152, FIXED, budget.Kept(kept), less)  # no slices: gate and up of all tokens come back
    assert whole.replay == (kept - 4 * 18944 + 4 * 2 * 3584 + 3 * 2 * 18944) * 49152


def test_16_bit_copies_of_float32_weights_are_counted_once_a_layer():
    model = tiny().requires_grad_(True)
    with torch.autocast("cpu", torch.bfloat16):
        found = checkpointing.measured(model, torch.device("cpu"))
    weights = sum(p.numel() for p in checkpointing.decoder_layers(model)[0].parameters() if p.dim() == 2)
    assert found.constant == pytest.approx(2 * weights, rel=0.05)
    assert found.of(1000) == found.constant + 1000 * found.a_token


def test_dropout_is_part_of_what_is_measured():
    from peft import LoraConfig, get_peft_model

    sizes = []
    for dropout in (0.0, 0.5):
        model = get_peft_model(tiny(), LoraConfig(r=4, lora_dropout=dropout, target_modules="all-linear"))
        sizes.append(checkpointing.measured(model, torch.device("cpu")).a_token)
    assert sizes[1] > 1.1 * sizes[0]


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        ids = (torch.arange(24) * (index + 3)) % 160
        return {"input_ids": ids, "labels": ids}


def trained(tmp_path, wish=None, offloads=False, checkpointed=True, steps=3):
    """Weights after three steps, how many layers stayed whole, and the trainer."""
    model = tiny()
    args = TrainingArguments(
        str(tmp_path), per_device_train_batch_size=2, gradient_accumulation_steps=2, max_steps=steps, report_to="none",
        use_cpu=True, gradient_checkpointing=checkpointed, save_strategy="no", disable_tqdm=True, learning_rate=1e-2,
    )  # fmt: skip
    trainer = Trainer(model, args, train_dataset=Rows())
    checkpointing.watch(trainer, wish, offloads, tokens=48)
    trainer.train()
    whole = [not layer.gradient_checkpointing for layer in checkpointing.decoder_layers(model)]
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}, whole, trainer


def test_a_trainer_keeps_the_last_layers_whole_and_trains_the_same(tmp_path, said):
    plain, _, _ = trained(tmp_path, checkpointed=False)
    chosen = {}
    for gb in ("0.000001", "0.0014", "1"):
        said.clear()
        weights, chosen[gb], _ = trained(tmp_path, gb)
        assert all(torch.equal(plain[name], weights[name]) for name in plain)
        assert len([line for line in said if "memory" in line]) == 1
        if gb == "0.000001":
            assert "are needed for micro-batches of up to 48 tokens with every layer checkpointed" in said[0]
            assert "add --offload_checkpoints True" in said[0]
    assert chosen["0.000001"] == [False] * 4 and chosen["1"] == [True] * 4
    assert chosen["0.0014"] == sorted(chosen["0.0014"]) and 0 < sum(chosen["0.0014"]) < 4


def test_without_a_card_auto_and_the_host_are_said_to_do_nothing(tmp_path, said):
    _, whole, _ = trained(tmp_path, "auto", True, steps=1)
    assert whole == [False] * 4
    assert any("--memory_budget_gb auto: there is no GPU to fill" in line for line in said)
    assert any("--offload_checkpoints: there is no GPU" in line for line in said)


def test_a_model_that_is_not_checkpointed_is_left_alone_with_a_line(tmp_path, said):
    _, whole, _ = trained(tmp_path, "1", checkpointed=False, steps=1)
    assert whole == [True] * 4
    assert said == ["warning: no layer of this model is checkpointed: --memory_budget_gb and --offload_checkpoints do "
                    "nothing here"]  # fmt: skip


def test_without_flags_the_trainer_gets_no_callback(tmp_path):
    _, _, trainer = trained(tmp_path, steps=1)
    assert not any(type(callback).__name__ == "Checkpointing" for callback in trainer.callback_handler.callbacks)


def test_the_report_names_the_miss_and_a_smaller_budget(said, monkeypatch):
    step = budget.need(SEVEN, 16384, FIXED, dequantises=1)
    whole = budget.layers_whole(step, 40e9)
    predicted = budget.peak(step, whole)
    card = SimpleNamespace(type="cuda")
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: int(predicted) - 2 * 10**9)
    checkpointing.report(step, whole, 40e9, 1.0, card)
    assert said[0].startswith(
        f"memory: measured peak {predicted / 1e9 - 2:.1f} GB, predicted {predicted / 1e9:.1f} GB"
    )
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda _: int(predicted) + 4 * 10**9)
    checkpointing.report(step, whole, 40e9, 1.0, card)
    assert said[1].startswith("warning: ") and "if memory runs out, give --memory_budget_gb 3" in said[1]


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
