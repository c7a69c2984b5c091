"""Multiple choice by likelihood: against a plain forward pass by hand, and on probabilities known beforehand.

sh run_tests.sh tests/evaluate/test_choice_likelihood.py
"""

import logging
import math

import pytest

from bedside.answers import Sampling
from bedside.data import tokens
from bedside.errors import ConfigError
from bedside.evaluate.choice import TASK, likelihood
from bedside.evaluate.choice.likelihood import Scored, Weighed
from bedside.evaluate.choice.question import Question
from bedside.evaluate.task import Settings, Weights
from bedside.templates import get

GOUT = Question("1", "Which?", (("A", "gout"), ("B", "flu"), ("C", "a cold")), frozenset("B"))
LONG = Question("2", "Which of these then?", (("A", "咳嗽"), ("B", "发热")), frozenset("A"))


@pytest.fixture(scope="module")
def model(tiny_model_dir):
    """The tiny model in float32, so that a batch and a single row differ by rounding only."""
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model_dir, dtype="float32")


@pytest.fixture
def weights(model, tiny_tokenizer):
    def make(template="qwen3", longest=512):
        return Weights(model, tiny_tokenizer, tokens.encoding_for(tiny_tokenizer, get(template), longest))

    return make


def settings(**options):
    return Settings(Sampling(), batch=3, options={"choice_by": ["likelihood"], **options})


def by_hand(model, tokenizer, prompt, answer):
    """Summed log-probability of `answer` behind `prompt`, one text at a time."""
    import torch

    before = tokenizer.encode(prompt, add_special_tokens=False)
    ids = tokenizer.encode(prompt + answer, add_special_tokens=False)
    assert ids[: len(before)] == before
    with torch.no_grad():
        found = torch.log_softmax(model(input_ids=torch.tensor([ids])).logits[0], -1)
    return sum(found[place - 1, ids[place]].item() for place in range(len(before), len(ids)))


PROMPT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"


def test_letters_as_a_plain_forward_pass_gives_them(weights, model, tiny_tokenizer):
    found = likelihood.run(weights(), [GOUT, LONG], settings())
    assert [one.order for one in found[0].weighed] == [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    asked = "Which?\nA. flu\nB. a cold\nC. gout\nAnswer with the letter of the one right option."
    expected = [by_hand(model, tiny_tokenizer, PROMPT.format(asked), letter) for letter in "ABC"]
    assert found[0].weighed[1].nats == pytest.approx(expected, abs=1e-4)
    assert len(found[1].weighed) == 2 and all(len(one.nats) == 2 for one in found[1].weighed)


def test_texts_as_a_plain_forward_pass_gives_them(weights, model, tiny_tokenizer):
    found = likelihood.run(weights(), [GOUT], settings(choice_score="text"))[0]
    expected = [by_hand(model, tiny_tokenizer, PROMPT.format("Which?"), text) for text in ("gout", "flu", "a cold")]
    assert found.weighed[0].nats == pytest.approx(expected, abs=1e-4)
    assert found.bytes == [4, 3, 6]


def test_a_model_without_logits_to_keep_gives_the_same(weights, model, monkeypatch):
    expected = likelihood.run(weights(), [GOUT], settings())[0].weighed
    plain = model.forward
    monkeypatch.setattr(model, "forward", lambda input_ids, use_cache=None: plain(input_ids=input_ids))
    for one, other in zip(likelihood.run(weights(), [GOUT], settings())[0].weighed, expected, strict=True):
        assert one.nats == pytest.approx(other.nats, abs=1e-4)


@pytest.mark.parametrize("template", ["qwen3", "qwen3_thinking", "chatml", "vicuna", "alpaca", "glm4_moe", "base"])
def test_the_letter_is_found_behind_every_kind_of_prompt(weights, tiny_tokenizer, template):
    around = likelihood.frame(weights(template), [{"role": "user", "content": "?"}], "ABCD")
    assert {letter: tiny_tokenizer.decode(list(ids)).strip() for letter, ids in around.letters.items()} == {
        letter: letter for letter in "ABCD"
    }


def test_letters_of_several_tokens_are_weighed_whole():
    rows = []
    around = likelihood.Frame(0, 1, {"A": (5, 6), "B": (5, 7)})
    spots = likelihood._letter_rows(rows, [1, 2], around, "AB")
    assert [row.ids for row in rows] == [[1, 2, 5, 6], [1, 2, 5, 7]]
    assert [row.wanted for row in rows] == [[(1, 5), (2, 6)], [(1, 5), (2, 7)]]
    assert spots == [[(0, 0), (0, 1)], [(1, 0), (1, 1)]]


def test_a_question_that_does_not_fit_is_wrong_and_told(weights, caplog):
    long = Question("3", "very " * 300, GOUT.options, frozenset("A"), where="x.jsonl:3")
    subject = type("Here", (), {"name": "tiny", "engine": None, "weights": weights(longest=200)})()
    cases = TASK.run(subject, [GOUT, long], settings())
    assert cases[1].values["accuracy_likelihood"] == 0 and cases[0].values["letter_mass"] > 0
    assert "W_OVERLONG" in cases[1].shown["likelihood"]
    assert "x.jsonl:3: W_OVERLONG" in caplog.text and "counted as wrong" in caplog.text


def test_several_answers_are_left_to_generation(weights, caplog):
    caplog.set_level(logging.INFO, "bedside")
    several = Question("3", "Which?", GOUT.options, frozenset("AB"), several=True)
    subject = type("Here", (), {"name": "tiny", "engine": None, "weights": weights()})()
    cases = TASK.run(subject, [several], settings())
    assert set(cases[0].values.values()) == {None}
    assert "1 questions with several answers are scored by what is written only" in caplog.text


def test_an_unusable_template_is_told(weights, monkeypatch):
    def broken(*args):
        raise likelihood.RowError("E_BOUNDARY", "the answer begins inside a token")

    monkeypatch.setattr(likelihood, "frame", broken)
    with pytest.raises(ConfigError, match="the answer begins inside a token; give --template_name"):
        likelihood.run(weights(), [GOUT], settings())


def scored(*nats):
    orders = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    return Scored([Weighed(order, list(one)) for order, one in zip(orders, nats, strict=False)])


LOW, HIGH = math.log(0.1), math.log(0.3)


def test_one_who_knows_is_right_in_every_order():
    # flu stands at B, then A, then C
    found = likelihood.values(GOUT, scored((LOW, HIGH, LOW), (HIGH, LOW, LOW), (LOW, LOW, HIGH)))
    assert found["accuracy_likelihood"] == 1 and found["consistent_likelihood"] == 1
    assert found["position_bias_likelihood"] == 0
    assert found["probability"] == pytest.approx(0.6) and found["letter_mass"] == pytest.approx(0.5)


def test_one_who_prefers_a_letter_falls_to_chance():
    found = likelihood.values(GOUT, scored(*[(LOW, HIGH, LOW)] * 3))
    assert found["accuracy_likelihood"] == pytest.approx(1 / 3) and found["consistent_likelihood"] == 0
    assert found["position_bias_likelihood"] == 1


def test_equal_probabilities_get_what_a_coin_would():
    found = likelihood.values(GOUT, scored((LOW, LOW, LOW)))
    assert found["accuracy_likelihood"] == pytest.approx(1 / 3) == found["probability"]
    half = likelihood.values(GOUT, scored((HIGH, HIGH, LOW)))
    assert half["accuracy_likelihood"] == 0.5


def test_equal_probabilities_in_every_order_are_not_called_consistent():
    found = likelihood.values(GOUT, scored(*[(LOW, LOW, LOW)] * 3))
    assert found["consistent_likelihood"] == 0 and found["position_bias_likelihood"] == 0


def test_length_is_taken_out_per_byte():
    by_text = Scored([Weighed((0, 1, 2), [-4.0, -3.6, -5.4])], bytes=[4, 3, 6])  # per byte -1, -1.2, -0.9
    found = likelihood.values(GOUT, by_text)
    assert found["accuracy_likelihood"] == 1 and found["accuracy_normalised"] == 0
    assert found["letter_mass"] is None and found["consistent_likelihood"] is None
