"""The work of evaluation.py: which tasks on which files, every task that is not there yet, and comparisons."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.errors import ConfigError, DataError
from bedside.evaluate import candidate as candidates
from bedside.evaluate import registry, rows, stored
from bedside.evaluate.book import Book
from bedside.evaluate.candidate import Candidate
from bedside.evaluate.evaluation import Evaluation
from bedside.evaluate.flags import EvaluationArguments, sampling
from bedside.evaluate.task import Case, Settings, Task

# Options of tasks that decide their numbers, beside their files.
_OPTIONS = {
    "perplexity": ("train_file_dir",),
    "choice": ("choice_by", "choice_permutations", "choice_score"),
    "verifiable": ("alias_file",),
    "reward": ("reward_model_path", "reward_template_name"),
}


@dataclass(frozen=True)
class Planned:
    """A task with its items, read from files before any model is loaded, and what its cases will be made of."""

    task: Task
    items: list[Any]
    made_of: dict[str, Any]
    files: list[str]


def settings_of(args: EvaluationArguments) -> Settings:
    """What is common to all tasks; `options` are the flags by name, and `loading` how a further model is loaded."""
    loading = {name: getattr(args, name) for name in ("dtype", "device_map", "cache_dir", "trust_remote_code")}
    return Settings(
        sampling(args), args.seed, args.batch_size, args.max_eval_samples, args.enable_thinking, args.system_prompt,
        {**vars(args), "loading": loading},
    )  # fmt: skip


def names_of(args: EvaluationArguments, given: Collection[str], asked: Sequence[Candidate]) -> list[str]:
    """Names of the tasks: those that were asked for, else all that fit the model that is evaluated, the last of
    `asked`. Judges read the answers of the task chat. ConfigError for one that was asked for and cannot be run."""
    judged = args.judge or args.review_sheet or args.votes or "instructions" in (args.tasks or [])
    if args.tasks:
        wanted = [name for name in registry.TASKS if name in args.tasks]
        wanted += ["chat"] if judged and "chat" not in wanted else []
        candidates.check(asked, wanted)
        return wanted
    files = [name for name, row in registry.TASKS.items() if row.flags[0] in given]
    if args.lm_eval and not files and not judged:
        return []  # another toolkit's tasks, and nothing else was asked for
    fits = registry.fitting(asked[-1].asks, asked[-1].chats, vars(args))
    useful = {registry.TASKS[name].flags[0] for name in fits}
    candidates.check(asked[-1:], [name for name in files if registry.TASKS[name].flags[0] not in useful])
    if judged:
        candidates.check(asked, ["chat"])
    return fits


def plan(names: Sequence[str], args: EvaluationArguments, settings: Settings) -> list[Planned]:
    """The tasks with their items. A task whose file is not here is left out with a line, unless it was asked for.

    Raises ConfigError and DataError for files that cannot be used.
    """
    found = []
    for name in names:
        task, flag = registry.get(name), registry.TASKS[name].flags[0]
        given = getattr(args, flag)
        try:
            default = registry.EVAL_FILE if flag == "eval_file" else task.file
            paths = list(given) if isinstance(given, list) else [rows.path_of(given, default, flag)]
        except ConfigError as error:
            if name in (args.tasks or []):
                raise
            logs.warn(f"{name} is left out: {error}")
            continue
        items = [item for path in paths for item in task.load(path, settings)]
        if not items:
            raise DataError("E_NOTHING_LEFT", ", ".join(paths), f"no item for the task {name}")
        samples = args.samples_per_question
        asks = registry.TASKS[name].asks == registry.ANSWERS
        made_of = stored.made_of(paths, items, settings, samples, _OPTIONS.get(name, ()), asks)
        found.append(Planned(task, items, made_of, paths))
    return found


def evaluate(
    candidate: Candidate, planned: Sequence[Planned], store: stored.Store, settings: Settings, about: dict[str, Any],
    samples: int = 1,
) -> Evaluation:  # fmt: skip
    """Run what is not there yet; the model is loaded when the first task needs it, and gone afterwards."""
    about = {**candidate.about, **about, "data": {path: sha for one in planned for path, sha in
             one.made_of["files"].items()}}  # fmt: skip
    store.write(about=about, name=candidate.name)
    subject = None
    for one in planned:
        if candidates.refuse(candidate, one.task.name):
            continue
        cases = store.done(one.task, one.made_of)
        if cases is not None:
            logs.info(f"{candidate.name}, {one.task.name}: {len(one.items):,} cases are there already")
            _tell(one.task, cases)
            continue
        if subject is None:
            subject = candidate.make(Book(store.book, candidate.identity), settings)
        begun = time.perf_counter()
        own = replace(settings, options={**settings.options, "subject_path": candidate.path})
        cases, lost = sampled(one, subject, own, samples)
        store.keep(one.task, one.made_of, cases, lost, time.perf_counter() - begun)
        logs.info(f"{candidate.name}, {one.task.name}: {len(cases):,} cases, {time.perf_counter() - begun:.1f} s")
        _tell(one.task, cases)
    subject = harness(candidate, store, settings, subject)
    free(subject)
    wanted = [one.task.name for one in planned]
    complete = all(entry["complete"] for name, entry in store.content["tasks"].items() if name in wanted)
    store.write(complete=complete)
    if not complete:
        logs.warn(f"{store.directory}: some questions got no answer; the same command asks them again")
    return stored.read(store.directory, whole=False)


def _tell(task: Task, cases: Sequence[Case]) -> None:
    """The task's own table, where it has one."""
    if task.told:
        logs.info("\n" + "\n".join(task.told(cases)))


def harness(candidate: Candidate, store: stored.Store, settings: Settings, subject: Any) -> Any:
    """Tasks of lm-evaluation-harness, where they are asked for and not there yet: records without cases. Returns the
    subject, which is loaded if it had to be."""
    from bedside.evaluate import lm_eval

    names = settings.options.get("lm_eval")
    if not names or registry.SCORES in candidate.asks:
        return subject
    made_of = lm_eval.made_of(names, settings)
    if store.content.get("lm_eval") == made_of:
        logs.info(f"{candidate.name}, {lm_eval.SOURCE}: {len(store.content['records'])} results are there already")
        return subject
    subject = subject or candidate.make(Book(store.book, candidate.identity), settings)
    store.write(records=lm_eval.records(subject, names, settings), lm_eval=made_of)
    return subject


def check_leaks(candidate: Candidate, planned: Sequence[Planned], store: stored.Store, settings: Settings) -> None:
    """Search the training data (--train_file_dir, else what the model's lineage names) for what is evaluated, and
    write down what was found; nothing for a model whose training data nobody knows."""
    from bedside.evaluate import leakage, trained_on

    evaluated = list(dict.fromkeys(path for one in planned for path in one.files))
    if not evaluated:  # another harness brought its own questions
        return
    training, missing = list(settings.options.get("train_file_dir") or []), []
    lineage = candidate.path and (Path(candidate.path) / "lineage.json").is_file()
    if not training and lineage:
        training, missing = trained_on.files_of(candidate.path)
    if not training and not missing:
        logs.info(f"{candidate.name}: whether what is evaluated was trained on is not checked; --train_file_dir DIR "
                  "says where its training data is")  # fmt: skip
        return
    found = leakage.check(training, evaluated, missing, settings.options.get("encoding"))
    store.write(leakage=leakage.to_json(found))


def sampled(planned: Planned, subject: Any, settings: Settings, samples: int = 1) -> tuple[list[Case], int]:
    """The cases of a task, of several answers to each question the mean, and how many answers could not be had."""
    runs, lost = [], 0
    for number in range(samples):
        drawn = subject.draw(number)
        runs.append(planned.task.run(drawn, planned.items, settings))
        lost += len(drawn.lost)
        if not drawn.counted:  # nothing was sampled: another run would say the same
            break
    return averaged(runs), lost


def averaged(runs: Sequence[list[Case]]) -> list[Case]:
    """One case an item: of every value the mean over the runs that have one. `shown` is that of the first run, with
    the answers of the others beside it.

    >>> averaged([[Case("a", {"right": 1.0})], [Case("a", {"right": 0.0})]])[0].values
    {'right': 0.5}
    """
    if len(runs) == 1:
        return list(runs[0])
    made = []
    for cases in zip(*runs, strict=True):
        values = {}
        for name in cases[0].values:
            there = [case.values[name] for case in cases if case.values.get(name) is not None]
            values[name] = sum(there) / len(there) if there else None
        others = {"other_answers": [case.shown.get("answer") for case in cases[1:]]}
        made.append(replace(cases[0], values=values, shown={**cases[0].shown, **others}))
    return made


def free(subject: Any) -> None:
    """Give back a model's memory: one is there at a time."""
    if subject is None:
        return
    subject.engine = subject.weights = None
    gc.collect()
    if "torch" in sys.modules:
        sys.modules["torch"].cuda.empty_cache()  # does nothing without a GPU
