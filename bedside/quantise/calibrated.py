"""GPTQ (Frantar et al. 2022, arXiv 2210.17323) and AWQ (Lin et al. 2023, arXiv 2306.00978) by llm-compressor, saved
as compressed-tensors, which vLLM reads. Runs under the Python of requirements-quantise.txt."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bedside import models


def scheme(group_size: int) -> dict:
    """Symmetric 4-bit integers, a scale for each group of a row; activations stay as they are."""
    weights = {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": group_size}
    return {"group_0": {"targets": ["Linear"], "weights": weights}}


def write(job: dict) -> dict:
    """Quantise `job["model"]` by `job["method"]` on the token ids in the file `job["calibration"]`; save weights and
    config in `job["place"]`."""
    import torch
    from datasets import Dataset
    from llmcompressor import oneshot

    rows = json.loads(Path(job["calibration"]).read_text(encoding="utf-8"))
    model = models.load_base(job["model"])
    if torch.cuda.is_available():
        model = model.to("cuda")
    oneshot(
        model=model,
        dataset=Dataset.from_dict({"input_ids": rows, "attention_mask": [[1] * len(row) for row in rows]}),
        recipe=[_modifier(job)],
        max_seq_length=max(map(len, rows)),
        num_calibration_samples=len(rows),
        shuffle_calibration_samples=False,
    )
    model.save_pretrained(job["place"], save_compressed=True, max_shard_size=job["max_shard_size"])
    (Path(job["place"]) / "recipe.yaml").unlink(missing_ok=True)  # lineage.json tells the same
    return {"library": f"llmcompressor {version('llmcompressor')}", "computing": str(model.dtype)[len("torch.") :]}


def _modifier(job: dict) -> Any:
    groups = {"config_groups": scheme(job["group_size"]), "ignore": ["lm_head"]}
    if job["method"] == "gptq":
        from llmcompressor.modifiers.gptq import GPTQModifier

        return GPTQModifier(**groups)
    from llmcompressor.modifiers.awq import AWQModifier

    _pin_only_for_accelerators()
    return AWQModifier(**groups)


def _pin_only_for_accelerators() -> None:
    """Without a GPU, llm-compressor 0.14 fails where it pins cached inputs, which only makes copies to one faster."""
    import torch
    from llmcompressor.pipelines.cache import IntermediatesCache

    if not torch.accelerator.is_available():
        IntermediatesCache.pin_memory = lambda *_, **__: None
