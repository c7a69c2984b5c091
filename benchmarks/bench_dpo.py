"""Speed and memory of training on pairs: DPO beside TRL's, and ORPO's peak beside that of fine-tuning.

    python benchmarks/bench_dpo.py                                      # 7B QLoRA, 4 pairs of at most 2048 tokens
    python benchmarks/bench_dpo.py --variants "dpo*,trl_dpo" --rows 8 --json dpo.json
    python benchmarks/bench_dpo.py --variants "*_full"                  # peaks: every sequence has the full length
    python benchmarks/bench_dpo.py --check
    python benchmarks/bench_dpo.py --tiny                               # seconds a variant, on a CPU

`dpo` and `orpo` are dpo_training.py and orpo_training.py; the reference is the model without its adapter. The peaks of
`orpo_full` and `sft_full` are of as many tokens in a batch, so that their ratio is what the second side's loss costs.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.training import checks, ours, peers, running
from benchmarks.training.case import Variant

FOUR = {"rows": 4}
PEAK = {"rows": 4, "data": "full", "steps": 6, "skip": 2}
ORPO = {"stage": "orpo"}
WHOLE = {"checkpointing": False}

VARIANTS = {
    "trl_dpo": Variant(peers.trl_dpo, "DPOTrainer as it comes, dropout off", FOUR),
    "trl_dpo_liger": Variant(peers.trl_dpo, "with liger's layers", FOUR | {"liger": True}, ("liger_kernel",)),
    "dpo": Variant(ours.script, "dpo_training.py", FOUR),
    "dpo_whole": Variant(ours.script, "dpo_training.py without checkpointing", FOUR | WHOLE),
    "trl_orpo": Variant(peers.trl_orpo, "trl.experimental's ORPOTrainer, which makes all logits", FOUR | ORPO),
    "orpo": Variant(ours.script, "orpo_training.py", FOUR | ORPO),
    "trl_dpo_full": Variant(peers.trl_dpo, "4 pairs of 2 x 2048", PEAK),
    "dpo_full": Variant(ours.script, "4 pairs of 2 x 2048", PEAK),
    "orpo_full": Variant(ours.script, "4 pairs of 2 x 2048", PEAK | ORPO),
    "sft_full": Variant(ours.sides, "supervised_finetuning.py on the same 8 sequences", PEAK),
}
DEFAULT = ["trl_dpo", "trl_dpo_liger", "dpo", "trl_orpo", "orpo", "trl_dpo_full", "dpo_full", "orpo_full", "sft_full"]


def main(argv: list[str] | None = None) -> None:
    running.command(__file__, __doc__, "dpo", VARIANTS, DEFAULT, checks.causal, argv)


if __name__ == "__main__":
    main()
