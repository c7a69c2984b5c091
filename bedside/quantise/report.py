"""What quantising changed, as a table: for the terminal, equivalence.md and equivalence.json."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from bedside.evaluate.statistics import paired_change, wilson
from bedside.quantise import compare

_SHARES = {"strict": "thought format, strict", "finished": "finished by itself", "named": "condition named"}


@dataclass(frozen=True)
class Side:
    """One model: bytes of its weights, what `measure` found, and the seconds that took."""

    size: int
    found: dict

    @property
    def rows(self) -> list[compare.Row]:
        """Its held-out answers."""
        return [compare.Row(**row) for row in self.found["rows"]]


def record(before: Side, after: Side, method: dict) -> dict:
    """Everything the report tells, as JSON values; `method` is how it was quantised."""
    agreed, change = compare.agreement(after.rows), compare.nll_change(before.rows, after.rows)
    shares = {}
    for key in _SHARES:
        old, new = ([float(case[key]) for case in side.found["cases"]] for side in (before, after))
        moved = paired_change(old, new)
        shares[key] = {"before": sum(old), "after": sum(new), "n": len(old), "change": moved.mean,
                       "low": moved.low, "high": moved.high}  # fmt: skip
    return {
        "method": method,
        "bytes": [before.size, after.size],
        "answers": len(before.rows),
        "passed_over": before.found["passed_over"],
        "perplexity": [compare.perplexity(before.rows), compare.perplexity(after.rows)],
        "nll_change": {"mean": change.mean, "low": change.low, "high": change.high},
        "agreement": asdict(agreed),
        "questions": shares,
        "seconds": {"measuring before": before.found["seconds"], "quantising": method["seconds"],
                    "measuring after": after.found["seconds"]},
    }  # fmt: skip


def lines(told: dict) -> list[tuple[str, str, str, str]]:
    """`(what, before, after, change)` of a record."""
    old, new = told["bytes"]
    change, agreed = told["nll_change"], told["agreement"]
    found = [
        ("weights on disk", f"{old / 1e6:,.1f} MB", f"{new / 1e6:,.1f} MB", f"{old / new:.2f} times smaller"),
        (
            "perplexity of held-out answers",
            *(f"{value:.3f}" for value in told["perplexity"]),
            f"{_percent(change['mean'])} a token [{_percent(change['low'])}, {_percent(change['high'])}]",
        ),
        (
            "same likeliest next token", "", f"{100 * agreed['share']:.1f} %",
            f"[{100 * agreed['low']:.1f}, {100 * agreed['high']:.1f}]",
        ),
        ("mean KL(before || after), nats", "", f"{agreed['kl']:.4f}", ""),
    ]  # fmt: skip
    for key, label in _SHARES.items():
        share = told["questions"][key]
        moved = f"{100 * share['change']:+.0f} points [{100 * share['low']:+.0f}, {100 * share['high']:+.0f}]"
        found.append((label, _share(share["before"], share["n"]), _share(share["after"], share["n"]), moved))
    return found


def _percent(nats: float) -> str:
    """A change of log-perplexity as a change of perplexity."""
    return f"{100 * math.expm1(nats):+.1f} %"


def _share(count: float, n: int) -> str:
    low, high = wilson(count, n)
    return f"{count:.0f}/{n} [{100 * low:.0f}, {100 * high:.0f}] %"


def _heads(told: dict) -> tuple[str, str, str, str]:
    tokens, asked = told["agreement"]["tokens"], told["questions"]["strict"]["n"]
    return (f"{told['answers']} answers ({tokens:,} tokens), {asked} questions", "before", "after", "change [95 %]")


def table(told: dict) -> str:
    """For the terminal."""
    head = _heads(told)
    rows = lines(told)
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(4)]
    shown = [f"{a:{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}  {d}".rstrip() for a, b, c, d in [head, *rows]]
    rule = "-" * max(map(len, shown))
    spent = ", ".join(f"{what} {seconds:.0f} s" for what, seconds in told["seconds"].items())
    lost = told["passed_over"]
    if lost:
        spent += f"; {lost} row{'s were' if lost > 1 else ' was'} passed over"
    return "\n".join([shown[0], rule, *shown[1:], rule, spent])


def write(told: dict, directory: Path) -> None:
    """equivalence.json and equivalence.md beside the model."""
    (directory / "equivalence.json").write_text(
        json.dumps(told, ensure_ascii=False, indent=1) + "\n", encoding="utf-8"
    )
    rows = ["| " + " | ".join(cell for cell in row) + " |" for row in [_heads(told), *lines(told)]]
    rows.insert(1, "| --- | ---: | ---: | --- |")
    how = ", ".join(f"{name} {value}" for name, value in told["method"].items() if name != "seconds")
    text = f"# What quantising changed\n\nMethod: {how}. Before: the model in 16 or 32 bits, on the same rows.\n\n"
    (directory / "equivalence.md").write_text(text + "\n".join(rows) + "\n", encoding="utf-8")
