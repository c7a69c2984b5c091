"""The flags of run_pipeline.sh, settled into one `Wishes`: every conflict at once, before anything runs."""

import difflib
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bedside.args import flag
from bedside.cli import Parsed
from bedside.errors import ConfigError
from bedside.models import check_model_path
from bedside.pipeline.folders import FOLDERS, Folders, look
from bedside.templates import get

BRANCHES = ("dpo", "orpo", "ppo", "grpo")
STAGES = ("pt", "sft", "rm", *BRANCHES)
# What people and other toolkits call the stages.
_ALSO = {
    "pretraining": "pt", "cpt": "pt", "reward": "rm", "reward_modeling": "rm", "reward_model": "rm",
    "supervised_finetuning": "sft",
    **{f"{name}_training": name for name in BRANCHES},
}  # fmt: skip
_QUESTION = (
    "For half an hour my chest has felt crushed, I broke out in a cold sweat, and nitroglycerin did not help. "
    "What could this be, and what should I do?"
)


@dataclass
class PipelineArguments:
    """Which model, which data, which stages, and where everything goes."""

    model_name_or_path: str | None = flag(
        None, "model directory or hub name that the chain begins with (default: the shipped starter)", ("base_model",)
    )
    data_dir: str | None = flag(
        None, "folder with pretrain/ sft/ reward/ grpo/ eval/ (default: data, which has them all)", ("data",)
    )
    template_name: str | None = flag(
        None, "chat template of the model (default: its own; the starter's is qwen3)", ("template",)
    )
    nproc: int = flag(1, "processes of each training, started by torchrun: one a GPU", ("nproc_per_node",))
    output_dir: str = flag("outputs-pipeline", "where everything goes; what is done there already is kept")
    overwrite_output_dir: bool = flag(False, "replace the chain of another model that lies in --output_dir")
    only: list | None = flag(
        None, f"stages to train, with those that they need: {', '.join(STAGES)}; joined by commas (default: all)",
        ("stages",),
    )  # fmt: skip
    skip: list | None = flag(None, "stages to leave out; joined by commas")
    jobs: int | None = flag(
        None, "steps side by side, each with its share of the cores (default: 2 on a CPU, 1 with a GPU)"
    )
    evaluate: str | None = flag(
        None,
        "what is evaluated of an adapter: merged (what is served; default of the starter) or adapter (on the base in "
        "the precision of training, which fits where the training did; default with a model of yours)",
        (),
        ("merged", "adapter"),
    )
    recipes: str | None = flag(
        None, "folder of your own pt.yaml, sft.yaml, ..., eval.yaml; where it has none, ours is taken"
    )
    question: str = flag(_QUESTION, "what the last model is asked at the end")
    seed: int | None = flag(None, "seed of every step (default: those of the recipes)")
    dry_run: bool = flag(False, "print the commands in their order, run nothing")
    verbose: bool = flag(False, "show what the steps print, which otherwise goes to logs/ alone")


@dataclass(frozen=True)
class Wishes:
    """What is to be done, with every default settled. `stages` in their order; `skipped` says, stage by stage, why it
    is left out; `own_data` is whether the data is not the one that the recipes name."""

    model: str
    own_model: bool
    template: str | None
    data: Folders
    own_data: bool
    output: str
    stages: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...]
    jobs: int
    threads: int | None
    nproc: int
    merged: bool
    recipes: str | None
    question: str
    seed: int | None


def settle(parsed: Parsed, environment: Mapping[str, str]) -> Wishes:
    """`Wishes` of the flags; ConfigError lists every problem."""
    args = parsed[PipelineArguments]
    problems = _numbers(args) + _places(args)
    data = look(args.data_dir or "data")
    problems += data.problems
    wanted = _stages(args.only, "only", problems) or STAGES
    unwanted = _stages(args.skip, "skip", problems)
    problems += [f"--only {name} and --skip {name}: choose one" for name in args.only or [] if name in unwanted]
    stages, skipped = chosen(wanted, unwanted, data, bool(args.only))
    if args.only and not problems:
        problems += [f"--only {name}: {why}" for name, why in skipped if name in wanted]
    if not stages and not problems:
        told = "; ".join(f"{name} {why}" for name, why in skipped)
        problems.append(f"nothing to train is left: {told}" if told else "--skip: nothing to train is left")
    if problems:
        raise ConfigError(problems)
    gpu = has_gpu(environment)
    cores = _cores()
    jobs = args.jobs or (1 if gpu else min(2, cores))
    return Wishes(
        args.model_name_or_path or "models/starter",
        args.model_name_or_path is not None,
        args.template_name or (None if args.model_name_or_path else "qwen3"),
        data, args.data_dir is not None, str(Path(args.output_dir)), stages, skipped, jobs,
        None if gpu or "OMP_NUM_THREADS" in environment else max(1, cores // jobs), args.nproc,
        args.evaluate == "merged" if args.evaluate else args.model_name_or_path is None,
        args.recipes, args.question.strip(), args.seed,
    )  # fmt: skip


def chosen(
    wanted: tuple[str, ...], unwanted: tuple[str, ...], data: Folders, named: bool
) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """`(stages, skipped)`: what is wanted with what it needs, where its data is there; `named`: whether someone asked
    for these stages rather than for all.

    >>> chosen(("dpo",), (), Folders("d", {"sft": ("a",), "reward": ("b",)}), True)[0]
    ('sft', 'dpo')
    """
    need = set(wanted)
    if need & set(BRANCHES):
        need.add("sft")
    if "ppo" in need and "rm" not in unwanted:
        need.add("rm")
    if need - {"pt"}:
        need.add("pt")  # every later stage starts from it
    left, skipped = [], []
    for stage in STAGES:
        why = _why_not(stage, unwanted, data, left)
        if stage not in need or stage in unwanted:
            continue
        if why is None:
            left.append(stage)
        elif stage in wanted or not named or stage == "sft":
            skipped.append((stage, why))
    return tuple(left), tuple(skipped)


def _why_not(stage: str, unwanted: tuple[str, ...], data: Folders, before: list[str]) -> str | None:
    """Why a stage cannot be trained, or None."""
    for folder in FOLDERS[stage]:
        if not data.files.get(folder):
            return f"needs {data.path(folder)}/, which {data.lack(folder)}"
    if stage == "ppo" and "rm" not in before:
        return "needs the reward model of rm, which is left out"
    return None


def _stages(names: list | None, spelled: str, problems: list[str]) -> tuple[str, ...]:
    found = []
    for word in names or []:
        name = _ALSO.get(str(word).lower(), str(word).lower())
        if name in STAGES:
            found.append(name)
            continue
        near = difflib.get_close_matches(name, [*STAGES, *_ALSO], n=1)
        hint = f"did you mean {_ALSO.get(near[0], near[0])}?" if near else f"expected some of {', '.join(STAGES)}"
        problems.append(f"--{spelled} {word}: no such stage; {hint}")
    if names == []:
        problems.append(f"--{spelled}: expected some of {', '.join(STAGES)} after it")
    return tuple(name for name in STAGES if name in found)


def _numbers(args: PipelineArguments) -> list[str]:
    problems = []
    for name, most in (("jobs", 16), ("nproc", 1024)):
        value = getattr(args, name)
        if value is not None and not 1 <= value <= most:
            problems.append(f"--{name} {value}: expected 1 to {most}")
    if args.seed is not None and not 0 <= args.seed < 1 << 32:
        problems.append(f"--seed {args.seed}: expected 0 to 4294967295")
    if not args.question.strip():
        problems.append("--question: is empty; leave it out for ours")
    return problems


def _places(args: PipelineArguments) -> list[str]:
    """Problems of model, template, recipes and output directory."""
    problems = []
    try:
        if args.model_name_or_path is not None:
            check_model_path(args.model_name_or_path)
        if args.template_name:
            get(args.template_name)
    except ConfigError as error:
        problems += error.problems
    if args.recipes and not Path(args.recipes).is_dir():
        problems.append(f"--recipes {args.recipes}: no such folder")
    output = Path(args.output_dir)
    if output.exists() and not output.is_dir():
        problems.append(f"--output_dir {output}: a file, expected a directory")
    elif output.resolve() == Path.cwd().resolve():
        problems.append(f"--output_dir {output}: is this repository; name a directory in it, as outputs-pipeline")
    return problems


def has_gpu(environment: Mapping[str, str]) -> bool:
    """Whether the steps will see an NVIDIA GPU; asked of nvidia-smi, because torch takes seconds to load."""
    if environment.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1") or not shutil.which("nvidia-smi"):
        return False
    asked = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True)
    return asked.returncode == 0 and "GPU" in asked.stdout


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
