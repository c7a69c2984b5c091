"""A Qwen3 of as many layers as asked for, which the tests of checkpoints share."""

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM


def tiny(layers: int = 4) -> Qwen3ForCausalLM:
    """Random, of width 32 and 160 words, in float32."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=160, hidden_size=32, intermediate_size=96, num_hidden_layers=layers, num_attention_heads=2,
        num_key_value_heads=1, head_dim=16, tie_word_embeddings=False,
    )  # fmt: skip
    return Qwen3ForCausalLM(config)
