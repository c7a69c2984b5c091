"""Answers of two models to the same questions, judged in pairs, from what evaluations have written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside import lineage, logs
from bedside.errors import ConfigError
from bedside.evaluate import stored
from bedside.evaluate.subject import Recalled

if TYPE_CHECKING:
    from bedside.evaluate.evaluation import Judged
    from bedside.evaluate.judging.verdicts import Judge
    from bedside.evaluate.task import Settings

CHAT = "chat"  # the task whose answers are judged


def judges(output: Path, settings: Settings) -> list[Judge] | None:
    """Who compares answers in pairs; None where that is not asked for, [] where people alone do. Called before any
    model answers: ConfigError or DataError for judges that cannot judge and votes that cannot be read."""
    from bedside.evaluate import judging

    options = settings.options
    asked = options.get("judge") or options.get("review_sheet") or options.get("votes")
    if not asked and "instructions" not in (options.get("tasks") or []):
        return None
    if options.get("judge_url") and not options.get("judge_cache"):
        options = {**options, "judge_cache": str(output / "judge_cache.jsonl")}
    if len(options.get("evaluations") or []) > 2:  # votes belong to a pair, whose sheet lies in its own folder
        options = {**options, "votes": None, "review_sheet": bool(options.get("review_sheet") or options.get("votes"))}
    return judging.check(options, output)


def judged(
    directories: Sequence[Path | str],
    names: Sequence[str],
    output: Path,
    settings: Settings,
    judges: Sequence[Judge] | None,
) -> list[Judged]:
    """The first model against every other one, by each of the judges and by people's votes; [] where nobody is to
    judge. Answers are those of the task chat. ConfigError where a model was not asked."""
    from bedside.evaluate import judging

    if judges is None:
        return []
    options, several = settings.options, len(directories) > 2
    found = []
    for other, name in zip(directories[1:], names[1:], strict=True):
        if CHAT not in stored.tasks_of(other):
            logs.warn(f"{other}: was not asked the task {CHAT}, so its answers are not judged")
            continue
        settled, file = as_asked(other, settings, options)
        items = judging.load(file, settled)
        chats = [item.messages for item in items]
        answers = [
            recalled(place, label).answers(chats, settled.sampling, CHAT)
            for place, label in ((directories[0], names[0]), (other, name))
        ]
        place = output / name if several else output  # each pair has a review sheet of its own
        found += judging.instructions(items, *answers, judges, settled, (names[0], name), place)
    return found


def as_asked(directory: Path | str, settings: Settings, options: dict[str, Any]) -> tuple[Settings, str]:
    """The settings with which this model was asked the task chat, and the file of its questions.

    ConfigError where that file is not there any more, or is another one."""
    made = stored.settings_of(directory)
    (path, sha), *_ = made["files"].items()
    file = options.get("eval_file") or path
    if not Path(file).is_file() or lineage.file_sha256(Path(file)) != sha:
        raise ConfigError(
            f"{directory}: was asked the questions of {path}, and {file} is not that file any more; give it with "
            "--eval_file, or evaluate again"
        )
    settled = replace(
        settings, sampling=made["sampling"], most=made["max_eval_samples"], system=made["system_prompt"],
        enable_thinking=made["enable_thinking"], options=options,
    )  # fmt: skip
    return settled, file


def recalled(directory: Path | str, name: str) -> Recalled:
    """The model of an evaluation, by the answers that it gave."""
    made = stored.settings_of(directory)
    if not made:
        raise ConfigError(f"{directory}: was not asked the task {CHAT}, whose answers are judged; evaluate it again "
                          "with it")  # fmt: skip
    return Recalled(name, stored.book_of(directory), made["enable_thinking"], made["system_prompt"])
