"""An exam on held-out tasks before and after a training by rewards: greedy answers, scored; what changed, how surely.

Both times the same tasks are answered, so changes are paired: an interval is that of the mean difference.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside import launch, logs, probe, rewards, thoughts
from bedside.evaluate.statistics import FEWEST, Change, paired_change
from bedside.generate import ChatEngine, Prompt, Sampling
from bedside.rewards.completion import Completion, asked
from bedside.rollouts.chance import seeded

# Scores of the answers to tasks by another judge than the rewards, such as a reward model: numbers for each name.
Extra = Callable[[list[dict], list[Completion]], dict[str, list[float]]]

_BY_KIND = "accuracy"  # the reward that says whether an answer is right: shown for each kind of task as well
_SHARES = {"strict": "thought format, strict", "finished": "ended by itself"}
_OWN = {"reward": "reward, weighted sum", **_SHARES, "tokens": "tokens of an answer"}


@dataclass
class Sitting:
    """What one model answered: a case for each task, in the order of the tasks."""

    cases: list[dict]

    def column(self, name: str, kind: str | None = None) -> list[float | None]:
        """A measure of every case, None where it says nothing, or where the task is of another kind."""
        values = [case[name] if name in _OWN else case["scores"].get(name) for case in self.cases]
        if kind is None:
            return [None if value is None else float(value) for value in values]
        return [value if case["kind"] == kind else None for value, case in zip(values, self.cases, strict=True)]

    @property
    def scores(self) -> list[str]:
        """Names of the rewards and other scores, in their order."""
        return list(dict.fromkeys(name for case in self.cases for name in case["scores"]))


def changes(before: Sitting, after: Sitting) -> dict[str, Change]:
    """The paired change of every measure; `accuracy (KIND)` where there are several kinds of tasks."""
    found = {}
    for name in ("reward", *after.scores, "strict", "finished", "tokens"):
        found[name] = paired_change(before.column(name), after.column(name))
        if name == _BY_KIND:
            pairs = zip(after.cases, before.column(name), after.column(name), strict=True)
            kinds = sorted({case["kind"] for case, *both in pairs if None not in both})
            for kind in kinds if len(kinds) > 1 else []:
                found[f"{name} ({kind})"] = paired_change(before.column(name, kind), after.column(name, kind))
    return {name: change for name, change in found.items() if change.n}


def _row(name: str, change: Change, total: int) -> str:
    label = _OWN.get(name, name)
    if name.startswith(f"{_BY_KIND} ("):
        label = f"  {name[len(_BY_KIND) + 2 : -1]}"
    label += f", n = {change.n}" if change.n < total else ""
    times, places, unit = (100, 1, " %") if name in _SHARES else (1, 1, "") if name == "tokens" else (1, 3, "")
    old, new, mean, low, high = (times * value for value in change[1:6])
    interval = f"[{low:+.{places}f}, {high:+.{places}f}]"
    return f"{label:34}{f'{old:.{places}f}{unit}':>12}{f'{new:.{places}f}{unit}':>12}{mean:>+12.{places}f}  {interval}"


def _note(name: str, change: Change) -> str | None:
    """How many tasks it takes to see a change, where these do not show one."""
    if change.n < FEWEST:
        return f"{name}: {change.n} task(s); fewer than {FEWEST} cannot show a change, even if all of them changed"
    if change.shown or change.enough is None or change.enough <= change.n:
        return None
    return (
        f"{name}: a change of {change.mean:+.3f} cannot be told from chance with {change.n} tasks; about "
        f"{change.enough:,} would show it"
    )


def table(before: Sitting, after: Sitting) -> str:
    """Before and after as text, each change with its 95 % interval; says when there are too few tasks to see one."""
    found, total = changes(before, after), len(after.cases)
    single = len(after.scores) == 1 and before.column("reward") == before.column(after.scores[0])
    shown = {name: change for name, change in found.items() if name != "reward" or not single}
    head = f"{f'held-out tasks: {total}':34}{'before':>12}{'after':>12}{'change':>12}  [95 % interval]"
    lines = [head, "-" * 88, *(_row(name, change, total) for name, change in shown.items())]
    notes = [_note(name, shown[name]) for name in ("reward", _BY_KIND) if name in shown]
    return "\n".join(lines + [note for note in notes if note])


class Exam:
    """The held-out tasks, answered before and after a training, on rank 0; does nothing where none are held out.

    `samples` of them, evenly spread, or all. `extra` adds scores that are no rewards of the training. A run that is
    resumed keeps the answers that lie in exam_before.json if the same model gave them to the same tasks; the rewards
    are computed anew. Sharded parameters cannot be read from one rank: under FSDP and ZeRO-3 it does nothing, and
    says so.
    """

    def __init__(
        self,
        trainer: Any,
        engine: ChatEngine,
        dataset: Any,
        scorer: Any,
        directory: Path,
        max_new_tokens: int,
        samples: int | None = None,
        extra: Extra | None = None,
        batch: int = 64,
        temperature: float = 0.0,
    ):
        self.trainer, self.engine, self.scorer, self.extra = trainer, engine, scorer, extra
        self.directory, self.longest, self.batch = Path(directory), max_new_tokens, batch
        self.temperature = temperature
        total = len(dataset) if dataset is not None else 0
        if total and launch.cut_into_shards(trainer):
            logs.info("held-out tasks are not answered while parameters are sharded: one process cannot generate")
            total = 0
        wanted = min(total, total if samples is None else samples) if trainer.is_world_process_zero() else 0
        self.tasks = [dataset[index * total // wanted] for index in range(wanted)]
        self._before: Sitting | None = None

    def before(self) -> None:
        """Sit the exam with the model as it is now, or take the answers that an interrupted run left."""
        if not self.tasks:
            return
        start = self._start()
        answers = self._kept(start)
        if answers is None:
            answers = self._answers("before")
        self._before = self._grade(answers)
        self._write("before", self._before, start)

    def after(self) -> dict[str, float]:
        """Sit it again, print the table, return what belongs in metrics.json; both lie in exam_*.json."""
        if self._before is None:
            return {}
        after = self._grade(self._answers("after"))
        self._write("after", after)
        logs.info("\n" + table(self._before, after))
        return numbers(self._before, after)

    def _start(self) -> dict[str, Any]:
        """What the answers depend on: tasks, limits, and the model by its probe."""
        prompts = json.dumps([list(task["prompt_ids"]) for task in self.tasks]).encode()
        engine = self.engine
        engine.model.to(self.trainer.args.device)
        return {
            "tasks": hashlib.sha256(prompts).hexdigest()[:32],
            "max_new_tokens": self.longest,
            "temperature": self.temperature,
            "stop_ids": list(engine.stop_ids),
            "probe": probe.record(engine.model, engine.tokenizer),
        }

    def _kept(self, start: dict[str, Any]) -> list[Completion] | None:
        path = self.directory / "exam_before.json"
        if not path.exists():
            return None
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            then, cases = kept["start"], kept["cases"]
            same = all(then[key] == start[key] for key in ("tasks", "max_new_tokens", "temperature", "stop_ids"))
            same = same and then["probe"]["ids"] == start["probe"]["ids"]
            answers = [Completion(*(case[key] for key in ("text", "finished", "opened", "tokens"))) for case in cases]
        except (ValueError, KeyError, TypeError):  # written by an interrupted run: half of it may be missing
            logs.warn(f"{path}: not readable; the held-out tasks are answered again")
            return None
        if not same or probe.distance(self.engine.model, then["probe"]) > probe.limit(then["probe"]):
            return None
        logs.info(f"held-out tasks before training: the answers of the interrupted run ({path})")
        return answers

    def _answers(self, when: str) -> list[Completion]:
        """Answers, long prompts with long ones; the order is that of the tasks."""
        engine, sampling = self.engine, Sampling(self.longest, self.temperature, top_p=1.0)
        engine.model.to(self.trainer.args.device)
        order = sorted(range(len(self.tasks)), key=lambda index: len(self.tasks[index]["prompt_ids"]))
        starts, found = range(0, len(order), self.batch), {}
        for begin in logs.progress(starts, len(starts), f"held-out tasks {when}", "batch"):
            chosen = order[begin : begin + self.batch]
            some = [self.tasks[index] for index in chosen]
            prompts = [Prompt("", list(task["prompt_ids"]), bool(task["opened"])) for task in some]
            with seeded(begin):
                answers = engine.complete(prompts, sampling)
            for index, prompt, answer in zip(chosen, prompts, answers, strict=True):
                ended = answer.finish_reason == "stop"
                found[index] = Completion(answer.text, ended, prompt.opened, answer.completion_tokens)
        return [found[index] for index in range(len(order))]

    def _grade(self, answers: list[Completion]) -> Sitting:
        """The answers with all that is said about them."""
        messages = [json.loads(task["prompt"]) for task in self.tasks]
        golds = [json.loads(task["gold"]) for task in self.tasks]
        rows, totals = [{} for _ in answers], [None for _ in answers]
        if self.scorer:
            rows = self.scorer.score(answers, golds, messages)
            totals = [rewards.total(row, self.scorer.weights) for row in rows]
        extra = self.extra(self.tasks, answers) if self.extra else {}
        cases = []
        for index, (task, answer, gold, total) in enumerate(zip(self.tasks, answers, golds, totals, strict=True)):
            row = {**rows[index], **{name: float(values[index]) for name, values in extra.items()}}
            cases.append(
                {
                    "where": f"{task['source']}:{task['line']}",
                    "question": asked(messages[index]),
                    "kind": gold.get("kind", "answer" if "answer" in gold else None),
                    "expect": gold.get("answer"),
                    "text": answer.text,
                    "finished": answer.finished,
                    "opened": answer.opened,
                    "tokens": answer.tokens,
                    "strict": thoughts.strict(answer.text, answer.finished),
                    "reward": total,
                    # A function of the user's may have the name of a measure.
                    "scores": {f"{name}_score" if name in _OWN else name: value for name, value in row.items()},
                }
            )
        return Sitting(cases)

    def _write(self, when: str, sitting: Sitting, start: dict[str, Any] | None = None) -> None:
        content = {"start": start, "cases": sitting.cases}
        path = self.directory / f"exam_{when}.json"
        path.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def numbers(before: Sitting, after: Sitting) -> dict[str, float]:
    """What metrics.json keeps: of every measure its means, the change and the ends of its interval."""
    found: dict[str, float] = {"heldout_tasks": len(after.cases)}
    for name, change in changes(before, after).items():
        key = "heldout_" + name.replace(" (", "_").rstrip(")")
        found |= {
            f"{key}_before": change.before,
            key: change.after,
            f"{key}_change": change.mean,
            f"{key}_change_low": change.low,
            f"{key}_change_high": change.high,
        }
    return found
