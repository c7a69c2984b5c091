"""Scripts as they are started: help and mistakes come at once, and a flag of another stage is known.

sh run_tests.sh tests/test_cli_scripts.py
"""

import shlex
import subprocess
import sys
import time

import pytest

from bedside import cli
from bedside.errors import ConfigError


@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_is_fast_readable_and_without_torch(repo, flag):
    code = (
        "import sys, supervised_finetuning\n"
        "try: supervised_finetuning.main([sys.argv[1]])\n"
        "except SystemExit as end: status = end.code\n"
        "print('HEAVY', sorted({'torch', 'transformers', 'trl', 'peft', 'datasets'} & set(sys.modules)), status)"
    )
    started = time.perf_counter()
    out = subprocess.run(
        [sys.executable, "-c", code, flag], cwd=repo, capture_output=True, text=True, check=True
    ).stdout
    assert time.perf_counter() - started < 5  # 0.6 s when the machine is not busy
    assert "HEAVY [] 0" in out
    assert out.startswith("usage: python ")
    assert "[RECIPE.yaml] [--flag value ...]\n" in out
    assert max(len(line) for line in out.splitlines()) <= 120
    for shown in (
        "rank of the update [8] (also --lora_rank, --r)",
        "[by stage, with an adapter / in full: ",
        "Adapter: ",
    ):
        assert shown in out


def test_a_mistake_is_told_before_anything_heavy_is_imported(repo):
    code = (
        "import sys, supervised_finetuning as s\n"
        "from bedside.errors import ConfigError\n"
        "try: s.main(['--lora_r', 'x'])\n"
        "except ConfigError as e: print(e, sorted({'torch', 'transformers', 'trl', 'peft'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True).stdout
    assert out == "--lora_r x: expected a whole number []\n"


@pytest.mark.parametrize(
    ("script", "words", "told"),
    [
        ("pretraining.py", "--template_name qwen", "--template_name: documents are trained on as they are"),
        ("pretraining.py", "--eval_file q.jsonl", "--eval_file: a base answers no questions"),
        ("dpo_training.py", "--packing True", "--packing: two answers are compared, and rows are not packed"),
        ("dpo_training.py", "--ref_model other", "--ref_model: the reference follows from the model's lineage"),
        ("dpo_training.py", "--orpo_beta 0.1", "--orpo_beta: run orpo_training.py"),
        ("reward_modeling.py", "--beta 0.1", "--beta: belongs to dpo_training.py"),
        ("kto_training.py", "--padding_free True", "--padding_free: a batch is padded to its longest row"),
        ("supervised_finetuning.py", "--pref_beta 0.1", "--pref_beta: belongs to preference training"),
    ],
)
def test_a_flag_of_another_stage_is_refused_with_what_helps_here(script, words, told):
    from bedside import flagsdoc

    groups, config = flagsdoc.SCRIPTS[script]
    with pytest.raises(ConfigError) as caught:
        cli.parse(groups, shlex.split(words), config)
    assert caught.value.problems[0].startswith(told)
