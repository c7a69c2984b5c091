"""Shared by all tests: no network, fixed threads, a tokenizer and a model made in-process.

sh run_tests.sh            everything
sh run_tests.sh -k sft     what has sft in its name
"""

import gc
import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TQDM_DISABLE", "1")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")
os.environ["TRITON_INTERPRET"] = "1"  # before anything imports Triton; see tests/kernels

import pytest

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO))

_MAIN = sys.modules["__main__"]
_FROZEN = [0]  # the number of modules when objects were last set aside
_SENTENCES = [
    "The patient has had a fever and a cough for three days. What should be done?",
    "First measure the temperature, then listen to the chest.",
    "患者发热咳嗽三天，应该怎么办？先测体温，再听诊肺部。",
    "建议多喝水，注意休息，必要时到医院就诊。",
] * 4


def pytest_collection_modifyitems(items):
    """Files with slow tests first: where files are shared out, a long one that starts last keeps all waiting."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def repo() -> Path:
    """The repository's root."""
    return REPO


@pytest.fixture(autouse=True)
def _imports_are_set_aside():
    """A trainer asks for a full collection when it ends, which walks every object of torch, transformers and trl for
    half a second. They stay anyway: the collector need not look at them again."""
    if len(sys.modules) > _FROZEN[0] + 100:
        gc.collect()
        gc.freeze()
        _FROZEN[0] = len(sys.modules)


@pytest.fixture(autouse=True, scope="session")
def _imports_are_let_go():
    """At the end, so that nothing is told of as never freed."""
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _at_the_root(monkeypatch):
    """Relative paths in commands (models/starter, data/sft) mean the repository's."""
    monkeypatch.chdir(REPO)


@pytest.fixture(autouse=True)
def _the_log_as_it_was():
    """Commands set the log up for a terminal; the next test finds it as this one did."""
    from bedside.logs import LOGGER

    handlers, propagate, level = list(LOGGER.handlers), LOGGER.propagate, LOGGER.level
    yield
    LOGGER.handlers[:] = handlers
    LOGGER.propagate = propagate
    LOGGER.setLevel(level)


@pytest.fixture(autouse=True)
def _the_main_module_as_it_was():
    """Streamlit's tests put their page in its place; processes that are started later would run it."""
    yield
    sys.modules["__main__"] = _MAIN


@pytest.fixture(scope="session")
def tiny_tokenizer():
    """A byte-level BPE of 400 tokens with ChatML and think tokens, trained on four sentences."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
    core.train_from_iterator(
        _SENTENCES,
        trainers.BpeTrainer(
            vocab_size=398,
            special_tokens=special,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    core.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in ("<think>", "</think>")])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        eos_token="<|endoftext|>",
        pad_token="<|pad|>",
        extra_special_tokens=["<|im_start|>", "<|im_end|>"],
    )


@pytest.fixture(scope="session")
def tiny_model_dir(tmp_path_factory, tiny_tokenizer) -> str:
    """A random Qwen3 of two layers and width 64 with the tiny tokenizer, saved in bfloat16."""
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=len(tiny_tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        eos_token_id=tiny_tokenizer.eos_token_id,
        pad_token_id=tiny_tokenizer.pad_token_id,
        bos_token_id=None,
    )
    directory = tmp_path_factory.mktemp("tiny") / "model"
    Qwen3ForCausalLM(config).to(torch.bfloat16).save_pretrained(directory)
    tiny_tokenizer.save_pretrained(directory)
    return str(directory)


@pytest.fixture
def sft_file(tmp_path) -> Path:
    """Twelve short rows: thoughts and plain answers, one and two turns."""
    rows = []
    for number in range(6):
        rows.append(
            {"Question": f"Fever for {number} days?", "Complex_CoT": "Think of flu.", "Response": "Rest and drink."}
        )
        turns = [("human", "咳嗽怎么办？"), ("gpt", "多喝水。"), ("human", f"要吃药吗{number}？"), ("gpt", "先就医。")]
        rows.append({"conversations": [{"from": who, "value": text} for who, text in turns]})
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def loud_parts(tiny_model_dir):
    """Model, tokenizer and template of the tiny model, whose answers differ from question to question: fresh weights
    repeat one token for ever, these say something new."""
    import torch

    from bedside import models

    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, "qwen3")
    model = models.load_base(tiny_model_dir, "float32").eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "_proj" in name:
                weight.mul_(12)
    return model, tokenizer, template


@pytest.fixture
def said(monkeypatch) -> list[str]:
    """What a person is told, line by line."""
    lines: list[str] = []
    monkeypatch.setattr("bedside.logs.info", lines.append)
    monkeypatch.setattr("bedside.logs.warn", lambda text: lines.append(f"warning: {text}"))
    return lines
