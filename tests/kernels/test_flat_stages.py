"""Every stage takes the same steps with flat batches: the logged losses and the weights after two steps.

sh run_tests.sh tests/kernels/test_flat_stages.py
"""

import pytest
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model

from bedside import models, reward_model
from bedside.collate import LabelledCollator, PackedCollator, PairCollator, ReadyRows
from bedside.kernels import flat
from tests.ppo import toys

PAD = 3
SIZES = [(5, 4, 7), (3, 9, 2), (8, 3, 3), (2, 6, 5), (4, 1, 8), (6, 5, 4), (3, 3, 9), (7, 2, 2)]
FLAGS = {
    "report_to": "none", "use_cpu": True, "max_steps": 2, "learning_rate": 0.1, "optim": "sgd", "bf16": False,
    "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "remove_unused_columns": False, "logging_steps": 1,
    "save_strategy": "no", "disable_tqdm": True, "per_device_train_batch_size": 4, "seed": 1,
    "dataloader_pin_memory": False, "gradient_checkpointing": False,
}  # fmt: skip


def drawn(count: int, draw: torch.Generator) -> list[int]:
    return torch.randint(10, 390, (count,), generator=draw).tolist()


def pairs() -> Dataset:
    """Pairs of different lengths: the tokens of a question, of the better and of the worse answer."""
    draw, rows = torch.Generator().manual_seed(0), []
    for question, *answers in SIZES:
        prompt, row = drawn(question, draw), {}
        for side, length in zip(("chosen", "rejected"), answers, strict=True):
            answer = drawn(length, draw)
            row |= {f"{side}_ids": prompt + answer, f"{side}_labels": [-100] * question + answer}
        rows.append(row)
    return Dataset.from_list(rows)


def answers(packed: bool) -> Dataset:
    """Questions with answers, one in a row or two."""
    draw, rows = torch.Generator().manual_seed(0), []
    for question, first, second in SIZES:
        parts = [(drawn(question, draw), drawn(length, draw)) for length in (first, second)[: 1 + packed]]
        rows.append({
            "input_ids": [token for part in parts for token in part[0] + part[1]],
            "labels": [token for asked, said in parts for token in [-100] * len(asked) + said],
            "seq_lengths": [len(asked) + len(said) for asked, said in parts],
        })  # fmt: skip
    return Dataset.from_list(rows if packed else [{k: v for k, v in r.items() if k != "seq_lengths"} for r in rows])


def labelled() -> Dataset:
    """Answers that are good or bad, for KTO."""
    draw = torch.Generator().manual_seed(0)
    rows = []
    for number, (question, length, _) in enumerate(SIZES):
        said = drawn(length, draw)
        rows.append({"prompt_ids": drawn(question, draw), "completion_ids": said, "completion_labels": said,
                     "label": number % 2 == 0, "source": "a", "line": number})  # fmt: skip
    return Dataset.from_list(rows)


def lora(directory: str, head: bool = False) -> torch.nn.Module:
    """The tiny model with an adapter that says something, in float32."""
    if head:
        base = models.load_base(directory, "float32", num_labels=1)
        base.config.pad_token_id = PAD
        torch.manual_seed(4)
        model, _ = reward_model.start(base, None, "CAUSAL_LM", {"r": 4, "alpha": 8, "dropout": 0.0})
    else:
        torch.manual_seed(4)
        config = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
        model = get_peft_model(models.load_base(directory, "float32"), config)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(0, 0.1)
    return model


def outcome(trainer) -> tuple[list[float], dict[str, torch.Tensor]]:
    """The losses of the steps, and every trained weight afterwards."""
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    assert len(losses) == 2
    return losses, {name: part.detach() for name, part in trainer.model.named_parameters() if part.requires_grad}


def sft(directory, output, model, packed=True, **more):
    from trl import SFTConfig, SFTTrainer

    from bedside.accounting import TokenWeighted

    class Trainer(TokenWeighted, SFTTrainer):
        pass

    config = SFTConfig(str(output), **{**FLAGS, "dataset_kwargs": {"skip_prepare_dataset": True}, **more})
    collator = PackedCollator(PAD) if packed else None
    return Trainer(model, args=config, train_dataset=answers(packed), data_collator=collator,
                   processing_class=models.load_tokenizer(directory))  # fmt: skip


def rm(directory, output, model, **more):
    from trl import RewardConfig, RewardTrainer

    class Trainer(ReadyRows, RewardTrainer):
        pass

    config = RewardConfig(str(output), **{**FLAGS, "max_length": None, **more})
    return Trainer(model, args=config, train_dataset=pairs(), processing_class=models.load_tokenizer(directory))


def dpo(directory, output, model, **more):
    from trl import DPOConfig, DPOTrainer

    class Trainer(ReadyRows, DPOTrainer):
        pass

    return Trainer(model, args=DPOConfig(str(output), **{**FLAGS, **more}), train_dataset=pairs(),
                   processing_class=models.load_tokenizer(directory), data_collator=PairCollator(PAD))  # fmt: skip


def kto(directory, output, model, **more):
    from trl import KTOConfig, KTOTrainer

    from bedside.collate import LabelledRows

    class Trainer(LabelledRows, KTOTrainer):
        pass

    return Trainer(model, args=KTOConfig(str(output), **{**FLAGS, **more}), train_dataset=labelled(),
                   processing_class=models.load_tokenizer(directory), data_collator=LabelledCollator(PAD))  # fmt: skip


def orpo(directory, output, model, **more):
    from bedside.preference.config import PairConfig
    from bedside.preference.trainer import PairTrainer

    return PairTrainer(model, args=PairConfig(str(output), **{**FLAGS, **more}), train_dataset=pairs(),
                       processing_class=models.load_tokenizer(directory), data_collator=PairCollator(PAD))  # fmt: skip


# Calls of attention in two steps of two layers; references have their own, checkpointing repeats them.
STAGES = {
    "sft packed": (sft, {}, 4),
    "sft padded": (sft, {"packed": False}, 4),
    "sft checkpointed": (sft, {"gradient_checkpointing": True}, 8),
    "rm": (rm, {}, 4),
    "rm checkpointed": (rm, {"gradient_checkpointing": True}, 8),
    "dpo": (dpo, {}, 8),
    "dpo checkpointed": (dpo, {"gradient_checkpointing": True}, 12),
    "kto": (kto, {}, 16),
    "orpo": (orpo, {}, 4),
    "simpo": (orpo, {"loss_type": "simpo"}, 4),
}


@pytest.mark.parametrize("stage", STAGES)
def test_two_steps_are_the_same(stage, tiny_model_dir, tmp_path, attended):
    make, more, calls = STAGES[stage]
    model = lora(tiny_model_dir, head=make is rm)
    before = {name: part.detach().clone() for name, part in model.named_parameters() if part.requires_grad}
    losses, weights = outcome(make(tiny_model_dir, tmp_path / "plain", model, **more))
    assert attended == []
    other = lora(tiny_model_dir, head=make is rm)
    assert flat.install(other).startswith("flat batches: on")
    found, flat_weights = outcome(make(tiny_model_dir, tmp_path / "flat", other, **more))
    assert len([row for row, _ in attended if len(row) > 4]) == calls  # the others are of a check on one row
    assert found == pytest.approx(losses, abs=1e-5)
    assert flat_weights.keys() == weights.keys()
    moved = max((weights[name] - before[name]).abs().max().item() for name in before)
    assert moved > 1e-4
    for name, weight in weights.items():
        torch.testing.assert_close(flat_weights[name], weight, atol=1e-5, rtol=1e-4, msg=lambda m, name=name: name + m)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A base, its SFT adapter and its reward adapter, in float32."""
    return toys.write(tmp_path_factory.mktemp("roles"))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_rollout_of_ppo_is_the_same(checkpointing, files, tmp_path, attended):
    """Sampling has a cache and stays as it is; scores, log-probabilities, values and updates are flat."""
    results = []
    for wanted in (False, True):
        model = toys.assembled(files)
        if wanted:
            assert flat.install(model).startswith("flat batches: on")
        trainer = toys.trainer(model, tmp_path / str(wanted), max_steps=4, gradient_checkpointing=checkpointing)
        trainer.train()
        assert bool(attended) is wanted
        results.append((trainer.state.log_history, toys.policy_of(model) | toys.critic_of(model)))
    (plain, weights), (found, flat_weights) = results
    for measure in ("reward", "kl", "policy_loss", "value_loss", "first_ratio_gap", "entropy"):
        assert toys.rows_of(found, measure) == pytest.approx(toys.rows_of(plain, measure), abs=1e-5)
    assert toys.rows_of(found, "first_ratio_gap")[0] == 0.0
    for name, weight in weights.items():
        torch.testing.assert_close(flat_weights[name], weight, atol=1e-4, rtol=1e-3, msg=lambda m, name=name: name + m)


def test_each_role_says_the_same(files, attended):
    plain, other = toys.assembled(files), toys.assembled(files)
    flat.install(other)
    asked = toys.batch()
    with torch.no_grad():
        for want in ("policy", "reference"):
            for one, two in zip(plain(*asked, want), other(*asked, want), strict=True):
                torch.testing.assert_close(two, one, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(other(*asked, "values"), plain(*asked, "values"), atol=1e-5, rtol=1e-5)
        scores = [model(asked.ids, asked.mask, want="scores") for model in (plain, other)]
    torch.testing.assert_close(scores[1], scores[0], atol=1e-5, rtol=1e-5)
    assert len(attended) == 8 and {tuple(row) for row, _ in attended} == {(0, 11, 23, 37, 51)}
