"""What stands in a recipe: which data it reads, so that a change is noticed, and its lines as flags."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from bedside.errors import ConfigError
from bedside.evaluate import registry

# Flags of the stages and of evaluation.py that name files or folders of data.
_FILES = (
    "train_file_dir", "train_file", "train_data", "validation_file_dir", "validation_file", "eval_file",
    "document_file", "choice_files", "choice_file", "mcq_files", "verifiable_file", "safety_file", "pairs_file",
    "judge_rubric", "prepared_dir",
)  # fmt: skip


# What the pipeline says of an evaluation itself.
_OURS = ("model_name_or_path", "name", "tasks", "output_dir", "overwrite_output_dir", "reward_model_path",
         "evaluations", "compare_with")  # fmt: skip


def read_by(recipe: str | None, flags: Sequence[str]) -> tuple[str, ...]:
    """Files and folders of data that a command with this recipe and these flags reads, each once; the flags go over
    the recipe. A name that is no path here (a data set on the hub) is left out.

    Raises ConfigError for a recipe that is not there or is not YAML.
    """
    values = {**(lines(recipe) if recipe else {}), **_given(flags)}
    names = [part.strip() for name in _FILES for value in _list(values.get(name)) for part in str(value).split(",")]
    if values.get("dataset") or values.get("eval_dataset"):
        names.append(str(values.get("dataset_dir") or "data"))
    return tuple(dict.fromkeys(name for name in names if name and Path(name).exists()))


def lines(recipe: str) -> dict[str, Any]:
    """The values of a recipe by the names of their flags; ConfigError for one that is not there or is not YAML."""
    import yaml

    if not Path(recipe).is_file():
        raise ConfigError(f"{recipe}: no such recipe; it belongs to this repository, or give --recipes FOLDER")
    try:
        found = yaml.safe_load(Path(recipe).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{recipe}: not YAML ({' '.join(str(error).split())})") from None
    if not isinstance(found, dict):
        raise ConfigError(f"{recipe}: expected `flag: value` lines")
    return {str(name).removeprefix("--").replace("-", "_"): value for name, value in found.items()}


def of_recipe(values: dict[str, Any], tasks: Collection[str], without: Collection[str]) -> list[str]:
    """The lines of a recipe for evaluations as flags, those that belong to none of `tasks` left out, because
    evaluation.py refuses what it would not read; so are `without`, and what the pipeline says itself.

    >>> of_recipe({"max_new_tokens": 256, "choice_by": ["likelihood"], "output_dir": "x"}, ["chat"], [])
    ['--max_new_tokens', '256']
    """
    owners = {flag: {task for task, flags in registry.FLAGS_OF.items() if flag in flags} for flag in values}
    useful = {flag for flag, found in owners.items() if not found or found & set(tasks)}
    found = []
    for name, value in values.items():
        if name in useful and name not in {*without, *_OURS}:
            found += [f"--{name}", *(str(word) for word in (value if isinstance(value, list) else [value]))]
    return found


def _given(flags: Sequence[str]) -> dict[str, list[str] | None]:
    """`--flag word word` by the flag's name; the word None takes the recipe's value away."""
    found: dict[str, list[str] | None] = {}
    name = ""
    for word in flags:
        if word.startswith("--"):
            name = word[2:]
            found[name] = []
        elif name:
            found[name] = None if word == "None" else [*(found[name] or []), word]
    return found


def _list(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]
