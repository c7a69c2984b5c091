"""Curves a person looks at first: loss, perplexity, learning rate, gradient norm, from the trainer's log."""

import math
from pathlib import Path

PER_TOKEN, PER_PAIR = "nats per trained token", "nats per pair"  # what a loss is the mean of
BLUE, ORANGE, GREY = "#2563eb", "#ea580c", "#9ca3af"


def series(history: list[dict], key: str) -> tuple[list[float], list[float]]:
    """Steps and values of what the log calls `key`, finite ones only."""
    points = [(row["step"], row[key]) for row in history if key in row and math.isfinite(row[key])]
    return [x for x, _ in points], [y for _, y in points]


def smooth(values: list[float]) -> list[float]:
    """Exponential moving average over about a tenth of the points, corrected for its start."""
    weight = 1 - min(1.0, 20 / max(1, len(values)))
    smoothed, total, norm = [], 0.0, 0.0
    for value in values:
        total, norm = weight * total + (1 - weight) * value, weight * norm + (1 - weight)
        smoothed.append(total / norm)
    return smoothed


def draw(path: Path, title: str, label: str, lines: list[tuple], log: bool = False) -> None:
    """Write the PNG of `lines`, each `(x, y, name, style)`, over the optimizer steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for x, y, name, style in lines:
        axes.plot(x, y, label=name, **style)
    axes.set(title=title, xlabel="optimizer step", ylabel=label)
    if log:
        axes.set_yscale("log")
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    if len(lines) > 1:
        axes.legend(frameon=False)
    figure.savefig(path, dpi=120)


def training_curves(history: list[dict], directory: Path, unit: str = PER_TOKEN) -> list[Path]:
    """Write the PNGs that `history` (the trainer's `log_history`) has points for; returns their paths.

    `unit` is that of the loss; a perplexity is the exponential of one that is counted a token.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = []

    def save(name: str, title: str, label: str, lines: list[tuple], log: bool = False) -> None:
        lines = [line for line in lines if line[0]]
        if lines:
            draw(directory / name, title, label, lines, log)
            written.append(directory / name)

    x, y = series(history, "loss")
    ex, ey = series(history, "eval_loss")
    dots = {"marker": "o", "markersize": 4, "color": ORANGE}
    save("loss.png", "Loss", unit, [
        (x, y, "train, each log", {"color": GREY, "linewidth": 0.8}),
        (x if len(x) > 20 else [], smooth(y), "train, smoothed", {"color": BLUE}),
        (ex, ey, "held-out", dots),
    ])  # fmt: skip
    perplexities = [math.exp(min(value, 50)) for value in ey] if unit == PER_TOKEN else []
    ex = ex if perplexities else []
    steep = bool(perplexities) and max(perplexities) > 5 * min(perplexities)
    save("perplexity.png", "Held-out perplexity", "exp(nats per trained token)",
         [(ex, perplexities, "held-out", dots)], log=steep)  # fmt: skip
    for name, key, title, label in (
        ("reward_margin.png", "rewards/margins", "Reward margin, chosen - rejected", "reward"),
        ("reward_accuracy.png", "rewards/accuracies", "Pairs whose chosen answer is rewarded more", "share"),
    ):
        save(name, title, label, [
            (*series(history, key), "train", {"color": BLUE}),
            (*series(history, f"eval_{key}"), "held-out", dots),
        ])  # fmt: skip
    for name, key, title, label in (
        ("learning_rate.png", "learning_rate", "Learning rate", "learning rate"),
        ("grad_norm.png", "grad_norm", "Gradient norm before clipping", "L2 norm"),
        ("accuracy.png", "eval_accuracy", "Held-out pairs ranked right", "share of pairs"),
        ("epoch.png", "epoch", "Epoch", "epochs"),
    ):
        x, y = series(history, key)
        save(name, title, label, [(x, y, title, {"color": BLUE})])
    return written
