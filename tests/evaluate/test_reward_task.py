"""A reward model as a task, as a judge and as what is examined, with a tiny one made in-process.

sh run_tests.sh tests/evaluate/test_reward_task.py
"""

import json
import math
from types import SimpleNamespace

import pytest

from bedside import models, reward_model, templates
from bedside.answers import Sampling
from bedside.data import tokens
from bedside.errors import ConfigError, DataError
from bedside.evaluate import judging, pairs_task, results, reward_task
from bedside.evaluate.judging.scored import RewardModel
from bedside.evaluate.task import Case, Settings, Weights
from tests.evaluate.judging_pairs import answer, many, question


@pytest.fixture(scope="module")
def reward_dir(tmp_path_factory, tiny_model_dir, tiny_tokenizer) -> str:
    """A whole reward model on the tiny one, whose head is drawn."""
    import copy

    import torch

    torch.manual_seed(3)
    made = models.load_base(tiny_model_dir, num_labels=1)
    made.config.pad_token_id = tiny_tokenizer.pad_token_id
    made.score.weight.data = torch.randn_like(made.score.weight)
    place = tmp_path_factory.mktemp("rm") / "rm"
    made.save_pretrained(place)
    tokenizer = copy.deepcopy(tiny_tokenizer)
    models.install_template(tokenizer, "qwen3")
    tokenizer.save_pretrained(place)
    return str(place)


class Talker:
    """A subject that answers with what it was given."""

    name, engine, weights = "talker", None, None

    def __init__(self, said):
        self.said, self.asked = said, []

    def answers(self, chats, sampling, what):
        self.asked += chats
        return self.said[: len(chats)]


def settings(**options) -> Settings:
    return Settings(Sampling(), batch=2, options=options)


def direct(model, tokenizer, question_text: str, said) -> float:
    """The score of one conversation, alone and written by hand."""
    import torch

    # An answer without a thought is served, and so scored, behind an empty one.
    whole = said.text if "<think>" in said.text else f"<think>\n\n</think>\n\n{said.text}"
    text = f"<|im_start|>user\n{question_text}<|im_end|>\n<|im_start|>assistant\n{whole}<|im_end|>"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, 0].item()


def test_the_score_of_an_answer_is_that_of_its_whole_conversation(reward_dir, tiny_tokenizer):
    said = [answer("Rest."), answer("Drink a lot and rest.", None), answer("先就医。")]
    asked = [question("q1", "Fever?"), question("q2", "Cough for three days?"), question("q3", "咳嗽怎么办？")]
    talker = Talker(said)
    cases = reward_task.run(talker, asked, settings(reward_model_path=reward_dir))
    assert talker.asked == [item.messages for item in asked]
    model = models.load_base(reward_dir, num_labels=1).eval()
    wanted = [direct(model, tiny_tokenizer, item.text, text) for item, text in zip(asked, said, strict=True)]
    assert [case.values["reward"] for case in cases] == pytest.approx(wanted, abs=1e-2)
    assert cases[0].shown["thought"] == "hm" and cases[2].groups["language"] == "zh"
    found = results.estimate(reward_task.TASK.measures[0], cases)
    assert found.value == pytest.approx(sum(wanted) / 3, abs=1e-2) and found.n == 3


def test_an_answer_that_is_too_long_has_no_score_and_is_told(reward_dir, caplog):
    said = [answer("Rest."), answer("rest and drink " * 300)]
    cases = reward_task.run(Talker(said), [question("q1"), question("q2")], settings(reward_model_path=reward_dir))
    assert cases[0].values["reward"] is not None
    assert cases[1].values == {"reward": None, "unscored": 1.0}
    assert "toy.jsonl:2: E_REWARD" in caplog.text and "It has no score here" in caplog.text


def test_a_reward_model_prefers_its_higher_score(reward_dir):
    questions, first, second = many(5)
    judge = judging.judge_of({"judge": "reward", "reward_model_path": reward_dir})
    second[4] = first[4]
    cases = judging.judged(questions, first, second, judge)
    for case in cases:
        one, other = case.shown["why"]["first"], case.shown["why"]["second"]
        assert case.values["win"] == (0.5 if abs(one - other) <= 1e-4 else float(other > one))
        assert case.values["inconsistent"] is None
    assert cases[4].values["win"] == 0.5
    back = judging.judged(questions, second, first, judge)
    assert [case.values["win"] for case in back] == [1 - case.values["win"] for case in cases]
    assert "scores within 0.0001 are a tie" in judge.told()[0]


def test_an_answer_is_scored_once_however_many_it_is_compared_with(reward_dir):
    questions, first, second = many(5)
    judge = judging.judge_of({"judge": "reward", "reward_model_path": reward_dir})
    model, asked = judge.model._loaded(), []
    judge.model._model = lambda cases: asked.extend(cases) or model(cases)
    once = judging.judged(questions, first, second, judge)
    assert len(asked) == 10
    again = judging.judged(questions, first, [*second[:4], first[4]], judge)
    assert len(asked) == 10 and [case.values for case in again[:4]] == [case.values for case in once[:4]]
    assert again[4].values["win"] == 0.5


def test_what_is_no_reward_model_is_told_before_anything_is_asked(tiny_model_dir):
    with pytest.raises(ConfigError, match="the task reward needs --reward_model_path"):
        reward_task.TASK.load("data/eval/heldout_phrasings.jsonl", settings())
    with pytest.raises(ConfigError, match="a language model, which gives no score"):
        RewardModel(tiny_model_dir)


PAIRS = [
    {"prompt": "Fever?", "chosen": "Rest and drink.", "rejected": "No.", "fault": "short", "lang": "en"},
    {
        "prompt": "咳嗽怎么办？",
        "chosen": "先就医。",
        "rejected": "<think>\nhm\n</think>\n\n多喝水。",
        "fault": "thought",
    },
    {
        "conversations": [{"from": "human", "value": "Cough?"}],
        "chosen": "Measure it.",
        "rejected": "Listen first, now.",
    },
]


def pairs_file(tmp_path, *rows) -> str:
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def subject(reward_dir):
    tokenizer = models.load_tokenizer(reward_dir)
    template = models.install_template(tokenizer, None)
    model = models.load_base(reward_dir, num_labels=1)
    return SimpleNamespace(
        name="rm", engine=None, weights=Weights(model, tokenizer, tokens.encoding_for(tokenizer, template, 1 << 20))
    )


def test_pairs_are_ranked_by_their_scores(tmp_path, subject, tiny_tokenizer):
    items = pairs_task.load(pairs_file(tmp_path, *PAIRS), settings())
    assert [(item.id, item.groups) for item in items] == [
        ("pairs.jsonl:1", {"source": "pairs.jsonl", "language": "en", "fault": "short"}),
        ("pairs.jsonl:2", {"source": "pairs.jsonl", "language": "zh", "fault": "thought"}),
        ("pairs.jsonl:3", {"source": "pairs.jsonl", "language": "en"}),
    ]
    subject.weights.model.train()
    cases = pairs_task.run(subject, items, settings())
    assert subject.weights.model.training, "its mode stays"
    model = subject.weights.model.eval()
    chosen = direct(model, tiny_tokenizer, "Fever?", SimpleNamespace(text="Rest and drink."))
    rejected = direct(model, tiny_tokenizer, "Fever?", SimpleNamespace(text="No."))
    assert cases[0].shown["chosen_score"] == pytest.approx(chosen, abs=1e-2)
    assert cases[0].values["margin"] == pytest.approx(chosen - rejected, abs=2e-2)
    assert cases[0].values["longer"] == 1.0 and cases[1].values["longer"] == 0.0
    for case in cases:
        margin = case.values["margin"]
        p = 1 / (1 + math.exp(-margin))
        assert case.values["accuracy"] == float(margin > 0)
        assert case.values["nll"] == pytest.approx(-math.log(p)) and case.values["brier"] == pytest.approx(
            (1 - p) ** 2
        )
    lines = "\n".join(pairs_task.told(cases))
    assert "(always the longer answer)" in lines and "by fault:\n  short" in lines and "held-out" not in lines


def test_two_reward_models_are_compared_pair_by_pair():
    made = [[Case(f"p{n}", {"accuracy": value}) for n, value in enumerate(values)]
            for values in ([0.0] * 10, [1.0] * 10)]  # fmt: skip
    found = results.difference(pairs_task.TASK.measures[0], *made)
    assert (found.change, found.gained, found.lost) == (1.0, 10, 0) and found.p == pytest.approx(2 / 2**10)


def test_no_pair_vanishes(tmp_path, subject, caplog):
    long = {"prompt": "Fever?", "chosen": "rest " * 600, "rejected": "No."}
    items = pairs_task.load(pairs_file(tmp_path, PAIRS[0], {"prompt": "x", "chosen": "y"}, long), settings())
    assert "pairs.jsonl:2" in caplog.text and "3 rows = 2 pairs + 1 that cannot be used" in caplog.text
    cases = pairs_task.run(subject, items, settings())
    assert cases[1].values == dict.fromkeys(("accuracy", "margin", "nll", "brier", "longer"))
    assert "pairs.jsonl:3: W_OVERLONG" in caplog.text and "the model reads 512" in cases[1].shown["error"]
    assert pairs_task.told(cases) == ["fewer than two pairs were scored: there is no report card"]
    with pytest.raises(DataError, match="pairs.jsonl"):
        pairs_task.load(pairs_file(tmp_path, {"text": "no pair"}), settings())


def test_a_model_without_scores_is_refused(tiny_model_dir, tiny_tokenizer):
    model = models.load_base(tiny_model_dir)
    encoding = tokens.encoding_for(tiny_tokenizer, templates.get("qwen3"), 512)
    model.config.num_labels = 2
    talker = SimpleNamespace(name="sft", engine=None, weights=Weights(model, tiny_tokenizer, encoding))
    for weights in (talker.weights, None):
        talker.weights = weights
        with pytest.raises(ConfigError, match="the task pairs asks a reward model for scores, and sft gives none"):
            pairs_task.run(talker, [], settings())
    assert reward_model.HEADS
