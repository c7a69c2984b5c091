"""Three pictures of a reward report: are its probabilities honest, how far apart are answers, does length decide."""

from pathlib import Path
from typing import Any

import numpy as np

from bedside.evaluate.statistics import wilson
from bedside.reward.report import BINS, LENGTH_NAMES, Scored

_BLUE, _ORANGE, _GREY = "#2563eb", "#ea580c", "#9ca3af"


def _axes(title: str, x: str, y: str) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _points(axes: Any, x: list[float], found: list[dict], colour: str, name: str) -> None:
    """Accuracies with their 95 % intervals, and how many pairs stand behind each."""
    intervals = [wilson(point["accuracy"] * point["pairs"], point["pairs"]) for point in found]
    values = [point["accuracy"] for point in found]
    errors = [[max(0.0, value - low) for value, (low, _) in zip(values, intervals, strict=True)],
              [max(0.0, high - value) for value, (_, high) in zip(values, intervals, strict=True)]]  # fmt: skip
    axes.errorbar(x, values, yerr=errors, fmt="o", color=colour, capsize=3, label=name)
    for place, point, (low, _) in zip(x, found, intervals, strict=True):
        axes.annotate(str(point["pairs"]), (place, low), (0, -11), textcoords="offset points", ha="center", fontsize=8,
                      color="#6b7280")  # fmt: skip
    axes.set_ylim(-0.08, 1.05)


def calibration(made: dict[str, Any], path: Path) -> None:
    """How often the model is right where it is so and so sure; on the diagonal its probabilities can be believed."""
    found = made["calibration"]
    figure, axes = _axes(
        f"Calibration on held-out pairs (error {found['ece']:.3f})", "confidence in the preferred answer",
        "share right",
    )  # fmt: skip
    axes.plot([0.5, 1], [0.5, 1], "--", color=_GREY, label="perfect")
    _points(axes, [point["confidence"] for point in found["curve"]], found["curve"], _BLUE, "model, 95 % interval")
    axes.set_xlim(0.5 - 0.25 / BINS, 1 + 0.25 / BINS)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=120)


def margins(scored: Scored, path: Path) -> None:
    """Where the margins lie; left of zero the model prefers the rejected answer."""
    margin = scored.margin
    wrong = int((margin < 0).sum())
    figure, axes = _axes("Margins of held-out pairs", "score of chosen - score of rejected", "pairs")
    width = float(np.abs(margin).max()) / 20 or 1.0
    # An edge at zero, so that no bar is right and wrong at once.
    edges = width * np.arange(np.floor(margin.min() / width), np.floor(margin.max() / width) + 2)
    axes.hist(margin[margin < 0], edges, color=_ORANGE, label=f"wrong ({wrong})")
    axes.hist(margin[margin >= 0], edges, color=_BLUE, label=f"right or tied ({len(margin) - wrong})")
    axes.axvline(float(margin.mean()), color="black", linewidth=1, label=f"mean {margin.mean():.2f}")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def by_length(made: dict[str, Any], path: Path) -> None:
    """Accuracy by how much longer the chosen answer is: a model that follows length is right on one side only."""
    found = made["by_length"]
    figure, axes = _axes("Accuracy by length", "tokens of the chosen answer against the rejected one", "share right")
    places = [LENGTH_NAMES.index(name) for name in found]
    axes.axhline(0.5, linestyle="--", color=_GREY, label="guessing")
    _points(axes, places, list(found.values()), _BLUE, "model, 95 % interval")
    names = ["< -32", "-32..-9", "-8..-1", "0", "1..8", "9..32", "> 32"]
    axes.set_xticks(range(len(names)), names)
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(path, dpi=120)


def write(scored: Scored, made: dict[str, Any], directory: Path) -> list[Path]:
    """`reward_calibration.png`, `reward_margins.png` and `reward_by_length.png` into `directory`; their paths."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = [directory / f"reward_{name}.png" for name in ("calibration", "margins", "by_length")]
    calibration(made, paths[0])
    margins(scored, paths[1])
    by_length(made, paths[2])
    return paths
