"""Every task by its name: where it lives, which flag names its files, whom it asks. A table, little code."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bedside.evaluate.task import Task

# What a task is asked of: a model that answers chats, a model by its probabilities, a reward model.
ANSWERS, PROBABILITIES, SCORES = "answers", "probabilities", "scores"


class Row(NamedTuple):
    """Where a task lives (module and name there), the flags of its files and options, what it asks, and whether it
    needs a chat template."""

    module: str
    attribute: str
    flags: tuple[str, ...]
    asks: str = ANSWERS
    chats: bool = True


_HERE = "bedside.evaluate"
# One file for all tasks that ask the same chats, so that each is answered once.
EVAL_FILE = "data/eval/heldout_phrasings.jsonl"
TASKS: dict[str, Row] = {
    "documents": Row(f"{_HERE}.document_task", "TASK", ("document_file",), PROBABILITIES, False),
    "perplexity": Row(f"{_HERE}.perplexity", "TASK", ("eval_file",), PROBABILITIES),
    "chat": Row(f"{_HERE}.chat", "TASK", ("eval_file",)),
    "verifiable": Row(f"{_HERE}.verifiable", "TASK", ("verifiable_file", "alias_file")),
    "choice": Row(f"{_HERE}.choice", "TASK", ("choice_files", "choice_by", "choice_permutations", "choice_score")),
    "safety": Row(f"{_HERE}.safety", "TASK", ("safety_file",)),
    "reward": Row(f"{_HERE}.reward_task", "TASK", ("eval_file", "reward_model_path")),
    "pairs": Row(f"{_HERE}.pairs_task", "TASK", ("pairs_file",), SCORES),
}
# Beside the tasks, with ways of their own: a comparison of two models, and another toolkit's.
OTHERS = ("instructions", "lm_eval")
NAMES = (*TASKS, *OTHERS)
FLAGS_OF = {name: row.flags for name, row in TASKS.items()} | {"lm_eval": ("lm_eval",)}


def get(name: str) -> Task:
    """The task of this name, imported now."""
    row = TASKS[name]
    return getattr(import_module(row.module), row.attribute)


def fitting(asks: set[str], chats: bool, options: dict[str, Any]) -> list[str]:
    """Names of the tasks that a subject with these sides can be asked, where options that a task cannot do without
    are there.

    >>> fitting({PROBABILITIES}, False, {})
    ['documents']
    """
    return [
        name
        for name, row in TASKS.items()
        if row.asks in asks
        and (chats or not row.chats)
        and not (name == "reward" and not options.get("reward_model_path"))
    ]
