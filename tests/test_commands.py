"""Every command that a document shows goes through the real parser: README, docs, recipes, scripts, shell scripts.

sh run_tests.sh tests/test_commands.py
"""

import argparse
import contextlib
import functools
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import yaml

from bedside import cli, settle, trainer_checks
from bedside.args import RunArguments

REPO = Path(__file__).resolve().parent.parent
_LAUNCH = re.compile(r"^(?:\w+=\S*\s+)*(?:exec\s+)?(?:python3?|torchrun|accelerate\s+launch|sh|bash)\s")
_PLACEHOLDER = re.compile(r"[A-Z][A-Z_]{2,}$")


class Parsed(BaseException):
    """Raised where a script has parsed its flags, so that its work is not done; no `except Exception` stops it."""


def logical_lines(text: str):
    """Lines with their continuations joined, without the remarks that stand behind `#` or several spaces."""
    joined = re.sub(r"[ \t]*\\+[ \t]*\n[ \t#]*", " ", text)
    for line in joined.splitlines():
        command = line.strip().removeprefix("# ").removeprefix("$ ").strip()
        yield re.sub(r"(\s+#\s|\s{3,}).*$", "", command)


def commands_of(path: Path) -> list[str]:
    """Commands shown in a document, a recipe's head, a script's docstring or a shell script."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        text = "\n".join(re.findall(r"```(?:bash|sh|shell|console)\n(.*?)```", text, flags=re.DOTALL))
    elif path.suffix == ".py":
        text = re.split(r'"""', text, maxsplit=2)[1] if text.startswith('"""') else ""
    found = []
    for line in logical_lines(text):
        for part in re.split(r"\s(?:&&|\|\||;|\|)\s", line):
            if _LAUNCH.match(part) and re.search(r"\.(py|sh)\b|\s-m\s+(bedside|pytest)", part):
                found.append(part)
    return found


PLACES = (
    "*.md", "docs/**/*.md", "data/*.md", "recipes/*.yaml", "*.sh", "*.py", "data/*.py", "benchmarks/*.py",
    "bedside/*.py", "accelerate/*.yaml",
)  # fmt: skip
DOCUMENTS = sorted(path for place in PLACES for path in REPO.glob(place) if ".venv" not in path.parts)
SHOWN = [
    pytest.param(path, command, id=f"{path.relative_to(REPO)}: {command[:60]}")
    for path in DOCUMENTS
    for command in commands_of(path)
]


def target_of(words: list[str]) -> tuple[str, list[str]]:
    """`(script or module, its argv)` of a command, past environment variables and launchers."""
    for index, word in enumerate(words):
        if word == "-m" and words[0].startswith("python"):
            return words[index + 1], words[index + 2 :]
        if word.endswith((".py", ".sh")):
            return word, words[index + 1 :]
    raise AssertionError(f"no script in {words}")


def stop_after(work, but=lambda result: False):
    """`work`, then Parsed, unless `but` says of its result that the script goes on."""

    @functools.wraps(work)
    def worked(*args, **kwargs):
        result = work(*args, **kwargs)
        if but(result):
            return result
        raise Parsed

    return worked


def trains(args: cli.Parsed) -> bool:
    """Whether these are the flags of a stage, which are settled before anything else is done."""
    return RunArguments in args.groups


def under_launcher(words: list[str], monkeypatch) -> None:
    """The environment that `accelerate launch --config_file X` makes for its processes."""
    if "--config_file" not in words:
        return
    config = yaml.safe_load((REPO / words[words.index("--config_file") + 1]).read_text(encoding="utf-8"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    if config["distributed_type"] == "FSDP":
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    if config["distributed_type"] == "DEEPSPEED":
        monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
        monkeypatch.setenv("ACCELERATE_DEEPSPEED_ZERO_STAGE", str(config["deepspeed_config"]["zero_stage"]))


# What a shell script runs when its environment names no model.
RUNS = {
    "run_pt.sh": ("pretraining.py", "pt"),
    "run_sft.sh": ("supervised_finetuning.py", "sft"),
    "run_sft_multinode.sh": ("supervised_finetuning.py", "sft"),
    "run_rm.sh": ("reward_modeling.py", "rm"),
    "run_dpo.sh": ("dpo_training.py", "dpo"),
    "run_orpo.sh": ("orpo_training.py", "orpo"),
    "run_kto.sh": ("kto_training.py", "kto"),
    "run_grpo.sh": ("grpo_training.py", "grpo"),
    "run_ppo.sh": ("ppo_training.py", "ppo"),
    "run_pipeline.sh": ("bedside.pipeline", None),
}


def load(target: str):
    """The module of a script path or of a `-m` name."""
    if not target.endswith(".py"):
        module = importlib.import_module(target)
        return importlib.import_module(f"{target}.__main__") if hasattr(module, "__path__") else module
    path = REPO / target
    assert path.is_file(), f"{target} does not exist"
    spec = importlib.util.spec_from_file_location(f"shown_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_command(command: str, monkeypatch) -> None:
    """Raise if the command would be refused for its flags, or names something that does not exist."""
    words = shlex.split(command)
    while words and re.match(r"^\w+=", words[0]):
        words.pop(0)
    target, argv = target_of([word for word in words if word != "exec"])
    if target.endswith(".sh"):
        assert (REPO / target).is_file(), f"{target} does not exist"
        if Path(target).name not in RUNS:
            return
        target, stage = RUNS[Path(target).name]
        argv = [f"recipes/starter_{stage}.yaml", *argv] if stage else argv
    if target == "pytest" or any("$" in word for word in (target, *argv)):
        return  # a shell script that passes its own arguments on
    argv = [word for word in argv if word != "..."]
    monkeypatch.setattr(trainer_checks, "find_spec", lambda name: object())
    under_launcher(words, monkeypatch)
    monkeypatch.setattr(cli, "parse", stop_after(cli.parse, but=trains))
    monkeypatch.setattr(settle, "training", stop_after(settle.training))
    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop_after(argparse.ArgumentParser.parse_args))
    monkeypatch.setattr("sys.argv", [target, *argv])
    module = load(target)
    if "--help" in argv or "-h" in argv or target == "bedside.flagsdoc":
        return
    with contextlib.suppress(Parsed):
        module.main(argv) if module.main.__code__.co_argcount else module.main()


@pytest.mark.parametrize(("document", "command"), SHOWN)
def test_a_shown_command_parses(document, command, monkeypatch):
    check_command(command, monkeypatch)


def test_commands_are_found_in_every_place():
    places = {path.relative_to(REPO).as_posix() for path in DOCUMENTS if commands_of(path)}
    wanted = {"README.md", "supervised_finetuning.py", "recipes/starter_sft.yaml", "run_sft.sh"}
    assert sorted(wanted - places) == []


def test_both_readmes_show_the_same_commands():
    english, chinese = (
        [c for c in commands_of(REPO / name) if not _PLACEHOLDER.search(c)] for name in ("README.md", "README_zh.md")
    )
    assert sorted(set(english)) == sorted(set(chinese))


def test_a_command_is_joined_over_its_lines():
    text = "python a.py \\\n    --seed 7 # why\n#   sh b.sh          says something\n$ sh c.sh\n"
    assert list(logical_lines(text)) == ["python a.py --seed 7", "sh b.sh", "sh c.sh"]


def test_a_wrong_command_would_be_found(monkeypatch):
    from bedside.errors import ConfigError

    with pytest.raises(ConfigError, match="--lerning_rate: unknown flag"):
        check_command("python supervised_finetuning.py recipes/starter_sft.yaml --lerning_rate 1", monkeypatch)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("python dpo_training.py recipes/starter_dpo.yaml --loss_type sigmiod", "did you mean sigmoid"),
        ("sh run_orpo.sh --packing True", "rows are not packed"),
        ("accelerate launch --config_file accelerate/zero3.yaml supervised_finetuning.py recipes/starter_sft.yaml",
         "a quantised base under ZeRO-3"),
    ],
)  # fmt: skip
def test_a_command_that_its_stage_or_launcher_refuses_would_be_found(command, told, monkeypatch):
    from bedside.errors import ConfigError

    with pytest.raises(ConfigError, match=told):
        check_command(command, monkeypatch)


def test_a_command_for_a_script_that_is_not_there_would_be_found(monkeypatch):
    with pytest.raises(AssertionError, match="no_such_script.py does not exist"):
        check_command("python no_such_script.py --seed 1", monkeypatch)


def test_a_launcher_is_looked_through():
    words = shlex.split("torchrun --nproc_per_node 2 supervised_finetuning.py recipes/x.yaml --seed 1")
    assert target_of(words) == ("supervised_finetuning.py", ["recipes/x.yaml", "--seed", "1"])
    assert target_of(["python", "-m", "bedside.flagsdoc", "--check"]) == ("bedside.flagsdoc", ["--check"])
