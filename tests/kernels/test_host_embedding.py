"""The input embedding in host memory: the same numbers, out of the way of devices, DDP and optimizers.

Two processes train with it in tests/distributed/test_launchers.py.

sh run_tests.sh tests/kernels/test_host_embedding.py
"""

import copy
import os
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM, Qwen3ForSequenceClassification

from bedside.kernels import host_embedding

IDS = torch.tensor([[5, 9, 1, 30], [2, 2, 7, 11]])


def tiny(tied=False, kind=Qwen3ForCausalLM, **more):
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, tie_word_embeddings=tied, pad_token_id=0, **more,
    )  # fmt: skip
    return kind(config).requires_grad_(False)


def with_adapter(model, **more):
    return get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False, **more))


def step(model):
    model.train().zero_grad()
    loss = model(input_ids=IDS, labels=IDS).loss
    loss.backward()
    return loss, {name: p.grad.clone() for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("checkpointed", [False, True])
@pytest.mark.parametrize("first", ["the embedding moves", "the hooks are set"])
def test_loss_and_gradients_are_bitwise_the_same(checkpointed, first, said):
    plain, moved = with_adapter(tiny()), with_adapter(tiny())
    moved.load_state_dict(plain.state_dict())
    if first == "the embedding moves":
        assert host_embedding.install(moved)
    for model in (plain, moved):
        model.enable_input_require_grads()
        if checkpointed:
            model.gradient_checkpointing_enable({"use_reentrant": False})
    assert host_embedding.install(moved) and host_embedding.install(moved)
    (loss, expected), (same, found) = step(plain), step(moved)
    assert torch.equal(loss, same) and expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert said == ["the input embedding (0.00 GB) is in host memory"]


def test_moving_the_model_leaves_it_on_the_host():
    model = with_adapter(tiny())
    host_embedding.install(model)
    model.to("meta")  # stands for a card
    assert model.get_input_embeddings().weight.device.type == "cpu"
    assert model.get_base_model().device.type == "meta", "not the embedding's, which is the first part of the model"
    assert not any("embed_tokens" in name for name, _ in (*model.named_parameters(), *model.named_buffers()))


def test_a_change_of_precision_reaches_it():
    model = tiny()
    host_embedding.install(model)
    model.to(torch.bfloat16)
    assert model.get_input_embeddings().weight.dtype == torch.bfloat16
    assert model(input_ids=IDS).logits.dtype == torch.bfloat16


def test_state_dicts_hold_it_and_an_adapter_is_saved_alone(tmp_path):
    model = with_adapter(tiny())
    expected = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    host_embedding.install(model)
    assert sorted(expected) == sorted(model.state_dict())
    model.load_state_dict({name: tensor * 2 for name, tensor in expected.items()})
    name = next(name for name in expected if "embed_tokens" in name)
    assert torch.equal(model.get_input_embeddings().weight, expected[name] * 2)
    model.load_state_dict(expected)
    model.save_pretrained(tmp_path)
    again = PeftModel.from_pretrained(tiny(), tmp_path)
    assert torch.equal(again(input_ids=IDS).logits, model.eval()(input_ids=IDS).logits)


def test_answers_are_the_same_before_and_after():
    model = tiny().eval()
    keywords = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0}
    expected = model.generate(IDS, **keywords)
    host_embedding.install(model)
    assert torch.equal(model.generate(IDS, **keywords), expected)


def test_a_copy_of_the_model_has_its_own():
    model = tiny()
    host_embedding.install(model)
    model.get_input_embeddings().seen_from["a card"] = torch.ones(1)
    twin = copy.deepcopy(model)
    assert twin.get_input_embeddings().seen_from == {}
    twin.get_input_embeddings().weight.zero_()
    assert model.get_input_embeddings().weight.abs().sum() > 0


def test_a_reward_model_has_one_too():
    model = tiny(kind=Qwen3ForSequenceClassification, num_labels=1)
    expected = model(input_ids=IDS).logits
    assert host_embedding.install(model)
    assert torch.equal(model(input_ids=IDS).logits, expected)


def trained_rows(model):
    return with_adapter(model, trainable_token_indices={"embed_tokens": [3]})


def saved_module(model):
    return with_adapter(model, modules_to_save=["embed_tokens"])


def adapted(model):
    return get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "embed_tokens"]))


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda: with_adapter(tiny(tied=True)), "it is tied to the output head"),
        (lambda: tiny().requires_grad_(True), "it is trained"),
        (lambda: trained_rows(tiny()), "not a plain embedding"),
        (lambda: saved_module(tiny()), "not a plain embedding"),
        (lambda: adapted(tiny()), "not a plain embedding"),
    ],
)
def test_an_embedding_that_the_device_needs_stays_with_one_line(made, why, said):
    model = made()
    before = model.get_input_embeddings()
    kind = type(before)
    assert not host_embedding.install(model)
    assert type(model.get_input_embeddings()) is kind
    assert len(said) == 1 and said[0].startswith("warning: --embedding_on_host: the input embedding stays on")
    assert why in said[0]
    model(input_ids=IDS)


def test_shards_and_spread_models_are_refused(monkeypatch, said):
    model = tiny()
    model.get_input_embeddings()._hf_hook = object()
    assert "--device_map" in host_embedding.refusal(model)
    monkeypatch.setitem(os.environ, "ACCELERATE_USE_FSDP", "true")
    assert "ZeRO-3 or FSDP" in host_embedding.refusal(tiny())


class Elsewhere(torch.Tensor):
    """Ids that say they are on a card."""

    @property
    def device(self):
        return torch.device("cuda:0")


def test_without_a_window_the_host_looks_rows_up(monkeypatch):
    model = tiny()
    host_embedding.install(model)
    embedding = model.get_input_embeddings()
    embedding.seen_from[torch.device("cuda:0")] = None
    empty = torch.empty
    monkeypatch.setattr(torch, "empty", lambda *a, pin_memory=False, **k: empty(*a, **k))
    to, copied = torch.Tensor.to, []

    def follow(tensor, *args, **kwargs):
        if kwargs.get("non_blocking"):
            copied.append((tuple(tensor.shape), args))
            return tensor
        return to(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "to", follow)
    ids = IDS.as_subclass(Elsewhere)
    rows = embedding(ids).as_subclass(torch.Tensor)
    assert torch.equal(rows, embedding.weight[IDS]) and rows.shape == (2, 4, 32)
    assert copied == [((8, 32), (torch.device("cuda:0"),))]


def test_a_card_that_cannot_address_the_host_is_said_once(said):
    card = SimpleNamespace(type="cuda")
    pinned = SimpleNamespace(is_pinned=lambda: False)
    assert host_embedding._as_seen_from(card, pinned) is None
    assert host_embedding._as_seen_from(torch.device("cpu"), tiny().get_input_embeddings().weight) is None
    assert said == []
