"""The tutorial's two chains, command by command: what is right runs, and what would lose a stage is refused with the
command that is right.

sh run_tests.sh tests/stages/test_seed_chains.py
"""

import json
import shlex
from pathlib import Path

import pytest

import dpo_training
import inference
import merge_peft_adapter
import pretraining
import supervised_finetuning
from bedside import lineage
from bedside.errors import LineageError

SHORT = (
    "--per_device_train_batch_size 2 --logging_steps 1 --report_to none --max_steps 2 --save_steps 2 --seed 7 "
    "--gradient_checkpointing False --plot_loss False --learning_rate 1e-2 --lora_dropout 0"
)


def run(main, command: str):
    return main(shlex.split(command))


def rows(path: Path, made) -> Path:
    path.write_text("".join(json.dumps(made(n)) + "\n" for n in range(8)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("chains")
    (directory / "pretrain").mkdir()
    (directory / "pretrain/documents.txt").write_text(
        "".join(f"Document {n} about fever and rest.\n" for n in range(30))
    )
    rows(directory / "sft.jsonl", lambda n: {"instruction": f"Fever {n}?", "output": f"Rest {n}."})
    rows(directory / "pairs.jsonl", lambda n: {"prompt": f"Fever {n}?", "chosen": f"Rest {n}.", "rejected": "No."})
    return directory


@pytest.fixture(scope="module")
def long_chain(root, tiny_model_dir) -> Path:
    """PT -> merge -> SFT -> DPO, as section 9 of the tutorial has it."""
    run(pretraining.main, f"--model_name_or_path {tiny_model_dir} --train_file_dir {root}/pretrain --block_size 64 "
        f"--output_dir {root}/outputs-pt {SHORT}")  # fmt: skip
    run(merge_peft_adapter.main, f"--base_model_name_or_path {tiny_model_dir} "
        f"--peft_model_path {root}/outputs-pt/checkpoint-2 --output_dir {root}/merged-pt")  # fmt: skip
    run(supervised_finetuning.main, f"--model_name_or_path {root}/merged-pt --train_file_dir {root}/sft.jsonl "
        f"--template_name qwen3 --max_length 64 --output_dir {root}/outputs-sft {SHORT}")  # fmt: skip
    run(dpo_training.main, f"--model_name_or_path {root}/outputs-sft/checkpoint-2 --train_file_dir {root}/pairs.jsonl "
        f"--template_name qwen3 --max_length 64 --output_dir {root}/outputs-dpo {SHORT}")  # fmt: skip
    return root


def commands_in(text: str, script: str) -> list[str]:
    """The commands for `script` that a message shows."""
    found = [line[line.index(f"python {script}") :] for line in text.replace(";", "\n").splitlines()
             if f"python {script}" in line]  # fmt: skip
    return [line.removeprefix(f"python {script}").split("  ")[0].strip().rstrip(".") for line in found]


def test_the_last_merge_of_the_long_chain_is_refused_and_the_right_command_works(long_chain, tiny_model_dir):
    wrong = (f"--base_model_name_or_path {tiny_model_dir} --peft_model_path {long_chain}/outputs-dpo/checkpoint-2 "
             f"--output_dir {long_chain}/merged-final")  # fmt: skip
    with pytest.raises(LineageError) as caught:
        run(merge_peft_adapter.main, wrong)
    assert "merged-pt" in str(caught.value), "the base that it was trained on is named"
    (right,) = commands_in(str(caught.value), "merge_peft_adapter.py")
    assert run(merge_peft_adapter.main, right) == 0
    merged = lineage.read(long_chain / "merged-final")
    assert [parent["stage"] for parent in merged["parents"]][:4] == ["dpo", "sft", "merge", "pt"]


def test_chat_with_the_original_base_and_the_dpo_adapter_is_refused(long_chain, tiny_model_dir):
    with pytest.raises(LineageError, match=r"is not the model this adapter was trained on.*merged-pt"):
        run(inference.main, f"--base_model {tiny_model_dir} --lora_model {long_chain}/outputs-dpo/checkpoint-2 "
            f"--interactive")  # fmt: skip


def test_the_short_chain_ends_in_a_chat_that_holds_sft_and_dpo(root, tiny_model_dir, tmp_path):
    """SFT -> DPO -> chat: the DPO adapter contains the SFT, so it belongs on the SFT's base, as the tutorial says."""
    run(supervised_finetuning.main, f"--model_name_or_path {tiny_model_dir} --train_file_dir {root}/sft.jsonl "
        f"--template_name qwen3 --max_length 64 --output_dir {tmp_path}/sft {SHORT}")  # fmt: skip
    run(dpo_training.main, f"--model_name_or_path {tmp_path}/sft --train_file_dir {root}/pairs.jsonl "
        f"--max_length 64 --output_dir {tmp_path}/dpo {SHORT}")  # fmt: skip
    (tmp_path / "ask.jsonl").write_text(json.dumps({"prompt": "Fever 1?"}) + "\n")
    run(inference.main, f"--base_model {tiny_model_dir} --lora_model {tmp_path}/dpo/checkpoint-2 "
        f"--data_file {tmp_path}/ask.jsonl --output_file {tmp_path}/answers.jsonl --max_new_tokens 4")  # fmt: skip
    assert len((tmp_path / "answers.jsonl").read_text().splitlines()) == 1
    manifest = lineage.read(tmp_path / "dpo")
    assert [(p["stage"], p["how"]) for p in manifest["parents"]] == [("sft", "continued")]
