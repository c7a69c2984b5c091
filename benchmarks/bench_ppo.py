"""Peak memory and speed of one PPO step beside one SFT step, and beside four separate models.

    python benchmarks/bench_ppo.py                      # on a GPU a 7B shape in NF4, on a CPU a 250M shape in bfloat16
    python benchmarks/bench_ppo.py --base nf4 --prompt 256 --response 256 --repeats 3
    python benchmarks/bench_ppo.py --smoke              # seconds: does it still run?

`sft` is one step of supervised fine-tuning (forward, backward, AdamW) of a LoRA adapter. `shared` is what
ppo_training.py does with as many rows: sample, score by policy, reference, critic and reward, which are adapters of
one base, one update of policy and critic. `four` does the same with a base for each role, as PPO trainers once did.
Random weights, the same rows, activations recomputed; only the first `sampled` tokens of answers are sampled (their
cache is far below the update's peak), the rest of them are given. Each measurement runs in a process of its own, in
turn. Memory is the peak of the step, weights included: of the allocator on a GPU, of the process's resident pages over
its imports on a CPU.
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
    "cuda": {"hidden": 3584, "inner": 18944, "layers": 28, "heads": 28, "groups": 4, "words": 152064, "rows": 4,
             "prompt": 512, "response": 512, "sampled": 64, "base": "nf4"},
    "cpu": {"hidden": 1024, "inner": 2816, "layers": 16, "heads": 16, "groups": 8, "words": 50000, "rows": 2,
            "prompt": 32, "response": 64, "sampled": 64, "base": "bf16"},
}  # fmt: skip
SMOKE = {"hidden": 64, "inner": 128, "layers": 2, "heads": 2, "groups": 1, "words": 500, "rows": 2, "prompt": 8,
         "response": 8, "sampled": 8, "base": "bf16"}  # fmt: skip
MODES = ("sft", "shared", "four")


def base_of(shape: dict, device: str):
    """A random Qwen2 of this shape, in bfloat16, its linear layers in NF4 where asked for."""
    import torch
    from transformers import AutoModelForCausalLM, Qwen2Config

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=shape["words"], hidden_size=shape["hidden"], intermediate_size=shape["inner"],
        num_hidden_layers=shape["layers"], num_attention_heads=shape["heads"],
        num_key_value_heads=shape["groups"], max_position_embeddings=4096, tie_word_embeddings=False,
    )  # fmt: skip
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if shape["base"] == "nf4":
        quantise(model)
    model.config.use_cache = False
    return model.requires_grad_(False)


def quantise(model) -> None:
    """Linear layers but the head as bitsandbytes' NF4 with double quantisation, one at a time, in place."""
    import bitsandbytes
    import torch

    for name, layer in list(model.named_modules()):
        if not isinstance(layer, torch.nn.Linear) or name == "lm_head":
            continue
        made = bitsandbytes.nn.Linear4bit(
            layer.in_features, layer.out_features, layer.bias is not None, torch.bfloat16, True, "nf4"
        )
        made.weight = bitsandbytes.nn.Params4bit(
            layer.weight.data, requires_grad=False, compress_statistics=True, quant_type="nf4"
        )
        made.bias = layer.bias
        made.support_avx512bf16_for_cpu = False
        model.get_submodule(name.rpartition(".")[0]).__setattr__(name.rpartition(".")[2], made.to(layer.weight.device))
    model.is_loaded_in_4bit = True
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def roles_on(base):
    """A RoleModel with adapters of rank 8 in all four roles."""
    import copy

    from bedside import adapters
    from bedside.ppo import roles

    config = adapters.lora_config(8, 16, 0.0)
    model = roles.RoleModel(base, config)
    for name in (roles.REFERENCE, roles.CRITIC, roles.REWARD):
        model.add_adapter(name, copy.deepcopy(config))
    model.reference, model.score_head = (
        roles.REFERENCE,
        roles.scalar_head(base.config.hidden_size).requires_grad_(False),
    )
    model.settle()
    model.activation_checkpointing_enable({"use_reentrant": False})
    return model


def rows_of(shape: dict, device: str):
    """Questions `(B, P)` and answers that use up their length, as a rollout."""
    import torch

    from bedside.ppo import rollout

    draw = torch.Generator().manual_seed(1)
    rows, prompt, response = shape["rows"], shape["prompt"], shape["response"]
    ids = torch.randint(2, shape["words"], (rows, prompt + response), generator=draw).to(device)
    mask = torch.ones_like(ids[:, :prompt])
    return rollout.answers_of(ids[:, :prompt], mask, ids[:, prompt:], [0])


def sft_step(models: dict, answers, optimizer, shape: dict) -> dict[str, float]:
    """Seconds of a step on the answers' likelihood."""
    import torch

    batch, started = answers.part(torch.arange(shape["rows"])), time.perf_counter()
    labels = batch["input_ids"].clone()
    labels[:, : shape["prompt"]] = -100
    model = models["policy"].train()
    model.activate("default")
    logps = model.get_base_model()(
        input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], labels=labels, token_logprobs=True
    )
    (-logps.sum() / batch["mask"].sum()).backward()
    optimizer.step()
    optimizer.zero_grad()
    return {"update": elapsed(started)}


def ppo_step(models: dict, answers, optimizer, shape: dict) -> dict[str, float]:
    """Seconds of sampling, of scoring and of an update."""
    import torch

    from bedside.ppo import objective, rollout

    started = time.perf_counter()
    for model in set(models.values()):
        model.eval()
    drawing = rollout.Drawing(shape["sampled"], 1.0, (0,), 0)
    rollout.draw(models["policy"], answers.prompts, answers.prompt_mask, drawing, list(range(shape["rows"])))
    found = {"rollout": elapsed(started)}
    started, rows = time.perf_counter(), torch.arange(shape["rows"])
    made = rollout.score(lambda *given: models[_ROLE[given[4]]](*given), answers, [rows], 1.0)
    batch = made.micro[0]
    shared = (batch["input_ids"], batch["attention_mask"])
    with torch.no_grad():
        scores = models["reward"](*shared, want="scores")
    rollout.credit(made, scores, 0.05, 1.0, 0.95, objective.alone)
    found["score"] = elapsed(started)
    started = time.perf_counter()
    for model in set(models.values()):
        model.train()
    where = (*shared, batch["starts"], batch["mask"].shape[1])
    if models["policy"] is models["critic"]:
        logps, values = models["policy"](*where, "update", 1.0)
    else:
        logps, values = models["policy"](*where, "policy", 1.0)[0], models["critic"](*where, "values")
    policy = objective.policy_loss(logps, batch["logps"], batch["advantages"]).loss
    critic, _ = objective.value_loss(values, batch["values"], batch["returns"])
    (((policy + 0.5 * critic) * batch["mask"]).sum() / batch["mask"].sum()).backward()
    optimizer.step()
    optimizer.zero_grad()
    return {**found, "update": elapsed(started)}


_ROLE = {"policy": "policy", "reference": "reference", "values": "critic"}


def elapsed(started: float) -> float:
    """Seconds since then, on a GPU once it is done."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - started


def resident(peak: bool = False) -> int:
    """Bytes of resident memory of this process, now or at their highest (Linux)."""
    name = "VmHWM" if peak else "VmRSS"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def measure(mode: str, shape: dict, device: str) -> dict:
    """Peak bytes of a second step, bytes of the base's weights, and seconds of its parts."""
    import torch

    # Imported before memory is looked at.
    from bedside.ppo import objective, roles, rollout  # noqa: F401

    if shape["base"] == "nf4":
        import bitsandbytes  # noqa: F401
    before = resident()
    names = ("policy", "reference", "critic", "reward")
    first = roles_on(base_of(shape, device))
    models = {
        name: first if mode != "four" or name == "policy" else roles_on(base_of(shape, device)) for name in names
    }
    weights = sum(
        parameter.numel() * parameter.element_size()
        for model in set(models.values())
        for name, parameter in model.named_parameters()
        if "lora_" not in name
    )
    trained = [parameter for name in ("policy", "critic") for parameter in models[name].parameters()]
    optimizer = torch.optim.AdamW({id(it): it for it in trained if it.requires_grad}.values(), lr=1e-5)
    answers, step = rows_of(shape, device), sft_step if mode == "sft" else ppo_step
    step(models, answers, optimizer, shape)
    forget_peak(device)
    seconds = step(models, answers, optimizer, shape)
    cuda = device == "cuda"
    peak = torch.cuda.max_memory_allocated() if cuda else resident(peak=True) - before
    reserved = torch.cuda.max_memory_reserved() if cuda else 0
    return {"bytes": peak, "reserved": reserved, "weights": weights, "seconds": seconds}


def forget_peak(device: str) -> None:
    """Let the peak be that of what follows, not of loading."""
    import ctypes

    import torch

    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        return
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def table(found: dict[str, list[dict]], shape: dict) -> list[str]:
    """Lines for a person: memory with its ratio to SFT, tokens a second of sampling and of updating."""
    lines = [f"{'':8}{'weights':>10}{'peak':>10}{'of SFT':>8}{'rollout':>14}{'score':>9}{'update':>9}"]
    peaks = {mode: statistics.median(result["bytes"] for result in results) for mode, results in found.items()}
    answer, both = shape["rows"] * shape["sampled"], shape["rows"] * (shape["prompt"] + shape["response"])
    for mode, results in found.items():
        parts = {
            part: statistics.median(result["seconds"][part] for result in results) for part in results[0]["seconds"]
        }
        rates = [f"{count / parts[part]:.0f} tok/s" if part in parts else "" for part, count in
                 (("rollout", answer), ("score", both), ("update", both))]  # fmt: skip
        lines.append(
            f"{mode:8}{results[0]['weights'] / 2**20:>7.0f} MB{peaks[mode] / 2**20:>7.0f} MB"
            f"{peaks[mode] / peaks['sft']:>8.2f}{rates[0]:>14}{rates[1]:>12}{rates[2]:>12}"
        )
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in SMOKE.items():
        parser.add_argument(f"--{name}", type=type(value))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=MODES)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--measure", choices=MODES, help=argparse.SUPPRESS)
    given = parser.parse_args()
    import torch

    device = "cuda" if torch.cuda.is_available() and not given.smoke else "cpu"
    shape = dict(SMOKE if given.smoke else SHAPES[device])
    shape |= {name: getattr(given, name) for name in shape if getattr(given, name) is not None}
    if given.measure:
        print(json.dumps(measure(given.measure, shape, device)))
        return
    flags = [word for name, value in shape.items() for word in (f"--{name}", str(value))]
    flags += ["--smoke"] if given.smoke else []
    found: dict[str, list[dict]] = {mode: [] for mode in given.modes}
    for _ in range(1 if given.smoke else given.repeats):
        for mode, results in found.items():
            done = subprocess.run(
                [sys.executable, __file__, *flags, "--measure", mode], capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(done.stderr[-2000:])
            results.append(json.loads(done.stdout.splitlines()[-1]))
            print(f"{mode}: peak {results[-1]['bytes'] / 2**20:.0f} MB", file=sys.stderr, flush=True)
    where = torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{shape}, {where}, torch {torch.__version__}")
    print("\n".join(table(found, shape)))


if __name__ == "__main__":
    main()
