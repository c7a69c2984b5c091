"""What loading says when it cannot: a sentence, with what to do.

sh run_tests.sh tests/test_models.py
"""

import pytest

from bedside import models
from bedside.errors import ConfigError


def test_a_library_that_a_model_needs_and_is_not_there_is_a_sentence(monkeypatch):
    from transformers import AutoModelForCausalLM

    def needs_more(*_, **__):
        raise ImportError(
            "Using `bitsandbytes` 4-bit quantization requires bitsandbytes:\n`pip install -U bitsandbytes`"
        )

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", needs_more)
    with pytest.raises(ConfigError, match="model models/starter: Using `bitsandbytes` 4-bit .*: `pip install -U bits"):
        models.load_base("models/starter")
