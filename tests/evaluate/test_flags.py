"""The flags of evaluation.py against each other: sentences that say what to do, peers' names, all problems at once.

sh run_tests.sh tests/evaluate/test_flags.py
"""

import dataclasses
import subprocess
import sys

import pytest

from bedside import cli
from bedside.args import InferenceArguments
from bedside.errors import ConfigError
from bedside.evaluate import conflicts, registry
from bedside.evaluate.flags import EvaluationArguments, is_url, sampling


def parsed(*argv: str) -> EvaluationArguments:
    found = cli.parse((EvaluationArguments,), list(argv))
    conflicts.check(found)
    return found[EvaluationArguments]


def refused(*argv: str) -> str:
    with pytest.raises(ConfigError) as error:
        parsed(*argv)
    return str(error.value)


def test_the_defaults_evaluate_the_starter_greedily():
    args = parsed()
    assert (args.model_name_or_path, args.output_dir, args.batch_size) == ("models/starter", "outputs-evaluation", 32)
    drawn = sampling(args)
    assert (drawn.max_new_tokens, drawn.temperature, drawn.top_p, drawn.top_k, drawn.seed) == (512, 0.0, 1.0, 0, None)


@pytest.mark.parametrize(
    ("argv", "name", "value"),
    [
        (("--base_model", "m"), "model_name_or_path", "m"),
        (("--adapter_name_or_path", "a"), "lora_model", "a"),
        (("--peft_path", "a"), "lora_model", "a"),
        (("--template", "qwen3"), "template_name", "qwen3"),
        (("--task", "chat"), "tasks", ["chat"]),
        (("--tasks", "chat", "safety"), "tasks", ["chat", "safety"]),
        (("--tasks", "chat,safety"), "tasks", ["chat", "safety"]),
        (("--save_dir", "s"), "output_dir", "s"),
        (("--output_path", "s"), "output_dir", "s"),
        (("--limit", "9"), "max_eval_samples", 9),
        (("--limit", "9"), "max_eval_samples", 9),
        (("--eval_batch_size", "4"), "batch_size", 4),
        (("--quantization_bit", "4"), "load_in_4bit", True),
        (("--api_base", "http://127.0.0.1:1"), "server", "http://127.0.0.1:1"),
        (("--judge", "rules,reward", "--compare_with", "b", "--reward_model_path", "r"), "judge", ["rules", "reward"]),
        (("--judge_url", "http://127.0.0.1:1/v1", "--judge_model", "j", "--compare_with", "b"), "judge", ["endpoint"]),
    ],
)
def test_names_of_other_toolkits_mean_the_same(argv, name, value):
    assert getattr(parsed(*argv), name) == value


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (("--tasks", "perplexty"), "--tasks perplexty: no such task; did you mean perplexity?"),
        (("--task", "mmlu_test"), "--tasks choice --choice_files FILE, or --lm_eval mmlu_test"),
        (("--tasks", "chat", "--safety_file", "README.md"), "--safety_file: belongs to the task safety"),
        (("--tasks", "reward"), "needs --reward_model_path"),
        (("--tasks", "lm_eval"), "needs --lm_eval with the harness's own names"),
        (("--choice_by", "luck"), "--choice_by luck: expected likelihood, generation, or both"),
        (("--samples_per_question", "3"), "greedy answers are all the same; add --temperature 0.7"),
        (("--temperature", "-1"), "--temperature -1.0: expected 0 or more"),
        (("--max_eval_samples", "0"), "--max_eval_samples 0: expected at least 1"),
        (("--batch_size", "0"), "--batch_size 0: expected at least 1"),
        (("--seed", "-1"), "--seed -1: expected 0 to 4294967295"),
        (("--top_p", "0"), "--top_p 0.0: expected more than 0"),
        (("--template_name", "qwen33"), "did you mean qwen3"),
        (("--judge", "rules"), "--judge: compares two models; add --compare_with"),
        (("--judge", "rule", "--compare_with", "b"), "did you mean rules?"),
        (("--judge", "http://x", "--compare_with", "b"), "an address is --judge_url http://x"),
        (("--judge", "reward", "--compare_with", "b"), "--judge reward: needs --reward_model_path"),
        (("--judge", "endpoint", "--compare_with", "b"), "needs --judge_url and --judge_model"),
        (("--judge", "rules", "--judge_timeout", "3", "--compare_with", "b"), "--judge_timeout: belongs to --judge"),
        (("--review_sheet", "True"), "--review_sheet: compares two models"),
        (("--tasks", "instructions"), "--tasks instructions: compares two models"),
        (("--served_model", "x"), "--served_model: belongs to --server"),
        (("--server", "http://127.0.0.1:1", "--load_in_4bit", "True"), "the server has loaded its model already"),
        (("--server", "http://x", "--base_model", "m", "--compare_with", "b"), "give the one that is evaluated"),
        (("--model_name_or_path", "http://127.0.0.1:1"), "a server's address; give it as --server"),
        (("--evaluations", "data"), "--evaluations data: no evaluation.json there"),
        (("--evaluations", "a", "--tasks", "chat"), "--evaluations only reports, no model is asked: drop --tasks"),
        (("--eval_file", "no/such.jsonl"), "--eval_file no/such.jsonl: no such file"),
        (("--train_file_dir", "no/such"), "--train_file_dir no/such: no such file"),
        (("--output_dir", "README.md"), "--output_dir README.md: a file, expected a directory"),
        (("--gpus", "0"), "set CUDA_VISIBLE_DEVICES=0"),
        (("--memory_gb", "8", "--device_map", "auto"), "--memory_gb and --device_map: choose one"),
        (("--n_shot", "5"), "--n_shot: questions are asked without examples"),
        (("--lang", "en"), "--lang: a question is asked in its own language"),
        (("--task_dir", "evaluation"), "--task_dir: give the files themselves"),
        (("--num_fewshot", "5"), "--num_fewshot: questions are asked without examples"),
        (("--model_args", "pretrained=x"), "--model_args: use --model_name_or_path"),
        (("--data_path", "x"), "--data_path: use --eval_file"),
        (("--bnb_path", "x"), "--bnb_path: use --model_name_or_path"),
        (("--comprae_with", "x"), "--comprae_with: unknown flag; did you mean --compare_with?"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(argv, told):
    assert told in refused(*argv)


def test_all_problems_are_told_at_once():
    told = refused("--tasks", "chatt", "--batch_size", "0", "--samples_per_question", "2").splitlines()
    assert len(told) == 3


def test_a_recipe_says_the_same(tmp_path):
    recipe = tmp_path / "r.yaml"
    recipe.write_text("tasks: [chat, safety]\nlimit: 5\nmodel_name_or_path: m\n")
    args = parsed(str(recipe), "--seed", "3")
    assert (args.tasks, args.max_eval_samples, args.seed) == (["chat", "safety"], 5, 3)


def test_flags_of_inference_mean_the_same():
    theirs = {field.name: field for field in dataclasses.fields(InferenceArguments)}
    own = {"batch_size", "temperature", "top_p", "encoding", "seed"}  # other defaults or words, on purpose
    shared = [field for field in dataclasses.fields(EvaluationArguments) if field.name in theirs.keys() - own]
    assert len(shared) > 20
    for field in shared:
        assert (field.default, field.type) == (theirs[field.name].default, theirs[field.name].type)


def test_every_task_has_a_row_that_leads_to_it():
    for name in registry.TASKS:
        task = registry.get(name)
        assert (task.name, bool(task.measures), bool(task.title), bool(task.zh)) == (name, True, True, True)
        names = [measure.name for measure in task.measures]
        assert len(set(names)) == len(names)
    flags = {field.name for field in dataclasses.fields(EvaluationArguments)}
    assert {flag for flags_of in registry.FLAGS_OF.values() for flag in flags_of} <= flags


@pytest.mark.parametrize(
    ("asks", "chats", "wanted"),
    [
        ({registry.PROBABILITIES}, False, ["documents"]),
        ({registry.SCORES}, True, ["pairs"]),
        ({registry.ANSWERS}, True, ["chat", "verifiable", "choice", "safety"]),
    ],
)
def test_a_subject_is_asked_what_it_can_be(asks, chats, wanted):
    assert registry.fitting(asks, chats, {}) == wanted


def test_addresses_are_told_from_names():
    assert [is_url(name) for name in ("http://x", "https://x", "httpx", None, "")] == [True, True, False, False, False]


def test_help_loads_nothing_heavy():
    code = (
        "import sys, evaluation\n"
        "try:\n    evaluation.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted(name for name in sys.modules if name in ('torch', 'transformers', 'matplotlib', 'openai')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Evaluation" in done.stdout
