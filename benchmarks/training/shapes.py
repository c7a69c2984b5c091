"""Shapes of the models that are measured, and how many floating-point operations a training step of them needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Shape:
    """A decoder of Qwen2's kind: biased q, k, v, grouped key and value heads, SwiGLU."""

    layers: int
    hidden: int
    inner: int
    heads: int
    groups: int
    head_dim: int
    words: int
    tied: bool

    @property
    def linear(self) -> int:
        """Parameters of the linear layers, without the head."""
        query, key = self.heads * self.head_dim, self.groups * self.head_dim
        return self.layers * (2 * self.hidden * query + 2 * self.hidden * key + 3 * self.hidden * self.inner)

    @property
    def head(self) -> int:
        """Parameters of the head."""
        return self.words * self.hidden

    def adapter(self, rank: int) -> int:
        """Parameters of a LoRA adapter of that rank on every linear layer but the head."""
        query, key = self.heads * self.head_dim, self.groups * self.head_dim
        widths = 2 * (self.hidden + query) + 2 * (self.hidden + key) + 3 * (self.hidden + self.inner)
        return self.layers * rank * widths


SHAPES = {
    "7B": Shape(28, 3584, 18944, 28, 4, 128, 152064, False),
    "1.5B": Shape(28, 1536, 8960, 12, 2, 128, 151936, True),
    "0.5B": Shape(24, 896, 4864, 14, 2, 64, 151936, True),
    "slice": Shape(2, 3584, 18944, 28, 4, 128, 5120, False),
    "tiny": Shape(3, 128, 256, 2, 1, 64, 5120, False),
}  # Qwen2.5's; two layers of 7B under a small vocabulary, to check kernels; one for smoke tests
MEASURED = ("7B", "1.5B", "0.5B")
RANK, ALPHA = 8, 16

# Dense bfloat16 TFLOP/s that vendors state, by a part of the device's name. `--peak_tflops` overrules it.
PEAKS = {"H200": 989.0, "H100": 989.0, "H800": 989.0, "A100": 312.0, "A800": 312.0, "L40S": 362.0, "4090": 165.0,
         "3090": 71.0, "A10": 125.0}  # fmt: skip


def peak_of(device_name: str) -> float | None:
    """The stated TFLOP/s of that device, or None where it is not known."""
    return next((peak for part, peak in PEAKS.items() if part in device_name), None)


def config_of(name: str) -> Any:
    """transformers' config of a shape."""
    from transformers import Qwen2Config

    shape = SHAPES[name]
    return Qwen2Config(
        vocab_size=shape.words, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.groups,
        head_dim=shape.head_dim, max_position_embeddings=32768, rms_norm_eps=1e-6, tie_word_embeddings=shape.tied,
        rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
        architectures=["Qwen2ForCausalLM"], bos_token_id=None, eos_token_id=0, pad_token_id=3, dtype="bfloat16",
    )  # fmt: skip


class Counted(NamedTuple):
    """What a batch holds: tokens that are no padding, tokens with padding, tokens with a label, and the sum of the
    squares of its documents' lengths (attention is quadratic in those)."""

    real: int
    computed: int
    labelled: int
    squares: int


def flops(
    shape: Shape, batch: Counted, full: bool = False, head: bool = True, reference: bool = False, rank: int = RANK
) -> float:
    """Floating-point operations that a step on this batch needs, padding and recomputation left out.

    Forward and backward: 2 a parameter and token each way through frozen weights, 4 backward where they are trained;
    attention once forward and 2.5 times backward (its products are taken again there); the head for tokens with a
    label. `reference` adds a forward pass without gradients.
    """
    attention = 4 * shape.layers * shape.heads * shape.head_dim * batch.squares / 2
    low_rank = 0 if full else 2 * shape.adapter(rank) * batch.real
    forward = 2 * shape.linear * batch.real + attention
    backward = (4 if full else 2) * shape.linear * batch.real + 2.5 * attention + 2 * low_rank
    of_head = (6 if full else 4) * shape.head * batch.labelled if head else 0
    again = forward + (2 * shape.head * batch.labelled if head else 0) if reference else 0
    return forward + low_rank + backward + of_head + again
