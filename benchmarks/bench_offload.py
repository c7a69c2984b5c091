"""Checkpoints and the input embedding in host memory: equal gradients, and what they cost in time.

    python benchmarks/bench_offload.py                                # 7B in NF4, 24 rows of 2048 tokens, on a GPU
    python benchmarks/bench_offload.py --rows 1 --steps 10            # the small end
    python benchmarks/bench_offload.py --check                        # gradients bit by bit; exits with 1 if not
    python benchmarks/bench_offload.py --tiny --check                 # seconds, on a CPU: does it still run?

`card` keeps what checkpointed layers need on the card, `host` moves it beside the computation, `stock` is
transformers' own offload on the compute stream, `embedding` adds the input embedding to `host`. All run one model
with random weights. `--check` computes plain attention, whose sums have a fixed order, without kernels, two
micro-batches a step, and moves every tensor however small.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bedside import errors
from benchmarks.training.shapes import SHAPES

WAYS = ("card", "host", "stock", "embedding")


def ways(device: str) -> tuple[str, ...]:
    """What can be run there: transformers' offload asks for pinned memory, which a machine without a GPU has not."""
    return tuple(way for way in WAYS if way != "stock" or device == "cuda")


def model_of(name: str, device: str, fast: bool) -> Any:
    """A frozen random model in NF4 with an adapter whose halves both get gradients."""
    from bedside import adapters, kernels
    from benchmarks.training import checks, weights

    base = weights.build(name, "nf4", device)
    model = adapters.in_float32(weights.with_adapter(base))
    checks.wake(model)
    model.enable_input_require_grads()
    if fast:
        print("\n".join(kernels.install(model, anywhere=True)))
    return model.train()


def keep(model: Any, way: str, device: str, small: int | None) -> Any:
    """Checkpoint every layer of `model` that way; the lane where there is one."""
    import torch

    from bedside.kernels import checkpointing, host_embedding, offload

    extra = {"offload": True} if way == "stock" else {}
    model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False}, **extra)
    if way == "embedding":
        host_embedding.install(model)
    if way in ("card", "stock") or device != "cuda":
        return None
    card = torch.device("cuda", torch.cuda.current_device())
    small = offload.SMALL if small is None else small
    lane = offload.Lane(card, offload.CudaCopies(card), offload.Buffers(), small)
    checkpointing.apply(checkpointing.decoder_layers(model), 0, lane)
    return lane


def batch_of(rows: int, length: int, words: int, device: str, seed: int) -> Any:
    """Random ids, `(B, T)`."""
    import torch

    draw = torch.Generator().manual_seed(seed)
    return torch.randint(10, words, (rows, length), generator=draw).to(device)


def check(args: argparse.Namespace, device: str) -> int:
    """Adapter gradients of two micro-batches, each way bit by bit against `card`; how many ways differ."""
    import torch

    model, words = model_of(args.model, device, fast=False), SHAPES[args.model].words
    model.get_base_model().config._attn_implementation = "eager"
    found = {}
    for way in ("card", *ways(device)):
        keep(model, way, device, small=0)
        model.zero_grad(set_to_none=True)
        for seed in range(2):
            ids = batch_of(2, args.length, words, device, seed)
            model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        made = {name: p.grad.cpu() for name, p in model.named_parameters() if p.grad is not None}
        first = found.setdefault("card", made)
        differ = [name for name in first if not torch.equal(first[name], made[name])]
        print(f"{'FAIL' if differ else 'ok  '} {way:10} {len(made)} gradients, {len(differ)} differ")
        found[way] = found.get(way, made) if not differ else None
    return sum(made is None for made in found.values())


def measure(args: argparse.Namespace, device: str) -> None:
    """A line for each way: seconds a step, tokens a second, peak memory, buffers on the host."""
    import torch

    from benchmarks.training.measure import Clock
    from benchmarks.training.ours import loss_of

    model, words = model_of(args.model, device, fast=True), SHAPES[args.model].words
    ids = batch_of(args.rows, args.length, words, device, 0)
    batch = {"input_ids": ids, "labels": ids, "position_ids": torch.arange(args.length, device=device).expand_as(ids)}
    for way in ways(device):
        lane, clock = keep(model, way, device, None), Clock(device)
        for step in range(args.steps + 2):
            if step == 2:
                torch.cuda.reset_peak_memory_stats() if device == "cuda" else None
                clock.mark()
            model.zero_grad(set_to_none=True)
            loss_of(model, batch).backward()
            clock.mark() if step >= 2 else None
        second = sorted(clock.seconds())[args.steps // 2]
        peak = torch.cuda.max_memory_allocated() / 1e9 if device == "cuda" else float("nan")
        buffers = f", {lane.buffers.made} buffers" if lane else ""
        print(f"{way:10} {second:.3f} s a step, {ids.numel() / second:,.0f} tok/s, peak {peak:.2f} GB{buffers}")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=[name for name, shape in SHAPES.items() if not shape.tied], default="7B")
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--length", type=int, default=None, help="tokens a row (2048; 512 with --check)")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    args = parser.parse_args(argv)
    args.length = args.length or (512 if args.check else 2048)
    if args.tiny:
        args.model, args.rows, args.length, args.steps = "tiny", 2, 32, 2
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # one order of sums in every product
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu" and not args.tiny:
        raise errors.ConfigError("a GPU is needed: on a CPU nothing moves; add --tiny to see that it runs")
    if not args.check:
        measure(args, device)
    return int(args.check and bool(check(args, device)))


if __name__ == "__main__":
    errors.run_command(main)
