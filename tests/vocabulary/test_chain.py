"""Words, training, merging: the rows of new tokens are there at the end, with the values that were trained.

sh run_tests.sh tests/vocabulary
"""

import json

import pytest
import torch
from safetensors.torch import load_file

import build_domain_tokenizer
import merge_peft_adapter
import supervised_finetuning
from bedside import lineage

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"


@pytest.fixture(scope="module")
def chain(tmp_path_factory, tiny_model_dir):
    """A tiny model with two new words, trained for two steps on them, merged."""
    root = tmp_path_factory.mktemp("chain")
    (root / "words.txt").write_text("心肌桥\nmethotrexate\n", encoding="utf-8")
    rows = [{"instruction": f"心肌桥 {n}？", "input": "", "output": "用 methotrexate 吗？不用。"} for n in range(8)]
    (root / "sft.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    build_domain_tokenizer.main(
        ["--model_name_or_path", tiny_model_dir, "--domain_file_path", str(root / "words.txt"),
         "--text_file", str(root / "sft.jsonl"), "--output_dir", str(root / "words")]
    )  # fmt: skip
    supervised_finetuning.main(
        ["--model_name_or_path", str(root / "words"), "--train_file_dir", str(root / "sft.jsonl"), "--template_name",
         "qwen3", "--max_length", "128", "--max_steps", "2", "--learning_rate", "1e-2", "--report_to", "none",
         "--save_strategy", "no", "--lora_dropout", "0", "--gradient_checkpointing", "False", "--bf16", "True",
         "--lora_modules_to_save", "embed_tokens,lm_head", "--output_dir", str(root / "sft")]
    )  # fmt: skip
    merge_peft_adapter.main(["--peft_model_path", str(root / "sft"), "--output_dir", str(root / "merged")])
    return root


def test_the_merged_model_has_the_trained_rows(chain):
    report = json.loads((chain / "words" / "vocabulary.json").read_text(encoding="utf-8"))
    before = load_file(chain / "words" / "model.safetensors")[EMBED]
    merged = load_file(chain / "merged" / "model.safetensors")
    adapter = load_file(chain / "sft" / "adapter_model.safetensors")
    assert merged[EMBED].shape == merged[HEAD].shape == before.shape
    assert torch.equal(merged[EMBED], adapter[f"base_model.model.{EMBED}"].to(merged[EMBED].dtype))
    assert torch.equal(merged[HEAD], adapter[f"base_model.model.{HEAD}"].to(merged[HEAD].dtype))
    for _, number, _ in report["words"]["words"]:
        assert not torch.equal(merged[HEAD][number], before[number])


def test_lineage_tells_the_way(chain):
    manifest = lineage.read(chain / "merged")
    assert [(parent["stage"], parent["how"]) for parent in manifest["parents"]] == [
        ("sft", "merged"), ("vocabulary", "base"), ("unknown", "extended"),
    ]  # fmt: skip
