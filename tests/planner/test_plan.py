"""plan.py as a person uses it, the recipes that it wrote, and the tables of the documents.

sh run_tests.sh tests/planner/test_plan.py
"""

import importlib
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import plan
from bedside import cli, flagsdoc, settle, trainer_checks
from bedside.errors import ConfigError
from bedside.planner import cards, choose, measured, memory, recipe, shapes, table

REPO = Path(__file__).resolve().parents[2]
ON_CARDS = sorted(REPO.glob("recipes/card_*.yaml"))


@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(REPO)


def parsed_by(script: str, argv: list[str]) -> cli.Parsed:
    """The flags as the script itself reads them."""
    return cli.parse(importlib.import_module(Path(script).stem).GROUPS, argv, flagsdoc.SCRIPTS[script][1])


def printed(capsys, *argv: str) -> str:
    assert plan.main(list(argv)) == 0
    return capsys.readouterr().out


def test_the_command_of_the_readme_answers(capsys):
    text = printed(
        capsys, "--model_name_or_path", "Qwen2.5-7B", "--stage", "sft", "--gpu", "RTX 4090", "--gpus", "1",
        "--rows", "25000", "--tokens_per_row", "700",
    )  # fmt: skip
    assert "SFT of Qwen/Qwen2.5-7B (7.62 billion parameters) on 1 x RTX 4090: fits" in text
    assert re.search(r"embeddings and head +2\.18\n", text)
    assert re.search(r"speed: [\d,]+ tokens/s \([\d,]+ to [\d,]+\): not measured on RTX 4090", text)
    assert re.search(r"time:  25,000 rows of 700 tokens, 1 epoch: \d+ min \(", text)
    shown = text[text.index("python supervised_finetuning.py") :].replace("\\\n", " ")
    _, script, *argv = shlex.split(shown)
    parsed = parsed_by(script, argv)
    assert parsed.trainer["per_device_train_batch_size"] * parsed.trainer["gradient_accumulation_steps"] == 16


@pytest.mark.parametrize("stage", memory.STAGES)
def test_the_flags_of_a_plan_are_those_of_its_stage(stage, monkeypatch):
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: object())
    wish = choose.Wish(stage, batch=64)
    made = choose.best(shapes.model_of("Qwen3-4B"), cards.card("RTX 4060"), wish)
    argv = [word for name, value in recipe.flags(made).items() for word in (f"--{name}", str(value))]
    settle.training(parsed_by(recipe.SCRIPTS[stage], argv), stage)


def test_a_recipe_is_written_once(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    argv = ["--model_name_or_path", "Qwen3-4B", "--gpu", "8GB", "--write", str(path)]
    printed(capsys, *argv)
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# SFT of Qwen/Qwen3-4B on 1 x a card of 8 GB: ")
    assert f"#   python plan.py {shlex.join(argv)}\n" in text
    with pytest.raises(ConfigError, match="is there already; choose another name, or add --overwrite True"):
        plan.main(argv)
    for asked in (["--overwrite", "True"], ["--overwrite", "true"], ["--overwrite=True"]):
        printed(capsys, *argv, *asked)
        assert path.read_text(encoding="utf-8") == text  # the command in its head makes it anew
    with pytest.raises(ConfigError, match="expected a name that ends in .yaml"):
        plan.main([*argv[:-1], str(tmp_path / "mine.txt")])


def test_rows_that_are_longer_than_the_model_are_told(capsys, monkeypatch):
    told = []
    monkeypatch.setattr(plan.logs, "warn", told.append)
    printed(capsys, "--model_name_or_path", "Llama-2-7b", "--gpu", "4090", "--max_length", "8192")
    assert told == ["rows of 8192 tokens: the model has 4096 places"]


def test_there_is_a_recipe_for_each_card_and_stage():
    wanted = {f"card_{gb}gb_{stage}.yaml" for gb in (8, 11, 16, 24, 48, 80, 141) for stage in ("sft", "dpo", "ppo")}
    assert {path.name for path in ON_CARDS} == wanted


@pytest.mark.parametrize("path", ON_CARDS, ids=lambda path: path.name)
def test_a_recipe_of_a_card_is_what_its_command_writes_and_fits(path, tmp_path, monkeypatch, capsys):
    text = path.read_text(encoding="utf-8")
    words = shlex.split(re.search(r"^#   python plan\.py (.*)$", text, re.MULTILINE)[1])
    assert words[-2:] == ["--write", f"recipes/{path.name}"]
    monkeypatch.chdir(tmp_path)
    printed(capsys, *words)
    assert (tmp_path / words[-1]).read_text(encoding="utf-8") == text
    peak, has = map(float, re.search(r": ([\d.]+) of ([\d.]+) GB planned", text).groups())
    assert peak < 0.92 * (has - memory.CONTEXT / 1e9) + 0.1  # both are rounded there
    assert has <= 1.08 * int(path.name.split("_")[1].removesuffix("gb"))  # cards are sold by 2^30 bytes


def test_what_is_wrong_is_said_at_once():
    with pytest.raises(ConfigError) as told:
        plan.main(["--gpus", "0", "--stage", "ppo", "--max_length", "5", "--overwrite", "True"])
    assert told.value.problems == [
        "--model_name_or_path: expected a model directory, config.json, hub name, or a size such as 7B",
        "--gpu: expected a card, such as 'RTX 4090', or its memory, such as 11GB",
        "--gpus 0: expected at least 1",
        "--max_length has no meaning for --stage ppo: expected --max_source_length and --response_length",
        "--overwrite True without --write: there is nothing to overwrite",
    ]
    with pytest.raises(ConfigError, match="pretraining has no template"):
        plan.main(["--model_name_or_path", "7B", "--gpu", "8GB", "--stage", "pt", "--template_name", "qwen"])


def test_a_plan_needs_no_torch():
    code = (
        "import sys, plan; plan.main(['--model_name_or_path', '7B', '--gpu', 'T4']); "
        "assert not {'torch', 'transformers', 'peft'} & set(sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert "older than Ampere" in ran.stdout and "--fp16 True" in ran.stdout


def test_documents_show_what_the_commands_print(capsys):
    text = (REPO / "docs" / "planning.md").read_text(encoding="utf-8")
    assert printed(capsys, "--table") == table.markdown() + "\n"
    assert printed(capsys, "--measured") == measured.table() + "\n"
    assert table.markdown() in text
    assert measured.table() in text


@pytest.mark.parametrize("name", ["README.md", "README_zh.md"])
def test_the_readmes_show_the_figures_of_the_table(name):
    text = (REPO / name).read_text(encoding="utf-8")
    if "plan.py --table" not in text:
        pytest.skip("this README does not show the table")
    for line in table.markdown().splitlines()[2:]:
        assert line.split("|", 3)[3] in text
