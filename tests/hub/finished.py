"""A finished model among everything that a run leaves behind it: what of it is sent, and what stays."""

import json
from pathlib import Path

from bedside import lineage

SENT = [
    "README.md", "adapter_config.json", "adapter_model.safetensors", "chat_template.jinja", "generation_config.json",
    "ledger.json", "metrics.json", "tokenizer.json", "tokenizer_config.json", "lineage.json",
]  # fmt: skip
KEPT_HERE = [
    "rejected.jsonl", "rejected_of_stopped_run.jsonl", "samples.jsonl", "eval_before.json", "eval_after.json",
    "heldout_pairs.json", "data_report.html", "trainer_state.json", "training_args.bin", "optimizer.pt",
    "rng_state.pth", "scheduler.pt", "pytorch_model.bin", "notes.txt", "tokenizer.json.bak",
    "checkpoint-2/optimizer.pt",
    "checkpoint-2/adapter_model.safetensors", "runs/events.out.tfevents.1.ward7", "ref/adapter_model.safetensors",
]  # fmt: skip


def write(directory: Path) -> Path:
    """A sealed adapter among everything that a run leaves behind it, in `directory`, which is returned."""
    for name in (*SENT[:-1], *KEPT_HERE):
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("the patient's words" if name in KEPT_HERE else "x", encoding="utf-8")
    loaded = {"base_model_name_or_path": "/srv/dr.li/models/qwen", "r": 8}
    (directory / "adapter_config.json").write_text(json.dumps(loaded))
    (directory / "tokenizer_config.json").write_text('{"eos_token": "</s>", "name_or_path": "/srv/dr.li/models/qwen"}')
    account = {"rows": 3, "kept": 3}
    files = {"/srv/dr.li/patients/a.jsonl": account, "/srv/dr.li/b/a.jsonl": account, "data/c.jsonl": account}
    (directory / "ledger.json").write_text(json.dumps({"total": account, "files": files}))
    base = {"path": "../models/qwen", "name": "Qwen/Qwen3-0.6B", "revision": "main", "fp": "q2:1"}
    lineage.write(
        directory, "sft", "adapter", {"task": "CAUSAL_LM", "base": base},
        args={"train_file_dir": "/srv/dr.li/patients", "output_dir": "outputs-sft"},
    )  # fmt: skip
    return directory
