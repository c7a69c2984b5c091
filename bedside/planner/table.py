"""Memory by method and size of the model, as Markdown: a row of 2,048 tokens at a time, every layer checkpointed."""

from __future__ import annotations

from bedside.planner import memory, shapes
from bedside.planner.memory import CONTEXT, FULL, LORA, QLORA, QLORA8, Setting

MODELS = ("Qwen/Qwen2.5-0.5B", "Qwen/Qwen3-4B", "Qwen/Qwen2.5-7B", "Qwen/Qwen2.5-14B", "Qwen/Qwen2.5-32B",
          "meta-llama/Meta-Llama-3-70B")  # fmt: skip
METHODS = {
    ("every parameter", "float32, bf16 products"): Setting(precision=FULL),
    ("every parameter", "float32, 8-bit optimizer"): Setting(precision=FULL, optim="adamw_bnb_8bit"),
    ("every parameter", "bf16"): Setting(precision=FULL, half=True),
    ("LoRA", "bf16"): Setting(precision=LORA),
    ("LoRA", "8-bit"): Setting(precision=QLORA8),
    ("QLoRA", "4-bit"): Setting(precision=QLORA),
    ("QLoRA, all that saves memory", "4-bit"): Setting(precision=QLORA, offload=True, embedding_on_host=True,
                                                       mlp_tile=1024),
}  # fmt: skip


def gigabytes(size: float) -> str:
    """Bytes as GB of 10^9, to a tenth below 20."""
    return f"{size / 1e9:.1f}" if size < 20e9 else f"{size / 1e9:.0f}"


def markdown() -> str:
    """The table; figures hold the CUDA context."""
    models = [shapes.model_of(name) for name in MODELS]
    lines = [
        "| method | weights | " + " | ".join(model.name.rpartition("/")[2] for model in models) + " |",
        "|---|---|" + "---:|" * len(models),
    ]
    for (method, weights), setting in METHODS.items():
        cells = [gigabytes(memory.peak(model, setting) + CONTEXT) for model in models]
        lines.append(f"| {method} | {weights} | {' | '.join(cells)} |")
    return "\n".join(lines)
