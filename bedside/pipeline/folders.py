"""What a folder of data holds for which stage, and which of its eval/ files is which, told by their names."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path

from bedside.data import files
from bedside.errors import ConfigError

# The folders that a stage cannot do without; the first one is what it is trained on.
FOLDERS = {
    "pt": ("pretrain",), "sft": ("sft",), "rm": ("reward",), "dpo": ("reward",), "orpo": ("reward",),
    "ppo": ("sft",), "grpo": ("grpo",),
}  # fmt: skip
NAMES = ("pretrain", "sft", "reward", "grpo", "eval")
# Flags of evaluation.py and the names of their files, the first that fits; several files are for choice_files only.
ROLES = {
    "document_file": ("documents*", "*documents.*", "corpus*"),
    "choice_files": ("mcq*", "choice*", "cmb*", "cmexam*", "medqa*", "medmcqa*", "mmlu*", "*_mcq.*", "*_choice.*"),
    "verifiable_file": ("verifiable*", "*verifiable.*"),
    "safety_file": ("safety*", "red_flag*", "*safety.*"),
    "pairs_file": ("pairs*", "preference*", "*pairs.*", "reward*"),
    "eval_file": ("questions*", "chat*", "heldout_phrasings*", "heldout*", "messages*", "test*", "eval*"),
}


@dataclass(frozen=True)
class Folders:
    """Data files by folder. `exams`: flags of evaluation.py to their files; `unused`: files of eval/ that have no
    flag; `there`: folders that are there, with files or without."""

    root: str
    files: dict[str, tuple[str, ...]]
    exams: dict[str, tuple[str, ...]] = field(default_factory=dict)
    unused: tuple[str, ...] = ()
    there: frozenset[str] = frozenset()
    problems: tuple[str, ...] = ()

    def lack(self, folder: str) -> str:
        """What is wrong with a folder that has no files."""
        return "holds no data files" if folder in self.there else "is missing"

    def path(self, folder: str) -> str:
        """The folder's path, as it is given to a script."""
        return f"{self.root.rstrip('/')}/{folder}"


def look(root: str) -> Folders:
    """The folders of `root`. What is wrong with it as a whole stands in `problems`; nothing is raised."""
    place = Path(root)
    if not place.is_dir():
        what = "a file" if place.exists() else "no such folder"
        near = difflib.get_close_matches(place.name, [p.name for p in _folders(place.parent)], n=1)
        hint = f"did you mean {place.parent / near[0]}?" if near else "expected a folder with " + _listed()
        return Folders(root, {}, problems=(f"--data_dir {root}: {what}; {hint}",))
    found = {name: _files(place / name) for name in NAMES}
    there = frozenset(name for name in NAMES if (place / name).is_dir())
    problems = ()
    if not any(found[name] for name in NAMES if name != "eval"):
        holds = ", ".join(sorted(p.name for p in place.iterdir())[:6]) or "nothing"
        problems = (f"--data_dir {root}: holds {holds}; expected some of {_listed()} with data files in them",)
    exams, unused = sort(found["eval"])
    return Folders(root, found, exams, unused, there, problems)


def sort(paths: Sequence[str]) -> tuple[dict[str, tuple[str, ...]], tuple[str, ...]]:
    """`({flag of evaluation.py: files}, files that none of them takes)`, by the names of the files.

    >>> sort(["eval/mcq.jsonl", "eval/notes.jsonl"])
    ({'choice_files': ('eval/mcq.jsonl',)}, ('eval/notes.jsonl',))
    """
    exams: dict[str, tuple[str, ...]] = {}
    for role, patterns in ROLES.items():
        fitting = [
            path
            for pattern in patterns
            for path in paths
            if fnmatch(Path(path).name.lower(), pattern) and not any(path in taken for taken in exams.values())
        ]
        fitting = list(dict.fromkeys(fitting))
        if fitting:
            exams[role] = tuple(fitting if role == "choice_files" else fitting[:1])
    taken = {path for some in exams.values() for path in some}
    return exams, tuple(path for path in paths if path not in taken)


def _files(folder: Path) -> tuple[str, ...]:
    if not folder.is_dir():
        return ()
    try:
        return tuple(str(path) for path in files.find(str(folder), texts=folder.name in ("pretrain", "eval")))
    except ConfigError:  # none that can be read; what is there instead is said by `Folders.lack`
        return ()


def _folders(place: Path) -> list[Path]:
    return [path for path in place.iterdir() if path.is_dir()] if place.is_dir() else []


def _listed() -> str:
    return ", ".join(f"{name}/" for name in NAMES)
