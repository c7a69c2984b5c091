"""Speed and memory of reward modelling: bedside beside TRL and MedicalGPT's set-up.

    python benchmarks/bench_rm.py                                       # 7B QLoRA, 4 pairs of at most 2048 tokens
    python benchmarks/bench_rm.py --variants "rm*" --rows 8 --json rm.json
    python benchmarks/bench_rm.py --check
    python benchmarks/bench_rm.py --tiny                                # seconds a variant, on a CPU

`rm` is reward_modeling.py: a fresh head on a causal model's body, the score read at the end of the answer's turn.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.training import checks, ours, peers, running
from benchmarks.training.case import Variant

FOUR = {"rows": 4}
PEAK = {"rows": 4, "data": "full", "steps": 6, "skip": 2}

VARIANTS = {
    "medicalgpt_rm": Variant(peers.medicalgpt_rm, "plain Trainer, padded to the longest there may be, two forwards",
                             FOUR | {"dropout": 0.05}),
    "trl_rm": Variant(peers.trl_rm, "RewardTrainer as it comes", FOUR),
    "trl_rm_liger": Variant(peers.trl_rm, "with liger's layers", FOUR | {"liger": True}, ("liger_kernel",)),
    "rm": Variant(ours.script, "reward_modeling.py", FOUR),
    "rm_whole": Variant(ours.script, "reward_modeling.py without checkpointing", FOUR | {"checkpointing": False}),
    "trl_rm_full": Variant(peers.trl_rm, "4 pairs of 2 x 2048", PEAK),
    "rm_full": Variant(ours.script, "4 pairs of 2 x 2048", PEAK),
}  # fmt: skip
DEFAULT = list(VARIANTS)


def main(argv: list[str] | None = None) -> None:
    running.command(__file__, __doc__, "rm", VARIANTS, DEFAULT, checks.scores, argv)


if __name__ == "__main__":
    main()
