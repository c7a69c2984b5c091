"""The picture of how long conversations are, in tokens, with --max_length marked."""

from pathlib import Path

import numpy as np

from bedside.datareport.counts import Report

_BINS = 48
_COLOURS = ("#2563eb", "#ea580c")


def edges(lengths: np.ndarray, max_length: int, bars: int = _BINS) -> tuple[np.ndarray, bool]:
    """Edges of the bars, and whether they grow in size (where the longest is 10 times the median and more).

    `max_length` is an edge if it lies among the lengths, so that no bar holds both what fits and what does not.
    """
    low, high = int(lengths.min()), int(lengths.max()) + 1
    grow = high > 10 * float(np.median(lengths))
    made = np.geomspace(max(1, low), high, bars + 1) if grow else np.linspace(low, high, min(bars, high - low) + 1)
    if low < max_length + 1 < high:
        made[np.abs(made[1:-1] - (max_length + 1)).argmin() + 1] = max_length + 1
    return made, grow


def draw(path: Path, report: Report) -> None:
    """Write the histogram as a PNG; the vertical axis is logarithmic where bars differ more than a hundredfold."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import ScalarFormatter

    figure = Figure(figsize=(8, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars, grow = edges(np.concatenate([numbers.lengths for numbers in report.sets]), report.max_length)
    tallest, smallest = 0, np.inf
    for numbers, colour in zip(report.sets, _COLOURS, strict=False):
        counts, _, _ = axes.hist(numbers.lengths, bars, color=colour, alpha=0.75, label=f"{numbers.name}")
        tallest, smallest = max(tallest, counts.max()), min(smallest, counts[counts > 0].min())
    if grow:
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(ScalarFormatter())
    if tallest > 100 * smallest:
        axes.set_yscale("log")
    right = axes.get_xlim()[1]
    if report.max_length < right:
        axes.axvline(report.max_length, color="#b91c1c", linewidth=1.2, linestyle="--",
                     label=f"--max_length {report.max_length}")  # fmt: skip
    else:
        axes.plot([], [], " ", label=f"--max_length {report.max_length}: all fit")
    axes.set(title="Length of conversations", xlabel="tokens (longest sample of a conversation)",
             ylabel="conversations")  # fmt: skip
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path, dpi=120)
