"""What more GPUs cost on paper: memory of the states, bytes that cross the network, the efficiency to expect.

    python -m bedside.scaling

prints the table of docs/distributed.md. Nothing here is measured: the formulas are written out in that document, and
an efficiency is a pair, without any overlap of computing and sending, and with all of it. Activations come on top of
the memory; they are the same on every number of GPUs.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass

WAYS = ("ddp", "zero1", "zero2", "zero3", "fsdp2")


@dataclass(frozen=True)
class Run:
    """A training: parameters in all and trained, layers; bytes of a parameter as it is held and as it is sent, of a
    gradient held and sent, of an optimizer state; tokens of a micro-batch on one GPU, how many are accumulated, and
    floating-point operations a token."""

    name: str
    parameters: float
    trained: float
    layers: int
    weight: float
    weight_sent: float
    gradient: float
    gradient_sent: float
    optimizer: float
    tokens: int
    accumulated: int
    operations: float


@dataclass(frozen=True)
class Cluster:
    """GPUs a machine; operations/s that one GPU reaches; bytes/s that it can send inside the machine, and that the
    whole machine can send out of it; seconds that a message takes at least."""

    name: str
    machine: int
    rate: float
    inside: float
    outside: float
    latency: float = 10e-6


def operations(parameters: float, full: bool, again: bool) -> float:
    """Floating-point operations a token: 2 a parameter forward, 2 backward to the activations, 2 more to the weights
    if they are trained, 2 more if the forward pass is computed again (gradient checkpointing)."""
    return parameters * (4 + 2 * full + 2 * again)


def memory(run: Run, way: str, gpus: int) -> float:
    """Bytes of weights, gradients and optimizer states on one GPU."""
    weights, gradients = run.parameters * run.weight, run.trained * run.gradient
    states = run.trained * run.optimizer
    if way in ("zero3", "fsdp2"):  # beside its shards, the layer at work and the one that is on its way
        whole = 2 * run.parameters * run.weight_sent / run.layers if gpus > 1 else 0
        return (weights + gradients + states) / gpus + whole
    shared = {"ddp": 0, "zero1": states, "zero2": states + gradients}[way]
    return weights + gradients + states - shared * (1 - 1 / gpus)


def sent(run: Run, way: str, gpus: int) -> float:
    """Bytes that one GPU sends in one optimizer step, with the rings that NCCL uses for large messages."""
    ring = (gpus - 1) / gpus
    gradients = run.trained * run.gradient_sent
    if way in ("zero3", "fsdp2"):  # weights for the forward and for the backward pass, and gradients, each micro-batch
        return run.accumulated * ring * (2 * run.parameters * run.weight_sent + gradients)
    updated = run.trained * run.weight_sent
    if way == "zero2":  # gradients go to their owner each micro-batch, weights come back once
        return ring * (run.accumulated * gradients + updated)
    return ring * (gradients + updated) if way == "zero1" else 2 * ring * gradients


def messages(run: Run, way: str) -> int:
    """Collective operations a step that wait for one another: one a layer and direction in shards, else one a bucket
    of 25 MB."""
    if way in ("zero3", "fsdp2"):
        return 3 * run.layers * run.accumulated
    return max(1, math.ceil(run.trained * run.gradient_sent / 25e6))


def seconds(run: Run, way: str, gpus: int, cluster: Cluster) -> tuple[float, float]:
    """`(computing, sending)` of one optimizer step, each as if alone."""
    computing = run.accumulated * run.tokens * run.operations / cluster.rate
    if gpus == 1:
        return computing, 0.0
    # One ring crosses a machine's network for each of its GPUs, with as small a part of the data each: together they
    # go as fast as the whole machine sends.
    speed = cluster.inside if gpus <= cluster.machine else min(cluster.inside, cluster.outside)
    waiting = messages(run, way) * math.ceil(math.log2(gpus)) * cluster.latency
    return computing, sent(run, way, gpus) / speed + waiting


def efficiency(run: Run, way: str, gpus: int, cluster: Cluster) -> tuple[float, float]:
    """Share of `gpus` times one GPU's speed: `(nothing overlaps, all that can overlaps)`."""
    computing, sending = seconds(run, way, gpus, cluster)
    return computing / (computing + sending), computing / max(computing, sending)


# Published shapes: Qwen2.5 7B and 72B. A LoRA of rank 16 on every linear layer; 4 x 2,048 tokens a micro-batch.
_SMALL, _LARGE = 7.62e9, 72.7e9
RUNS = (
    (Run("7B QLoRA", _SMALL, 40.4e6, 28, 0.73, 2, 4, 4, 8, 8192, 1, operations(_SMALL, False, True)), "ddp"),
    (Run("7B LoRA", _SMALL, 40.4e6, 28, 2, 2, 4, 4, 8, 8192, 1, operations(_SMALL, False, True)), "ddp"),
    (Run("7B in full", _SMALL, _SMALL, 28, 4, 2, 4, 2, 8, 8192, 1, operations(_SMALL, True, True)), "zero2"),
    (Run("7B in full", _SMALL, _SMALL, 28, 4, 2, 4, 2, 8, 8192, 1, operations(_SMALL, True, True)), "fsdp2"),
    (Run("72B LoRA", _LARGE, 211e6, 80, 2, 2, 4, 4, 8, 8192, 1, operations(_LARGE, False, True)), "fsdp2"),
    (Run("72B in full", _LARGE, _LARGE, 80, 4, 2, 4, 2, 8, 8192, 1, operations(_LARGE, True, True)), "fsdp2"),
)
# 40 % of 989 Tflop/s (bfloat16, dense), NVLink of 450 GB/s a direction; 400 Gbit/s for each GPU, or 25 for all eight.
# 4 bits hold 0.73 bytes a parameter of the 7B model: its embeddings and head stay in 16 bits.
CLUSTERS = (
    Cluster("400 Gbit/s a GPU", 8, 0.4 * 989e12, 450e9, 8 * 50e9),
    Cluster("25 Gbit/s a machine", 8, 0.4 * 989e12, 450e9, 25e9 / 8),
)
SIZES = (8, 64, 512)


def _share(pair: tuple[float, float]) -> str:
    low, high = (f"{100 * share:.0f}" for share in pair)
    return f"{low} %" if low == high else f"{low} to {high} %"


def table() -> str:
    """The table as Markdown."""
    head = ["training", "GPUs", "GB of states on each", "GB sent by each in a step", *(c.name for c in CLUSTERS)]
    rows = [head, ["---"] * len(head)]
    for run, way in RUNS:
        for gpus in SIZES:
            told = [f"{memory(run, way, gpus) / 1e9:.1f}", f"{sent(run, way, gpus) / 1e9:.2f}"]
            shares = [_share(efficiency(run, way, gpus, cluster)) for cluster in CLUSTERS]
            rows.append([f"{run.name}, {way}", str(gpus), *told, *shares])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def main(argv: list[str] | None = None) -> None:
    """Print the table."""
    sys.stdout.write(table())


if __name__ == "__main__":
    main()
