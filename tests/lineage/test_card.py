"""The model card: valid front matter, the chain, and nothing of the machine it was made on.

sh run_tests.sh tests/lineage/test_card.py
"""

import copy
import json
from pathlib import Path

import pytest
import yaml

import supervised_finetuning
from bedside import card
from tests.lineage.conftest import sft_flags

BASE = {"path": None, "name": "Qwen/Qwen2.5-0.5B", "revision": "a" * 40, "fp": "q2:base"}
MANIFEST = {
    "schema": 1, "stage": "dpo", "kind": "adapter", "id": "s1:dpo",
    "load": {"task": "CAUSAL_LM", "quant": {"bits": 4, "type": "nf4"},
             "base": {"path": "../merged", "name": None, "fp": "q2:m", "root": BASE}},
    "parents": [{"id": "s1:sft", "stage": "sft", "path": "../sft", "how": "continued"},
                {"id": "s1:merged", "stage": "merge", "path": "../merged", "how": "base", "mode": "original"},
                {"id": "s1:pt", "stage": "pt", "path": "../pt", "how": "merged"}],
    "data": [{"file": "/private/zhang/pairs.jsonl", "sha": "x", "rows": 10, "used": 9, "rejected": {"E_EMPTY": 1},
              "languages": ["en", "zh"]}],
    "args": {"dataset": "org/pairs:train,local:0.5,org/more"},
    "metrics": {"eval_loss": 0.51234, "train_runtime": 3.2, "epoch": 1.0},
    "versions": {"torch": "2.13.0"}, "files": {},
}  # fmt: skip


def parts(text: str) -> tuple[dict, str]:
    _, front, body = text.split("---\n", 2)
    return yaml.safe_load(front), body


def changed(**sections) -> dict:
    return copy.deepcopy(MANIFEST) | sections


def test_the_front_matter_is_what_the_hub_reads():
    front, _ = parts(card.text(MANIFEST))
    assert front == {
        "base_model": "Qwen/Qwen2.5-0.5B",
        "base_model_relation": "adapter",
        "datasets": ["org/more", "org/pairs"],
        "language": ["en", "zh"],
        "library_name": "peft",
        "pipeline_tag": "text-generation",
        "tags": ["medical", "bedside", "dpo", "lora", "nf4"],
    }


def test_the_body_tells_chain_data_and_measures():
    body = parts(card.text(MANIFEST))[1]
    assert body.startswith("\n# Qwen2.5-0.5B: DPO\n\n**Not for clinical use.**")
    table = [line for line in body.splitlines() if line.startswith("| ")]
    assert table[2:7] == [
        "| base | Qwen/Qwen2.5-0.5B | `q2:base` |",
        "| pt | merged | `s1:pt` |",
        "| merge (original) | new adapter on it | `s1:merged` |",
        "| sft | continued | `s1:sft` |",
        "| **dpo** | this model | `s1:dpo` |",
    ]
    assert "| pairs.jsonl | 10 | 9 | E_EMPTY 1 |" in table and "| eval_loss | 0.5123 |" in table
    assert "runtime" not in body and "epoch" not in body


def test_merged_full_and_reward_models_name_their_relation():
    merge = {"mode": "nf4", "dtype": "bfloat16", "trained_quant": "nf4", "kl": 1.3e-5, "ratio": 0.003,
             "shift_kl": 5e-4, "base": BASE}  # fmt: skip
    front, body = parts(card.text(changed(stage="merge", kind="merged", load={"task": "CAUSAL_LM"}, merge=merge)))
    assert (front["base_model_relation"], front["library_name"]) == ("finetune", "transformers")
    assert "merge error 1.3e-05, 0.3% of what the adapter does; moving from nf4 to bfloat16 shifts 5.0e-04." in body
    assert "Do not quantise it to 4 bits again" in body and "# Qwen2.5-0.5B: supervised fine-tuning" in body
    full = changed(kind="full", stage="pt", load={"task": "CAUSAL_LM"}, start=BASE, parents=[])
    front, body = parts(card.text(full))
    assert front["base_model"] == "Qwen/Qwen2.5-0.5B" and "| base | Qwen/Qwen2.5-0.5B | `q2:base` |" in body
    reward = changed(load={"task": "SEQ_CLS", "base": BASE}, stage="rm", parents=[])
    front = parts(card.text(reward))[0]
    assert front["pipeline_tag"] == "text-classification" and "reward" in front["tags"]


@pytest.mark.parametrize("name", ["/home-of/zhang/model", "../model", "models/a/b", None])
def test_only_a_name_on_the_hub_is_a_base_model(name):
    front, body = parts(card.text(changed(load={"base": BASE | {"name": name}}, parents=[])))
    assert "base_model" not in front and "base_model_relation" not in front
    assert "| base | a model without a name on the hub | `q2:base` |" in body and "zhang" not in body


def test_neither_paths_nor_secrets_enter_the_card(tiny_model_dir, tmp_path, monkeypatch):
    token = "hf_" + "Q7w" * 11
    monkeypatch.setenv("HF_TOKEN", token)
    monkeypatch.setenv("MY_API_KEY", "opensesame-4711")
    place = tmp_path / token / "patients-of-dr-zhang"
    place.mkdir(parents=True)
    rows = [{"instruction": "What is to be done for a fever?", "input": "", "output": "Rest and water."}] * 8
    for name in ("sft.jsonl", "opensesame-4711.jsonl"):
        (place / name).write_text("".join(json.dumps({**row, "input": str(n)}) + "\n" for n, row in enumerate(rows)))
    flags = sft_flags(Path(tiny_model_dir), place, place / "opensesame-4711", "--max_steps", "1")
    flags[flags.index("--train_file_dir") + 1] = f"{place}/sft.jsonl,{place}/opensesame-4711.jsonl"
    supervised_finetuning.main(flags)
    cards = list((place / "opensesame-4711").rglob("README.md"))
    assert len(cards) == 2  # the output's, and its checkpoint's
    for path in cards:
        front, body = parts(path.read_text())
        assert front["library_name"] == "peft" and front["language"] == ["en"]
        assert "sft.jsonl" in body and "[removed].jsonl" in body
        for secret in (token, "opensesame", "zhang", str(tmp_path), tiny_model_dir):
            assert secret not in path.read_text(), secret


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ('{"instruction": "发热怎么办？", "output": "多喝水。"}', ["zh"]),
        ('{"messages": [{"role": "user", "content": "What is the dose of it?"}]}', ["en"]),
        ('{"text": "\\u53d1\\u70ed\\u8be5\\u600e\\u4e48\\u529e"}', ["zh"]),
        ("Il faut boire de l'eau.", []),
        ("", []),
    ],
)
def test_languages_are_told_by_script_and_words(tmp_path, text, codes):
    (tmp_path / "rows.jsonl").write_text(text, encoding="utf-8")
    assert card.languages_of(tmp_path / "rows.jsonl") == codes
    (tmp_path / "rows.parquet").write_bytes(b"PAR1\xff\xfe\x00")
    assert card.languages_of(tmp_path / "rows.parquet") == []
