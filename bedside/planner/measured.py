"""What was measured on a GPU, and what the planner says of it. `tests/planner` holds the two together.

One NVIDIA H200, Qwen2.5-7B's shape with random weights, LoRA of rank 8 on all linear layers in float32, AdamW.
"""

from __future__ import annotations

from dataclasses import dataclass

from bedside.planner import cards, memory, shapes, speed
from bedside.planner.memory import LORA, QLORA, Setting

LOOP = "a development loop of the same form as benchmarks/bench_sft.py, before that file was (docs/performance.md)"
PPO = "python benchmarks/bench_ppo.py --repeats 1, commit fbd6b48, before the fused kernels (docs/stages/ppo.md)"
CONTEXTS = 497 / 0.7  # tokens of a row whose mean context is that of the measured lengths


@dataclass(frozen=True)
class Measured:
    """A setting, what it took in bytes and reached in tokens a second, and how that was measured. `mean` is the mean
    length of rows; `packed` says that micro-batches were a little shorter than their longest."""

    name: str
    setting: Setting
    peak: float
    tokens: float
    command: str
    mean: float = CONTEXTS

    def planned(self) -> tuple[float, float]:
        """`(bytes, tokens a second)` that the planner says."""
        model, card = shapes.model_of("Qwen2.5-7B"), cards.CARDS["H200"]
        seconds = speed.update_seconds(model, self.setting, card, self.setting.tokens, self.mean)
        return memory.peak(model, self.setting), self.setting.tokens / seconds


_EIGHT = {"rows": 8, "length": 2048}
_MIB = 1 << 20
TABLE = (
    Measured("QLoRA 8 x 2048, no checkpointing", Setting(**_EIGHT, whole=28), 62.8e9, 18892, LOOP),
    Measured("QLoRA 8 x 2048, every layer checkpointed", Setting(**_EIGHT), 12.3e9, 14029, LOOP),
    Measured("the same, checkpoints on the host, mlp_tile 4096", Setting(**_EIGHT, offload=True, mlp_tile=4096),
             8.55e9, 13772, LOOP),
    Measured("the same, embedding on the host, mlp_tile 8192",
             Setting(**_EIGHT, offload=True, embedding_on_host=True, mlp_tile=8192), 8.08e9, 14063, LOOP),
    Measured("QLoRA 1 x 2048 full, checkpointed, embedding on the host", Setting(embedding_on_host=True), 5.84e9, 7180,
             LOOP, 2048),
    Measured("LoRA bf16 8 x 2048, no checkpointing", Setting(precision=LORA, **_EIGHT, whole=28), 72.2e9, 18782, LOOP),
    Measured("QLoRA 4 x 1024 full, checkpointed, without kernels",
             Setting(rows=4, length=1024, kernels=False), 8338 * _MIB, 6790, PPO, 1024),
    Measured("PPO, QLoRA, 4 x (512 + 512), four roles, update",
             Setting("ppo", QLORA, 4, 512, 512, sampled=4), 9346 * _MIB, 3515, PPO, 1024),
)  # fmt: skip


def table() -> str:
    """The comparison as Markdown."""
    lines = [
        "| setting | GB measured | planned | | tokens/s measured | planned | |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in TABLE:
        size, rate = row.planned()
        lines.append(
            f"| {row.name} | {row.peak / 1e9:.2f} | {size / 1e9:.2f} | {100 * (size / row.peak - 1):+.1f} % | "
            f"{row.tokens:,.0f} | {rate:,.0f} | {100 * (rate / row.tokens - 1):+.1f} % |"
        )
    return "\n".join(lines)
