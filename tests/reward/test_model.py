"""bedside.reward_model: what a reward model starts from is kept, and its head is exact.

sh run_tests.sh tests/reward/test_model.py
"""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from bedside import adapters, models, reward_model
from bedside.errors import ConfigError, LineageError

NF4 = {"bits": 4, "type": "nf4", "double": True}
IDS = torch.tensor([[5, 9, 33, 7, 2], [300, 41, 12, 2, 3]])
NEW = {"r": 4, "alpha": 8, "dropout": 0.0}


def language_adapter(base_dir: str, place, quantisation=None, **more) -> str:
    """A LoRA with random weights on the causal model, as an SFT leaves it."""
    base = models.load_base(base_dir, quantisation=quantisation)
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **more})
    model = get_peft_model(base, config)
    torch.manual_seed(1)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data + 0.05 * torch.randn(parameter.shape)
    adapters.in_float32(model).save_pretrained(place)
    return str(place)


def reward_base(base_dir: str, quantisation=None):
    torch.manual_seed(0)
    base = models.load_base(base_dir, quantisation=quantisation, num_labels=1)
    base.config.pad_token_id = 3
    return base


def hidden(model) -> torch.Tensor:
    """The last hidden states `(B, T, H)`, in evaluation mode."""
    seen = []
    inner = model.get_base_model().model
    hook = inner.register_forward_hook(lambda *call: seen.append(call[2].last_hidden_state))
    with torch.no_grad():
        model.eval()(input_ids=IDS)
    hook.remove()
    return seen[0]


def head_of(model) -> torch.Tensor:
    return model.get_base_model().score.modules_to_save["default"].weight


@pytest.mark.parametrize(
    ("more", "quantisation"),
    [
        ({}, None),
        ({}, NF4),
        ({"use_dora": True}, None),
        ({"use_rslora": True}, None),
        ({"init_lora_weights": "pissa"}, None),
        ({"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens"]}, None),
    ],
    ids=["lora", "qlora", "dora", "rslora", "pissa", "embeddings"],
)
def test_an_sft_adapter_is_kept_whole_under_a_fresh_head(tiny_model_dir, tmp_path, more, quantisation):
    directory = language_adapter(tiny_model_dir, tmp_path / "sft", quantisation, **more)
    sft = adapters.continue_adapter(models.load_base(tiny_model_dir, quantisation=quantisation), directory, False)
    model, how = reward_model.start(reward_base(tiny_model_dir, quantisation), directory, "CAUSAL_LM", NEW)
    assert how == "continued"
    assert torch.equal(hidden(model), hidden(sft))
    plain = reward_model.start(reward_base(tiny_model_dir, quantisation), None, "CAUSAL_LM", NEW)[0]
    assert not torch.equal(hidden(plain), hidden(sft))  # the base alone is another model
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("lora_A" in name for name in trainable) and any("score" in name for name in trainable)


def test_the_head_is_float32_and_computes_in_float32(tiny_model_dir):
    base = reward_base(tiny_model_dir)
    assert base.dtype == torch.bfloat16 and base.score.weight.dtype == torch.float32
    with torch.no_grad():
        state = base.model(input_ids=IDS[:1]).last_hidden_state[:, -1]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            score = base(input_ids=IDS[:1]).logits
            last = base.model(input_ids=IDS[:1]).last_hidden_state[:, -1]
    assert state.dtype == torch.bfloat16 and score.dtype == torch.float32
    assert score.item() == pytest.approx((last.float() @ base.score.weight.T).item(), rel=1e-6)


def test_a_score_is_read_at_the_last_token_that_is_no_padding(tiny_model_dir):
    base = reward_base(tiny_model_dir).float().eval()
    with torch.no_grad():
        both = base(input_ids=IDS, attention_mask=(IDS != 3).long()).logits
        alone = base(input_ids=IDS[1:, :4]).logits
    assert both[1].item() == pytest.approx(alone.item(), abs=1e-5)


def test_a_fresh_head_is_drawn_from_the_seed(tiny_model_dir):
    first, again = reward_base(tiny_model_dir), reward_base(tiny_model_dir)
    torch.manual_seed(5)
    other = models.load_base(tiny_model_dir, num_labels=1)
    assert torch.equal(first.score.weight, again.score.weight)
    assert not torch.equal(first.score.weight, other.score.weight)


@pytest.mark.parametrize("quantisation", [None, NF4, {"bits": 8}], ids=["plain", "nf4", "int8"])
def test_a_reward_adapter_is_continued_with_its_exact_head(tiny_model_dir, tmp_path, quantisation):
    first, how = reward_model.start(reward_base(tiny_model_dir, quantisation), None, "CAUSAL_LM", NEW)
    assert how == "new adapter"
    with torch.no_grad():
        head_of(first).copy_(torch.randn(1, 64))  # no bfloat16 number, nearly surely
    first.save_pretrained(tmp_path)
    torch.manual_seed(9)
    base = models.load_base(tiny_model_dir, quantisation=quantisation, num_labels=1)
    second, how = reward_model.start(base, str(tmp_path), "SEQ_CLS", None)
    assert how == "continued"
    assert torch.equal(head_of(second), head_of(first)) and head_of(second).dtype == torch.float32
    assert not torch.equal(head_of(first), head_of(first).bfloat16().float())


def test_a_full_reward_model_keeps_its_exact_head(tiny_model_dir, tmp_path):
    model = reward_base(tiny_model_dir)
    with torch.no_grad():
        model.score.weight.copy_(torch.randn(1, 64))
    model.save_pretrained(tmp_path)
    assert load_file(tmp_path / "model.safetensors")["model.embed_tokens.weight"].dtype == torch.bfloat16
    again = models.load_base(str(tmp_path), num_labels=1)
    assert torch.equal(again.score.weight, model.score.weight)
    continued, how = reward_model.start(again, None, "SEQ_CLS", NEW)
    assert how == "new adapter" and torch.equal(head_of(continued), model.score.weight)
    assert reward_model.start(models.load_base(str(tmp_path), num_labels=1), None, "SEQ_CLS", None)[1] == "full"


def test_narrowing_spares_the_head(tiny_model_dir):
    model = reward_base(tiny_model_dir)
    with torch.no_grad():
        model.score.weight.copy_(torch.randn(1, 64))
    head = model.score.weight.detach().clone()
    model = reward_model.narrowed(model.float(), torch.bfloat16)
    assert model.model.embed_tokens.weight.dtype == torch.bfloat16
    assert torch.equal(model.score.weight, head)


@pytest.mark.parametrize("more", [{"modules_to_save": ["lm_head"]}, {"target_modules": ["q_proj", "lm_head"]}])
def test_an_adapter_of_the_language_head_is_refused(tiny_model_dir, tmp_path, more):
    directory = language_adapter(tiny_model_dir, tmp_path / "sft", **more)
    with pytest.raises(ConfigError, match="also trained lm_head, which a reward model does not have; merge it first"):
        reward_model.start(reward_base(tiny_model_dir), directory, "CAUSAL_LM", NEW)


def test_a_classifier_of_three_labels_is_refused(tiny_model_dir, tmp_path):
    models.load_base(tiny_model_dir, num_labels=3).save_pretrained(tmp_path / "full")
    with pytest.raises(ConfigError, match="is a classifier of 3 labels; expected 1"):
        models.load_base(str(tmp_path / "full"), num_labels=1)
    three = models.load_base(tiny_model_dir, num_labels=3)
    adapters.attach(three, adapters.lora_config(**NEW, task="SEQ_CLS")).save_pretrained(tmp_path / "adapter")
    with pytest.raises(ConfigError, match="is a classifier of 3 labels; a reward model gives one score"):
        reward_model.start(reward_base(tiny_model_dir), str(tmp_path / "adapter"), "SEQ_CLS", None)


def test_a_reward_adapter_without_its_head_is_refused(tiny_model_dir, tmp_path):
    reward_model.start(reward_base(tiny_model_dir), None, "CAUSAL_LM", NEW)[0].save_pretrained(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if "score" not in name}, file)
    with pytest.raises(LineageError, match="a reward model without its head"):
        reward_model.start(reward_base(tiny_model_dir), str(tmp_path), "SEQ_CLS", None)


def test_an_adapter_of_another_shape_is_refused(tiny_model_dir, tmp_path):
    directory = language_adapter(tiny_model_dir, tmp_path)
    config = json.loads((tmp_path / "adapter_config.json").read_text())
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"r": 8}))
    with pytest.raises(LineageError, match="does not fit its base"):
        reward_model.start(reward_base(tiny_model_dir), directory, "CAUSAL_LM", NEW)
    (tmp_path / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["q_proj"]}))
    with pytest.raises(LineageError, match=r"no place for \d+ of its tensors, such as base_model.model.model.layers"):
        reward_model.start(reward_base(tiny_model_dir), directory, "CAUSAL_LM", NEW)


def test_what_a_trainer_rounds_is_put_back(tiny_model_dir):
    model, _ = reward_model.start(reward_base(tiny_model_dir), None, "CAUSAL_LM", NEW)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with adapters.unrounded(model):
        for parameter in model.parameters():
            parameter.data = parameter.data.to(torch.bfloat16)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
