"""Curves of a training by rewards: what is rewarded, how far the policy went, whether it still writes as wanted."""

import math
from pathlib import Path

from bedside.plots import BLUE, GREY, ORANGE, draw, smooth
from bedside.rollouts import measures

_COLOURS = (BLUE, "#16a34a", "#9333ea", ORANGE, "#0891b2", "#db2777", GREY)
_CHARTS = (
    ("reward", "Reward", "mean of the answers"),
    ("kl", "KL of policy and reference", "nats an answer"),
    ("length", "Length of answers", "tokens"),
    ("clipped", "Answers cut at the length limit", "share"),
    ("format", "Answers in strict thought format", "share"),
    ("entropy", "Entropy of the policy", "nats a token"),
    ("policy_loss", "Policy loss", "loss"),
    ("value_loss", "Value loss", "loss"),
    ("explained_variance", "Returns explained by the critic", "share of their variance"),
    ("clip_fraction", "Tokens whose ratio was clipped", "share"),
    ("ratio", "Ratio of the new policy to the one that sampled", "mean of the tokens"),
)


def _points(rows: list[dict], name: str) -> tuple[list[float], list[float]]:
    found = measures.series(rows, name)
    return [step for step, _ in found], [value for _, value in found]


def _lines(sampled: list[dict], held_out: list[dict], name: str) -> list[tuple]:
    """What was sampled, smoothed where there is much of it, and the points of held-out tasks."""
    (x, y), (ex, ey) = _points(sampled, name), _points(held_out, name)
    many = len(x) > 20
    return [
        (x, y, "sampled, each log", {"color": GREY if many else BLUE, "linewidth": 0.8 if many else 1.5}),
        (x if many else [], smooth(y) if many else [], "sampled, smoothed", {"color": BLUE}),
        (ex, ey, "held-out", {"marker": "o", "markersize": 4, "color": ORANGE}),
    ]


def _by_reward(history: list[dict]) -> list[tuple]:
    """A smoothed line for each single reward, in the order in which they first appear."""
    points: dict[str, list[tuple[float, float]]] = {}
    for row in history:
        for name, value in measures.rewards(row).items():
            if "step" in row and math.isfinite(value):
                points.setdefault(name, []).append((row["step"], value))
    return [
        ([x for x, _ in found], smooth([y for _, y in found]), name, {"color": _COLOURS[index % len(_COLOURS)]})
        for index, (name, found) in enumerate(points.items())
    ]


def curves(history: list[dict], directory: Path) -> list[Path]:
    """Write the PNGs that `history` (the trainer's `log_history`) has points for; returns their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    both = measures.rows(history), measures.rows(history, "eval_")
    charts = [(name, title, label, _lines(*both, name)) for name, title, label in _CHARTS]
    single = _by_reward(history)
    if len(single) > 1:
        charts.append(("rewards", "Rewards, each by itself (smoothed)", "mean of the answers", single))
    written = []
    for name, title, label, lines in charts:
        drawn = [line for line in lines if line[0]]
        if drawn:
            draw(directory / f"{name}.png", title, label, drawn)
            written.append(directory / f"{name}.png")
    return written
