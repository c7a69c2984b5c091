"""What goes wrong, without a word, when roles share a base; each mechanism against it is taken out once.

sh run_tests.sh tests/ppo/test_pitfalls.py
"""

import pytest
import torch
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict
from torch.utils.checkpoint import CheckpointError

from bedside import adapters, models
from bedside.ppo import roles, rollout
from tests.ppo import toys

SCORE, FORWARD = rollout.score, roles.RoleModel.forward


def wrong(found: dict, wanted: dict) -> float:
    """The largest relative error of a gradient; 1 where there is none."""
    errors = [
        1.0 if value is None else ((value - wanted[name]).norm() / wanted[name].norm()).item()
        for name, value in found.items()
    ]
    return max(errors)


def checkpointed(model, reentrant: bool) -> dict:
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    toys.update_loss(model, toys.batch()).backward()
    return toys.gradients(model)


@pytest.mark.parametrize("quantisation", [None, toys.NF4], ids=["fp32", "nf4"])
@pytest.mark.parametrize("reentrant", [False, True], ids=["not reentrant", "reentrant"])
def test_checkpointing_replays_each_layer_in_its_role(files, quantised, quantisation, reentrant, monkeypatch):
    model = toys.assembled(quantised if quantisation else files, quantisation).train()
    toys.update_loss(model, toys.batch()).backward()
    plain = toys.gradients(model)
    found = checkpointed(model, reentrant)
    assert [name for name in plain if not torch.equal(found[name], plain[name])] == []

    monkeypatch.setattr(roles.RoleModel, "_in_its_role", lambda self, checkpoint: checkpoint)
    try:  # the critic's layers are other ones than the policy's, so that a replay may notice
        assert wrong(checkpointed(model, reentrant), plain) > 0.5
    except CheckpointError:
        assert not reentrant


@pytest.mark.parametrize("reentrant", [False, True], ids=["not reentrant", "reentrant"])
def test_without_it_adapters_of_one_shape_are_mixed_up_in_silence(files, reentrant, monkeypatch):
    model = toys.assembled(files, reward=False).train()
    for name, part in model.named_parameters():
        if "lora_B.critic" in name:
            part.data.normal_(0, 0.05)
    toys.update_loss(model, toys.batch()).backward()
    plain = toys.gradients(model)
    assert wrong(checkpointed(model, reentrant), plain) == 0.0
    monkeypatch.setattr(roles.RoleModel, "_in_its_role", lambda self, checkpoint: checkpoint)
    assert wrong(checkpointed(model, reentrant), plain) > 0.5


def test_a_role_is_chosen_without_freezing_the_others(files, monkeypatch):
    model = toys.assembled(files).train()
    toys.update_loss(model, toys.batch()).backward()
    assert None not in toys.gradients(model).values()

    def by_peft(self, role: str) -> None:
        self.set_adapter(role)
        self.role = role

    monkeypatch.setattr(roles.RoleModel, "activate", by_peft)
    toys.update_loss(model, toys.batch()).backward()
    found = toys.gradients(model)
    assert not any(roles.of_policy(name) for name, value in found.items() if value is not None)


def test_a_checkpoint_holds_policy_and_critic_and_the_output_the_policy(files, tmp_path, monkeypatch):
    def kept(trainer, name: str) -> list[str]:
        trainer.save_model(str(tmp_path / name))
        return sorted(path.name for path in (tmp_path / name).iterdir() if path.is_dir())

    trainer = toys.trainer(toys.assembled(files), tmp_path / "run")
    assert kept(trainer, "final") == [] and kept(trainer, "checkpoint-4") == ["critic"]
    assert sorted(path.name for path in (tmp_path / "checkpoint-4" / "critic").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "value_head.safetensors",
    ]  # fmt: skip
    original = roles.RoleModel.save_pretrained
    monkeypatch.setattr(
        roles.RoleModel, "save_pretrained", lambda self, to, selected_adapters, **more: original(self, to, **more)
    )
    assert kept(trainer, "all") == ["critic", "ref", "reward"]


def test_no_role_is_called_like_a_module(files):
    model = toys.assembled(files)
    base = models.load_base(files.base, "float32")
    parts = {part for name, _ in base.named_modules() for part in name.split(".")}
    assert "mlp" in parts and not parts & {roles.POLICY, roles.REFERENCE, roles.CRITIC, roles.REWARD}
    assert len(get_peft_model_state_dict(model, adapter_name=roles.REFERENCE)) == 28
    # PEFT leaves out of a file every tensor in whose name another adapter's stands.
    model.add_adapter("mlp", LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert len(get_peft_model_state_dict(model, adapter_name=roles.REFERENCE)) == 28 - 2 * 3 * 2


def test_adapters_in_bfloat16_would_not_move(files):
    moved = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = toys.assembled(files, dtype="bfloat16")
        weights = [part for name, part in model.named_parameters() if roles.of_policy(name)]
        assert {part.dtype for part in weights} == {torch.float32}
        for part in weights:
            part.data = torch.full_like(part, 0.02).to(dtype)
            part.grad = torch.ones_like(part)
        torch.optim.AdamW(weights, lr=1e-5, weight_decay=0).step()
        moved[dtype] = sum((part != torch.tensor(0.02).to(dtype)).sum().item() for part in weights)
    assert moved[torch.float32] == sum(part.numel() for part in weights) and moved[torch.bfloat16] == 0


def test_adapters_of_another_precision_become_float32(files, monkeypatch):
    def rounded(model) -> roles.RoleModel:
        for name, part in model.named_parameters():
            if "lora_" in name:
                part.data = part.data.bfloat16()
        return model.settle()

    assert toys.policy_of(rounded(toys.assembled(files))).popitem()[1].dtype == torch.float32
    monkeypatch.setattr(adapters, "in_float32", lambda model: model)
    assert toys.policy_of(rounded(toys.assembled(files))).popitem()[1].dtype == torch.bfloat16


def test_4_bit_weights_are_not_repacked_by_the_first_rollout(quantised, monkeypatch):
    def gradients(evaluated: bool) -> dict | str:
        model = toys.assembled(quantised, toys.NF4)
        if evaluated:
            with torch.no_grad():
                model.eval()(*toys.batch(), "policy")
        try:
            toys.update_loss(model.train(), toys.batch()).backward()
        except RuntimeError as error:
            return str(error)
        return toys.gradients(model)

    plain = gradients(evaluated=False)
    assert wrong(gradients(evaluated=True), plain) == 0.0
    monkeypatch.setattr(models, "keep_nf4_as_loaded", lambda model: None)
    found = gradients(evaluated=True)
    base = models.load_base(quantised.base, "float32", toys.NF4)
    if any(getattr(module, "support_avx512bf16_for_cpu", False) for module in base.modules()):  # as on CI's CPUs
        assert isinstance(found, str) or wrong(found, plain) > 0.5


def gaps(model, output, **flags) -> list[float]:
    """The largest |log ratio| of the first micro-batch of each of two rollouts."""
    short = {"num_ppo_epochs": 1, "num_mini_batches": 1, "max_steps": 2}
    trainer = toys.trainer(model, output, **short, **flags)
    trainer.train()
    return toys.rows_of(trainer.state.log_history, "first_ratio_gap")


def test_dropout_is_off(files, tmp_path, monkeypatch):
    sft = toys.write_adapter(files.base, tmp_path / "sft", dropout=0.5)
    base = toys.write_base(tmp_path / "base", attention_dropout=0.5)

    def started(base: str) -> roles.RoleModel:
        return roles.assemble(models.load_base(base, "float32"), sft, None, None)

    assert gaps(started(files.base), tmp_path / "1") == [0.0, 0.0]
    assert gaps(started(base), tmp_path / "2") == [0.0, 0.0]
    monkeypatch.setattr(roles, "_without_dropout", lambda module: None)
    assert min(gaps(started(files.base), tmp_path / "3")) > 0.01
    assert min(gaps(started(base), tmp_path / "4")) > 0.01


def test_temperature_divides_the_logits_of_old_new_and_reference(files, tmp_path, monkeypatch):
    trainer = toys.trainer(toys.assembled(files), tmp_path / "1", temperature=0.5, max_steps=1)
    trainer.train()
    history = trainer.state.log_history
    assert toys.rows_of(history, "first_ratio_gap") == [0.0] and toys.rows_of(history, "kl") == [0.0]
    assert toys.rows_of(history, "ratio") == [1.0]

    model = toys.assembled(files)

    def forgetful(*args, **more):
        return FORWARD(model, *args, **more | ({"temperature": 1.0} if more.get("want") == "update" else {}))

    monkeypatch.setattr(model, "forward", forgetful)
    assert gaps(model, tmp_path / "2", temperature=0.5)[0] > 0.1


def test_rollouts_are_scored_in_the_precision_of_training(files, tmp_path, monkeypatch):
    assert gaps(toys.assembled(files), tmp_path / "1", bf16=True) == [0.0, 0.0]
    monkeypatch.setattr(rollout, "score", unaided)
    assert min(gaps(toys.assembled(files), tmp_path / "2", bf16=True)) > 1e-3


def unaided(model, *rest):
    """Scores in the model's own precision, as outside of autocast."""
    with torch.autocast("cpu", enabled=False):
        return SCORE(lambda *asked: FORWARD(model, *asked), *rest)


def test_log_probabilities_of_decoding_are_not_those_of_training(files):
    """Why old log-probabilities are computed again: with a cache, bfloat16 gives others."""
    model = toys.assembled(files).eval()
    prompts = torch.randint(3, toys.WORDS, (8, 6), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(prompts)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        drawn = model.generate(
            input_ids=prompts, attention_mask=mask, max_new_tokens=24, do_sample=False, eos_token_id=None,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        decoded = torch.stack([torch.log_softmax(step.float(), -1) for step in drawn.logits], 1)
        completions = drawn.sequences[:, 6:]
        answers = rollout.answers_of(prompts, mask, completions, (-1,))
        forward = SCORE(model, answers, [torch.arange(8)], 1.0).micro[0]["logps"]
        again = SCORE(model, answers, [torch.arange(8)], 1.0).micro[0]["logps"]
    by_decoding = decoded.gather(-1, completions[..., None]).squeeze(-1)
    assert torch.equal(forward, again) and (forward - by_decoding).abs().max() > 1e-3
