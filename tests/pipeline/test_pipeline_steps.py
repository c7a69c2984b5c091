"""The chain as commands: order, what each needs and reads, variants of model and data.

sh run_tests.sh tests/pipeline/test_pipeline_steps.py
"""

import shlex

import pytest

from bedside import cli
from bedside.errors import ConfigError
from bedside.pipeline import flags, steps


@pytest.fixture
def plan(place, monkeypatch):
    """A function: flags to `{step name: Step}`, in the small repository."""
    monkeypatch.chdir(place.root)

    def made(*argv):
        wishes = flags.settle(cli.parse((flags.PipelineArguments,), list(argv)), {"CUDA_VISIBLE_DEVICES": ""})
        return {step.name: step for step in steps.plan(wishes)}

    return made


def typed(step) -> str:
    return shlex.join(step.argv)


def test_the_whole_chain_in_an_order_that_works(plan):
    chain = plan()
    assert list(chain) == [
        "pt", "merge-pt", "sft", "rm", "dpo", "orpo", "ppo", "grpo", "merge-sft", "merge-dpo", "merge-orpo",
        "merge-ppo", "merge-grpo", "evaluate-starter", "evaluate-pt", "evaluate-sft", "evaluate-dpo", "evaluate-orpo",
        "evaluate-ppo", "evaluate-grpo", "against-sft", "report", "answer",
    ]  # fmt: skip
    seen = set()
    for step in chain.values():
        assert set(step.needs) <= seen, step.name
        seen.add(step.name)


def test_every_stage_goes_on_from_the_one_before(plan):
    chain = plan()
    assert typed(chain["pt"]) == (
        "python pretraining.py recipes/starter_pt.yaml --model_name_or_path models/starter "
        "--output_dir outputs-pipeline/pt"
    )
    assert typed(chain["merge-pt"]) == (
        "python merge_peft_adapter.py --peft_model_path outputs-pipeline/pt --output_dir outputs-pipeline/merged-pt"
    )
    assert typed(chain["sft"]) == (
        "python supervised_finetuning.py recipes/starter_sft.yaml --model_name_or_path outputs-pipeline/merged-pt "
        "--output_dir outputs-pipeline/sft"
    )
    assert chain["rm"].argv[4] == "outputs-pipeline/merged-pt", "PPO's roles share the base of SFT and RM"
    assert typed(chain["ppo"]) == (
        "python ppo_training.py recipes/starter_ppo.yaml --model_name_or_path outputs-pipeline/sft "
        "--reward_model_path outputs-pipeline/rm --output_dir outputs-pipeline/ppo"
    )
    assert [chain[name].argv[4] for name in ("dpo", "orpo", "grpo")] == ["outputs-pipeline/sft"] * 3
    assert chain["ppo"].needs == ("sft", "rm")
    assert chain["sft"].reads == ("recipes/starter_sft.yaml", "data/sft")
    assert chain["pt"].reads == ("recipes/starter_pt.yaml", "models/starter", "data/pretrain")


def test_the_recipes_of_the_chain_are_taken_where_they_are(plan, place):
    place.write("recipes/pipeline_sft.yaml", "train_file_dir: data/sft\neval_file: data/eval/questions.jsonl\n")
    step = plan()["sft"]
    assert step.argv[2] == "recipes/pipeline_sft.yaml"
    assert step.reads == ("recipes/pipeline_sft.yaml", "data/sft", "data/eval/questions.jsonl")


def test_recipes_of_ones_own(plan, place):
    place.write("mine/dpo.yaml", "train_file_dir: data/reward\nbeta: 0.3\n")
    chain = plan("--recipes", "mine")
    assert (chain["dpo"].argv[2], chain["orpo"].argv[2]) == ("mine/dpo.yaml", "recipes/starter_orpo.yaml")


def test_only_some_stages_and_what_they_need(plan):
    assert list(plan("--only", "dpo")) == [
        "pt", "merge-pt", "sft", "dpo", "merge-sft", "merge-dpo", "evaluate-starter", "evaluate-pt", "evaluate-sft",
        "evaluate-dpo", "against-sft", "report", "answer",
    ]  # fmt: skip
    assert [name for name in plan("--only", "ppo") if name in steps.SCRIPTS] == ["pt", "sft", "rm", "ppo"]
    assert [name for name in plan("--only", "rm") if name in steps.SCRIPTS] == ["pt", "rm"]
    assert [name for name in plan("--only", "grpo", "--skip", "pt") if name in steps.SCRIPTS] == ["sft", "grpo"]


def test_without_pt_sft_trains_on_the_model_itself(plan):
    chain = plan("--skip", "pt")
    assert chain["sft"].argv[4] == chain["rm"].argv[4] == "models/starter"
    assert chain["sft"].needs == ()
    assert "models/starter" in chain["sft"].reads


def test_without_sft_the_branches_are_told_the_template(plan):
    chain = plan("--only", "dpo", "--skip", "sft")
    assert typed(chain["dpo"]) == (
        "python dpo_training.py recipes/starter_dpo.yaml --model_name_or_path outputs-pipeline/merged-pt "
        "--template_name qwen3 --output_dir outputs-pipeline/dpo"
    )
    assert "against-sft" not in chain


def test_another_model(plan):
    chain = plan("--model_name_or_path", "Qwen/Qwen3-4B-Base", "--template_name", "qwen3", "--nproc", "2")
    assert typed(chain["sft"]) == (
        "torchrun --nproc_per_node 2 supervised_finetuning.py recipes/any_model_sft.yaml --model_name_or_path "
        "outputs-pipeline/merged-pt --template_name qwen3 --output_dir outputs-pipeline/sft"
    )
    assert "--template_name" not in chain["pt"].argv + chain["dpo"].argv, "DPO's is that of its SFT adapter"
    assert "--template_name" in chain["rm"].argv
    # Evaluated as it was trained: what fits on the card in training fits here.
    assert chain["evaluate-dpo"].argv[3] == "outputs-pipeline/dpo"
    assert chain["evaluate-base"].argv[3] == "Qwen/Qwen3-4B-Base"
    assert chain["answer"].argv[2:4] == ("--lora_model", "outputs-pipeline/dpo")
    merged = plan("--model_name_or_path", "Qwen/Qwen3-4B-Base", "--evaluate", "merged")
    assert merged["evaluate-dpo"].argv[3] == "outputs-pipeline/merged-dpo"


def test_other_data(plan, place):
    for folder in ("pretrain", "sft", "reward"):
        place.write(f"my/data/{folder}/a.jsonl", "{}\n")
    place.write("my/data/eval/documents.txt", "text\n")
    place.write("my/data/eval/medqa_test.jsonl", "{}\n")
    chain = plan("--data_dir", "my/data", "--model_name_or_path", "Qwen/Qwen3-4B-Base")
    assert "grpo" not in chain
    assert typed(chain["dpo"]) == (
        "python dpo_training.py recipes/any_model_dpo.yaml --model_name_or_path outputs-pipeline/sft "
        "--train_file_dir my/data/reward --output_dir outputs-pipeline/dpo"
    )
    assert chain["ppo"].argv[7:9] == ("--train_file_dir", "my/data/sft"), "its questions"
    assert typed(chain["evaluate-sft"]) == (
        "python evaluation.py --model_name_or_path outputs-pipeline/sft --name sft --tasks choice safety "
        "--choice_files my/data/eval/medqa_test.jsonl --output_dir outputs-pipeline/evaluations/sft"
    ), "no task looks at our files where the user has none"
    assert "--judge" not in chain["against-sft"].argv, "nobody was asked a chat"


def test_other_data_for_the_starter_replaces_what_its_recipes_hold_out(plan, place):
    place.write(
        "recipes/starter_pt.yaml", "train_file_dir: data/pretrain\nvalidation_file_dir: data/eval/documents.txt\n"
    )
    for folder in ("pretrain", "sft"):
        place.write(f"my/{folder}/a.jsonl", "{}\n")
    chain = plan("--data_dir", "my")
    assert chain["pt"].argv[5:11] == (
        "--train_file_dir", "my/pretrain", "--validation_file_dir", "None", "--validation_split_percentage", "5",
    )  # fmt: skip
    assert chain["pt"].reads == ("recipes/starter_pt.yaml", "models/starter", "my/pretrain")
    assert chain["sft"].argv[5:9] == ("--train_file_dir", "my/sft", "--eval_file", "None")
    assert not [name for name in chain if name.startswith("evaluate") or name == "report"], "my/eval/ is missing"


def test_evaluations_by_what_can_be_asked(plan, place):
    place.write("data/eval/pairs.jsonl", "{}\n")
    place.write("data/eval/mcq.jsonl", "{}\n")
    chain = plan()
    assert typed(chain["evaluate-starter"]) == (
        "python evaluation.py --model_name_or_path models/starter --name starter --tasks perplexity chat "
        "--template_name qwen3 --eval_file data/eval/questions.jsonl --output_dir outputs-pipeline/evaluations/starter"
    )
    assert typed(chain["evaluate-rm"]) == (
        "python evaluation.py --model_name_or_path outputs-pipeline/rm --name rm --tasks pairs --pairs_file "
        "data/eval/pairs.jsonl --output_dir outputs-pipeline/evaluations/rm"
    )
    assert typed(chain["evaluate-dpo"]) == (
        "python evaluation.py --model_name_or_path outputs-pipeline/merged-dpo --name dpo --tasks perplexity chat "
        "choice safety reward --reward_model_path outputs-pipeline/rm --eval_file data/eval/questions.jsonl "
        "--choice_files data/eval/mcq.jsonl --output_dir outputs-pipeline/evaluations/dpo"
    )
    assert chain["evaluate-dpo"].needs == ("merge-dpo", "rm")
    assert typed(chain["against-sft"]).endswith(
        "--judge rules reward --reward_model_path outputs-pipeline/rm --output_dir outputs-pipeline/against-sft"
    )
    assert "reward" not in plan("--skip", "rm")["evaluate-dpo"].argv


def test_a_recipe_for_evaluations_becomes_flags_of_the_tasks_that_are_asked(plan, place):
    recipe = "output_dir: x\nverifiable_file: data/grpo/rows.jsonl\nmax_eval_samples: 60\nchoice_by: [likelihood]\n"
    place.write("recipes/pipeline_eval.yaml", recipe)
    place.write("data/eval/mcq.jsonl", "{}\n")
    chain = plan()
    assert typed(chain["evaluate-starter"]) == (
        "python evaluation.py --model_name_or_path models/starter --name starter --tasks perplexity chat "
        "--max_eval_samples 60 --template_name qwen3 --eval_file data/eval/questions.jsonl "
        "--output_dir outputs-pipeline/evaluations/starter"
    )
    assert typed(chain["evaluate-dpo"]) == (
        "python evaluation.py --model_name_or_path outputs-pipeline/merged-dpo --name dpo --tasks perplexity chat "
        "verifiable choice safety reward --verifiable_file data/grpo/rows.jsonl --max_eval_samples 60 --choice_by "
        "likelihood --reward_model_path outputs-pipeline/rm --eval_file data/eval/questions.jsonl --choice_files "
        "data/eval/mcq.jsonl --output_dir outputs-pipeline/evaluations/dpo"
    )
    assert chain["evaluate-dpo"].reads == ("data/eval/questions.jsonl", "data/eval/mcq.jsonl", "data/grpo/rows.jsonl")
    place.write("recipes/pipeline_eval.yaml", recipe + "tasks: [chat]\n")
    assert plan()["evaluate-dpo"].argv[6:9] == ("--tasks", "chat", "--max_eval_samples")
    # The files of our recipe are not asked in place of the user's.
    place.write("my/sft/a.jsonl", "{}\n")
    place.write("my/eval/chat.jsonl", "{}\n")
    assert "verifiable" not in plan("--data_dir", "my")["evaluate-sft"].argv


def test_a_seed_reaches_every_training_and_evaluation(plan):
    chain = plan("--seed", "7")
    without = [name for name, step in chain.items() if "--seed" not in step.argv]
    assert without == ["merge-pt", "merge-sft", "merge-dpo", "merge-orpo", "merge-ppo", "merge-grpo", "against-sft",
                       "report", "answer"]  # fmt: skip


def test_a_recipe_that_is_not_there(plan, place):
    (place.root / "recipes/starter_orpo.yaml").unlink()
    with pytest.raises(ConfigError, match="recipes/starter_orpo.yaml: no such recipe"):
        plan()
