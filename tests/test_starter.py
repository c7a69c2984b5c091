"""The starter model: a tiny build from start to end, and what is shipped in models/starter."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bedside import lineage, starter
from bedside.synth import corpus, documents, facts, measures

SHIPPED = Path(__file__).resolve().parents[1] / "models" / "starter"
ROWS = facts.load()
CHAT = "<|im_start|>assistant\n<think>\n想\n</think>\n\n答<|im_end|>"


@pytest.fixture(scope="module")
def small():
    return corpus.make_tokenizer(ROWS, 7, 1200, 300)


@pytest.fixture
def tiny(monkeypatch):
    """A shape and a measure that a test can afford."""
    shape = {"hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}
    monkeypatch.setattr(starter, "SHAPE", shape | {"head_dim": 64, "intermediate_size": 128})
    monkeypatch.setattr(starter, "HELD_OUT_DOCUMENTS", 30)
    monkeypatch.setattr(starter, "MEASURES", 2)
    # A fixed set of chunks per document count is all that determinism needs; small ones make several.
    monkeypatch.setattr(corpus, "CHUNK", 40)


def build(directory):
    flags = "--documents 160 --epochs 2 --vocab_size 800 --batch_tokens 1024 --device cpu --processes 1"
    assert starter.main(["--output_dir", str(directory), "--seed", "3", *flags.split()]) == 0
    return json.loads((directory / "training_curve.json").read_text())


def test_a_tiny_build_learns_saves_and_is_the_same_again(tiny, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    first, second = build(tmp_path / "a"), build(tmp_path / "b")
    assert first == second and lineage.identity(tmp_path / "a") == lineage.identity(tmp_path / "b")
    values = [point["heldout_document_perplexity"] for point in first]
    assert values[-1] < 0.8 * values[0]
    record = lineage.read(tmp_path / "a")
    assert record["stage"] == "starter" and record["kind"] == "full" and record["parents"] == []
    assert record["metrics"]["tokens_seen"] == first[-1]["tokens"]
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    assert str(model.dtype) == "torch.bfloat16" and model.config.model_type == "qwen3"
    assert len(tokenizer) == model.config.vocab_size == 800
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id


def test_rows_of_tokens_that_never_occurred_look_like_the_others_and_differ_from_each_other(tiny, small):
    import torch

    model = starter.build_model(small, 1)
    ids = np.arange(0, len(small) - 50, dtype=np.uint16)
    with torch.no_grad():
        model.get_input_embeddings().weight[-50:] = 9.0  # what being pushed away for long does: all alike and far off
    unused = starter.wake_unused_rows(model, ids, 5)
    assert unused == list(range(len(small) - 50, len(small)))
    weight = model.get_input_embeddings().weight.detach()
    lengths = weight.norm(dim=1)
    assert torch.allclose(lengths[-50:], lengths[:-50].median().expand(50), rtol=1e-3)
    woken = torch.nn.functional.normalize(weight[-50:], dim=1)
    assert (woken @ woken.T - torch.eye(50)).abs().max() < 0.7
    assert model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()


def check_tokenizer(tokenizer):
    assert tokenizer.chat_template is None and tokenizer.bos_token is None
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|endoftext|>", "<|pad|>")
    pieces = tokenizer.convert_ids_to_tokens(tokenizer(CHAT)["input_ids"])
    assert {"<|im_start|>", "<|im_end|>", "<think>", "</think>"} <= set(pieces)
    text = tokenizer.decode(tokenizer(CHAT)["input_ids"], skip_special_tokens=True)
    assert text == "assistant\n<think>\n想\n</think>\n\n答"
    for text in documents.documents(ROWS, 100, 9):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_the_tokenizer_keeps_thought_marks_and_drops_turn_marks(small):
    check_tokenizer(small)
    assert len(small) == 1200


def test_tokens_do_not_depend_on_the_number_of_processes(small, monkeypatch):
    monkeypatch.setattr(corpus, "CHUNK", 30)
    one = corpus.tokenised(small, ROWS, 100, 7, processes=1)
    two = corpus.tokenised(small, ROWS, 100, 7, processes=2)
    assert one.dtype == np.uint16 and np.array_equal(one, two)
    joined = 100 - (one == small.eos_token_id).sum()  # some documents share one paragraph break instead
    assert 0 < joined < 40


def test_the_learning_rate_rises_then_falls_to_a_tenth():
    rates = [starter.learning_rate_at(step / 100, 1.0) for step in range(101)]
    assert rates[0] < 0.1 and max(rates) > 0.99 and rates.index(max(rates)) <= 4
    assert math.isclose(rates[-1], 0.1) and rates[4:] == sorted(rates[4:], reverse=True)


def test_the_shape_stays_under_eight_million_parameters():
    from types import SimpleNamespace

    class Words(SimpleNamespace):
        def __len__(self):
            return 5000

    assert starter.build_model(Words(eos_token_id=0, pad_token_id=3), 1).num_parameters() < starter.MOST_PARAMETERS


def test_the_shipped_model_is_the_one_its_lineage_describes():
    record = lineage.read(SHIPPED)
    assert record is not None, f"{SHIPPED} is not there; make it with python -m bedside.starter"
    assert record["id"] == lineage.identity(SHIPPED)
    for name, (size, digest) in record["files"].items():
        assert (SHIPPED / name).stat().st_size == size and lineage.file_sha256(SHIPPED / name) == digest, name
    assert sum(path.stat().st_size for path in SHIPPED.iterdir()) < 17_000_000
    source = record["data"][0]
    assert source["sha"] == lineage.file_sha256(facts.PATH), "conditions.jsonl has changed since the starter was made"


def test_the_shipped_tokenizer_is_complete():
    from transformers import AutoTokenizer

    assert SHIPPED.is_dir(), f"{SHIPPED} is not there; make it with python -m bedside.starter"
    check_tokenizer(AutoTokenizer.from_pretrained(SHIPPED))


def test_the_shipped_model_reads_held_out_documents_as_well_as_it_says():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    record = lineage.read(SHIPPED)
    assert record is not None, f"{SHIPPED} is not there; make it with python -m bedside.starter"
    tokenizer = AutoTokenizer.from_pretrained(SHIPPED)
    model = AutoModelForCausalLM.from_pretrained(SHIPPED, dtype="float32")
    texts = list(documents.heldout_documents(ROWS, starter.HELD_OUT_DOCUMENTS, record["seed"]))
    value = measures.perplexity(model, corpus.flat_ids(tokenizer.backend_tokenizer, texts), "cpu")
    stated = record["metrics"]["heldout_document_perplexity"]
    assert value == pytest.approx(stated, rel=0.05)  # it was measured before rounding to bf16
    cases = measures.naming_cases(tokenizer, ROWS, record["seed"])
    assert measures.naming(model, cases, "cpu") >= record["metrics"]["heldout_naming"] - 0.02
    assert stated < record["metrics"]["untrained_perplexity"] / 50
