"""Tiny models of the families whose batches run flat, and batches of every kind."""

import copy

import torch
import transformers

from bedside.collate import PackedCollator
from bedside.kernels import flat

SHAPE = {
    "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128, "pad_token_id": 0, "head_dim": 8,
    "attn_implementation": "sdpa",
}  # fmt: skip
FAMILIES = {
    "qwen2": ("Qwen2", {}),
    "qwen2 with windows": ("Qwen2", {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}),
    "qwen3": ("Qwen3", {}),
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "mistral with windows": ("Mistral", {"sliding_window": 4}),
}
LENGTHS = (9, 3, 12, 1)


def tiny(family: str = "qwen2", kind: str = "ForCausalLM", **more) -> torch.nn.Module:
    """A random model of two layers, in float32."""
    name, own = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers, f"{name}Config")(**{**SHAPE, **own, **more})
    model = getattr(transformers, f"{name}{kind}")(config).float()
    with torch.no_grad():
        for label, weight in model.named_parameters():
            if weight.dim() > 1 or "bias" in label:
                weight.normal_(0, 0.2)  # fresh biases are zeros, and fresh scores nearly are
    return model


def padded(side: str) -> dict[str, torch.Tensor]:
    """Four rows of `LENGTHS` tokens."""
    draw = torch.Generator().manual_seed(1)
    ids, mask = torch.zeros(4, 12, dtype=torch.long), torch.zeros(4, 12, dtype=torch.long)
    for row, length in enumerate(LENGTHS):
        at = slice(0, length) if side == "right" else slice(12 - length, 12)
        if side == "both":
            at = slice(1, 1 + length) if length < 11 else slice(0, length)
        ids[row, at] = torch.randint(1, 64, (length,), generator=draw)
        mask[row, at] = 1
    return {"input_ids": ids, "attention_mask": mask}


def packed() -> dict[str, torch.Tensor]:
    """Two rows of samples, the second with padding, as training gets them."""
    draw = torch.Generator().manual_seed(2)
    rows = []
    for lengths in ((4, 1, 7), (5, 4)):
        ids = torch.randint(1, 64, (sum(lengths),), generator=draw).tolist()
        rows.append({"input_ids": ids, "labels": ids, "seq_lengths": list(lengths)})
    return {name: tensor for name, tensor in PackedCollator(0)(rows).items() if name != "labels"}


def real(batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Which places hold tokens, `(B, T)`."""
    return batch.get("attention_mask", torch.ones_like(batch["input_ids"])).bool()


def pair(*args, **more) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The same model twice, the second with flat batches."""
    plain = tiny(*args, **more)
    other = copy.deepcopy(plain)
    assert flat.install(other) == "flat batches: on: padding is not computed, packed rows attend by their bounds"
    return plain, other
