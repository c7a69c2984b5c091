"""Questions that two models answer: rows of any chat format, with what a good answer is known to hold."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import Any

from bedside.data import tasks
from bedside.data.conversation import RowError
from bedside.data.rows import Row
from bedside.evaluate import rows
from bedside.evaluate.task import Settings, spread
from bedside.rewards.completion import asked, language

FILE = "data/eval/heldout_phrasings.jsonl"  # where none is given


@dataclass(frozen=True)
class Question:
    """A chat that waits for its answer. `gold` is what a right answer states (bedside.data.tasks), `reference` a whole
    answer to read; `where` is file:line, `groups` is what results are split by."""

    id: str
    messages: list[dict]
    gold: dict[str, Any] = field(default_factory=dict)
    reference: str | None = None
    where: str = ""
    groups: dict[str, str] = field(default_factory=dict)

    @property
    def language(self) -> str:
        """zh or en."""
        return language(self.gold, self.messages)

    @property
    def text(self) -> str:
        """The last thing that was asked."""
        return asked(self.messages)


def load(path: str | None, settings: Settings) -> list[Question]:
    """The questions of a file, `settings.most` of them evenly spread, with ids and messages as the task `chat` has
    them: what was answered there is not answered again.

    A row that cannot be asked is told with its line and counted; DataError if none is left, ConfigError if there is no
    such file.
    """
    place = rows.path_of(path, FILE, "eval_file")
    found = rows.read(place, _question, "questions", settings.options.get("encoding"))
    return spread(found, settings.most)


def of_chat(chat: rows.Chat) -> Question:
    """A row of the task `chat` as a question."""
    gold = _of_names(chat.expect) if chat.expect else {}
    reference = (chat.answer or {}).get("content") or None
    return Question(chat.id, chat.messages, gold, reference, chat.where, chat.groups)


def _question(identifier: str, row: Row) -> Question:
    made = of_chat(rows.chat(identifier, row))
    gold: dict[str, Any] = {}
    with contextlib.suppress(RowError):  # it can be asked; whether an answer is right, its row does not tell
        gold = dict(tasks.to_task(row.value)["gold"])
    kept = {name: gold[name] for name in ("red_flags", "lang") if name in gold}
    return Question(**{**vars(made), "gold": {**kept, **made.gold} if made.gold else gold})


def _of_names(names: list[str]) -> dict[str, Any]:
    return {"answer": names[0], **({"aliases": names[1:]} if names[1:] else {}), "kind": "diagnosis"}
