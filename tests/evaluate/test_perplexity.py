"""Perplexity of answers: against a plain forward, of a model whose loss is known, thought and answer apart.

sh run_tests.sh tests/evaluate/test_perplexity.py
"""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from bedside import templates
from bedside.answers import Sampling
from bedside.data import tokens
from bedside.errors import ConfigError, DataError
from bedside.evaluate import perplexity, rows
from bedside.evaluate.task import Settings, Weights

ROW = {"Question": "Fever?", "Complex_CoT": "Think of flu.", "Response": "Rest and drink."}
PLAIN = {"prompt": "咳嗽怎么办？", "response": "多喝水。"}


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    from bedside import models

    return models.load_base(tiny_model_dir, "float32").eval()


def settings(**options) -> Settings:
    most = options.pop("most", None)
    return Settings(Sampling(8, 0.0), batch=2, most=most, options=options)


def written(tmp_path, *rows_, name="eval.jsonl") -> str:
    path = tmp_path / name
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows_), encoding="utf-8")
    return str(path)


def weights(model, tokenizer, template: str, longest: int = 512) -> Weights:
    from bedside import models

    found = models.install_template(tokenizer, template, advise=False)
    return Weights(model, tokenizer, tokens.encoding_for(tokenizer, found, longest))


@pytest.fixture
def tokenizer(tiny_model_dir):
    from bedside import models

    return models.load_tokenizer(tiny_model_dir)


def by_hand(model, ids, begin, end) -> float:
    """Nats of ids[begin:end], one token after the other."""
    import torch

    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids])).logits[0].double()
    return -sum(float(logits[at - 1].log_softmax(-1)[ids[at]]) for at in range(begin, end))


@pytest.mark.parametrize("template", ["qwen3", "vicuna", "alpaca"])
def test_nats_are_those_of_a_plain_forward(model, tokenizer, tmp_path, template):
    loaded = weights(model, tokenizer, template)
    items = perplexity.load(written(tmp_path, ROW, PLAIN), settings())
    cases = perplexity.run(SimpleNamespace(weights=loaded), items, settings())
    for item, case in zip(items, cases, strict=True):
        sample, _ = perplexity.encoded(item.chat, loaded)
        (begin, end), *more = sample.spans
        assert more == []
        assert case.weights["perplexity"] == end - begin
        assert case.values["perplexity"] == pytest.approx(by_hand(model, sample.ids, begin, end), abs=1e-4)


def test_thought_and_answer_add_up(model, tokenizer, tmp_path):
    loaded = weights(model, tokenizer, "qwen3")
    (case,) = perplexity.run(
        SimpleNamespace(weights=loaded), perplexity.load(written(tmp_path, ROW), settings()), settings()
    )
    parts = ("thought_perplexity", "answer_perplexity")
    assert sum(case.values[part] for part in parts) == pytest.approx(case.values["perplexity"])
    assert sum(case.weights[part] for part in parts) == case.weights["perplexity"]
    item = rows.chat("x", SimpleNamespace(value=ROW, origin="x:1"))
    sample, thought = perplexity.encoded(item, loaded)
    begin, end = sample.spans[0]
    assert tokenizer.decode(sample.ids[begin : begin + thought]) == "<think>\nThink of flu.\n</think>"
    assert tokenizer.decode(sample.ids[begin + thought : end]).startswith("\n\nRest and drink.")


@pytest.mark.parametrize("name", sorted(templates.REGISTRY))
def test_the_thought_ends_with_its_tag_in_every_template(name, tokenizer):
    from bedside import models
    from bedside.data.conversation import RowError

    template = templates.get(name)
    # The tokens that a family has and this tokenizer lacks; markers are then single tokens, as in the family.
    tokenizer.add_tokens([token for token in template.required_tokens if token not in tokenizer.get_vocab()], True)
    found = models.install_template(tokenizer, name, advise=False)
    loaded = Weights(None, tokenizer, tokens.encoding_for(tokenizer, found, 4096))
    item = rows.chat("x", SimpleNamespace(value=ROW, origin="x:1"))
    try:
        sample, thought = perplexity.encoded(item, loaded)
    except RowError as error:
        pytest.skip(f"{name}: this tokenizer cannot hold it ({error})")
    begin, end = sample.spans[0]
    first, rest = (
        tokenizer.decode(ids) for ids in (sample.ids[begin : begin + thought], sample.ids[begin + thought : end])
    )
    assert ("Think of flu." in first) is (thought > 0)
    assert "Think" not in rest
    assert rest.replace("<|message|>", "").lstrip().startswith("Rest") or "Rest and drink." in rest
    assert "</think>" not in rest


def test_an_answer_without_a_thought_has_no_perplexity_of_one(model, tokenizer, tmp_path):
    loaded = weights(model, tokenizer, "qwen3")
    (case,) = perplexity.run(
        SimpleNamespace(weights=loaded), perplexity.load(written(tmp_path, PLAIN), settings()), settings()
    )
    assert case.values["thought_perplexity"] is None
    assert case.values["answer_perplexity"] == case.values["perplexity"]


def test_a_true_perplexity_of_four_is_four_at_every_size():
    import torch

    class Uniform:
        """Gives each of four tokens the probability 1/4."""

        training = False

        def get_input_embeddings(self):
            return torch.nn.Embedding(4, 2)

        def train(self, mode=True):
            return self

        eval = train

        def __call__(self, input_ids):
            return SimpleNamespace(logits=torch.zeros(*input_ids.shape, 4))

    for n in (1, 10, 100, 1000):
        samples = [tokens.Sample([0] + [i % 4] * (1 + i % 7), [(1, 2 + i % 7)]) for i in range(n)]
        lost = perplexity.nats(Uniform(), 0, samples, batch=16)
        assert [len(one) for one in lost] == [1 + i % 7 for i in range(n)]
        assert math.exp(np.concatenate(lost).mean()) == pytest.approx(4.0, abs=1e-6)


def test_batches_change_nothing(model):
    source = np.random.default_rng(0)
    samples = [tokens.Sample(source.integers(0, 300, size).tolist(), [(size // 2, size)]) for size in range(4, 30)]
    one, many = (perplexity.nats(model, 0, samples, batch=batch) for batch in (1, 8))
    for alone, together in zip(one, many, strict=True):
        assert np.allclose(alone, together, atol=1e-4)


def test_only_the_last_answer_is_measured(model, tokenizer, tmp_path):
    turns = [("human", "咳嗽怎么办？"), ("gpt", "多喝水。"), ("human", "要吃药吗？"), ("gpt", "先就医。")]
    row = {"conversations": [{"from": who, "value": text} for who, text in turns]}
    for name in ("qwen3", "vicuna"):
        loaded = weights(model, tokenizer, name)
        (item,) = perplexity.load(written(tmp_path, row), settings())
        sample, _ = perplexity.encoded(item.chat, loaded)
        (begin, end), *more = sample.spans
        assert more == [] and tokenizer.decode(sample.ids[begin:end]).startswith(("先就医。", " 先就医。"))


def test_a_system_turn_of_the_run_stands_before_the_chat(tokenizer):
    loaded = weights(None, tokenizer, "qwen3")
    item = rows.chat("x", SimpleNamespace(value=PLAIN, origin="x:1"))
    sample, _ = perplexity.encoded(item, loaded, "Answer briefly.")
    assert "Answer briefly." in tokenizer.decode(sample.ids)


def test_training_rows_are_measured_apart(model, tokenizer, tmp_path):
    loaded = weights(model, tokenizer, "qwen3")
    train = written(
        tmp_path, *[{**ROW, "Question": f"Fever {i}?"} for i in range(9)], {"text": "no chat"}, name="t.jsonl"
    )
    chosen = settings(train_file_dir=[train], most=3)
    items = perplexity.load(written(tmp_path, ROW, PLAIN), chosen)
    assert [item.seen for item in items] == [False, False, True, True, True]
    assert items == perplexity.load(written(tmp_path, ROW, PLAIN), chosen), "the sample is seeded"
    cases = perplexity.run(SimpleNamespace(weights=loaded), items, chosen)
    assert [case.values["perplexity"] is None for case in cases] == [False, False, True, True, True]
    assert [case.values["training_perplexity"] is None for case in cases] == [True, True, False, False, False]
    assert [case.groups["rows"] for case in cases] == ["unseen"] * 2 + ["training"] * 3
    assert len({case.id for case in cases}) == 5


def test_every_training_row_is_as_likely_as_another(tmp_path):
    train = written(tmp_path, *[{**PLAIN, "prompt": f"q{i}"} for i in range(10)])
    counts = np.zeros(10)
    for seed in range(300):
        for item in perplexity.training_sample([train], 3, seed):
            counts[int(item.chat.messages[-1]["content"][1:])] += 1
    assert counts.sum() == 900
    assert counts.min() > 60 and counts.max() < 125  # 90 expected, sd 8


def test_a_row_that_does_not_fit_is_a_case_without_values(model, tokenizer, tmp_path):
    loaded = weights(model, tokenizer, "qwen3", longest=40)
    path = written(tmp_path, PLAIN, {"prompt": "word " * 200, "response": "yes"})
    cases = perplexity.run(SimpleNamespace(weights=loaded), perplexity.load(path, settings()), settings())
    assert [case.values["perplexity"] is None for case in cases] == [False, True]
    assert "W_OVERLONG" in cases[1].shown["failed"]
    assert cases[1].id == "eval.jsonl:2"


def test_rows_without_an_answer_are_counted(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr("bedside.logs.warn", told.append)
    path = written(tmp_path, PLAIN, {"prompt": "Fever?"}, {"prompt": ""}, [1])
    assert len(perplexity.load(path, settings())) == 1
    assert told[-1] == f"{path}: 4 rows = 1 rows with an answer + 2 that cannot be used + 1 without what is asked for"


def test_a_file_without_any_answer_is_refused(tmp_path):
    with pytest.raises(DataError, match="no rows with an answer in 1 rows"):
        perplexity.load(written(tmp_path, {"prompt": "Fever?"}), settings())
    with pytest.raises(ConfigError, match="no such file"):
        perplexity.load(str(tmp_path / "nothing.jsonl"), settings())
