"""Recipes: each one parses, settles as its stage and says what it is for; those of reports hold their numbers.

sh run_tests.sh tests/test_recipes.py
"""

from pathlib import Path

import pytest

from bedside import cli, flagsdoc, settle, trainer_checks
from bedside.args import AdapterArguments, ModelArguments
from bedside.evaluate import conflicts
from bedside.evaluate.flags import EvaluationArguments
from bedside.stage_args import ChatArguments

SCRIPT_OF = {"pt": "pretraining.py", "rm": "reward_modeling.py", "dpo": "dpo_training.py", "orpo": "orpo_training.py",
             "kto": "kto_training.py", "grpo": "grpo_training.py", "ppo": "ppo_training.py"}  # fmt: skip
EVALUATIONS = {"any_model_eval.yaml": "outputs-evaluation", "pipeline_eval.yaml": "outputs-pipeline/evaluation"}
RECIPES = sorted(Path(__file__).resolve().parent.parent.glob("recipes/*.yaml"))
STAGES = [recipe for recipe in RECIPES if recipe.name not in EVALUATIONS]


def sft(recipe: str) -> cli.Parsed:
    groups, config = flagsdoc.SCRIPTS["supervised_finetuning.py"]
    return cli.parse(groups, [recipe], config)


@pytest.mark.parametrize("recipe", STAGES, ids=lambda path: path.name)
def test_every_recipe_parses_and_settles(recipe, monkeypatch):
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: object())  # one reports to wandb
    stage = recipe.stem.rpartition("_")[2]
    script = SCRIPT_OF.get(stage, "supervised_finetuning.py")
    args = cli.parse(flagsdoc.SCRIPTS[script][0], [str(recipe)], flagsdoc.SCRIPTS[script][1])
    settle.training(args, stage if stage in SCRIPT_OF else "sft")
    assert args.trainer["do_train"] is True
    assert args.trainer["output_dir"].startswith("outputs-")
    head = recipe.read_text(encoding="utf-8").splitlines()[0]
    assert head.startswith("# "), "a recipe begins by saying what it is for"


@pytest.mark.parametrize("name", EVALUATIONS)
def test_the_recipe_of_an_evaluation_parses_and_settles(name):
    recipe = next(recipe for recipe in RECIPES if recipe.name == name)
    groups, config = flagsdoc.SCRIPTS["evaluation.py"]
    parsed = cli.parse(groups, [str(recipe)], config)
    args = parsed[EvaluationArguments]
    assert (args.output_dir, args.choice_files) == (EVALUATIONS[name], ["data/eval/mcq.jsonl"])
    if name.startswith("any_model"):  # that of the pipeline is read by models that do not do all of its tasks
        conflicts.check(parsed)
    assert recipe.read_text(encoding="utf-8").startswith("# ")


def test_the_recipes_of_the_reports_hold_their_numbers(monkeypatch):
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: object())
    small = sft("recipes/medcot_7b_11gb.yaml")
    wanted = {
        "per_device_train_batch_size": 1, "gradient_accumulation_steps": 16, "max_length": 2048, "learning_rate": 5e-5,
        "num_train_epochs": 3.0, "fp16": True, "lr_scheduler_type": "cosine", "seed": 42, "save_steps": 500,
    }  # fmt: skip
    assert {name: small.trainer[name] for name in wanted} == wanted
    assert (small[ChatArguments].template_name, small[ModelArguments].load_in_4bit) == ("deepseek", True)
    large = sft("recipes/medcot_7b_24gb.yaml")
    assert (large.trainer["per_device_train_batch_size"], large.trainer["gradient_accumulation_steps"]) == (24, 2)
    assert (large.trainer["learning_rate"], large.trainer["warmup_steps"], large.trainer["save_steps"]) == (
        1e-4,
        0.1,
        500,
    )
    adapter = large[AdapterArguments]
    assert (adapter.lora_r, adapter.lora_alpha, adapter.lora_dropout) == (8, 16.0, 0.0)
