"""One chain of stages, made by the scripts themselves: PT, merge, SFT on NF4, DPO, merge in both modes."""

import json
from pathlib import Path

import pytest

import dpo_training
import merge_peft_adapter
import pretraining
import supervised_finetuning

QUICK = [
    "--max_steps", "2", "--per_device_train_batch_size", "2", "--learning_rate", "1e-2", "--lora_dropout", "0",
    "--gradient_checkpointing", "False", "--report_to", "none", "--logging_steps", "1", "--plot_loss", "False",
    "--save_strategy", "steps", "--save_steps", "1", "--seed", "7",
]  # fmt: skip
CHAT = ["--template_name", "qwen3", "--max_length", "160"]


def jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def merge(adapter: Path, output: Path, *flags: str) -> int:
    return merge_peft_adapter.main(["--peft_model_path", str(adapter), "--output_dir", str(output), *flags])


def sft_flags(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    return ["--model_name_or_path", str(model), "--train_file_dir", str(data / "sft.jsonl"), "--output_dir",
            str(output), "--data_report", "False", *CHAT, *QUICK, *more]  # fmt: skip


def dpo_flags(model: Path, data: Path, output: Path, *more: str) -> list[str]:
    return ["--model_name_or_path", str(model), "--train_file_dir", str(data / "pairs.jsonl"), "--output_dir",
            str(output), *CHAT, *QUICK, *more]  # fmt: skip


@pytest.fixture(scope="session")
def chain(tmp_path_factory, tiny_model_dir) -> Path:
    """`base pt pt-merged sft dpo final final-nf4 data` in one directory. Read it, never write into it."""
    import shutil

    root = tmp_path_factory.mktemp("chain")
    shutil.copytree(tiny_model_dir, root / "base")
    data = root / "data"
    data.mkdir()
    (data / "documents.txt").write_text("".join(f"发热{n}天要多喝水。A fever of {n} days.\n" for n in range(20)))
    jsonl(data / "sft.jsonl", [{"instruction": f"What for a fever of {n} days?", "input": "",
                                "output": f"Rest and drink {n} glasses."} for n in range(12)])  # fmt: skip
    jsonl(data / "pairs.jsonl", [{"prompt": f"What is to be done for {n} days?", "chosen": "Rest and drink water.",
                                  "rejected": "Nothing."} for n in range(12)])  # fmt: skip
    pretraining.main(["--model_name_or_path", str(root / "base"), "--train_file_dir", str(data / "documents.txt"),
                      "--output_dir", str(root / "pt"), "--block_size", "32", *QUICK])  # fmt: skip
    assert merge(root / "pt", root / "pt-merged") == 0
    supervised_finetuning.main(sft_flags(root / "pt-merged", data, root / "sft", "--qlora", "True"))
    dpo_training.main(dpo_flags(root / "sft", data, root / "dpo", "--qlora", "True"))
    assert merge(root / "dpo", root / "final") == 0
    assert merge(root / "dpo", root / "final-nf4", "--mode", "nf4") == 0
    return root
