"""What a run trains on, in numbers a person can check: `data_report.html`, `data_lengths.png` and lines in the log.

No text of any row is in it; rows are named by file and line.
"""

from pathlib import Path

from bedside import logs
from bedside.data.chats import Data
from bedside.datareport.counts import Report, counted
from bedside.datareport.lengths import draw
from bedside.datareport.page import page
from bedside.datareport.terminal import lines

__all__ = ["Report", "counted", "lines", "write"]
PAGE, PICTURE = "data_report.html", "data_lengths.png"


def write(directory: Path, data: Data, max_length: int, template: str) -> Report:
    """Write page and picture into `directory`, and say the most important numbers; returns all of them."""
    report = counted(data, max_length, template)
    directory.mkdir(parents=True, exist_ok=True)
    draw(directory / PICTURE, report)
    text = page(report, (directory / PICTURE).read_bytes())
    (directory / PAGE).write_text(text, encoding="utf-8")
    for line in lines(report):
        logs.info(line)
    logs.info(f"data report: {directory / PAGE}")
    return report
