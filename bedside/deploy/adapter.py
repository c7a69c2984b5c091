"""Whether vLLM can put an adapter on its base by itself; else the command that merges it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import NamedTuple

from bedside import lineage
from bedside.deploy.weights import header
from bedside.errors import ConfigError

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # what vLLM's --max-lora-rank takes


class Adapter(NamedTuple):
    """The rank to make room for, and the bytes of the file."""

    rank: int
    bytes: int


def merge_flags(directory: str) -> str:
    """The flags that merge the adapter in `directory` into one beside it."""
    place = directory.rstrip("/")
    return f"--peft_model_path {shlex.quote(place)} --output_dir {shlex.quote(place + '-merged')}"


def read(directory: str, resolved: lineage.Resolved) -> Adapter:
    """The adapter in `directory`; ConfigError with the commands to run if vLLM would serve something else."""
    place = Path(directory)
    config = json.loads((place / "adapter_config.json").read_text(encoding="utf-8"))
    files = lineage.weight_files(place)
    names = [name for path in files for name in header(path)]
    told = reasons(config, names, resolved.rows, ((resolved.manifest or {}).get("load") or {}).get("vllm"))
    if told:
        merged = shlex.quote(f"{directory.rstrip('/')}-merged")
        raise ConfigError(
            f"{directory}: vLLM cannot serve this adapter unmerged ({'; '.join(told)}). Merge it first: python "
            f"merge_peft_adapter.py {merge_flags(directory)}; then: sh vllm_deployment.sh {merged}"
        )
    need = int(config["r"])
    return Adapter(next(rank for rank in RANKS if rank >= need), sum(path.stat().st_size for path in files))


def reasons(config: dict, names: list[str], rows: int | None, recorded: str | None) -> list[str]:
    """Why vLLM would refuse PEFT's `config`, or leave a part of it out without a word; `names` are the adapter's
    tensors, `rows` those of an extended vocabulary, `recorded` is lineage.json's own word (adapter, merge_only)."""
    start, rank = config.get("init_lora_weights"), config.get("r")
    moved = isinstance(start, str) and start.lower().startswith(("pissa", "olora", "corda"))
    foreign = [name for name in names if ".lora_A." not in name and ".lora_B." not in name]
    found = [
        (config.get("peft_type") != "LORA", f"it is {config.get('peft_type')}, not LoRA"),
        (config.get("use_dora"), "it is DoRA"),
        (config.get("modules_to_save"), "it holds modules saved whole"),
        (config.get("rank_pattern") or config.get("alpha_pattern"), "its layers differ in rank or scale, which vLLM "
         "does not read"),
        (moved, f"it was started with {start}, which moved a part of the base's weights into it"),
        (config.get("bias") not in (None, "none") or config.get("lora_bias"), "it trains biases"),
        (rows, "its vocabulary has rows that the base has not"),
        (not isinstance(rank, int) or rank > RANKS[-1], f"its rank is {rank}, vLLM takes up to {RANKS[-1]}"),
    ]  # fmt: skip
    told = [sentence for true, sentence in found if true]
    if not told and foreign:
        told = [f"it holds {foreign[0]}, which is no part of a LoRA"]
    return told or (["lineage.json says that it must be merged"] if recorded == "merge_only" else [])
