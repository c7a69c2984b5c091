"""Which judge the flags ask for, and which of them contradict each other.

sh run_tests.sh tests/evaluate/test_judging_choose.py
"""

import pytest

from bedside.errors import ConfigError
from bedside.evaluate import judging
from bedside.evaluate.judging.model import ModelJudge
from bedside.evaluate.judging.rules import RuleJudge

URL = {"judge_url": "http://127.0.0.1:9/v1", "judge_model": "m"}


@pytest.mark.parametrize("options, kind", [
    ({}, RuleJudge), ({"judge": None}, RuleJudge), ({"judge": "rules"}, RuleJudge), ({"judge": "Rules"}, RuleJudge),
    (URL, ModelJudge), ({"judge": "endpoint", **URL}, ModelJudge), ({"judge": "llm", **URL}, ModelJudge),
])  # fmt: skip
def test_the_judge_that_is_asked_for(options, kind):
    assert type(judging.judge_of(options)) is kind


def test_settings_reach_the_judge():
    made = judging.judge_of(
        {**URL, "judge_timeout": 5.0, "judge_retries": 0, "judge_price_in": 1.5, "judge_cache": None}
    )
    used = made.client.settings
    assert (used.timeout, used.retries, used.price_in, used.concurrency) == (5.0, 0, 1.5, 8)


@pytest.mark.parametrize("options, told", [
    ({"judge": "rulse"}, "--judge rulse: did you mean rules"),
    ({"judge": "xyz"}, "--judge xyz: known: rules, reward, endpoint"),
    ({"judge": "http://h/v1"}, "an address belongs to --judge_url"),
    ({"judge": "endpoint"}, "--judge endpoint: needs --judge_url\n--judge endpoint: needs --judge_model"),
    ({"judge_url": "http://h/v1"}, "needs --judge_model"),
    ({"judge": "rules", **URL}, "--judge_model: read with --judge endpoint only.*\n--judge_url: read with"),
    ({"judge": "reward"}, "needs --reward_model_path"),
    ({"judge": "rules", "judge_rubric": "x.txt"}, "--judge_rubric: read with --judge endpoint only"),
    ({**URL, "judge_rubric": "none.txt"}, "judge rubric none.txt: no such file"),
    ({"judge": "reward", "reward_model_path": "models/starter"}, "a language model, which gives no score"),
    ({"judge": "reward", "reward_model_path": "no/such/place"}, "no/such/place"),
])  # fmt: skip
def test_options_that_cannot_work_are_told_before_anything_is_loaded(options, told):
    with pytest.raises(ConfigError, match=f"(?s){told}"):
        judging.judge_of(options)


def test_several_judges_have_a_vote_each():
    made = judging.judges_of({"judge": "rules, endpoint", **URL})
    assert [type(judge) for judge in made] == [RuleJudge, ModelJudge]
    assert [judge.name for judge in judging.judges_of({})] == ["rules"]
    with pytest.raises(ConfigError, match="names a judge twice"):
        judging.judges_of({"judge": ["rules", "rule"]})
    with pytest.raises(ConfigError, match="--judge_url: read with --judge endpoint only"):
        judging.judges_of({"judge": "rules,reward", "reward_model_path": "x", "judge_url": "http://h/v1"})
