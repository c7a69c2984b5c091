"""Completions to read: the first few of each rollout, in samples.jsonl and as a table in TensorBoard.

They are the user's own output, and may speak of patients: they go to these two places, and to the terminal only where
that is asked for.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bedside import logs

NAME = "samples.jsonl"
_QUESTION, _TEXT = 300, 1200  # characters shown of each in TensorBoard; the file has all
# What Markdown or HTML reads as marks. Written as entities, a completion can neither break the table nor add to it.
_MARKS = re.compile(r"[&<>\"'\\`*_{}\[\]()#+\-.!|~:/^=]")


@dataclass
class Sample:
    """One completion. `where` is the prompt's `file:line`, `reward` the weighted sum of `rewards`, None where nothing
    is said; `kl` nats against the reference; `length` tokens."""

    where: str
    question: str
    text: str
    finished: bool
    rewards: dict[str, float | None] = field(default_factory=dict)
    reward: float | None = None
    kl: float | None = None
    length: int | None = None


def _shown(text: str, most: int) -> str:
    """`text` as a cell: one line, no marks, cut to `most` characters."""
    cut = f"{text[:most]} ... ({len(text) - most} more characters)" if len(text) > most else text
    return "<br>".join(_MARKS.sub(lambda mark: f"&#{ord(mark[0])};", line) for line in cut.splitlines())


def _figure(value: float | None, form: str = ".3f") -> str:
    return "" if value is None or not math.isfinite(value) else format(value, form)


def markdown(samples: list[Sample]) -> str:
    """The samples as a Markdown table, one row each.

    >>> print(markdown([Sample("a.jsonl:3", "1 < 2 | 3?", "yes", True, {}, 0.5, None, 4)]).splitlines()[-1])
    | a&#46;jsonl&#58;3 | 1 &#60; 2 &#124; 3? | yes | yes | 0.500 |  | 4 |
    """
    names = list(dict.fromkeys(name for sample in samples for name in sample.rewards))
    heads = ["prompt", "question", "completion", "finished", "reward", *names, "KL", "tokens"]
    lines = ["| " + " | ".join(_shown(head, 60) for head in heads) + " |", "|" + " --- |" * len(heads)]
    for sample in samples:
        cells = [
            _shown(sample.where, 120), _shown(sample.question, _QUESTION), _shown(sample.text, _TEXT),
            "yes" if sample.finished else "no", _figure(sample.reward),
            *(_figure(sample.rewards.get(name)) for name in names), _figure(sample.kl, ".2f"),
            "" if sample.length is None else str(sample.length),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _clean(value: Any) -> Any:
    """`value` as JSON can hold it: a number that is not finite is None."""
    if isinstance(value, dict):
        return {key: _clean(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def steps_before(path: Path, step: int) -> None:
    """Leave in the file what was sampled before `step`; a line torn by a killed run goes too."""
    # Not splitlines(): a JSON string may hold line separators of Unicode.
    kept, lines = [], path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    for line in lines:
        try:
            if json.loads(line)["step"] < step:
                kept.append(line)
        except (ValueError, KeyError, TypeError):
            logs.warn(f"{path}: a line that is no sample is left out")
    if len(kept) == len(lines):
        return
    written = path.with_name(path.name + ".part")
    written.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(written, path)


def tensorboard_of(trainer: Any) -> Any:
    """The SummaryWriter that the trainer logs to, or None where TensorBoard is not used."""
    found = [getattr(callback, "tb_writer", None) for callback in trainer.callback_handler.callbacks]
    return next((writer for writer in found if writer is not None), None)


class Samples:
    """Keeps the first `count` completions of each rollout, on rank 0; `show` prints them too.

    A run that is resumed goes on in the same file: what an interrupted run sampled later than that is left out.
    """

    def __init__(self, trainer: Any, directory: Path, count: int = 4, show: bool = False):
        self.trainer, self.path, self.count, self.show = trainer, Path(directory) / NAME, count, show
        self._begun = False

    def add(self, step: int, samples: Iterable[Sample]) -> None:
        """Write down the rollout that was sampled before optimizer step `step` + 1 (the trainer's `global_step`)."""
        if not self.count or not self.trainer.is_world_process_zero():
            return
        first = [sample for sample, _ in zip(samples, range(self.count), strict=False)]
        if not self._begun and self.path.exists():
            steps_before(self.path, step)
        self._begun = True
        with open(self.path, "a", encoding="utf-8") as stream:
            for sample in first:
                stream.write(json.dumps(_clean({"step": step, **asdict(sample)}), ensure_ascii=False) + "\n")
        writer = tensorboard_of(self.trainer)
        if writer is not None:
            writer.add_text("samples", markdown(first), step)
        for sample in first if self.show else []:
            ended = "" if sample.finished else " (cut)"
            logs.info(f"step {step}  {sample.where}  reward {_figure(sample.reward)}\n{sample.text}{ended}\n")
