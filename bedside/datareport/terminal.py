"""A data report as a table in the terminal."""

import numpy as np

from bedside.datareport.counts import Numbers, Report, reasons
from bedside.datareport.lengths import edges

_WIDTH = 32  # bars
_BARS = " ▁▂▃▄▅▆▇█"


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"


def _counts(counts: dict) -> str:
    return ", ".join(f"{name}: {count}" for name, count in counts.items()) or "-"


def _spark(numbers: Numbers, max_length: int) -> str:
    """The lengths as a row of small bars, from the shortest to the longest."""
    counts, _ = np.histogram(numbers.lengths, edges(numbers.lengths, max_length, _WIDTH)[0])
    return "".join(_BARS[-(-int(count) * (len(_BARS) - 1) // int(counts.max()))] for count in counts)


def _rows(numbers: Numbers, report: Report) -> list[tuple[str, str]]:
    shown = numbers.percentiles
    rows = [
        ("conversations", f"{numbers.conversations}, as {numbers.samples} samples"),
        ("tokens", f"{numbers.tokens:,}, {_share(numbers.trained, numbers.tokens)} of them trained"),
        ("lengths", f"median {shown[50]}, 95 % up to {shown[95]}, longest {shown[100]}, limit {report.max_length}"),
        ("", f"{min(numbers.lengths)} {_spark(numbers, report.max_length)} {max(numbers.lengths)}"),
        ("turns", _counts(numbers.turns)),
        ("languages", _counts(numbers.languages)),
        ("thoughts", f"in {numbers.thoughts} conversations, {_share(numbers.thought_tokens, numbers.trained)} "
                     "of the trained tokens"),
        ("duplicates", f"{numbers.duplicates.count} conversations say the same as an earlier one"),
    ]  # fmt: skip
    if numbers.overlong:
        place, size = numbers.overlong[0]
        rows.append(("over-long", f"the longest is {place} with {size} tokens"))
    return rows


def lines(report: Report) -> list[str]:
    """The report for people in front of a terminal."""
    made = []
    for file, account in report.files.items():
        lost = reasons(account)
        why = f"; {_counts(dict(lost.most_common()))}" if lost else ""
        made.append(f"  {file}: {account.kept} of {account.rows} rows used{why}")
    for numbers in report.sets:
        made.append(f"{numbers.name} data")
        made += [f"  {name:14}{text}" for name, text in _rows(numbers, report)]
    if report.also_held_out.count:
        later, earlier = report.also_held_out.examples[0]
        made.append(
            f"  {report.also_held_out.count} training conversations are held out too, word for word (as {later} and "
            f"{earlier}): what is measured on them is memory"
        )
    return made
