"""An evaluation of one model as a directory: what was asked of whom, and every case, so that a number can be looked
up, compared later, and a run that was killed goes on.

    OUT/evaluation.json     who, with what; the tasks that are complete, each with what it was made of
    OUT/cases/TASK.jsonl    one case a line
    OUT/answers.jsonl       the book of answers
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bedside import lineage, logs, wholefile
from bedside.answers import Sampling
from bedside.data import files
from bedside.errors import ConfigError, DataError
from bedside.evaluate import book as books
from bedside.evaluate import evaluation as records
from bedside.evaluate.evaluation import Evaluation
from bedside.evaluate.task import Case, Settings, Task

NAME, CASES = "evaluation.json", "cases"
COMPARED = "compared_with"  # the directory of the other model in that of the one that is evaluated
_MODELS = ("config.json", "adapter_config.json")
_REMEDY = "add --overwrite_output_dir True to start anew, or choose another --output_dir"
# Of what a task was made of: what may differ between two evaluations that are compared. A file may lie elsewhere, a
# model has training rows of its own, and thinking or not is what may be compared.
_FREE = ("files", "items", "train_file_dir", "training", "enable_thinking")


class Store:
    """The directory of one model's evaluation. ConfigError if it holds another model's."""

    def __init__(self, directory: Path | str, name: str, identity: dict[str, Any], overwrite: bool = False):
        self.directory = Path(directory)
        if any((self.directory / name).is_file() for name in _MODELS):
            raise ConfigError(f"--output_dir {directory}: holds a model; choose another directory")
        if overwrite:
            clear(self.directory)
        self.content = _read_json(self.directory / NAME) if (self.directory / NAME).is_file() else {}
        identity = json.loads(json.dumps(identity))
        changed = books.differences(self.content["identity"], identity) if self.content else []
        if changed:
            raise ConfigError(f"--output_dir {directory}: holds another model's evaluation: {', '.join(changed)}; "
                              f"{_REMEDY}")  # fmt: skip
        self.content = {
            "schema": records.SCHEMA, "identity": identity, "about": {}, "tasks": {}, "records": [], "leakage": None,
            **self.content, "name": name, "complete": False,
        }  # fmt: skip

    @property
    def book(self) -> Path:
        """Where the answers are."""
        return self.directory / books.NAME

    def done(self, task: Task, made_of: dict[str, Any]) -> list[Case] | None:
        """The cases of a task that is complete and was made of the same; None where it has to be run."""
        entry = self.content["tasks"].get(task.name)
        if not entry or not entry.get("complete"):
            return None
        described = records.task_to_json(task)
        changed = books.differences(entry["made_of"], json.loads(json.dumps(made_of)))
        changed += ["measures"] if _values(entry["measures"]) != _values(described["measures"]) else []
        if changed:
            told = ", ".join(name.partition(" (")[0] for name in changed)
            logs.info(f"{task.name}: is there, made with other {told}; it is run again")
            return None
        cases = read_cases(self.directory, task.name)
        if cases_hash(cases) != entry["cases"]:
            logs.warn(f"{self.directory / CASES / task.name}.jsonl: not as it was written; the task is run again")
            return None
        entry |= described  # how measures are called, and in which order, may be new
        return cases

    def keep(self, task: Task, made_of: dict[str, Any], cases: list[Case], lost: int = 0, seconds: float = 0) -> None:
        """Write a task's cases, then its entry. With `lost` answers it is not complete, and the same command tries
        them again."""
        lines = "".join(books.line_of(records.case_to_json(case)) for case in cases)
        wholefile.write(self.directory / CASES / f"{task.name}.jsonl", lines)
        self.content["tasks"][task.name] = {
            **records.task_to_json(task), "made_of": made_of, "cases": cases_hash(cases), "n": len(cases),
            "lost": lost, "complete": not lost, "seconds": round(seconds, 1),
        }  # fmt: skip
        self.write()

    def write(self, **changes: Any) -> None:
        """Write evaluation.json, whole or not at all."""
        self.content |= changes
        wholefile.write_json(self.directory / NAME, self.content)


def _values(measures: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the cases of a task hold: measures by name, each with its kind."""
    return {measure["name"]: measure["kind"] for measure in measures}


def clear(directory: Path) -> None:
    """Remove what an earlier evaluation left; ConfigError where the directory holds something else."""
    if not directory.is_dir() or not any(directory.iterdir()):
        return
    if not any((directory / name).exists() for name in (NAME, books.NAME, COMPARED)):
        raise ConfigError(f"--output_dir {directory}: holds no evaluation, so it is not overwritten; choose another")
    for path in (directory / NAME, directory / books.NAME):
        path.unlink(missing_ok=True)
    shutil.rmtree(directory / CASES, ignore_errors=True)


def made_of(
    paths: Sequence[str],
    items: Sequence[Any],
    settings: Settings,
    samples: int,
    names: Sequence[str],
    asks: bool = True,
) -> dict[str, Any]:
    """What a task's cases depend on beside the model: files by content, items, and the settings it can read; `names`
    are those of its options. Of the settings of sampling nothing depends where no answer is asked for (`asks`)."""
    hashes = _hashes(paths)
    drawn = {name: value for name, value in asdict(settings.sampling).items() if name not in ("seed", "stop")}
    drawn = {**drawn, "samples_per_question": samples} if asks else {}
    training = settings.options.get("train_file_dir") if "train_file_dir" in names else None
    if training:
        drawn["training"] = sorted(_hashes(training).values())
    return {
        "files": hashes,
        "data": sorted(hashes.values()),
        "items": len(items),
        "max_eval_samples": settings.most,
        **drawn,
        "seed": settings.seed,
        "system_prompt": settings.system,
        "enable_thinking": settings.enable_thinking,
        **{name: settings.options.get(name) for name in names if settings.options.get(name) is not None},
    }


def _hashes(paths: Sequence[str]) -> dict[str, str]:
    found = [file for path in paths for file in files.find(path, texts=True)]
    return {str(file): lineage.file_sha256(file) for file in found}


def read(directory: Path | str, flag: str = "--evaluations", whole: bool = True) -> Evaluation:
    """The evaluation in a directory. ConfigError if there is none, or (`whole`) if it was stopped before its end."""
    content = _content(directory, flag)
    if whole and not content.get("complete"):
        command = content.get("about", {}).get("command")
        raise ConfigError(f"{flag} {directory}: was stopped before its end; its command goes on from there"
                          + (f": {command}" if command else ""))  # fmt: skip
    where = str(Path(directory) / NAME)
    try:
        tasks = {
            name: (records.task_from_json(entry, where), read_cases(directory, name))
            for name, entry in content["tasks"].items()
        }
        rest = (content.get("records") or [], content.get("leakage"))
        return Evaluation(content["name"], content["about"], tasks, *rest)
    except (KeyError, TypeError, AttributeError) as error:
        told = f"is no evaluation of bedside ({error} is missing); run it again"
        raise DataError("E_EVALUATION", where, told) from None


def book_of(directory: Path | str) -> books.Book:
    """The book of answers of a finished evaluation."""
    path = Path(directory) / books.NAME
    return books.Book(path if path.is_file() else None, _content(directory, "--evaluations")["identity"])


def is_one(directory: str) -> bool:
    """Whether this is the directory of an evaluation."""
    return (Path(directory) / NAME).is_file()


def check_fits(directory: str, planned: Mapping[str, dict[str, Any]]) -> None:
    """ConfigError where an earlier evaluation asked a planned task otherwise, or was stopped before its end."""
    read(directory, "--compare_with")
    entries, problems = _content(directory, "--compare_with")["tasks"], []
    for name, made in planned.items():
        if name in entries:
            problems += [f"--compare_with {directory}: task {name} {what}"
                         for what in _unlike(entries[name], {"made_of": json.loads(json.dumps(made))})]  # fmt: skip
        else:
            logs.warn(f"--compare_with {directory}: was not asked the task {name}, which is not compared")
    if problems:
        raise ConfigError([*problems, "evaluate with the same files and settings, or give the model itself"])


def tasks_of(directory: Path | str) -> list[str]:
    """Names of the tasks of an evaluation."""
    return list(_content(directory, "--evaluations")["tasks"])


def settings_of(directory: Path | str, task: str = "chat") -> dict[str, Any]:
    """`sampling`, `files`, `system_prompt`, `enable_thinking` and `max_eval_samples` with which a task was asked; {}
    for an evaluation without it."""
    entry = _content(directory, "--evaluations")["tasks"].get(task)
    if not entry:
        return {}
    made = entry["made_of"]
    drawn = {name: made[name] for name in Sampling.__dataclass_fields__ if name in made and name != "seed"}
    kept = ("files", "system_prompt", "enable_thinking", "max_eval_samples")
    return {"sampling": Sampling(**drawn), **{name: made.get(name) for name in kept}}


def check_comparable(directories: Sequence[Path | str]) -> None:
    """ConfigError where two evaluations asked a task differently: other items, other settings, other files. That one
    thinks and the other does not is what may be compared."""
    first, problems = directories[0], []
    tasks = _content(first, "--evaluations")["tasks"]
    for other in directories[1:]:
        for name, entry in _content(other, "--evaluations")["tasks"].items():
            if name in tasks:
                told = _unlike(tasks[name], entry)
                problems += [f"{first} and {other} cannot be compared: task {name} {what}" for what in told]
    if problems:
        problems.append("evaluate both with the same files and settings, or leave the task out with --tasks")
        raise ConfigError(problems)


def _unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    then, now = one["made_of"], other["made_of"]
    names = [name for name in dict.fromkeys([*then, *now]) if name not in _FREE]
    changed = [name for name in names if then.get(name) != now.get(name)]
    if "data" in changed:
        files_of = [", ".join(Path(path).name for path in made["files"]) for made in (then, now)]
        return [f"was asked of other data ({files_of[0]} and {files_of[1]}: their contents differ)"]
    return [f"has --{name} {then.get(name)} in one and {now.get(name)} in the other" for name in changed]


def _content(directory: Path | str, flag: str) -> dict[str, Any]:
    path = Path(directory) / NAME
    if not path.is_file():
        raise ConfigError(f"{flag} {directory}: no {NAME} there; expected the --output_dir of an evaluation")
    return _read_json(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        schema = content["schema"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError("E_EVALUATION", str(path), f"damaged ({error}); run the evaluation again") from None
    if schema != records.SCHEMA:
        raise DataError("E_EVALUATION", str(path), f"schema {schema}, expected {records.SCHEMA}; update bedside")
    return content


def read_cases(directory: Path | str, task: str) -> list[Case]:
    """The cases of a task; DataError with the line that is none."""
    path, cases = Path(directory) / CASES / f"{task}.jsonl", []
    if not path.is_file():
        raise DataError("E_EVALUATION", str(path), "not there; run the evaluation again")
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            cases.append(records.case_from_json(json.loads(line), f"{path}:{number}"))
        except ValueError:
            raise DataError("E_EVALUATION", f"{path}:{number}", "no JSON; run the evaluation again") from None
    return cases


def cases_hash(cases: Sequence[Case]) -> str:
    """What tells these cases from others."""
    text = json.dumps([records.case_to_json(case) for case in cases], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
