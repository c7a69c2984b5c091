"""A tiny random model whose answers differ from question to question, as an engine."""

import pytest

from bedside import models
from bedside.generate import ChatEngine


@pytest.fixture(scope="session")
def loud_parts(tiny_model_dir):
    """Model, tokenizer and template; fresh weights repeat one token for ever, these say something new."""
    import torch

    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, "qwen3")
    model = models.load_base(tiny_model_dir, "float32").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "_proj" in name:
                weight.mul_(12)
    return model, tokenizer, template


@pytest.fixture
def chat_engine(loud_parts) -> ChatEngine:
    """Never stops by itself: the greedy answers of a random model do not hold this id."""
    return ChatEngine(*loud_parts, stop_ids=[loud_parts[1].eos_token_id], name="tiny")
