"""Run in a process of its own: what two plain training steps of the starter add to the process, in bytes.

python tests/planner/one_step.py ROWS LENGTH CHECKPOINTED
"""

import gc
import sys
from pathlib import Path

import torch
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

from bedside import adapters, models

_PIECE = 256  # tokens whose logits exist at once


def status(name: str) -> int:
    """A figure of this process, in bytes: VmRSS now, VmHWM at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1]) * 1024


def made(checkpointed: bool):
    """The starter in float32 with an adapter of rank 8, and its optimizer."""
    model = adapters.attach(models.load_base("models/starter", dtype="float32"), adapters.lora_config(dropout=0.0))
    model.train()
    if checkpointed:
        model.enable_input_require_grads()
        model.gradient_checkpointing_enable()
    return model, torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad])


def step(model, optimizer, rows: int, length: int) -> None:
    """Forward, backward and update on random tokens; logits in pieces, as every stage computes them."""
    ids = torch.randint(0, 5000, (rows, length))
    causal = model.get_base_model()
    hidden = causal.model(input_ids=ids).last_hidden_state.flatten(0, 1)

    def loss(part, targets):
        return cross_entropy(part @ causal.lm_head.weight.T, targets, reduction="sum")

    pieces = zip(hidden.split(_PIECE), ids.flatten().split(_PIECE), strict=True)
    sum(checkpoint(loss, part, targets, use_reentrant=False) for part, targets in pieces).backward()
    optimizer.step()
    optimizer.zero_grad()


def main(rows: int, length: int, checkpointed: bool) -> None:
    """Print the bytes; what the libraries take at their first use is taken before."""
    torch.set_num_threads(1)
    step(*made(checkpointed), 1, 8)
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    before = status("VmRSS")
    model, optimizer = made(checkpointed)
    for _ in range(2):
        step(model, optimizer, rows, length)
    sys.stdout.write(f"{status('VmHWM') - before}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "True")
