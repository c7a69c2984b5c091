"""The book of a model's answers, a file that grows while it answers: who asks the same again, or goes on after a kill,
pays nothing for what is there.

The first line says whose answers they are; every other one is an answer under the key of what was asked.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bedside import logs
from bedside.answers import Answer, Sampling
from bedside.errors import ConfigError

NAME = "answers.jsonl"
SCHEMA = 1
_FIELDS = tuple(Answer.__dataclass_fields__)


def key(chat: Sequence[dict], sampling: Sampling, enable_thinking: bool | None, sample: int = 0) -> str:
    """What tells one question from another: the chat, how its answer is drawn, and the number of the draw. Greedy
    answers do not depend on what only sampling reads."""
    drawn = asdict(sampling)
    del drawn["seed"]  # it follows from this key
    if not sampling.temperature:
        drawn = {**drawn, "top_p": 1.0, "top_k": 0}
        sample = 0
    asked = {"chat": list(chat), "sampling": drawn, "enable_thinking": enable_thinking, "sample": sample}
    text = json.dumps(asked, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def seed_of(seed: int, asked: str) -> int:
    """The seed of one answer: it depends on the run's seed and on what is asked, and not on what stands beside it."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{asked}".encode()).digest()[:4], "big")


class Book:
    """Answers by key. `path` None keeps them in memory only.

    ConfigError for a file of another model, or one that is no book. A last line that was cut off is told and dropped;
    a damaged one is told, and its question asked again.
    """

    def __init__(self, path: Path | None, identity: dict[str, Any]):
        self.path, self.identity = path, json.loads(json.dumps(identity))
        self._answers: dict[str, Answer] = {}
        if path is not None and path.is_file() and path.stat().st_size:
            self._read(path)
        elif path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._append([{"schema": SCHEMA, "identity": self.identity}])

    def __len__(self) -> int:
        return len(self._answers)

    def __contains__(self, asked: str) -> bool:
        return asked in self._answers

    def __getitem__(self, asked: str) -> Answer:
        return self._answers[asked]

    def add(self, answers: Iterable[tuple[str, Answer]]) -> None:
        """Write down answers that are not there yet."""
        new = [(asked, answer) for asked, answer in answers if asked not in self._answers]
        self._answers |= dict(new)
        self._append([{"key": asked, **asdict(answer)} for asked, answer in new])

    def _append(self, lines: list[dict]) -> None:
        if self.path is None or not lines:
            return
        text = "".join(line_of(line) for line in lines)
        with self.path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(text)

    def _read(self, path: Path) -> None:
        size, damaged, first = 0, 0, True
        with path.open("rb") as stream:
            for raw in stream:
                if not raw.endswith(b"\n"):
                    break
                size += len(raw)
                try:
                    line = json.loads(raw)
                    if first:
                        self._check(line, path)
                    else:
                        self._answers[line["key"]] = Answer(**{name: line[name] for name in _FIELDS})
                except (ValueError, KeyError, TypeError):
                    if first:
                        raise ConfigError(f"{path}: is no book of answers; {_REMEDY}") from None
                    damaged += 1
                first = False
        if first:  # killed in its first line
            path.unlink()
            self._append([{"schema": SCHEMA, "identity": self.identity}])
            return
        if size < path.stat().st_size:
            logs.warn(f"{path}: its last line was cut off (a run was killed); that answer is asked for again")
            os.truncate(path, size)
        if damaged:
            logs.warn(f"{path}: {damaged:,} damaged lines; these answers are asked for again")

    def _check(self, header: dict, path: Path) -> None:
        if header["schema"] != SCHEMA:
            raise ConfigError(f"{path}: has schema {header['schema']}, expected {SCHEMA}; {_REMEDY}")
        then = header["identity"]
        changed = differences(then, self.identity)
        if changed:
            raise ConfigError(f"{path}: holds another model's answers: {', '.join(changed)}; {_REMEDY}")


_REMEDY = "add --overwrite_output_dir True to start anew, or choose another --output_dir"


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What is not the same in two records, as `name (old then, new now)`.

    >>> differences({"seed": 1}, {"seed": 2})
    ['seed (1 then, 2 now)']
    """
    names = list(dict.fromkeys([*now, *then]))
    return [
        f"{name} ({then.get(name)} then, {now.get(name)} now)" for name in names if then.get(name) != now.get(name)
    ]


def line_of(value: dict) -> str:
    """One line of JSON, readable where the text is sound; half a character, as a model may write it, is escaped."""
    text = json.dumps(value, ensure_ascii=False)
    return (text if _sound(text) else json.dumps(value)) + "\n"


def _sound(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
