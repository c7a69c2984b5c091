"""The files around a stage: rows written for it, and what it leaves read back."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file


def write(path: Path, rows: Iterable[dict]) -> Path:
    """The rows as a file of JSON lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """The adapter, or the whole model."""
    files = sorted(directory.glob("adapter_model*.safetensors")) or sorted(directory.glob("model*.safetensors"))
    assert files, f"{directory} holds no weights"
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def same(first: Path, second: Path) -> bool:
    """Whether two directories hold the same weights, bit by bit."""
    one, two = weights(first), weights(second)
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def metrics(directory: Path) -> dict[str, Any]:
    """What the run measured."""
    return json.loads((directory / "metrics.json").read_text(encoding="utf-8"))


def history(directory: Path) -> list[dict[str, Any]]:
    """Every line that the trainer logged."""
    return json.loads((directory / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]


def logged(directory: Path, name: str) -> list[float]:
    """One number of every line that has it."""
    return [line[name] for line in history(directory) if name in line]


def losses(directory: Path) -> list[float]:
    """The loss of every logged step."""
    return logged(directory, "loss")
