"""PairTrainer: the same loss as TRL's, the same step however a batch is split, means over pairs.

sh run_tests.sh tests/preference/test_trainer.py
"""

import math
from types import SimpleNamespace

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM

from bedside import models
from bedside.collate import PairCollator
from bedside.errors import ConfigError
from bedside.preference import logprobs, losses
from bedside.preference.config import PairConfig
from bedside.preference.trainer import PairTrainer, pair_losses

# Six pairs of different lengths: the tokens of a question, of the better and of the worse answer.
SIZES = [(5, 4, 7), (3, 9, 2), (8, 3, 3), (2, 6, 5), (4, 1, 8), (6, 5, 4)]


def pair_rows(sizes=SIZES) -> list[dict]:
    draw = torch.Generator().manual_seed(0)
    rows = []
    for question, *answers in sizes:
        prompt = torch.randint(10, 390, (question,), generator=draw).tolist()
        row = {}
        for side, length in zip(("chosen", "rejected"), answers, strict=True):
            answer = torch.randint(10, 390, (length,), generator=draw).tolist()
            row |= {f"{side}_ids": prompt + answer, f"{side}_labels": [-100] * question + answer}
        rows.append(row)
    return rows


def fresh(directory: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)


def trainer_of(directory: str, output, rows=None, held_out=None, **more) -> PairTrainer:
    flags = {"report_to": "none", "use_cpu": True, "max_steps": 1, "learning_rate": 0.1, "optim": "sgd",
             "lr_scheduler_type": "constant", "max_grad_norm": 0.0, "remove_unused_columns": False, "logging_steps": 1,
             "train_sampling_strategy": "sequential", "save_strategy": "no", "disable_tqdm": True}  # fmt: skip
    return PairTrainer(
        fresh(directory), args=PairConfig(output_dir=str(output), **{**flags, **more}),
        train_dataset=Dataset.from_list(rows or pair_rows()),
        eval_dataset=Dataset.from_list(held_out) if held_out else None,
        processing_class=models.load_tokenizer(directory), data_collator=PairCollator(3),
    )  # fmt: skip


def by_hand(model, rows: list[dict], loss) -> list[float]:
    """Each pair's loss through plain logits, one sequence at a time."""
    found = []
    for row in rows:
        sums, counts = [], []
        for side in ("chosen", "rejected"):
            ids, labels = torch.tensor([row[f"{side}_ids"]]), torch.tensor([row[f"{side}_labels"]])
            with torch.no_grad():
                table = model(input_ids=ids).logits[0, :-1].log_softmax(-1)
            kept = labels[0, 1:] != -100
            sums.append(table[kept].gather(-1, labels[0, 1:][kept][:, None]).sum().reshape(1))
            counts.append(kept.sum().reshape(1))
        found.append(loss(*sums, *counts).loss.item())
    return found


@pytest.mark.parametrize("lengths", [[(1, 4, 7)], [(1, 5, 5), (1, 5, 5)]], ids=["one pair", "pairs of one length"])
def test_loss_and_gradients_are_those_of_trls_orpo_trainer(tiny_model_dir, lengths):
    """TRL takes the likelihood over the question too: one token has none, so here both are the same."""
    orpo_trainer = pytest.importorskip("trl.experimental.orpo.orpo_trainer")
    rows = pair_rows(lengths)
    theirs = object.__new__(orpo_trainer.ORPOTrainer)
    accelerator = SimpleNamespace(device=torch.device("cpu"), gather_for_metrics=lambda value: value)
    vars(theirs).update(is_encoder_decoder=False, padding_value=3, aux_loss_enabled=False, beta=0.3,
                        accelerator=accelerator)  # fmt: skip
    batch = {}
    for side in ("chosen", "rejected"):
        ids = [row[f"{side}_ids"] for row in rows]
        batch[f"{side}_input_ids"] = torch.tensor(ids)
        batch[f"{side}_attention_mask"] = torch.ones_like(batch[f"{side}_input_ids"])
        batch[f"{side}_labels"] = torch.tensor([row[f"{side}_labels"] for row in rows])
    model = fresh(tiny_model_dir)
    loss, metrics = theirs.get_batch_loss_metrics(model, batch)
    loss.backward()
    wanted = {name: p.grad for name, p in model.named_parameters()}

    model = logprobs.install(fresh(tiny_model_dir))
    found = pair_losses(model, PairCollator(3)(rows), losses.ORPO(0.3))
    found.loss.mean().backward()
    torch.testing.assert_close(found.loss.mean(), loss, atol=1e-5, rtol=0)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, wanted[name], atol=1e-5, rtol=1e-3)
    for name in ("nll_loss", "log_odds_chosen", "log_odds_ratio", "logps/chosen", "logps/rejected"):
        assert found.more[name].mean().item() == pytest.approx(metrics[name], abs=1e-5)


def test_a_step_is_the_same_however_its_pairs_are_split(tiny_model_dir, tmp_path):
    stepped = []
    for batch, accumulated in ((6, 1), (4, 2), (1, 6)):
        trainer = trainer_of(tiny_model_dir, tmp_path, per_device_train_batch_size=batch,
                             gradient_accumulation_steps=accumulated)  # fmt: skip
        trainer.train()
        stepped.append((dict(trainer.model.named_parameters()), trainer.state.log_history[0]))
    weights, logged = stepped[0]
    assert not torch.equal(weights["model.norm.weight"], fresh(tiny_model_dir).model.norm.weight)
    hand = by_hand(fresh(tiny_model_dir), pair_rows(), losses.ORPO(0.1))
    assert logged["loss"] == pytest.approx(sum(hand) / 6, abs=1e-4)
    for other, line in stepped[1:]:
        torch.testing.assert_close(other, weights, atol=1e-6, rtol=0)
        for name in ("loss", "rewards/chosen", "rewards/accuracies", "logps/rejected", "nll_loss", "log_odds_ratio"):
            assert line[name] == pytest.approx(logged[name], abs=1e-4), name


def test_what_is_logged_is_what_the_model_gives(tiny_model_dir, tmp_path):
    trainer = trainer_of(tiny_model_dir, tmp_path, per_device_train_batch_size=3, learning_rate=0.0, max_steps=2,
                         logging_steps=2)  # fmt: skip
    trainer.train()
    line = trainer.state.log_history[0]
    found = pair_losses(trainer.model, PairCollator(3)(pair_rows()), losses.ORPO(0.1))
    assert line["loss"] == pytest.approx(found.loss.mean().item(), abs=1e-4)
    assert line["logps/chosen"] == pytest.approx(found.more["logps/chosen"].mean().item(), abs=1e-5)
    assert line["rewards/chosen"] == pytest.approx(0.1 * line["logps/chosen"], abs=1e-6)
    assert line["rewards/margins"] == pytest.approx(line["rewards/chosen"] - line["rewards/rejected"], abs=1e-6)
    wins = (found.rewards_chosen > found.rewards_rejected).float().mean().item()
    assert line["rewards/accuracies"] == pytest.approx(wins)
    assert line["nll_loss"] == pytest.approx(math.log(400), abs=0.5)  # a random model knows nothing of 400 tokens


@pytest.mark.parametrize("loss_type, beta", [("orpo", 0.1), ("simpo", 2.0)])
def test_evaluation_is_the_mean_over_pairs_not_over_batches(tiny_model_dir, tmp_path, loss_type, beta):
    trainer = trainer_of(tiny_model_dir, tmp_path, held_out=pair_rows(), per_device_eval_batch_size=4,
                         loss_type=loss_type, beta=beta, simpo_gamma=0.8)  # fmt: skip
    found = trainer.evaluate()
    loss = losses.ORPO(0.1) if loss_type == "orpo" else losses.SimPO(2.0, 0.8)
    hand = by_hand(fresh(tiny_model_dir), pair_rows(), loss)
    assert found["eval_loss"] == pytest.approx(sum(hand) / 6, abs=1e-5)
    assert {"eval_rewards/chosen", "eval_rewards/accuracies", "eval_nll_loss", "eval_logps/chosen"} <= found.keys()
    assert ("eval_log_odds_ratio" in found) == (loss_type == "orpo")


def test_dropout_is_off_unless_it_is_kept(tiny_model_dir, tmp_path):
    from peft import LoraConfig, get_peft_model

    for disabled in (True, False):
        model = get_peft_model(fresh(tiny_model_dir), LoraConfig(task_type="CAUSAL_LM", lora_dropout=0.3))
        config = PairConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, disable_dropout=disabled)
        trainer = PairTrainer(model, args=config, data_collator=PairCollator(3), processing_class=None)
        found = {layer.p for layer in trainer.model.modules() if isinstance(layer, torch.nn.Dropout)}
        assert found == ({0.0} if disabled else {0.3})


def test_flags_without_a_meaning_are_refused(tiny_model_dir, tmp_path):
    with pytest.raises(
        ConfigError, match="^--label_smoothing_factor 0.1: has no meaning with --loss_type orpo; drop it$"
    ):
        trainer_of(tiny_model_dir, tmp_path, label_smoothing_factor=0.1)
    with pytest.raises(ValueError, match="--loss_type dpo: expected orpo or simpo"):
        trainer_of(tiny_model_dir, tmp_path, loss_type="dpo")


def test_several_gpus_in_one_process_are_refused_with_the_command(tiny_model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(PairConfig, "n_gpu", property(lambda config: 2))
    with pytest.raises(
        ConfigError, match="^2 GPUs are visible to one process; launch with torchrun --nproc_per_node 2,"
    ):
        trainer_of(tiny_model_dir, tmp_path)


def test_a_model_without_a_head_is_refused(tiny_model_dir):
    with pytest.raises(ConfigError, match="Qwen3Model has no separate head"):
        logprobs.install(fresh(tiny_model_dir).model)
