"""Speed and memory of supervised fine-tuning: bedside beside TRL, MedicalGPT's set-up, Unsloth and LLaMA-Factory.

    python benchmarks/bench_sft.py                                      # the default list, under 8 minutes on an H200
    python benchmarks/bench_sft.py --list
    python benchmarks/bench_sft.py --variants "bedside*,trl_liger" --steps 20 --json sft.json
    python benchmarks/bench_sft.py --check                              # kernels on and off against float32
    python benchmarks/bench_sft.py --tiny                               # seconds a variant, on a CPU

Random weights of Qwen2.5's shapes, the same rows for all, a process for each variant. QLoRA is NF4 with double
quantisation and LoRA of rank 8 on every linear layer but the head.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.training import checks, elsewhere, ours, peers, running
from benchmarks.training.case import Variant

PACKED = {"packing": True}
VARLEN = {"packing": True, "varlen": True}
LIGER = {"packing": True, "varlen": True, "liger": True}
WHOLE = {"checkpointing": False}  # no layer is computed again
ONE = {"data": "full", "rows": 1, "steps": 10}
MANY = {"data": "full", "rows": 24, "steps": 6, "skip": 2}
LORA = {"weights": "bf16"}
FULL = {"model": "0.5B", "weights": "fp32"}
LEAST = {"offload": True, "host_embedding": True, "kernels": {"mlp_tile": 4096}}  # what saves memory, all of it
LEAST_FLAGS = {"flags": {"offload_checkpoints": True, "embedding_on_host": True, "mlp_tile": 4096}}
PLAIN = {"kernels": dict.fromkeys(("fused_lora", "fused_mlp", "fused_norm", "fused_loss", "flat"), False)}
NEEDS_LIGER = ("liger_kernel",)

VARIANTS = {
    # QLoRA, 8 rows of at most 2048 tokens
    "medicalgpt": Variant(peers.medicalgpt_sft, "plain Trainer, padded, float32 upcasts and logits, dropout 0.05",
                          {"dropout": 0.05}),
    "trl": Variant(peers.trl_sft, "SFTTrainer as it comes: padded, dropout 0.05", {"dropout": 0.05}),
    "trl_packed": Variant(peers.trl_sft, "packed, sdpa", PACKED | {"dropout": 0.05}),
    "trl_varlen": Variant(peers.trl_sft, "packed, torch's varlen attention", VARLEN | {"dropout": 0.05}),
    "trl_liger": Variant(peers.trl_sft, "packed, varlen, liger's layers, dropout 0", LIGER, NEEDS_LIGER),
    "trl_liger_whole": Variant(peers.trl_sft, "the same without checkpointing", LIGER | WHOLE, NEEDS_LIGER),
    "llamafactory": Variant(elsewhere.llamafactory_sft, "neat_packing, liger", PACKED | {"liger": True},
                            ("llamafactory",)),
    "unsloth": Variant(elsewhere.unsloth_sft, "packed, its checkpointing", PACKED, ("unsloth",)),
    "unsloth_whole": Variant(elsewhere.unsloth_sft, "packed, no checkpointing", PACKED | WHOLE, ("unsloth",)),
    "bedside": Variant(ours.loop, "a bare loop around our kernels, every layer checkpointed", PACKED),
    "bedside_whole": Variant(ours.loop, "the same without checkpointing", PACKED | WHOLE),
    "bedside_half": Variant(ours.loop, "14 of 28 layers checkpointed", PACKED | {"whole": 14}),
    "bedside_least": Variant(ours.loop, "checkpoints and embedding on the host, MLP in tiles", PACKED | LEAST),
    "bedside_plain": Variant(ours.loop, "the same loop without any kernel", PACKED | PLAIN),
    "script": Variant(ours.script, "supervised_finetuning.py, every layer checkpointed", PACKED),
    "script_whole": Variant(ours.script, "supervised_finetuning.py without checkpointing", PACKED | WHOLE),
    "script_auto": Variant(ours.script, "supervised_finetuning.py --memory_budget_gb auto",
                           PACKED | {"flags": {"memory_budget_gb": "auto"}}),
    "script_least": Variant(ours.script, "supervised_finetuning.py, all that saves memory", PACKED | LEAST_FLAGS),
    "script_plain": Variant(ours.script, "supervised_finetuning.py --kernels False",
                            PACKED | {"flags": {"kernels": False}}),
    # 1 row of 2048 tokens
    "medicalgpt_1": Variant(peers.medicalgpt_sft, "1 x 2048", ONE | {"dropout": 0.05}),
    "trl_1": Variant(peers.trl_sft, "1 x 2048, dropout 0", ONE),
    "unsloth_1": Variant(elsewhere.unsloth_sft, "1 x 2048", ONE, ("unsloth",)),
    "bedside_1": Variant(ours.loop, "1 x 2048", ONE),
    "bedside_1_least": Variant(ours.loop, "1 x 2048, all that saves memory", ONE | LEAST),
    "script_1": Variant(ours.script, "1 x 2048, the same by flags", ONE | PACKED | LEAST_FLAGS),
    # 24 full rows
    "trl_24": Variant(peers.trl_sft, "24 x 2048, dropout 0", MANY),
    "unsloth_24": Variant(elsewhere.unsloth_sft, "24 x 2048", MANY, ("unsloth",)),
    "bedside_24": Variant(ours.loop, "24 x 2048", MANY),
    "bedside_24_least": Variant(ours.loop, "24 x 2048, all that saves memory", MANY | LEAST),
    "script_24": Variant(ours.script, "24 x 2048, the same by flags", MANY | PACKED | LEAST_FLAGS),
    # LoRA on bfloat16
    "trl_lora": Variant(peers.trl_sft, "LoRA on bfloat16, padded, dropout 0.05", LORA | {"dropout": 0.05}),
    "trl_lora_liger": Variant(peers.trl_sft, "LoRA, packed, varlen, liger", LORA | LIGER, NEEDS_LIGER),
    "bedside_lora": Variant(ours.loop, "LoRA, checkpointed", LORA | PACKED),
    "bedside_lora_whole": Variant(ours.loop, "LoRA, no checkpointing", LORA | PACKED | WHOLE),
    # Full fine-tuning of 0.5B
    "trl_full": Variant(peers.trl_sft, "all parameters of 0.5B, padded", FULL),
    "trl_full_liger": Variant(peers.trl_sft, "0.5B, packed, varlen, liger, no checkpointing", FULL | LIGER | WHOLE,
                              NEEDS_LIGER),
    "bedside_full": Variant(ours.loop, "0.5B, no checkpointing", FULL | PACKED | WHOLE),
    "script_full": Variant(ours.script, "supervised_finetuning.py --use_peft False, 0.5B, no checkpointing",
                           FULL | PACKED | WHOLE),
}  # fmt: skip
DEFAULT = ["bedside", "bedside_whole", "script", "trl", "trl_varlen", "trl_liger", "trl_liger_whole", "medicalgpt",
           "bedside_1_least", "bedside_24_least"]  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    running.command(__file__, __doc__, "sft", VARIANTS, DEFAULT, checks.causal, argv)


if __name__ == "__main__":
    main()
