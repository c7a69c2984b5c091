"""The flags of run_pipeline.sh: names of stages, folders of data, what is refused.

sh run_tests.sh tests/pipeline/test_pipeline_flags.py
"""

import pytest

from bedside import cli
from bedside.errors import ConfigError
from bedside.pipeline import flags
from bedside.pipeline.folders import look, sort


@pytest.fixture
def settle(place, monkeypatch):
    """A function: flags to `Wishes`, in the small repository."""
    monkeypatch.chdir(place.root)

    def settled(*argv, **environment):
        parsed = cli.parse((flags.PipelineArguments,), list(argv))
        return flags.settle(parsed, {"CUDA_VISIBLE_DEVICES": "", **environment})

    return settled


def test_the_starter_on_our_data(settle):
    wishes = settle()
    assert (wishes.model, wishes.template, wishes.output) == ("models/starter", "qwen3", "outputs-pipeline")
    assert wishes.stages == ("pt", "sft", "rm", "dpo", "orpo", "ppo", "grpo")
    assert (wishes.own_model, wishes.own_data, wishes.merged, wishes.skipped) == (False, False, True, ())


def test_lanes_share_the_cores(settle, monkeypatch):
    monkeypatch.setattr(flags, "_cores", lambda: 8)
    assert (settle().jobs, settle().threads) == (2, 4)
    assert (settle("--jobs", "1").jobs, settle("--jobs", "1").threads) == (1, 8)
    assert settle(OMP_NUM_THREADS="3").threads is None, "what the user set is not touched"
    monkeypatch.setattr(flags, "_cores", lambda: 1)
    assert (settle().jobs, settle().threads) == (1, 1)
    monkeypatch.setattr(flags, "has_gpu", lambda environment: True)
    assert (settle().jobs, settle().threads) == (1, None)


def test_stages_by_other_names_and_in_any_order(settle):
    assert settle("--only", "PPO,dpo").stages == ("pt", "sft", "rm", "dpo", "ppo")
    assert settle("--only", "reward_modeling", "dpo_training").stages == ("pt", "sft", "rm", "dpo")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--only", "dop"], "--only dop: no such stage; did you mean dpo?"),
        (["--only"], "--only: expected a value after it"),
        (["--skip", "quantum"], "--skip quantum: no such stage; expected some of pt, sft, rm"),
        (["--only", "dpo", "--skip", "dpo"], "--only dpo and --skip dpo: choose one"),
        (["--only", "ppo", "--skip", "rm"], "--only ppo: needs the reward model of rm, which is left out"),
        (["--skip", "pt,sft,rm,dpo,orpo,ppo,grpo"], "nothing to train is left"),
        (["--jobs", "0"], "--jobs 0: expected 1 to 16"),
        (["--nproc", "0"], "--nproc 0: expected 1 to 1024"),
        (["--seed", "-1"], "--seed -1: expected 0 to 4294967295"),
        (["--question", " "], "--question: is empty"),
        (["--output_dir", "."], "--output_dir .: is this repository"),
        (["--output_dir", "data/sft/rows.jsonl"], "a file, expected a directory"),
        (["--model_name_or_path", "models/none"], "models/none: no such directory"),
        (["--template_name", "qwen33"], "--template_name qwen33: no such template; did you mean qwen3?"),
        (["--data_dir", "dta"], "--data_dir dta: no such folder; did you mean data?"),
        (["--data_dir", "data/sft"], "--data_dir data/sft: holds rows.jsonl; expected some of pretrain/, sft/"),
        (["--data_dir", "recipes/starter_pt.yaml"], "--data_dir recipes/starter_pt.yaml: a file"),
        (["--recipes", "nowhere"], "--recipes nowhere: no such folder"),
        (["--evaluate", "both"], "expected merged or adapter"),
        (["--jbos", "2"], "--jbos: unknown flag; did you mean --jobs?"),
    ],
)  # fmt: skip
def test_what_is_refused(settle, argv, told):
    with pytest.raises(ConfigError) as refused:
        settle(*argv)
    assert told in str(refused.value)


def test_every_problem_at_once(settle):
    with pytest.raises(ConfigError) as refused:
        settle("--jobs", "99", "--data_dir", "nowhere", "--only", "dop")
    assert len(refused.value.problems) == 3


def test_a_folder_that_is_missing_or_empty_leaves_its_stages_out(settle, place):
    place.write("my/sft/a.jsonl", "{}\n")
    place.write("my/grpo/notes.md", "no rows")
    wishes = settle("--data_dir", "my/")
    assert wishes.stages == ("sft",)
    assert wishes.skipped == (
        ("pt", "needs my/pretrain/, which is missing"),
        ("rm", "needs my/reward/, which is missing"),
        ("dpo", "needs my/reward/, which is missing"),
        ("orpo", "needs my/reward/, which is missing"),
        ("ppo", "needs the reward model of rm, which is left out"),
        ("grpo", "needs my/grpo/, which holds no data files"),
    )


def test_a_stage_that_was_asked_for_by_name_is_not_left_out_quietly(settle, place):
    place.write("my/sft/a.jsonl", "{}\n")
    with pytest.raises(ConfigError, match="--only dpo: needs my/reward/, which is missing"):
        settle("--data_dir", "my", "--only", "sft,dpo")
    # What it would only have been built on may be missing.
    assert settle("--data_dir", "my", "--only", "sft").stages == ("sft",)


def test_files_of_eval_are_told_by_their_names():
    names = ["documents.txt", "heldout_conditions.jsonl", "heldout_phrasings.jsonl", "mcq.jsonl", "medqa_dev.jsonl",
             "pairs.jsonl", "safety.jsonl", "verifiable.jsonl", "zzz.jsonl"]  # fmt: skip
    exams, unused = sort(names)
    assert exams == {
        "document_file": ("documents.txt",),
        "choice_files": ("mcq.jsonl", "medqa_dev.jsonl"),
        "verifiable_file": ("verifiable.jsonl",),
        "safety_file": ("safety.jsonl",),
        "pairs_file": ("pairs.jsonl",),
        "eval_file": ("heldout_phrasings.jsonl",),
    }
    assert unused == ("heldout_conditions.jsonl", "zzz.jsonl")


def test_a_text_beside_rows_is_no_data(place):
    place.write("my/sft/readme.txt", "about these rows")
    place.write("my/pretrain/book.txt", "a document")
    found = look(str(place.root / "my"))
    assert found.files["sft"] == ()
    assert len(found.files["pretrain"]) == 1
    assert found.lack("sft") == "holds no data files"
