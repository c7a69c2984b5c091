"""Which steps the chain has: pure, from wishes to commands that a person could type one after the other.

starter -> PT -> merge -> SFT (and RM, on the same base, so that PPO's four roles share it) -> DPO, ORPO, PPO, GRPO,
each from the SFT adapter -> merge of each -> evaluation of each -> judges, report -> one answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bedside.pipeline.flags import BRANCHES, Wishes
from bedside.pipeline.folders import FOLDERS
from bedside.pipeline.recipes import lines, of_recipe, read_by

# What a step leaves: a model with lineage.json, an evaluation, a report over several, an answer.
MODEL, EVALUATION, REPORT, ANSWER = "model", "evaluation", "report", "answer"
SCRIPTS = {
    "pt": "pretraining.py", "sft": "supervised_finetuning.py", "rm": "reward_modeling.py", "dpo": "dpo_training.py",
    "orpo": "orpo_training.py", "ppo": "ppo_training.py", "grpo": "grpo_training.py",
}  # fmt: skip
_TITLES = {
    "pt": "reads documents", "sft": "learns to think and answer", "rm": "learns to score answers",
    "dpo": "learns from pairs, beside a reference", "orpo": "learns from pairs, without a reference",
    "ppo": "learns from the reward model", "grpo": "learns from answers that can be verified",
}  # fmt: skip
# Tasks of evaluation.py by stage; a chat is asked of the models before SFT too, to show where it began.
_BEFORE = ("documents", "perplexity", "chat")
_CHATS = ("perplexity", "chat", "verifiable", "choice", "safety", "reward")
# The held-out file that a task is asked with. Without one it is left out, because evaluation.py's own choice may be
# training data; only the emergencies of safety are the same for everybody.
FILE_OF = {"documents": "document_file", "perplexity": "eval_file", "chat": "eval_file", "reward": "eval_file",
           "verifiable": "verifiable_file", "choice": "choice_files", "pairs": "pairs_file",
           "safety": "safety_file"}  # fmt: skip
# Seconds that a step of the starter's chain takes beside another one, one thread each; for the rest that is told until
# a step has run once in this directory.
_SECONDS = {"pt": 80, "sft": 240, "rm": 170, "dpo": 150, "orpo": 160, "ppo": 650, "grpo": 450, "merge": 7,
            EVALUATION: 130, REPORT: 50, ANSWER: 5}  # fmt: skip


@dataclass(frozen=True)
class Step:
    """One command. `output` is the directory (or file) that it leaves, `needs` the steps whose outputs it reads,
    `reads` the files and directories beside these, `seconds` how long it takes (None: nobody knows)."""

    name: str
    title: str
    argv: tuple[str, ...]
    output: str
    kind: str = MODEL
    needs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    seconds: float | None = None


@dataclass(frozen=True)
class _Source:
    """A model to go on from: its path, the step that makes it, whether it knows its chat template."""

    path: str
    needs: tuple[str, ...] = ()
    chats: bool = False


def plan(wishes: Wishes) -> list[Step]:
    """All steps, each behind those that it needs."""
    stages, steps = wishes.stages, []
    base = _Source(wishes.model)
    if "pt" in stages:
        steps += [_train(wishes, "pt", base), _merge(wishes, "pt")]
        base = _Source(f"{wishes.output}/merged-pt", ("merge-pt",))
    start = base
    if "sft" in stages:
        steps += [_train(wishes, "sft", base)]
        start = _Source(f"{wishes.output}/sft", ("sft",), True)
    if "rm" in stages:
        steps += [_train(wishes, "rm", base)]
    steps += [_train(wishes, branch, start) for branch in BRANCHES if branch in stages]
    steps += [_merge(wishes, stage) for stage in ("sft", *BRANCHES) if stage in stages]
    evaluations = _evaluations(wishes)
    return [*steps, *evaluations, *_reports(wishes, evaluations), *_answer(wishes)]


def _train(wishes: Wishes, stage: str, source: _Source) -> Step:
    recipe = recipe_of(wishes, stage)
    flags = ["--model_name_or_path", source.path]
    if stage != "pt" and not source.chats and wishes.template and (wishes.own_model or stage in BRANCHES):
        flags += ["--template_name", wishes.template]
    needs = source.needs
    if stage == "ppo":
        flags += ["--reward_model_path", f"{wishes.output}/rm"]
        needs = (*needs, "rm")
    if wishes.own_data:
        flags += _own_data(wishes, stage)
    flags += ["--output_dir", f"{wishes.output}/{stage}", *_seed(wishes)]
    launcher = ["torchrun", "--nproc_per_node", str(wishes.nproc)] if wishes.nproc > 1 else ["python"]
    reads = (recipe, *(() if source.needs else _local(source.path)), *read_by(recipe, flags))
    argv = (*launcher, SCRIPTS[stage], recipe, *flags)
    return Step(
        stage, f"{stage.upper()} {_TITLES[stage]}", argv, f"{wishes.output}/{stage}", MODEL, needs, reads,
        _seconds(wishes, stage),
    )  # fmt: skip


def _own_data(wishes: Wishes, stage: str) -> list[str]:
    """Where a stage finds the user's data; what the recipe holds out of ours is replaced, or a share is held out."""
    flags = ["--train_file_dir", wishes.data.path(FOLDERS[stage][0])]
    if wishes.own_model:  # its recipes name no other files, and hold out a share
        return flags
    documents, questions = (wishes.data.exams.get(role, (None,))[0] for role in ("document_file", "eval_file"))
    if stage == "pt":
        held_out = ["--validation_file_dir", documents] if documents else ["--validation_split_percentage", "5"]
        return [*flags, *(held_out if documents else ["--validation_file_dir", "None", *held_out])]
    return [*flags, *(["--eval_file", questions or "None"] if stage not in ("rm", "grpo") else [])]


def _merge(wishes: Wishes, stage: str) -> Step:
    output = f"{wishes.output}/merged-{stage}"
    argv = ("python", "merge_peft_adapter.py", "--peft_model_path", f"{wishes.output}/{stage}", "--output_dir", output)
    title = f"{stage.upper()} folded into its base"
    return Step(f"merge-{stage}", title, argv, output, MODEL, (stage,), (), _seconds(wishes, "merge"))


def _evaluations(wishes: Wishes) -> list[Step]:
    """An evaluation of the model that the chain begins with, and of what every stage left."""
    if wishes.own_data and not wishes.data.files.get("eval"):
        return []
    first = "base" if wishes.own_model else "starter"
    found = [_evaluation(wishes, first, _Source(wishes.model), _BEFORE)]
    for stage in wishes.stages:
        if stage == "pt":
            source, tasks = _Source(f"{wishes.output}/merged-pt", ("merge-pt",)), _BEFORE
        elif stage == "rm":
            source, tasks = _Source(f"{wishes.output}/rm", ("rm",), True), ("pairs",)
        else:
            name, need = (f"merged-{stage}", f"merge-{stage}") if wishes.merged else (stage, stage)
            source, tasks = _Source(f"{wishes.output}/{name}", (need,), True), _CHATS
        found.append(_evaluation(wishes, stage, source, tasks))
    return [step for step in found if step]


def _evaluation(wishes: Wishes, name: str, source: _Source, tasks: Sequence[str]) -> Step | None:
    """The evaluation of one model by the tasks whose files there are; None if that is none."""
    recipe, output = recipe_of(wishes, "eval"), f"{wishes.output}/evaluations/{name}"
    said = lines(recipe) if recipe else {}
    named = set() if wishes.own_data else {role for role in FILE_OF.values() if said.get(role)}
    exams = {role: files for role, files in wishes.data.exams.items() if role not in named}
    tasks = [task for task in tasks if task == "safety" or FILE_OF[task] in {*exams, *named}]
    tasks = [task for task in tasks if not said.get("tasks") or task in said["tasks"]]
    needs = source.needs
    if "reward" in tasks and "rm" in wishes.stages:
        needs = (*needs, "rm")
    else:
        tasks = [task for task in tasks if task != "reward"]
    if not tasks:
        return None
    flags = ["--model_name_or_path", source.path, "--name", name, "--tasks", *tasks]
    flags += of_recipe(said, tasks, set(FILE_OF.values()) - named)
    if not source.chats and wishes.template and set(tasks) - {"documents"}:
        flags += ["--template_name", wishes.template]
    if "reward" in tasks:
        flags += ["--reward_model_path", f"{wishes.output}/rm"]
    for role in dict.fromkeys(FILE_OF[task] for task in tasks if FILE_OF[task] in exams):
        flags += [f"--{role}", *exams[role]]
    flags += ["--output_dir", output, *_seed(wishes)]
    reads = (*(() if source.needs else _local(source.path)), *read_by(None, flags))
    argv = ("python", "evaluation.py", *flags)
    return Step(
        f"evaluate-{name}", f"{name}: {', '.join(tasks)}", argv, output, EVALUATION, needs, reads,
        _seconds(wishes, EVALUATION),
    )  # fmt: skip


def _reports(wishes: Wishes, evaluations: Sequence[Step]) -> list[Step]:
    """The branches against SFT, from which they all began, with who answers better by rules and by the reward model;
    then the report over everything, beside the model that the chain began with."""
    found, names = [], [step.name.removeprefix("evaluate-") for step in evaluations]
    branches = [step for step, name in zip(evaluations, names, strict=True) if name in BRANCHES]
    sft = next((step for step in evaluations if step.name == "evaluate-sft"), None)
    if sft and branches:
        flags, needs = [], []
        if "chat" in sft.argv:  # its answers are what is judged
            flags = ["--judge", "rules"]
            if "rm" in wishes.stages:
                flags, needs = [*flags, "reward", "--reward_model_path", f"{wishes.output}/rm"], ["rm"]
        found.append(_report(wishes, "against-sft", "the branches beside SFT", [sft, *branches], flags, needs))
    if evaluations:
        found.append(_report(wishes, "report", "all stages against all measures", evaluations))
    return found


def _report(
    wishes: Wishes, name: str, title: str, over: Sequence[Step], flags: Sequence[str] = (), needs: Sequence[str] = ()
) -> Step:
    output = f"{wishes.output}/{name}"
    places = [step.output for step in over]
    argv = ("python", "evaluation.py", "--evaluations", *places, *flags, "--output_dir", output)
    return Step(
        name, title, argv, output, REPORT, (*(step.name for step in over), *needs), (), _seconds(wishes, REPORT)
    )


def final(wishes: Wishes) -> str:
    """The stage whose merged model answers at the end: the first branch, else SFT, else PT.

    >>> import types; final(types.SimpleNamespace(stages=("pt", "sft", "orpo", "grpo")))
    'orpo'
    """
    return next((stage for stage in (*BRANCHES, "sft", "pt") if stage in wishes.stages), "")


def _answer(wishes: Wishes) -> list[Step]:
    stage = final(wishes)
    if stage in ("", "pt"):  # a model that has seen no chat has nothing to say
        return []
    output, asked = f"{wishes.output}/answer.jsonl", question_file(wishes)
    model = ("--base_model", f"{wishes.output}/merged-{stage}") if wishes.merged else (
        "--lora_model", f"{wishes.output}/{stage}")  # fmt: skip
    argv = ("python", "inference.py", *model, "--data_file", asked, "--output_file", output, "--temperature", "0")
    need = f"merge-{stage}" if wishes.merged else stage
    title = f"{stage.upper()} is asked"
    return [Step("answer", title, argv, output, ANSWER, (need,), (asked,), _seconds(wishes, ANSWER))]


def question_file(wishes: Wishes) -> str:
    """Where the question of the last step lies."""
    return f"{wishes.output}/question.jsonl"


def question_text(wishes: Wishes) -> str:
    """What stands in that file."""
    return json.dumps({"messages": [{"role": "user", "content": wishes.question}]}, ensure_ascii=False) + "\n"


def recipe_of(wishes: Wishes, stage: str) -> str | None:
    """The recipe of a stage: the user's own, else the chain's for the starter, else that for any model; None where
    the script's own defaults do (an evaluation without a recipe)."""
    own = Path(wishes.recipes or "", f"{stage}.yaml")
    if wishes.recipes and own.is_file():
        return str(own)
    names = [f"any_model_{stage}"] if wishes.own_model else [f"pipeline_{stage}", f"starter_{stage}"]
    last = None if stage == "eval" else names[-1]
    found = next((name for name in names if Path("recipes", f"{name}.yaml").is_file()), last)
    return f"recipes/{found}.yaml" if found else None


def _seed(wishes: Wishes) -> list[str]:
    return [] if wishes.seed is None else ["--seed", str(wishes.seed)]


def _local(path: str) -> tuple[str, ...]:
    return (path,) if Path(path).is_dir() else ()


def _seconds(wishes: Wishes, what: str) -> float | None:
    return None if wishes.own_model or wishes.own_data else _SECONDS[what]
