"""Four roles on one base: each is what it was alone, and training moves two of them.

sh run_tests.sh tests/ppo/test_roles.py
"""

import json
import shutil
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.utils import load_peft_weights
from safetensors.torch import load_file, save_file

from bedside import adapters, models, reward_model
from bedside.data.samples import IGNORED
from bedside.errors import ConfigError
from bedside.ppo import roles
from bedside.preference import logprobs
from tests.ppo import toys

EACH = pytest.mark.parametrize("quantisation", [None, toys.NF4], ids=["fp32", "nf4"])


@pytest.fixture
def kind(files, quantised):
    """The directories that belong to a quantisation of the base."""
    return lambda quantisation: quantised if quantisation else files


@torch.no_grad()
def alone(model, asked: toys.Batch, by_ids: bool = True) -> torch.Tensor:
    """Log-probabilities of a plain model: from its logits, or by the forward that a role uses (bit for bit)."""
    ids, mask, starts, count = asked
    if by_ids:
        logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
        found = torch.log_softmax(logits, -1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    else:
        before = torch.arange(ids.shape[1]) < starts[:, None]
        labels = ids.masked_fill(before | (mask == 0), IGNORED)
        found = logprobs.install(model).eval()(input_ids=ids, attention_mask=mask, labels=labels, token_logprobs=True)
    rows = [row[start - 1 : start - 1 + count] * kept[start : start + count]
            for row, start, kept in zip(found, starts.tolist(), mask, strict=True)]  # fmt: skip
    return torch.stack([torch.nn.functional.pad(row, (0, count - len(row))) for row in rows])


def said(model, asked: toys.Batch, want: str) -> torch.Tensor:
    """What a role says, without the entropies."""
    with torch.no_grad():
        found = model.eval()(*asked, want)
    return found[0] if isinstance(found, tuple) else found


@EACH
def test_the_reward_adapter_gives_the_scores_of_the_reward_model(kind, quantisation):
    files, asked = kind(quantisation), toys.batch()
    base = models.load_base(files.base, "float32", quantisation, num_labels=1)
    original, _ = reward_model.start(base, files.reward, "SEQ_CLS", None)
    model = toys.assembled(files, quantisation)
    with torch.no_grad():
        wanted = original.eval()(input_ids=asked.ids, attention_mask=asked.mask).logits[:, 0]
    found = said(model, asked, "scores")
    assert torch.equal(found, wanted) and found.std() > 0.01
    shapes = {name: config.r for name, config in model.peft_config.items()}
    assert shapes == {"default": 8, "ref": 8, "reward": 4, "critic": 4}


@EACH
def test_policy_and_reference_are_the_sft_model_bit_for_bit(kind, quantisation):
    files, asked = kind(quantisation), toys.batch()
    model = toys.assembled(files, quantisation).eval()
    sft = PeftModel.from_pretrained(models.load_base(files.base, "float32", quantisation), files.sft).eval()
    with torch.no_grad():
        policy, entropy = model(*asked, "policy")
    assert torch.equal(policy, said(model, asked, "reference"))
    torch.testing.assert_close(policy, alone(sft, asked), atol=1e-5, rtol=0)
    assert torch.equal(policy, alone(sft, asked, by_ids=False))
    assert policy[1, -2:].tolist() == [0, 0] and entropy[1, -2:].tolist() == [0, 0] and (policy[0] < 0).all()


@EACH
def test_gradients_are_in_policy_critic_and_value_head_and_none_is_missing(kind, quantisation):
    model, asked = toys.assembled(kind(quantisation), quantisation).train(), toys.batch()
    logps, values = model(*asked, "update")
    logps.sum().backward(retain_graph=True)
    found = toys.gradients(model)
    assert [name for name, value in found.items() if (value is not None) != roles.of_policy(name)] == []
    values.pow(2).sum().backward()
    found = toys.gradients(model)
    assert [name for name, value in found.items() if (value is None) != roles.of_policy(name)] == []
    toys.update_loss(model, asked).backward()
    assert [name for name, part in model.named_parameters() if part.grad is not None and not part.requires_grad] == []
    found = toys.gradients(model)
    # Two layers of seven places with two matrices; three places of the critic; the head
    assert len(found) == 2 * 7 * 2 + 2 * 3 * 2 + 1
    assert [name for name, value in found.items() if value is None or not value.abs().sum()] == []


@EACH
def test_updates_move_policy_and_critic_alone(kind, quantisation):
    model, asked = toys.assembled(kind(quantisation), quantisation), toys.batch()
    frozen = {name: part.clone() for name, part in model.named_parameters() if not part.requires_grad}
    before = {want: said(model, asked, want) for want in ("policy", "reference", "values", "scores")}
    optimizer = torch.optim.AdamW([part for part in model.parameters() if part.requires_grad], lr=1e-2)
    for _ in range(3):
        logps, values = model.train()(*asked, "update")
        (-logps.mean() + (values - 1).pow(2).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()
    after = {want: said(model, asked, want) for want in before}
    assert torch.equal(after["reference"], before["reference"]) and torch.equal(after["scores"], before["scores"])
    assert (after["policy"] - before["policy"]).abs().mean() > 0.01
    assert (after["values"] - before["values"]).abs().mean() > 0.01
    left = dict(model.named_parameters())
    assert len(frozen) > 50 and [name for name in frozen if not torch.equal(frozen[name], left[name])] == []


def test_the_critic_begins_as_the_reward_model(files):
    model, asked = toys.assembled(files, head=False), toys.batch()
    assert torch.equal(model.value_head.weight, model.score_head.weight) and model.value_head.weight.abs().sum() > 0
    # The value in front of the last token is the score of what stands there.
    shorter = asked._replace(ids=asked.ids[2:, :-1], mask=asked.mask[2:, :-1])
    scores = said(model, shorter, "scores")
    torch.testing.assert_close(said(model, asked, "values")[2:, -1], scores, atol=1e-6, rtol=0)
    model.value_head.weight.data.zero_()
    assert model.score_head.weight.abs().sum() > 0  # they are two heads


def test_without_a_reward_model_the_critic_begins_as_the_policy_with_a_head_of_zeros(files):
    model, asked = toys.assembled(files, reward=False, head=False), toys.batch()
    weights = dict(model.named_parameters())
    pairs = [(name, name.replace(".critic.", ".default.")) for name in weights if ".critic." in name]
    assert len(pairs) == 28 and all(torch.equal(weights[one], weights[other]) for one, other in pairs)
    assert all(weights[one].data_ptr() != weights[other].data_ptr() for one, other in pairs)
    assert not said(model, asked, "values").any()
    assert model.score_head is None and "reward" not in model.peft_config


@EACH
def test_a_reference_without_adapter_is_the_base_bit_for_bit(kind, quantisation):
    files, asked = kind(quantisation), toys.batch()
    model = toys.assembled(files, quantisation, policy=False)
    reference = said(model, asked, "reference")
    base = models.load_base(files.base, "float32", quantisation)
    assert torch.equal(reference, alone(base, asked, by_ids=False))
    assert torch.equal(said(model, asked, "policy"), reference) and "ref" not in model.peft_config


def test_adapters_and_heads_are_float32_on_a_bfloat16_base(files):
    model, asked = toys.assembled(files, dtype="bfloat16").eval(), toys.batch()
    named = dict(model.named_parameters())
    own = {part.dtype for name, part in named.items() if "lora_" in name or name.startswith(("value", "score"))}
    assert own == {torch.float32} and named["base_model.model.lm_head.weight"].dtype == torch.bfloat16
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        hidden = model._hidden(roles.REWARD, {"input_ids": asked.ids, "attention_mask": asked.mask})
        said_by = [model(*asked, want) for want in ("scores", "values", "policy")]
    scores, values, (logps, entropy) = said_by
    assert {part.dtype for part in (scores, values, logps, entropy)} == {torch.float32}
    last = hidden[torch.arange(4), torch.tensor([10, 11, 13, 13])].float()
    assert torch.equal(scores, torch.nn.functional.linear(last, model.score_head.weight).squeeze(-1))
    assert not torch.equal(scores, scores.bfloat16().float())


@EACH
def test_the_saved_policy_is_a_plain_adapter_that_says_the_same_on_a_fresh_base(kind, quantisation, tmp_path):
    files, asked = kind(quantisation), toys.batch()
    model = toys.assembled(files, quantisation)
    for part in toys.policy_of(model):
        model.get_parameter(part).data += 0.01
    model.save_pretrained(tmp_path, selected_adapters=[roles.POLICY])
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "README.md") == [
        "adapter_config.json", "adapter_model.safetensors",
    ]  # fmt: skip
    assert load_peft_weights(str(tmp_path)).keys() == load_peft_weights(files.sft).keys()
    assert json.loads((tmp_path / "adapter_config.json").read_text())["base_model_name_or_path"] == files.base
    fresh = PeftModel.from_pretrained(models.load_base(files.base, "float32", quantisation), tmp_path)
    assert torch.equal(alone(fresh, asked, by_ids=False), said(model, asked, "policy"))


@pytest.mark.parametrize("more", [{"use_dora": True}, {"use_rslora": True}, {"target_modules": "embed_tokens,q_proj"}])
def test_relatives_of_lora_and_an_adapter_of_the_embeddings(files, tmp_path, more):
    sft, asked = toys.write_adapter(files.base, tmp_path, **more), toys.batch()
    model = roles.assemble(models.load_base(files.base, "float32"), sft, None, files.reward)
    before = said(model, asked, "policy")
    wanted = adapters.continue_adapter(models.load_base(files.base, "float32"), sft, trainable=False).eval()
    assert torch.equal(before, said(model, asked, "reference"))
    assert torch.equal(before, alone(wanted, asked, by_ids=False))
    logps, _ = model.train()(*asked, "update")
    assert torch.equal(logps.detach(), before)  # training computes what scoring computed


def test_what_roles_cannot_share_is_refused_with_the_command_that_merges(files, tmp_path):
    def refusal(directory: str) -> str:
        with pytest.raises(ConfigError) as caught:
            roles.assemble(models.load_base(files.base, "float32"), directory, None, None)
        return str(caught.value)

    whole = toys.write_adapter(files.base, tmp_path / "whole", modules_to_save="lm_head")
    rows = toys.write_adapter(files.base, tmp_path / "rows", trainable_token_indices={"embed_tokens": [4, 9]})
    for directory, what in ((whole, "lm_head.weight"), (rows, "model.embed_tokens")):
        told = refusal(directory)
        assert f"{directory} holds {what}" in told and "the roles of one base cannot share; merge it first" in told
        assert f"merge_peft_adapter.py --peft_model_path {directory} --output_dir {directory}-merged" in told
    with pytest.raises(ConfigError, match="an adapter trains whole modules.*python merge_peft_adapter.py"):
        roles.assemble(models.load_base(files.base, "float32"), None, {"modules_to_save": "lm_head"}, None)
    # Embeddings of its own, such as those with rows for new words, would become those of every role.
    changed = shutil.copytree(files.sft, tmp_path / "changed")
    tensors = load_file(changed / "adapter_model.safetensors")
    tensors["base_model.model.model.embed_tokens.weight"] = torch.zeros(toys.WORDS, 64)
    save_file(tensors, changed / "adapter_model.safetensors")
    assert "changed holds model.embed_tokens.weight of its own" in refusal(str(changed))


def test_reward_adapters_that_do_not_fit_are_refused(files, tmp_path):
    def refusal(reward: str) -> str:
        with pytest.raises(ConfigError) as caught:
            roles.assemble(models.load_base(files.base, "float32"), files.sft, None, reward)
        return str(caught.value)

    deeper = toys.write_base(tmp_path / "deeper", num_hidden_layers=3)
    toys.reward_lora(deeper).save_pretrained(tmp_path / "other")
    assert "other does not fit this base: no place for " in refusal(str(tmp_path / "other"))
    wider = toys.write_base(tmp_path / "wider", hidden_size=96)
    toys.reward_lora(wider).save_pretrained(tmp_path / "wide")
    assert "wide does not fit this base: " in refusal(str(tmp_path / "wide"))

    headless = shutil.copytree(files.reward, tmp_path / "headless")
    tensors = load_file(headless / "adapter_model.safetensors")
    save_file(
        {name: it for name, it in tensors.items() if "score" not in name}, headless / "adapter_model.safetensors"
    )
    assert "headless: a reward model without its head; train it with reward_modeling.py" in refusal(str(headless))
    two = {name: torch.cat([it, it]) if "score" in name else it for name, it in tensors.items()}
    labels = Path(shutil.copytree(files.reward, tmp_path / "labels"))
    save_file(two, labels / "adapter_model.safetensors")
    assert "labels: a classifier of 2 labels; a reward model gives one score" in refusal(str(labels))


def test_an_unknown_wish_and_a_wrong_target_are_told(files):
    with pytest.raises(ValueError, match="want='value': expected policy, reference, values, scores, update or logits"):
        toys.assembled(files)(*toys.batch(), "value")
    with pytest.raises(ConfigError, match="--lora_target_modules: .*w_pack"):
        roles.assemble(models.load_base(files.base, "float32"), None, {"target_modules": "w_pack"}, None)


def test_the_policy_is_a_causal_model_like_any_other(files):
    model, asked = toys.assembled(files), toys.batch()
    sft = adapters.continue_adapter(models.load_base(files.base, "float32"), files.sft).eval()
    said(model, asked, "scores")  # the reward model was asked last
    with torch.no_grad():
        found = model(asked.ids, asked.mask).logits
        assert torch.equal(found, sft(input_ids=asked.ids, attention_mask=asked.mask).logits)
        said(model, asked, "scores")
        keywords = {"input_ids": asked.ids[:, :6], "attention_mask": asked.mask[:, :6], "max_new_tokens": 5}
        assert torch.equal(model.generate(**keywords, do_sample=False), sft.generate(**keywords, do_sample=False))
