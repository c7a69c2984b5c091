"""lm-evaluation-harness: its results as records, what is refused, and a task of its own where it is installed.

sh run_tests.sh tests/evaluate/test_lm_eval.py
"""

import copy
import importlib.util
import json

import pytest

from bedside.answers import Sampling
from bedside.data import tokens
from bedside.errors import ConfigError
from bedside.evaluate import lm_eval as harness
from bedside.evaluate.task import Settings, Weights
from bedside.templates import get

INSTALLED = importlib.util.find_spec("lm_eval") is not None
needed = pytest.mark.skipif(not INSTALLED, reason="lm-evaluation-harness is not installed: pip install lm_eval")
RESULTS = {
    "results": {
        "medqa_4options": {
            "alias": "medqa_4options", "acc,none": 0.5, "acc_stderr,none": 0.1, "acc_norm,none": 1.0,
            "acc_norm_stderr,none": 0.0, "sample_len": 20,
        },
        "gsm8k": {"exact_match,strict-match": 0.25, "exact_match_stderr,strict-match": "N/A"},
        "wikitext": {"word_perplexity,none": 12.0, "word_perplexity_stderr,none": "N/A"},
        "broken": {"acc,none": float("nan"), "acc_stderr,none": 0.1},
    },
    "n-samples": {"medqa_4options": {"original": 1273, "effective": 20}, "gsm8k": {"original": 8, "effective": 8}},
    "higher_is_better": {"medqa_4options": {"acc": True}, "wikitext": {"word_perplexity": False}},
}  # fmt: skip


def test_results_become_records():
    found = {(one["task"], one["measure"]): one for one in harness.records_of(RESULTS, "0.4.13")}
    assert list(found) == [
        ("medqa_4options", "acc"), ("medqa_4options", "acc_norm"), ("gsm8k", "exact_match (strict-match)"),
        ("wikitext", "word_perplexity"),
    ]  # fmt: skip
    acc = found["medqa_4options", "acc"]
    assert (acc["value"], acc["n"], acc["better"]) == (0.5, 20, "higher")
    assert (acc["low"], acc["high"]) == (pytest.approx(0.304, abs=1e-3), pytest.approx(0.696, abs=1e-3))
    assert acc["source"] == "lm-evaluation-harness 0.4.13"


def test_an_error_of_zero_is_no_certainty():
    found = {one["measure"]: one for one in harness.records_of(RESULTS)}
    all_right = found["acc_norm"]  # 20 of 20: Wilson's interval begins at 20 / (20 + 1.96 ** 2)
    assert (all_right["low"], all_right["high"]) == (pytest.approx(0.8389, abs=1e-4), 1.0)
    without = found["exact_match (strict-match)"]  # 2 of 8
    assert 0.06 < without["low"] < 0.08 and 0.58 < without["high"] < 0.60
    assert (found["word_perplexity"]["low"], found["word_perplexity"]["high"]) == (None, None)
    assert found["word_perplexity"]["better"] == "lower"


def test_a_share_stays_between_0_and_1():
    results = {"results": {"t": {"acc,none": 0.98, "acc_stderr,none": 0.05}}}
    assert harness.records_of(results)[0]["high"] == 1.0


def test_nothing_becomes_no_record():
    assert harness.records_of({}) == []


def test_where_it_is_missing_a_sentence_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="lm-evaluation-harness is not installed here; run: pip install 'lm_eval"):
        harness.check(["medqa_4options"])


def test_a_server_cannot_be_asked_for_probabilities():
    tasks = {"medqa_4options": type("T", (), {"OUTPUT_TYPE": "multiple_choice"})()}
    with pytest.raises(ConfigError, match="--lm_eval medqa_4options: scored by probabilities"):
        harness._refuse_likelihood(tasks)
    harness._refuse_likelihood({"gsm8k": type("T", (), {"OUTPUT_TYPE": "generate_until"})()})


@needed
def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match="no such task; did you mean medqa_4options"):
        harness.check(["medqa_4option"])


@needed
def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: no such file; expected a task's YAML file"):
        harness.check([str(tmp_path / "none.yaml")])


def test_another_task_file_makes_the_results_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(harness, "_version", lambda: "0.4.13")
    path = tmp_path / "own.yaml"
    path.write_text("task: own\n")
    made = [harness.made_of([str(path), "medqa"], Settings(Sampling(), enable_thinking=wish)) for wish in (None, True)]
    assert made[0]["tasks"]["medqa"] is None and made[0] != made[1]
    path.write_text("task: other\n")
    assert harness.made_of([str(path), "medqa"], Settings(Sampling())) != made[0]


@needed
def test_no_task_is_refused():
    with pytest.raises(ConfigError, match="names no task"):
        harness.check([])


@pytest.fixture
def own_task(tmp_path) -> str:
    """A multiple-choice task of the harness on a file of our own."""
    rows = [{"q": f"Which of {n}?", "c": ["gout", "flu"], "a": n % 2} for n in range(6)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    task = tmp_path / "own_task.yaml"
    task.write_text(
        f"task: own_task\ndataset_path: json\ndataset_kwargs:\n  data_files:\n    test: {tmp_path}/rows.jsonl\n"
        'test_split: test\noutput_type: multiple_choice\ndoc_to_text: "{{q}}"\ndoc_to_choice: "{{c}}"\n'
        'doc_to_target: "{{a}}"\nmetric_list:\n  - metric: acc\n',
        encoding="utf-8",
    )
    return str(task)


@needed
def test_a_task_runs_on_the_loaded_model(own_task, tiny_model_dir, tiny_tokenizer, monkeypatch, tmp_path):
    from transformers import AutoModelForCausalLM

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    template, tokenizer = get("qwen3"), copy.deepcopy(tiny_tokenizer)
    tokenizer.chat_template = template.source
    encoding = tokens.encoding_for(tokenizer, template, 512)
    weights = Weights(AutoModelForCausalLM.from_pretrained(tiny_model_dir), tokenizer, encoding)
    subject = type("Here", (), {"name": "tiny", "engine": None, "weights": weights})()
    found = harness.records(subject, [own_task], Settings(Sampling(), batch=2, most=4))
    assert [(one["task"], one["measure"], one["n"]) for one in found] == [("own_task", "acc", 4)]
    assert found[0]["value"] in (0, 0.25, 0.5, 0.75, 1) and found[0]["low"] < found[0]["high"]


@needed
def test_a_task_whose_data_is_not_there_is_told(own_task, tmp_path):
    (tmp_path / "rows.jsonl").unlink()
    with pytest.raises(ConfigError, match="cannot load the task or its data"):
        harness.check([own_task])
