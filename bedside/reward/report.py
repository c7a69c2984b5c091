"""What the scores of held-out pairs say about a reward model. Pure functions of one number, or one name, a pair.

A pair's margin is the score of its chosen answer minus the score of its rejected one; the model is right where it is
above zero. Under the model's own loss, sigmoid(margin) is the probability that the chosen answer is the better one
(Bradley and Terry 1952, Biometrika 39).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from bedside.evaluate.statistics import bootstrap_mean, wilson

# Tokens that the chosen answer is longer by, where one group of lengths ends and the next begins.
LENGTH_EDGES = (-32, -8, 0, 1, 9, 33)
LENGTH_NAMES = (
    "chosen shorter by > 32", "shorter by 9..32", "shorter by 1..8", "same length",
    "longer by 1..8", "longer by 9..32", "chosen longer by > 32",
)  # fmt: skip
BINS = 10  # of confidence, from 0.5 to 1


@dataclass(frozen=True)
class Scored:
    """Held-out pairs with their scores `(B,)`, the length of each answer in tokens `(B,)`, and the file of each."""

    chosen: np.ndarray
    rejected: np.ndarray
    chosen_tokens: np.ndarray
    rejected_tokens: np.ndarray
    source: list[str]

    @property
    def margin(self) -> np.ndarray:
        """Score of chosen minus score of rejected, `(B,)`."""
        return self.chosen - self.rejected

    @property
    def longer_by(self) -> np.ndarray:
        """Tokens that the chosen answer has more than the rejected one, `(B,)`."""
        return self.chosen_tokens - self.rejected_tokens


def accuracy(margin: np.ndarray) -> dict[str, Any]:
    """Share of pairs with a margin above 0, a tie counting half, with its 95 % interval (Wilson).

    >>> accuracy(np.array([1.0, 0.5, 0.0, -2.0]))["accuracy"]
    0.625
    """
    pairs, ties = len(margin), int((margin == 0).sum())
    right = int((margin > 0).sum()) + ties / 2
    low, high = wilson(right, pairs)
    return {"pairs": pairs, "ties": ties, "accuracy": right / pairs if pairs else None, "low": low, "high": high}


def mean_margin(margin: np.ndarray) -> dict[str, float | None]:
    """Mean and standard deviation of the margin, the mean with its 95 % interval (bootstrap-t); None for one pair."""
    mean = float(margin.mean())
    if len(margin) < 2:
        return {"mean": mean, "sd": None, "low": None, "high": None}
    low, high = bootstrap_mean(margin.tolist()) or (None, None)
    return {"mean": mean, "sd": float(margin.std(ddof=1)), "low": low, "high": high}


def probability(margin: np.ndarray) -> np.ndarray:
    """sigmoid(margin), `(B,)`: how probable the model holds it that the chosen answer is the better one."""
    return np.exp(-np.logaddexp(0, -margin))


def loss(chosen: np.ndarray, rejected: np.ndarray, centre: float | None = None) -> float:
    """Mean of -log sigmoid(margin) in nats a pair, plus `centre` times the mean of (chosen + rejected)^2 (Eisenstein
    et al. 2023, arXiv 2312.09244, eq. 2)."""
    value = float(np.logaddexp(0, rejected - chosen).mean())
    return value + (centre or 0.0) * float(((chosen + rejected) ** 2).mean())


def calibration(margin: np.ndarray, bins: int = BINS) -> dict[str, Any]:
    """Expected calibration error and the reliability curve behind it.

    The confidence of a pair is max(p, 1 - p) with p = sigmoid(margin): that of the answer the model prefers. Pairs
    fall into `bins` of equal width from 0.5 to 1, and ECE = sum over bins of share * |accuracy - mean confidence|
    (Guo et al. 2017, arXiv 1706.04599, eq. 3). Zero is perfect; empty bins are left out of the curve.
    """
    p = probability(margin)
    confidence = np.maximum(p, 1 - p)
    right = (margin > 0) + 0.5 * (margin == 0)
    place = np.minimum(((confidence - 0.5) * 2 * bins).astype(int), bins - 1)
    curve, error = [], 0.0
    for index in range(bins):
        here = place == index
        if here.any():
            said, was = float(confidence[here].mean()), float(right[here].mean())
            error += here.mean() * abs(was - said)
            edges = (0.5 + index / (2 * bins), 0.5 + (index + 1) / (2 * bins))
            curve.append({"from": edges[0], "to": edges[1], "pairs": int(here.sum()), "confidence": said,
                          "accuracy": was})  # fmt: skip
    return {"ece": float(error), "curve": curve}


def by_group(margin: np.ndarray, group: list[str]) -> dict[str, dict]:
    """`accuracy` of the pairs of each name, in the order in which names first occur."""
    names = np.array(group)
    return {name: accuracy(margin[names == name]) for name in dict.fromkeys(group)}


def by_length(margin: np.ndarray, longer_by: np.ndarray) -> dict[str, dict]:
    """`accuracy` of the pairs of each group of length differences (`LENGTH_NAMES`), empty groups left out."""
    place = np.digitize(longer_by, LENGTH_EDGES)
    return {name: accuracy(margin[place == i]) for i, name in enumerate(LENGTH_NAMES) if (place == i).any()}


def correlation(x: np.ndarray, y: np.ndarray) -> float | None:
    """Pearson's r of two lists of numbers; None where one of them does not vary."""
    dx, dy = x - x.mean(), y - y.mean()
    scale = math.sqrt(float((dx**2).sum()) * float((dy**2).sum()))
    return float((dx * dy).sum()) / scale if scale > 0 else None


def report(scored: Scored) -> dict[str, Any]:
    """All of it, as `metrics.json` keeps it. `longer_wins` is the accuracy of always taking the longer answer: what a
    model that has learnt nothing but length would reach."""
    scores = np.concatenate([scored.chosen, scored.rejected])
    tokens = np.concatenate([scored.chosen_tokens, scored.rejected_tokens])
    return {
        "accuracy": accuracy(scored.margin),
        "margin": mean_margin(scored.margin),
        "nll": loss(scored.chosen, scored.rejected),
        "calibration": calibration(scored.margin),
        "by_source": by_group(scored.margin, scored.source),
        "by_length": by_length(scored.margin, scored.longer_by),
        "longer_wins": accuracy(scored.longer_by),
        "length_correlation": correlation(scores, tokens),
        "score": {"mean": float(scores.mean()), "sd": float(scores.std(ddof=1))},
    }


def _row(name: str, found: dict) -> str:
    ties = f"  {found['ties']} tied" if found["ties"] else ""
    return f"{name:<36}{found['pairs']:>7}{found['accuracy']:>9.1%}   [{found['low']:.1%}, {found['high']:.1%}]{ties}"


def table(made: dict[str, Any]) -> list[str]:
    """The report as lines for a terminal."""
    lines = [f"{'held-out pairs':<36}{'pairs':>7}{'accuracy':>9}   95 % interval", _row("all", made["accuracy"])]
    groups = made["by_source"]
    if len(groups) > 1:
        lines += [_row(f"  {name}", found) for name, found in groups.items()]
    lines += [_row(f"  {name}", found) for name, found in made["by_length"].items()]
    lines.append(_row("(always the longer answer)", made["longer_wins"]))
    margin, score, r = made["margin"], made["score"], made["length_correlation"]
    interval = "" if margin["low"] is None else f" [{margin['low']:.3f}, {margin['high']:.3f}]"
    lines.append(
        f"margin {margin['mean']:.3f}{interval}; {made['nll']:.4f} nats a pair; calibration error "
        f"{made['calibration']['ece']:.3f}"
    )
    told = "no length or no score varies" if r is None else f"correlation with length {r:+.2f}"
    lines.append(f"score {score['mean']:.3f} on average, standard deviation {score['sd']:.3f}; {told}")
    return lines
