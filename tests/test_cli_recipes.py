"""Recipes: what their lines mean beside flags, and what each mistake in one says.

sh run_tests.sh tests/test_cli_recipes.py
"""

import pytest

from bedside.args import AdapterArguments, DataArguments, ModelArguments
from tests.parsing import parse, problems


@pytest.fixture
def recipe(tmp_path):
    def write(text: str, name: str = "r.yaml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def test_an_empty_line_of_a_recipe_asks_for_nothing(recipe):
    path = recipe("seed: 1\nwandb_project:\nrope_scaling: null\n")
    args = parse(path)
    assert args.notes == [
        f"{path}:2: wandb_project: empty, passed over",
        f"{path}:3: rope_scaling: empty, passed over",
    ]
    assert problems("--wandb_project none") == ["--wandb_project: set WANDB_PROJECT in the environment"]


def test_a_path_below_home_is_written_in_full(recipe, monkeypatch):
    monkeypatch.setenv("HOME", "/srv/somebody")
    path = recipe("output_dir: ~/out\ntrain_file_dir: [~/a, b/~/c]\n")
    args = parse(f"{path} --model_name_or_path=~/m")
    assert args.trainer["output_dir"] == "/srv/somebody/out"
    assert args[DataArguments].train_file_dir == "/srv/somebody/a,b/~/c"
    assert args[ModelArguments].model_name_or_path == "/srv/somebody/m"


def test_a_recipe_of_axolotl_is_refused_in_one_sentence(recipe):
    path = recipe("base_model: m\ndatasets:\n  - path: p\n    type: alpaca\nspecial_tokens:\n  pad_token: x\n")
    assert problems(path) == [
        f"{path}: a recipe of axolotl, whose flags have other names and sections; begin with "
        "recipes/any_model_sft.yaml and give --model_name_or_path and --train_file_dir (docs/flags.md)"
    ]


def test_a_recipe_is_read_and_flags_win(recipe):
    path = recipe(
        "### model\nmodel_name_or_path: m\nlora_target: [q_proj, v_proj]\n\n### train\nlearning_rate: 5e-5\n"
        "eval_strategy: no\nbf16: true\nlora-rank: 4\nlr_scheduler_kwargs: {num_cycles: 2}\n"
        "resume_from_checkpoint: null\n"
    )
    for first in (path, f"--config {path}", f"--config={path}", f"--seed 3 --config {path}"):
        args = parse(f"{first} --lora_r 32")
        assert args[ModelArguments].model_name_or_path == "m"
        assert args[AdapterArguments].lora_target_modules == "q_proj,v_proj"
        assert args[AdapterArguments].lora_r == 32
        assert args.trainer["learning_rate"] == 5e-5
        assert (args.trainer["eval_strategy"], args.trainer["bf16"]) == ("no", True)
        assert args.trainer["lr_scheduler_kwargs"] == {"num_cycles": 2}
        assert args.trainer["resume_from_checkpoint"] is None
        assert {"model_name_or_path", "lora_r", "bf16"} <= args.given


def test_a_flag_replaces_the_other_ways_a_recipe_says_the_same(recipe):
    path = recipe("warmup_ratio: 0.1\nbf16: True\nqlora: True\ndataset: d\nval_size: 0.1\nflash_attn: fa2\n")
    args = parse(f"{path} --warmup_steps 100 --fp16 True --load_in_8bit True --train_file_dir f "
                 "--validation_file_dir v --attn_implementation sdpa")  # fmt: skip
    assert args.trainer == {"warmup_steps": 100.0, "fp16": True}
    assert (args[ModelArguments].qlora, args[ModelArguments].flash_attn) == (False, None)
    assert (args[DataArguments].dataset, args[DataArguments].val_size) == (None, None)


def test_switching_off_one_way_leaves_the_other(recipe):
    assert parse(f"{recipe('bf16: True')} --fp16 False").trainer == {"bf16": True, "fp16": False}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed: 1\nlearning_rat: 2\n", "r.yaml:2: --learning_rat: unknown flag; did you mean --learning_rate?"),
        ("seed: one\n", "r.yaml:1: --seed one: expected a whole number"),
        ("seed: [1, 2]\n", "r.yaml:1: unexpected argument 2 after --seed 1"),
        ("dtype: int8\n", "r.yaml:1: --dtype int8: expected auto,"),
        ("model:\n  lora_r: 8\n", "r.yaml:1: model is a section; write its lines without indentation"),
        ("lora_r: 8\nlora_rank: 16\n", "r.yaml:2: --lora_r 8 and --lora_rank 16 are the same flag; give one"),
        ("max_source_length: 5\n", "r.yaml:1: --max_source_length: use --max_length"),
        ("- a\n- b\n", "r.yaml: expected `flag: value` lines"),
        ("just words\n", "r.yaml: expected `flag: value` lines"),
        ("# nothing\n", "r.yaml: empty; expected `flag: value` lines"),
        ("", "r.yaml: empty; expected `flag: value` lines"),
        ("a: [1\n", "r.yaml: not YAML (while parsing"),
        ("lora_r:\n", "r.yaml:1: --lora_r: expected a whole number"),
    ],
)
def test_a_mistake_in_a_recipe_is_told_with_file_and_line(recipe, text, sentence):
    path = recipe(text)
    found = problems(path)
    assert any(problem.startswith(path) and sentence.removeprefix("r.yaml") in problem for problem in found), found
