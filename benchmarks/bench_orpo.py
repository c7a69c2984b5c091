"""One ORPO step, forward and backward: log-probabilities in pieces against the logits of the whole batch.

    python benchmarks/bench_orpo.py                    # on a GPU the shape of a 0.5B model, on a CPU a thin one
    python benchmarks/bench_orpo.py --pairs 8 --length 1024 --repeats 5
    python benchmarks/bench_orpo.py --smoke            # seconds: does it still run, and do both give one loss?

`full` does what trl.experimental.orpo does: all logits, in float32 (as accelerate hands them over), a log-softmax over
them, and a cross entropy for the likelihood. `pieces` is bedside's. Both run on the same random model with 152,000
words and frozen weights behind the input (as in LoRA), each measurement in a process of its own, in turn. Memory is
the peak over what the model itself takes: of the allocator on a GPU, of the process's resident pages on a CPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SHAPES = {
    "cuda": {"hidden": 896, "layers": 24, "vocabulary": 151936, "pairs": 4, "length": 2048},
    "cpu": {"hidden": 128, "layers": 2, "vocabulary": 151936, "pairs": 2, "length": 128},
}
SMOKE = {"hidden": 32, "layers": 1, "vocabulary": 500, "pairs": 2, "length": 16}


def model_of(hidden: int, layers: int, vocabulary: int, device: str):
    """A random Qwen3 of this shape in bfloat16 on a GPU, float32 on a CPU; frozen, its input wants a gradient."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=max(1, hidden // 64), num_key_value_heads=1, head_dim=64,
        tie_word_embeddings=True,
    )  # fmt: skip
    model = Qwen3ForCausalLM(config).to(device, torch.bfloat16 if device == "cuda" else torch.float32)
    model.requires_grad_(False)
    model.enable_input_require_grads()
    model.gradient_checkpointing_enable({"use_reentrant": False})
    return model.train()


def batch_of(pairs: int, length: int, vocabulary: int, device: str) -> dict:
    """Questions and answers of half the length each, `(2B, T)`."""
    import torch

    draw = torch.Generator().manual_seed(1)
    ids = torch.randint(vocabulary, (2 * pairs, length), generator=draw)
    mask = torch.ones_like(ids)
    answers = mask.clone()
    answers[:, : length // 2] = 0
    batch = {"input_ids": ids, "attention_mask": mask, "completion_mask": answers}
    return {name: tensor.to(device) for name, tensor in batch.items()}


def step_full(model, batch: dict):
    """The loss through all logits."""
    import torch

    from bedside.preference import losses

    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.float()
    targets, mask = batch["input_ids"][:, 1:], batch["completion_mask"][:, 1:]
    found = logits[:, :-1].log_softmax(-1).gather(-1, targets[..., None]).squeeze(-1) * mask
    chosen = len(found) // 2
    nll = torch.nn.functional.cross_entropy(logits[:chosen, :-1].flatten(0, 1), targets[:chosen].flatten())
    sums, counts = found.sum(-1).chunk(2), mask.sum(-1).chunk(2)
    made = losses.orpo(*sums, *counts, beta=0.1)
    # TRL's likelihood is over the question too; it costs what it costs, and the loss that is compared is the paper's.
    return made.loss.mean() + 0.0 * nll


def step_pieces(model, batch: dict):
    """The loss through `bedside.preference.logprobs`."""
    from bedside.preference import losses
    from bedside.preference.trainer import pair_losses

    return pair_losses(model, batch, losses.ORPO(0.1)).loss.mean()


def resident(peak: bool = False) -> int:
    """Bytes of resident memory of this process, now or at their highest (Linux)."""
    name = "VmHWM" if peak else "VmRSS"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def measure(path: str, shape: dict, device: str) -> dict:
    """Seconds of a step (the second and third), peak bytes over the model's own, and the loss."""
    import torch

    # Imported before memory is looked at.
    from bedside.preference import logprobs, losses, trainer  # noqa: F401

    model = model_of(shape["hidden"], shape["layers"], shape["vocabulary"], device)
    batch = batch_of(shape["pairs"], shape["length"], shape["vocabulary"], device)
    step = step_full if path == "full" else step_pieces
    logprobs.install(model)
    cuda = device == "cuda"
    before = torch.cuda.memory_allocated() if cuda else resident()
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        loss = step(model, batch)
        loss.backward()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    peak = torch.cuda.max_memory_allocated() if cuda else resident(peak=True)
    return {"seconds": min(seconds[1:]), "bytes": peak - before, "loss": loss.item()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in SMOKE:
        parser.add_argument(f"--{name}", type=int)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--measure", choices=("full", "pieces"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    import torch

    device = "cuda" if torch.cuda.is_available() and not given.smoke else "cpu"
    shape = dict(SMOKE if given.smoke else SHAPES[device])
    shape |= {name: getattr(given, name) for name in shape if getattr(given, name)}
    if given.measure:
        print(json.dumps(measure(given.measure, shape, device)))
        return
    flags = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    flags += ["--smoke"] if given.smoke else []
    found: dict[str, list[dict]] = {"full": [], "pieces": []}
    for _ in range(1 if given.smoke else given.repeats):
        for path, results in found.items():
            done = subprocess.run(
                [sys.executable, __file__, *flags, "--measure", path], capture_output=True, text=True, check=True
            )
            results.append(json.loads(done.stdout.splitlines()[-1]))
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{shape}, {where}, torch {torch.__version__}")
    middle = {
        path: {key: statistics.median(result[key] for result in results) for key in ("seconds", "bytes", "loss")}
        for path, results in found.items()
    }
    for path, numbers in middle.items():
        print(
            f"{path:>8}  {numbers['seconds']:.3f} s  {numbers['bytes'] / 2**20:,.0f} MiB  loss {numbers['loss']:.5f}"
        )
    full, pieces = middle["full"], middle["pieces"]
    print(f"   ratio  time {pieces['seconds'] / full['seconds']:.2f}, memory {pieces['bytes'] / full['bytes']:.2f}")
    if abs(full["loss"] - pieces["loss"]) > 0.01 * abs(full["loss"]):
        sys.exit("the two paths disagree about the loss")


if __name__ == "__main__":
    main()
