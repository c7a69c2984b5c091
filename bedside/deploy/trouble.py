"""vLLM's log in a few lines: what it was doing last, why it died, and what helps."""

from __future__ import annotations

import re
from pathlib import Path

_READ = 400_000  # bytes from the log's end
_PREFIX = re.compile(r"^(?:\(\w[\w -]*pid=\d+\)\s*)?(?:[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d )?(?:\[[\w./-]+:\d+\]\s*)?")
_STEP = re.compile(r"^(?:\(\w[\w -]*pid=\d+\)\s*)?INFO ")
_ERROR = re.compile(r"^(?:[\w.]+(?:Error|Exception|Interrupt)\b(?::|$)|.*: error: )")
# Sentences that only say that something else went wrong.
_EMPTY = ("Engine core initialization failed", "EngineDeadError", "See root cause", "Failed core proc")
_SHOWN, _WIDTH = 3, 400
# What is seen in an error, and what to do about it.
_REMEDIES = (
    (r"unrecognized arguments|invalid choice|expected one argument", "a flag that this vLLM does not take: look it up "
     "with `python -m vllm.entrypoints.openai.api_server --help=all`"),
    (r"out of memory|OutOfMemory|No available memory|KV cache is needed|cache blocks|max seq len|Free memory on",
     "the memory is short: try --max-model-len 2048, --max-num-seqs 16, --enforce-eager, or close what else uses it "
     "(nvidia-smi)"),
    (r"[Aa]ddress already in use", "another program took the port meanwhile: --port 8001"),
    (r"reasoning parser|ReasoningParser|think (start|end) token", "the reasoning parser does not fit this tokenizer: "
     "drop --reasoning-parser, or take another one"),
    (r"[Tt]ool ?[Pp]arser", "the tool parser does not fit this tokenizer: take another --tool-call-parser"),
    (r"bitsandbytes", "4-bit weights need bitsandbytes beside vLLM: pip install bitsandbytes in its environment"),
    (r"LoRA|lora", "vLLM refuses the adapter: merge it first (merge_peft_adapter.py) and serve the merged directory"),
    (r"not supported for now|no vLLM implementation|Cannot find model|are not supported", "this vLLM does not know "
     "the architecture: a newer one may, or --model-impl transformers"),
    (r"CUDA driver|NVIDIA driver|no kernel image", "the card's driver and this build of vLLM do not fit: see "
     "nvidia-smi for the driver's CUDA version"),
    (r"does not exist|No such file|not a valid|OSError", "a file of the model is missing or damaged: verify it with "
     "`python -m bedside.lineage verify MODEL_DIR`"),
)  # fmt: skip


def _lines(log: Path) -> list[str]:
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _READ))
            return stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []


def last_step(log: Path) -> str:
    """The newest message of the log, without its time and place."""
    steps = [line for line in _lines(log) if _STEP.match(line)]
    return _plain(steps[-1])[:100] if steps else ""


def _plain(line: str) -> str:
    return _PREFIX.sub("", line.strip()).strip()


def errors_of(log: Path) -> list[str]:
    """The last errors of the log, root causes first, each once."""
    found = [line for line in map(_plain, _lines(log)) if _ERROR.match(line)]
    found = [line for line in dict.fromkeys(found) if not any(empty in line for empty in _EMPTY)]
    return [line[:_WIDTH] for line in found[-_SHOWN:]]


def remedy(lines: list[str]) -> str | None:
    """What helps against the errors in `lines`, if that is known."""
    text = "\n".join(lines)
    return next((told for pattern, told in _REMEDIES if re.search(pattern, text)), None)


def sentence(status: int, log: Path) -> str:
    """Why vLLM ended, in lines: its status, its own words, what to do, where to read on."""
    how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
    if status == -9:
        how += " (out of main memory?)"
    found = errors_of(log)
    told = [f"vLLM {how}" + (":" if found else ""), *(f"  {line}" for line in found)]
    helps = remedy(found)
    return "\n".join([*told, *([helps] if helps else []), f"its whole log: {log}"])
