"""NF4 and int8 by bitsandbytes, written as they are held: no data is looked at."""

from __future__ import annotations

from bedside import models

KINDS = {"nf4": {"bits": 4, "type": "nf4", "double": True}, "int8": {"bits": 8}}


def write(job: dict) -> dict:
    """Quantise `job["model"]` to `job["method"]` and save weights and config in `job["place"]`.

    The model saved has computed nothing: bitsandbytes may repack weights in place when it first does.
    """
    from transformers import GenerationConfig

    model = models.load_base(job["model"], "auto", KINDS[job["method"]])
    model.generation_config = GenerationConfig()
    model.save_pretrained(job["place"], max_shard_size=job["max_shard_size"])
    return {"library": "bitsandbytes", "computing": str(model.dtype).removeprefix("torch.")}
