"""From the command to the first QLoRA step: quantising the base at every start against reading its 4-bit copy.

    python benchmarks/bench_loading.py                         # on a GPU a random 7B model, on a CPU one of 0.3 B
    python benchmarks/bench_loading.py --model DIR --cold      # a model that is there, its files not in memory
    python benchmarks/bench_loading.py --check --smoke         # seconds: does it run, and are the two bit for bit one?

Every start is a process of its own that imports, loads, puts an adapter on and makes one optimizer step; seconds count
from before the process began. `host` is the most memory that the process took of its own while loading (pages of the
weight files, which the system may drop, are not in it), `card` the most that torch's allocator gave out on a GPU.
`--cold` has the system forget the files before each start, which is what a first start of the day finds.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

SHAPES = {  # of Qwen2.5-7B; of 0.5B with a smaller vocabulary; of nothing
    "7b": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
           "num_key_value_heads": 4, "vocab_size": 152064, "tie_word_embeddings": False},
    "0.3b": {"hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 20, "num_attention_heads": 14,
             "num_key_value_heads": 2, "vocab_size": 32000, "tie_word_embeddings": True},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
             "num_key_value_heads": 1, "vocab_size": 400, "tie_word_embeddings": True},
}  # fmt: skip
NF4 = {"bits": 4, "type": "nf4", "double": True}
STARTS = {  # name: (quantisation, mode of the copy); the others are compared with the first
    "quantise": (NF4, "off"),
    "first start": (NF4, "on"),
    "next start": (NF4, "read"),
    "16-bit": (None, "off"),
}


def write_random(directory: Path, shape: dict) -> None:
    """A random Qwen2 in bfloat16 as sharded safetensors; never more than one shard of it in memory."""
    import torch
    from huggingface_hub import split_torch_state_dict_into_shards
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, Qwen2Config

    config = Qwen2Config(**shape, dtype="bfloat16", architectures=["Qwen2ForCausalLM"])
    with torch.device("meta"):
        shapes = {
            name: w.to(torch.bfloat16) for name, w in AutoModelForCausalLM.from_config(config).named_parameters()
        }
    plan = split_torch_state_dict_into_shards(shapes, filename_pattern="model{suffix}.safetensors")
    directory.mkdir(parents=True)
    config.save_pretrained(directory)
    place = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    for file, names in plan.filename_to_tensors.items():
        made = {name: torch.randn(shapes[name].shape, device=place).mul_(0.02).bfloat16().cpu() for name in names}
        save_file(made, directory / file, metadata={"format": "pt"})
    if plan.is_sharded:
        index = {"metadata": plan.metadata, "weight_map": plan.tensor_to_filename}
        (directory / "model.safetensors.index.json").write_text(json.dumps(index))


class HostPeak(threading.Thread):
    """Watches the memory that this process has of its own; `stop()` returns the most that was added, in bytes."""

    def __init__(self):
        super().__init__(daemon=True)
        self.ended, self.start_bytes = threading.Event(), self.own()
        self.peak = self.start_bytes
        self.start()

    @staticmethod
    def own() -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("RssAnon")))

    def run(self):
        while not self.ended.wait(0.005):
            self.peak = max(self.peak, self.own())

    def stop(self) -> int:
        self.ended.set()
        self.join()
        return self.peak - self.start_bytes


def digest(tensors) -> str:
    """SHA-256 of the bytes of tensors, in their order."""
    import torch

    whole = hashlib.sha256()
    for tensor in tensors:
        whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return whole.hexdigest()


def one_start(model: str, copies: str, start: str, tokens: int, began: float, check: bool) -> dict:
    """Seconds, bytes and, with `check`, hashes of one start in this process."""
    import bitsandbytes  # noqa: F401
    import peft  # noqa: F401
    import torch
    import transformers  # noqa: F401

    from bedside import adapters, models

    cuda = torch.cuda.is_available()
    if cuda:
        torch.zeros(1, device="cuda")
    found = {"start": start, "imports": time.time() - began}
    quantisation, mode = STARTS[start]
    watch, before = HostPeak(), time.time()
    base = models.load_base(model, quantisation=quantisation, nf4_cache=mode, nf4_cache_dir=copies)
    base = base.to("cuda") if cuda and quantisation is None else base
    found["load"], found["host"] = time.time() - before, watch.stop()
    found["card"] = torch.cuda.max_memory_allocated() if cuda else 0
    if check:
        found["weights"] = digest(base.state_dict().values())
    torch.manual_seed(0)
    trained = adapters.attach(base, adapters.lora_config(dropout=0.0)).train()
    ids = torch.randint(base.config.vocab_size, (1, tokens), device=base.device)
    optimizer = torch.optim.AdamW([p for p in trained.parameters() if p.requires_grad], lr=1e-4)
    output = trained(input_ids=ids, labels=ids)
    output.loss.backward()
    optimizer.step()
    found["loss"] = output.loss.item()
    found["first_step"] = time.time() - began
    if check:
        found["logits"] = digest([output.logits])
        found["adapters"] = digest(p for p in trained.parameters() if p.requires_grad)
    return found


def forget(*directories: Path) -> None:
    """Have the system drop these directories' files from its memory; needs no rights but to read them."""
    for path in (path for directory in directories for path in directory.rglob("*.safetensors")):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)


def measure(model: Path, copies: Path, args: argparse.Namespace) -> list[dict]:
    """Every start in a process of its own, in order; stops with what the process said if one fails."""
    results = []
    for start in args.starts.split(","):
        if args.cold:
            forget(model, copies)
        command = [sys.executable, __file__, "--child", start, "--model", str(model), "--copies", str(copies),
                   "--tokens", str(args.tokens), "--began", repr(time.time())]  # fmt: skip
        # Large blocks go back to the system when they are freed: `host` is what is in use, not what the heap hoards.
        environment = os.environ | {"MALLOC_MMAP_THRESHOLD_": str(1 << 20)}
        done = subprocess.run(command + ["--check"] * args.check, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise SystemExit(f"{start}: failed\n{done.stderr[-2000:]}")
        results.append(json.loads(done.stdout.splitlines()[-1]))
        print(row(results[-1], results), flush=True)
    return results


def row(found: dict, results: list[dict]) -> str:
    """One line of the table, with ratios to quantising at every start where that was measured."""
    plain = next((result for result in results if result["start"] == "quantise"), None)
    ratios = [f"{found[key] / plain[key]:7.2f}x" if plain else f"{'-':>8}" for key in ("load", "first_step")]
    times = "".join(f"{found[key]:9.1f}" for key in ("imports", "load", "first_step"))
    return f"{found['start']:12}{times}  {ratios[0]}{ratios[1]}{found['host'] / 1e9:9.2f}{found['card'] / 1e9:8.2f}"


def disagreements(results: list[dict]) -> list[str]:
    """What differs between quantising and reading the copy; weights, logits, loss, and adapters after a step."""
    by_name = {result["start"]: result for result in results}
    plain, wrong = by_name["quantise"], []
    for name in ("first start", "next start"):
        for part in ("weights", "logits", "loss", "adapters"):
            if by_name[name][part] != plain[part]:
                wrong.append(f"{name}: other {part}")
    return wrong


def default_shape(smoke: bool) -> str:
    """The random model that this machine can be asked to load four times."""
    import torch

    return "tiny" if smoke else "7b" if torch.cuda.is_available() else "0.3b"


def main(argv: list[str] | None = None) -> None:
    """Write a model if none is given, then measure the starts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, help="model directory (default: a random one, written to a temporary)")
    parser.add_argument("--shape", choices=sorted(SHAPES), help="of the random model")
    parser.add_argument("--starts", default=",".join(STARTS), help="which, joined by commas, in order")
    parser.add_argument("--tokens", type=int, default=64, help="in the one step")
    parser.add_argument("--cold", action="store_true", help="forget the files before each start")
    parser.add_argument("--check", action="store_true", help="compare quantised and read back bit for bit")
    parser.add_argument("--smoke", action="store_true", help="a tiny model")
    parser.add_argument("--json", type=Path, help="write the figures there")
    parser.add_argument("--copies", help=argparse.SUPPRESS)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--began", type=float, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.child:
        print(json.dumps(one_start(str(args.model), args.copies, args.child, args.tokens, args.began, args.check)))
        return
    scratch = Path(tempfile.mkdtemp(prefix="bench_loading-"))
    try:
        model = args.model or scratch / "base"
        if not model.is_dir():
            write_random(model, SHAPES[args.shape or default_shape(args.smoke)])
        print(f"{model}: {sum(path.stat().st_size for path in model.glob('*.safetensors')) / 1e9:.2f} GB of weights")
        print("seconds to    imports     load 1st step      load    step  host GB card GB")
        results = measure(model, scratch / "copies", args)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.check:
        wrong = disagreements(results)
        if wrong:
            raise SystemExit("not the same: " + "; ".join(wrong))
        print("quantised and read back are one, bit for bit: weights, logits, loss, adapters after a step")


if __name__ == "__main__":
    main()
