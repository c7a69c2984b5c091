"""Base and adapter as plain weights, computed beside the base.

sh run_tests.sh tests/ppo/test_merged.py
"""

import copy
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, Qwen3Config, Qwen3ForCausalLM

from bedside import models
from bedside.errors import ConfigError
from bedside.ppo.merged import merged_weights

IDS = torch.tensor([[4, 9, 30, 77, 120, 5, 260]])
NF4 = {"bits": 4, "type": "nf4", "double": True}


def adapted(base, *more: str, **lora):
    """Random adapters `default` and `more` on all linear layers of `base` (or what `lora` names)."""
    torch.manual_seed(1)
    config = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | lora
    model = get_peft_model(base, LoraConfig(**config))
    for name in more:
        model.add_adapter(name, LoraConfig(**config | {"r": 2}))
    for name, parameter in model.named_parameters():
        if any(part in name for part in ("lora_", "modules_to_save", "trainable_tokens_delta")):
            parameter.data += torch.randn_like(parameter) * 0.05
    return model.eval()


def plain(tied: bool = False) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=32, tie_word_embeddings=tied, attention_bias=True,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            parameter.data += torch.randn_like(parameter)
    return model


def everything(model) -> dict[str, torch.Tensor]:
    """Copies of every number that the model holds, those beside a quantised weight included."""
    found = {name: tensor.detach().clone() for name, tensor in model.state_dict(keep_vars=True).items()}
    for name, parameter in model.named_parameters():
        state = getattr(parameter, "quant_state", None)
        for inner in [state, getattr(state, "state2", None)]:
            found |= {f"{name}.{id(inner)}.{k}": v.clone() for k, v in vars(inner or SimpleNamespace()).items()
                      if isinstance(v, torch.Tensor)}  # fmt: skip
    return found


def assert_untouched(before: dict, model) -> None:
    after = everything(model)
    assert list(before) == list(after) and len(before) > 20
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


@torch.no_grad()
def logits(model) -> torch.Tensor:
    return model(input_ids=IDS).logits.float()


def loaded(fresh, weights) -> torch.nn.Module:
    """`fresh` with these weights, every one of which has its place in it and none of its own is left."""
    named = dict(weights)
    missing, unexpected = fresh.load_state_dict(named, strict=False)
    tied = {"lm_head.weight"} if fresh.config.tie_word_embeddings else set()
    assert unexpected == [] and set(missing) == tied
    return fresh.eval()


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("lora", [{}, {"use_rslora": True}, {"use_dora": True}, {"lora_bias": True}], ids=str)
def test_the_merged_model_computes_what_base_and_adapter_compute(lora, tied):
    targets = {"target_modules": ["q_proj", "v_proj"]} if lora == {"lora_bias": True} else {}
    model = adapted(plain(tied), "critic", **lora, **targets)
    before = everything(model)
    wanted, without = logits(model), logits(plain(tied))
    merged = loaded(plain(tied), merged_weights(model))
    assert (wanted - without).abs().max() > 0.01  # the adapter does something
    torch.testing.assert_close(logits(merged), wanted, rtol=0, atol=2e-6)
    assert_untouched(before, model)


def test_names_are_those_of_the_checkpoint_and_tied_weights_come_once(tmp_path):
    from safetensors import safe_open

    for tied in (False, True):
        plain(tied).save_pretrained(tmp_path)
        base = AutoModelForCausalLM.from_pretrained(tmp_path)
        names = [name for name, _ in merged_weights(adapted(base, "ref", "critic"))]
        assert sorted(names) == sorted(safe_open(tmp_path / "model.safetensors", "pt").keys())
        assert len(names) == len(set(names)) and ("lm_head.weight" in names) is not tied


def test_names_that_loading_changed_are_changed_back(tmp_path):
    from safetensors.torch import load_file, save_file

    plain().save_pretrained(tmp_path)
    own = load_file(tmp_path / "model.safetensors")
    saved = {name.replace("model.", "transformer."): weight for name, weight in own.items()}
    save_file(saved, tmp_path / "model.safetensors", {"format": "pt"})
    base = AutoModelForCausalLM.from_pretrained(tmp_path, key_mapping={"^transformer": "model"})
    found = dict(merged_weights(adapted(base, target_modules=["q_proj"])))
    assert sorted(found) == sorted(saved) and "transformer.norm.weight" in found
    assert sum(not torch.equal(found[name], saved[name]) for name in saved) == 2


def test_each_adapter_gives_its_own_weights_and_heads_stay_out():
    model = adapted(plain(), "critic")
    model.value_head = torch.nn.Linear(64, 1)
    model.set_adapter("critic")
    wanted = logits(model)
    critic, policy = dict(merged_weights(model, "critic")), dict(merged_weights(model))
    torch.testing.assert_close(logits(loaded(plain(), critic.items())), wanted, rtol=0, atol=2e-6)
    assert not any("head" in name and name != "lm_head.weight" or "lora" in name for name in critic)
    changed = {name.rsplit(".", 2)[-2] for name in critic if not torch.equal(critic[name], policy[name])}
    assert changed == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert model.active_adapters == ["critic"]


def test_bfloat16_is_added_in_float32_and_rounded_once():
    model = adapted(plain().to(torch.bfloat16))
    before = everything(model)
    for name, weight in merged_weights(model, dtype=torch.float32):
        layer = model.base_model.model.get_submodule(name.rpartition(".")[0])
        if name.endswith("weight") and hasattr(layer, "lora_A"):
            update = 2.0 * layer.lora_B["default"].weight @ layer.lora_A["default"].weight
            torch.testing.assert_close(weight, layer.base_layer.weight.float() + update, rtol=0, atol=1e-6)
        assert weight.dtype == torch.float32
    rounded, precise = dict(merged_weights(model)), dict(merged_weights(model, dtype=torch.float32))
    assert {weight.dtype for weight in rounded.values()} == {torch.bfloat16}
    assert all(torch.equal(rounded[name], precise[name].to(torch.bfloat16)) for name in rounded)
    assert_untouched(before, model)


@pytest.mark.parametrize("quant", [NF4, {"bits": 8}], ids=["nf4", "8 bits"])
def test_a_quantised_base_is_added_as_the_numbers_it_computes_with(tiny_model_dir, quant):
    lora = {"target_modules": ["q_proj", "down_proj"]}  # the other layers are quantised and have no adapter
    model = adapted(models.load_base(tiny_model_dir, "float32", quant), "critic", **lora)
    wanted = logits(model)
    before = everything(model)
    fresh = AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype=torch.float32)
    weights = dict(merged_weights(model, dtype=torch.float32))
    assert sum(not torch.equal(weights[name], fresh.state_dict()[name]) for name in weights) == 14
    merged = loaded(fresh, weights.items())
    # 8-bit layers round what goes through them, too, which no weight can hold.
    torch.testing.assert_close(logits(merged), wanted, rtol=0, atol=2e-6 if quant is NF4 else 0.1)
    assert_untouched(before, model)
    torch.testing.assert_close(logits(model), wanted, rtol=0, atol=0)
    assert {weight.dtype for _, weight in merged_weights(model)} == {torch.float32}


def test_embeddings_and_layers_with_turned_weights():
    embedded = adapted(plain(), target_modules=["embed_tokens", "q_proj"])
    torch.testing.assert_close(logits(loaded(plain(), merged_weights(embedded))), logits(embedded), rtol=0, atol=2e-6)
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=300, n_positions=64, n_embd=32, n_layer=2, n_head=2)
    base = GPT2LMHeadModel(config)
    turned = adapted(copy.deepcopy(base), target_modules=["c_attn", "c_proj"], fan_in_fan_out=True, use_dora=True)
    torch.testing.assert_close(logits(loaded(base, merged_weights(turned))), logits(turned), rtol=0, atol=2e-6)


def test_modules_and_rows_trained_whole():
    whole = adapted(plain(), modules_to_save=["lm_head"])
    torch.testing.assert_close(logits(loaded(plain(), merged_weights(whole))), logits(whole), rtol=0, atol=2e-6)
    for tied in (False, True):
        rows = adapted(plain(tied), trainable_token_indices={"embed_tokens": [4, 9]})
        torch.testing.assert_close(logits(loaded(plain(tied), merged_weights(rows))), logits(rows), rtol=0, atol=2e-6)


def test_a_model_without_adapters_is_its_own_weights():
    model = plain()
    weights = dict(merged_weights(model))
    assert all(torch.equal(weight, weights[name]) for name, weight in model.named_parameters())


REFUSED = {
    "has an adapter and is tied to another layer": lambda: adapted(plain(True), target_modules=["embed_tokens"]),
    "is trained whole and tied to another layer": lambda: adapted(plain(True), modules_to_save=["embed_tokens"]),
    "ALoraLinearVariant cannot be added": lambda: adapted(plain(), alora_invocation_tokens=[4]),
    "an adapter is merged into the base": lambda: (m := adapted(plain()), m.merge_adapter())[0],
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_no_plain_weight_can_hold_is_refused(reason):
    with pytest.raises(ConfigError, match=reason) as refusal:
        next(merged_weights(REFUSED[reason]()))
    assert "merge_peft_adapter.py" in str(refusal.value) and len(refusal.value.problems) <= 4


def test_other_layers_adapters_and_cut_weights_are_refused():
    from peft import IA3Config

    ia3 = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])
    with pytest.raises(ConfigError, match="k_proj: an adapter of the kind Linear on Linear cannot be added"):
        next(merged_weights(get_peft_model(plain(), ia3)))
    model = adapted(plain())
    with pytest.raises(ConfigError, match="no adapter 'policy' here; there are: default"):
        next(merged_weights(model, "policy"))
    next(model.parameters()).ds_id = 0
    with pytest.raises(ConfigError, match=r"model.embed_tokens: its weight is cut .*ZeRO-3.*; use DDP or ZeRO-2"):
        next(merged_weights(model))


def test_experts_that_loading_fused_are_refused(tmp_path):
    from transformers import Qwen3MoeConfig, Qwen3MoeForCausalLM

    config = Qwen3MoeConfig(
        vocab_size=100, hidden_size=32, moe_intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, num_experts=4,
    )  # fmt: skip
    Qwen3MoeForCausalLM(config).save_pretrained(tmp_path)
    model = adapted(AutoModelForCausalLM.from_pretrained(tmp_path), target_modules=["q_proj"])
    with pytest.raises(ConfigError, match=r"Qwen3MoeForCausalLM: loading fused .*mlp.experts.gate_up_proj"):
        next(merged_weights(model))
