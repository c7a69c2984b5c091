"""How others train: TRL as it comes and as well as it can be set up, and MedicalGPT's set-up written out again.

Each builds the same random weights as ours, gets the same ids and is measured by the same clock. TRL is called through
its public trainers; nothing of its work is changed but where a variant says so.
"""

from __future__ import annotations

from typing import Any

from benchmarks.training import measure, rows, weights
from benchmarks.training.case import Case


def settings(case: Case) -> dict[str, Any]:
    """Arguments of every trainer here."""
    cuda = case.device == "cuda"
    return {
        "output_dir": str(case.file(f"out-{case.name}")),
        "max_steps": case.steps,
        "per_device_train_batch_size": case.rows,
        "learning_rate": 1e-4,
        "lr_scheduler_type": "constant",
        "logging_steps": 10**6,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": True,
        "use_cpu": not cuda,
        "dataloader_pin_memory": cuda,
        "disable_tqdm": True,
        "gradient_checkpointing": case.checkpointing,
        "gradient_checkpointing_kwargs": {"use_reentrant": False} if case.checkpointing else None,
    }


def tokenizer() -> Any:
    """The shipped one, padded with a token of its own."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(rows.STARTER)


def dataset(case: Case) -> Any:
    """The ids of the case's rows."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()
    return Dataset.from_list(rows.read(case.file(f"{rows.name_of(case.stage, case.data)}.ids.jsonl")))


def start() -> None:
    """What Trainers leave to the user: TF32 where float32 products remain."""
    import torch

    torch.set_float32_matmul_precision("high")


def bare(case: Case, labels: int | None = None) -> Any:
    """Random weights with the attention that the case asks for."""
    attention = "sdpa"
    if case.varlen:
        from bedside.kernels import varlen

        attention = varlen.register()
    return weights.build(case.model, case.weights, case.device, attention, labels)


def adapted(case: Case, labels: int | None = None) -> Any:
    """Random weights, with an adapter unless all of them are trained; rounded as TRL rounds it on a quantised base."""
    import torch

    model = bare(case, labels)
    if case.full:
        return model
    model = weights.with_adapter(model, case.dropout, "SEQ_CLS" if labels else "CAUSAL_LM")
    for name, parameter in model.named_parameters():
        if case.weights == "nf4" and "lora_" in name:
            parameter.data = parameter.data.to(torch.bfloat16)
    return model


def run(trainer: Any, case: Case) -> dict[str, Any]:
    """Train and measure."""
    marks = measure.watch(trainer, case, pad=3)
    return marks.measured(trainer.train().training_loss)


def trl_sft(case: Case) -> dict[str, Any]:
    """SFTTrainer on ids: padded, or packed by its own packer; with torch's varlen attention and liger where wanted."""
    from trl import SFTConfig, SFTTrainer

    start()
    arguments = SFTConfig(
        **settings(case), max_length=case.length, packing=case.packing, use_liger_kernel=case.liger
    )  # fmt: skip
    return run(
        SFTTrainer(model=adapted(case), args=arguments, train_dataset=dataset(case), processing_class=tokenizer()),
        case,
    )


def upcast(case: Case, labels: int | None = None) -> Any:
    """MedicalGPT's model: prepared for k-bit training (all that is not quantised in float32), float32 adapters."""
    from peft import prepare_model_for_kbit_training

    model = bare(case, labels)
    if case.weights == "nf4":
        model = prepare_model_for_kbit_training(
            model, case.checkpointing, {"use_reentrant": False} if case.checkpointing else None
        )
    if not case.full:
        model = weights.with_adapter(model, case.dropout, "SEQ_CLS" if labels else "CAUSAL_LM")
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    model.enable_input_require_grads()
    return model


def medicalgpt_sft(case: Case) -> dict[str, Any]:
    """A plain Trainer, rows padded to the longest (a multiple of 4), logits of the whole batch in float32."""
    import torch
    from transformers import DataCollatorForSeq2Seq, Trainer, TrainingArguments

    start()
    model = upcast(case)
    model.get_output_embeddings().register_forward_hook(lambda module, given, logits: logits.to(torch.float32))
    collate = DataCollatorForSeq2Seq(tokenizer(), label_pad_token_id=-100, pad_to_multiple_of=4)
    data = dataset(case).map(lambda row: {"attention_mask": [1] * len(row["input_ids"])})
    arguments = TrainingArguments(**settings(case))
    return run(Trainer(model=model, args=arguments, train_dataset=data, data_collator=collate), case)


def trl_dpo(case: Case) -> dict[str, Any]:
    """DPOTrainer with its fused head; pairs are padded together, the reference is the model without its adapter."""
    from trl import DPOConfig, DPOTrainer

    from bedside.collate import PairCollator

    class Ready(DPOTrainer):
        """Rows are ids already; the collator makes the batches that TRL's own makes."""

        def _prepare_dataset(self, dataset, *_):
            return dataset

    start()
    arguments = DPOConfig(
        **settings(case), max_length=case.length, remove_unused_columns=False, use_liger_kernel=case.liger
    )  # fmt: skip
    return run(
        Ready(model=adapted(case), args=arguments, train_dataset=dataset(case), processing_class=tokenizer(),
              data_collator=PairCollator(3)), case,
    )  # fmt: skip


def trl_rm(case: Case) -> dict[str, Any]:
    """RewardTrainer as it comes: chosen and rejected padded together, one forward."""
    from trl import RewardConfig, RewardTrainer

    start()
    arguments = RewardConfig(**settings(case), max_length=case.length, use_liger_kernel=case.liger)
    data = dataset(case).select_columns(["chosen_ids", "rejected_ids"])
    return run(
        RewardTrainer(model=adapted(case, labels=1), args=arguments, train_dataset=data, processing_class=tokenizer()),
        case,
    )


def medicalgpt_rm(case: Case) -> dict[str, Any]:
    """A plain Trainer, both sides padded to the longest length there may be, a forward for each."""
    import torch
    from transformers import Trainer, TrainingArguments

    def padded(sides: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        ids = torch.tensor([side + [3] * (case.length - len(side)) for side in sides])
        mask = torch.tensor([[1] * len(side) + [0] * (case.length - len(side)) for side in sides])
        return ids, mask

    def collate(given: list[dict]) -> dict[str, torch.Tensor]:
        batch = {}
        for side in ("chosen", "rejected"):
            batch[f"{side}_input_ids"], batch[f"{side}_attention_mask"] = padded([row[f"{side}_ids"] for row in given])
        return batch

    class Pairwise(Trainer):
        """The Bradley-Terry loss of two forwards."""

        def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
            scores = [
                model(input_ids=inputs[f"{side}_input_ids"], attention_mask=inputs[f"{side}_attention_mask"]).logits
                for side in ("chosen", "rejected")
            ]
            return -torch.nn.functional.logsigmoid(scores[0].float() - scores[1].float()).mean()

    start()
    arguments = TrainingArguments(**settings(case), remove_unused_columns=False)
    return run(
        Pairwise(model=upcast(case, labels=1), args=arguments, train_dataset=dataset(case), data_collator=collate),
        case,
    )


def trl_orpo(case: Case) -> dict[str, Any]:
    """trl.experimental's ORPOTrainer, which makes the logits of both sides; it reads text."""
    from datasets import Dataset
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    start()
    data = Dataset.from_list([
        {"prompt": row["question"], "chosen": f" {row['response_chosen']}", "rejected": f" {row['response_rejected']}"}
        for row in rows.read(case.file(f"pairs_{case.data}.jsonl"))
    ])  # fmt: skip
    arguments = ORPOConfig(**settings(case), max_length=case.length, remove_unused_columns=False)
    return run(
        ORPOTrainer(model=adapted(case), args=arguments, train_dataset=data, processing_class=tokenizer()), case
    )
