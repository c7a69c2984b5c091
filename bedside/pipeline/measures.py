"""What a step says of itself in a few words, from the files that it left."""

from __future__ import annotations

import json
from itertools import groupby
from pathlib import Path
from typing import Any

from bedside import lineage
from bedside.errors import UserError
from bedside.pipeline.steps import ANSWER, EVALUATION, MODEL, REPORT, Step

# What the evaluation of a stage tells: task and measure, those by which the stage is judged.
_OWN = {
    "pt": (("documents", "document_perplexity"),),
    "sft": (("chat", "strict"), ("chat", "diagnosis")),
    "rm": (("pairs", "accuracy"),),
    "dpo": (("reward", "reward"), ("chat", "diagnosis")),
    "orpo": (("reward", "reward"), ("chat", "diagnosis")),
    "ppo": (("reward", "reward"), ("chat", "strict")),
    "grpo": (("verifiable", "accuracy"), ("chat", "strict")),
}


def told(step: Step) -> str:
    """The step's own measure; "" where it has none, or its files say something else than expected."""
    try:
        if step.kind == MODEL:
            merged = step.name.startswith("merge-")
            return _merge(step) if merged else _STAGES.get(step.name, _training)(Path(step.output))
        if step.kind == EVALUATION:
            return _evaluation(Path(step.output), step.name.removeprefix("evaluate-"))
        return {REPORT: _wins, ANSWER: _answer}.get(step.kind, _nothing)(Path(step.output))
    except (KeyError, TypeError, ValueError, IndexError, OSError, UserError):
        return ""


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _nothing(place: Path) -> str:
    return ""


def _training(place: Path) -> str:
    metrics = _json(place / "metrics.json")
    if "eval_perplexity" in metrics:
        return f"perplexity of held-out rows {metrics['eval_perplexity']:.2f}"
    if "train_perplexity" in metrics and "eval_loss" not in metrics:
        return f"perplexity of training rows {metrics['train_perplexity']:.2f}, nothing held out"
    name = "eval_loss" if "eval_loss" in metrics else "train_loss"
    return f"{name.replace('_', ' ')} {metrics[name]:.3f}"


def _documents(place: Path) -> str:
    metrics = _json(place / "metrics.json")
    if "document_perplexity_after" not in metrics:
        return _training(place)
    before, after = metrics["document_perplexity_before"], metrics["document_perplexity_after"]
    change = [100 * metrics[f"document_perplexity_change{end}"] for end in ("", "_low", "_high")]
    return (
        f"perplexity of {metrics['documents_compared']} held-out documents {before:.2f} -> {after:.2f} "
        f"({change[0]:+.0f} % [{change[1]:+.0f}, {change[2]:+.0f}])"
    )


def _chats(place: Path) -> str:
    """Held-out questions before and after, where an eval_file was given."""
    if not (place / "eval_after.json").is_file():
        return _training(place)
    before, after = (_json(place / f"eval_{when}.json")["scores"] for when in ("before", "after"))
    n = after["n"]
    return (
        f"of {n} held-out questions: condition named {before['named']} -> {after['named']}, format kept "
        f"{before['strict']} -> {after['strict']}, perplexity of answers {before['perplexity']:.2f} -> "
        f"{after['perplexity']:.2f}"
    )


def _pairs(place: Path) -> str:
    metrics = _json(place / "metrics.json")
    if "heldout_win_rate" not in metrics:
        return _training(place)
    shares = [100 * metrics[name] for name in ("heldout_win_rate_before", "heldout_win_rate")]
    margins = [metrics[name] for name in ("heldout_margin_before", "heldout_margin")]
    return (
        f"held-out pairs ranked right {shares[0]:.0f} % -> {shares[1]:.0f} %, margin {margins[0]:.2f} -> "
        f"{margins[1]:.2f} nats a token"
    )


def _reward(place: Path) -> str:
    found = _json(place / "metrics.json")["reward"]["accuracy"]
    low, high = (100 * found[end] for end in ("low", "high"))
    return f"ranks {100 * found['accuracy']:.0f} % [{low:.0f}, {high:.0f}] of {found['pairs']} held-out pairs right"


def _tasks(place: Path) -> str:
    """Rewards of held-out tasks before and after, and the accuracy where answers are verified."""
    metrics = _json(place / "metrics.json")
    parts = []
    for name in ("reward", "accuracy", "kl"):
        key = f"heldout_{name}"
        if key not in metrics:
            continue
        text = f"{name} {metrics[f'{key}_before']:.2f} -> {metrics[key]:.2f}"
        ends = [metrics.get(f"{key}_change{end}") for end in ("", "_low", "_high")]
        if None not in ends:
            text += f" ({ends[0]:+.2f} [{ends[1]:+.2f}, {ends[2]:+.2f}])"
        parts.append(text)
    if not parts:
        return _rewards(place)
    return f"{metrics.get('heldout_tasks', 0):.0f} held-out tasks: {', '.join(parts)}"


def _rewards(place: Path) -> str:
    """What its own answers earned in training: the first quarter of the logged means, and the last."""
    state = place / "trainer_state.json"
    history = _json(state)["log_history"] if state.is_file() else []
    logged = [row["reward"] for row in history if "reward" in row]
    if len(logged) < 2:
        return _training(place)
    size = max(1, len(logged) // 4)
    first, last = (sum(part) / size for part in (logged[:size], logged[-size:]))
    return f"mean reward of its answers in training {first:.2f} -> {last:.2f}, nothing held out"


_STAGES = {
    "pt": _documents, "sft": _chats, "rm": _reward, "dpo": _pairs, "orpo": _pairs, "ppo": _tasks, "grpo": _tasks,
}  # fmt: skip


def _merge(step: Step) -> str:
    merge = (lineage.read(step.output) or {})["merge"]
    return f"merge error {merge['kl']:.1e}" if merge.get("kl") is not None else ""


def _evaluation(place: Path, stage: str) -> str:
    """The stage's own measures; where none of them was taken, the first one of every task."""
    from bedside.evaluate import results, stored
    from bedside.evaluate.report import numbers

    rows = [
        (name, measure, cases)
        for name, (task, cases) in stored.read(place).tasks.items()
        for measure in task.measures
        if any(case.values.get(measure.name) is not None for case in cases)
    ]
    own = [row for wanted in _OWN.get(stage, ()) for row in rows if (row[0], row[1].name) == wanted]
    first = [next(of_task) for _, of_task in groupby(rows, key=lambda row: row[0])]
    found = [results.estimate(measure, cases) for _, measure, cases in own or first]
    return "; ".join(f"{one.measure.label} {numbers.estimate(one)}, n = {one.n:,}" for one in found)


def _wins(place: Path) -> str:
    """Win rates over the first model, by judge; "" for a report without judges."""
    by_judge: dict[tuple[str, str], list[str]] = {}
    for one in _json(place / "report.json")["judged"]:
        rate = one["win_rate"]
        ends = "" if rate["low"] is None else f" [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}]"
        told = f"{one['second']} {100 * rate['value']:.0f} %{ends}"
        by_judge.setdefault((one["first"], one["judge"]), []).append(told)
    return "; ".join(f"wins over {first} by {judge}: {', '.join(told)}" for (first, judge), told in by_judge.items())


def _answer(place: Path) -> str:
    row = json.loads(place.read_text(encoding="utf-8").splitlines()[-1])
    return "" if row.get("finish_reason") in (None, "stop") else f"finish reason: {row['finish_reason']}"
