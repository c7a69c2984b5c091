"""Two GPUs against one: supervised_finetuning.py under DDP, FSDP2 and ZeRO-3, its speed and its loss.

    python benchmarks/bench_scaling.py                                  # two GPUs; 7B QLoRA, and 0.5B in full
    python benchmarks/bench_scaling.py --variants "full*" --model 1.5B --json scaling.json
    python benchmarks/bench_scaling.py --tiny                           # two processes of a CPU, through gloo

Every variant is the script itself, started as a user starts it. `qlora_2` has as many rows on each GPU as `qlora_1`:
`ratio` is what the second GPU brings. The `full_2_*` have half as many on each, so that a step has the rows that it
has in `full_1`, and their losses are compared step by step.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.training import checks, ours, running
from benchmarks.training.case import Variant

SHARE = {"packing": True, "processes": 2}
WHOLE = {"packing": True, "weights": "fp32", "model": "0.5B", "flags": {"logging_steps": 1}}
HALF = WHOLE | {"together": True, "processes": 2}

VARIANTS = {
    "qlora_1": Variant(ours.script, "QLoRA, one GPU", {"packing": True}),
    "qlora_2": Variant(ours.script, "QLoRA, two GPUs, torchrun", SHARE),
    "qlora_2_fsdp2": Variant(ours.script, "QLoRA, two GPUs, weights in shards", SHARE | {"shards": "fsdp2"}),
    "full_1": Variant(ours.script, "every parameter, one GPU", WHOLE),
    "full_2_ddp": Variant(ours.script, "every parameter, two GPUs, torchrun", HALF),
    "full_2_fsdp2": Variant(ours.script, "every parameter, two GPUs, FSDP2", HALF | {"shards": "fsdp2"}),
    "full_2_zero3": Variant(ours.script, "every parameter, two GPUs, ZeRO-3", HALF | {"shards": "zero3"},
                            ("deepspeed",)),
}  # fmt: skip


def losses(found: dict[str, dict[str, Any]]) -> list[str]:
    """A line for each variant of several processes whose losses may be held against those of one."""
    one = found.get("full_1", {}).get("losses")
    lines = []
    for name, result in found.items():
        if one and name.startswith("full_2") and result.get("losses"):
            apart = [abs(a - b) for a, b in zip(one, result["losses"], strict=True)]
            lines.append(f"{name}: the loss of a step is at most {max(apart):.2g} from that of one process")
    return lines


def main(argv: list[str] | None = None) -> None:
    running.command(__file__, __doc__, "sft", VARIANTS, list(VARIANTS), checks.causal, argv, "qlora_1", losses)


if __name__ == "__main__":
    main()
