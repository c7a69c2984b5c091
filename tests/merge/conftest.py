"""The base that adapters of these tests are made for."""

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

from tests.merge.toys import STARTER


def random_base(directory: Path, tied: bool) -> Path:
    """A random two-layer Qwen3 in bfloat16 with the starter's tokenizer."""
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=5000, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=tied, eos_token_id=0, pad_token_id=3, dtype="bfloat16",
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.model.embed_tokens.weight.data *= 5  # so that its predictions are not all alike
    if not tied:
        model.lm_head.weight.data *= 5
    model.to(torch.bfloat16).save_pretrained(directory)
    AutoTokenizer.from_pretrained(STARTER).save_pretrained(directory)
    return directory


@pytest.fixture(scope="session")
def base(tmp_path_factory) -> Path:
    """One whose head is its embedding."""
    return random_base(tmp_path_factory.mktemp("base") / "tiny", tied=True)


@pytest.fixture(scope="session")
def untied(tmp_path_factory) -> Path:
    """One with a head of its own."""
    return random_base(tmp_path_factory.mktemp("untied") / "tiny", tied=False)
