"""One measurement: what is trained, on which rows, how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Case:
    """All that a process needs to know to measure one variant."""

    name: str
    work: str  # directory with the rows, and for what the variant writes
    stage: str = "sft"
    model: str = "7B"
    weights: str = "nf4"  # nf4, bf16 (both with an adapter) or fp32 (every parameter is trained)
    rows: int = 8  # of a micro-batch; for pairs their number, so that there are twice as many sequences
    length: int = 2048
    data: str = "mixed"  # or full: every row as long as it may be
    steps: int = 12
    skip: int = 4
    device: str = "cuda"
    started: float = 0.0  # time.time() when the process was started
    checkpointing: bool = True
    dropout: float = 0.0
    packing: bool = False
    varlen: bool = False
    liger: bool = False
    whole: int = 0  # of the layers, if they are checkpointed, how many are not
    offload: bool = False  # checkpoints wait in host memory
    host_embedding: bool = False
    kernels: dict[str, Any] = field(default_factory=dict)  # wishes for bedside.kernels.install
    flags: dict[str, Any] = field(default_factory=dict)  # more flags of a script
    processes: int = 1  # one for each GPU
    together: bool = False  # the rows of a micro-batch are shared out among the processes
    shards: str = "ddp"  # what several processes share: a configuration of accelerate/, or ddp (torchrun)

    @property
    def full(self) -> bool:
        """Whether every parameter is trained."""
        return self.weights == "fp32"

    def file(self, name: str) -> Path:
        """A file of the working directory."""
        return Path(self.work) / name


@dataclass(frozen=True)
class Variant:
    """A way to train: the function that measures it, one line about it, what it changes of a case, what it imports."""

    run: Callable[[Case], dict[str, Any]]
    about: str
    changes: dict[str, Any] = field(default_factory=dict)
    needs: tuple[str, ...] = ()

    def case(self, base: Case, name: str) -> Case:
        """The case that is measured: the variant's own settings over those of the command line."""
        return replace(base, name=name, **self.changes)
