"""Unsloth and LLaMA-Factory, where they are installed: from a model directory, each through its own front door.

They bring their own releases of the libraries and their own kernels, so each is measured in whatever environment the
command is started from; neither is a requirement of the project.
"""

from __future__ import annotations

import json
from typing import Any

from benchmarks.training import measure, peers, weights
from benchmarks.training.case import Case
from benchmarks.training.shapes import ALPHA, RANK


def unsloth_sft(case: Case) -> dict[str, Any]:
    """FastLanguageModel with TRL's trainer, packed by it, its own checkpointing, LoRA dropout 0."""
    from unsloth import FastLanguageModel  # isort: skip  # before trl, which it patches
    from trl import SFTConfig, SFTTrainer

    peers.start()
    place, case = weights.ready(case)
    model, _ = FastLanguageModel.from_pretrained(
        str(place), max_seq_length=case.length, load_in_4bit=case.weights == "nf4", full_finetuning=case.full
    )
    checkpointing = "unsloth" if case.checkpointing else False
    if not case.full:
        model = FastLanguageModel.get_peft_model(
            model, r=RANK, lora_alpha=ALPHA, lora_dropout=0, bias="none", target_modules=list(weights.LINEAR),
            use_gradient_checkpointing=checkpointing,
        )  # fmt: skip
    wanted = peers.settings(case) | {"gradient_checkpointing_kwargs": None}
    wanted["gradient_checkpointing"] = checkpointing if case.full else False  # the model has it already
    arguments = SFTConfig(**wanted, max_length=case.length, packing=case.packing)
    trainer = SFTTrainer(
        model=model, args=arguments, train_dataset=peers.dataset(case), processing_class=peers.tokenizer()
    )  # fmt: skip
    return peers.run(trainer, case)


def llamafactory_sft(case: Case) -> dict[str, Any]:
    """`run_exp` on the rows as text under its qwen template (which adds a system line), packed by it."""
    from llamafactory.train.tuner import run_exp
    from transformers import Trainer

    place, case = weights.ready(case)
    entry = {"bench": {"file_name": str(case.file(f"{case.data}.jsonl"))}}
    case.file("dataset_info.json").write_text(json.dumps(entry), encoding="utf-8")
    wanted = peers.settings(case) | {
        "stage": "sft", "do_train": True, "model_name_or_path": str(place), "dataset": "bench",
        "dataset_dir": case.work, "template": "qwen", "cutoff_len": case.length, "packing": case.packing,
        "neat_packing": case.packing, "finetuning_type": "full" if case.full else "lora", "lora_target": "all",
        "lora_rank": RANK, "lora_alpha": ALPHA, "lora_dropout": case.dropout, "enable_liger_kernel": case.liger,
        "disable_gradient_checkpointing": not case.checkpointing, "overwrite_output_dir": True,
    }  # fmt: skip
    if case.weights == "nf4":
        wanted |= {"quantization_bit": 4, "quantization_method": "bnb", "double_quantization": True}
    del wanted["gradient_checkpointing"], wanted["gradient_checkpointing_kwargs"]
    found, trained = {}, Trainer.train

    def measured(trainer: Trainer, *given: Any, **more: Any) -> Any:
        marks = measure.watch(trainer, case, pad=trainer.processing_class.pad_token_id)
        result = trained(trainer, *given, **more)
        found.update(marks.measured(result.training_loss))
        return result

    Trainer.train = measured
    try:
        run_exp(wanted)
    finally:
        Trainer.train = trained
    return found
