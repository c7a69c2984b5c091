"""What a person sees while the steps run: a line a step, and on a terminal how far those at work are."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from bedside.pipeline.steps import Step

_LAST = 20  # lines of a failed step's output
_BAR = re.compile(r"(\d+)/(\d+) \[")  # a progress bar's count
_END = 1 << 16  # bytes of a log that are looked at for its last lines


class Screen:
    """Lines to `stream`. `verbose` also shows what the steps print, each line behind the step's name."""

    def __init__(self, names: Sequence[str], stream: TextIO = sys.stdout, verbose: bool = False):
        self.stream, self.verbose = stream, verbose
        self.total, self.over = len(names), 0
        self.width = max((len(name) for name in names), default=0)
        self.began = time.monotonic()
        self.live = stream.isatty() and not verbose
        self._shown = ""  # the live line that stands there now
        self._rest: float | None = None
        self._read: dict[Path, int] = {}  # bytes of each log that --verbose has shown

    def begun(self, step: Step, why: str, goes_on: bool, log: Path, from_byte: int) -> None:
        """A step was started; `why` is why it was not done, though there was something of it. Its output stands in
        `log` from `from_byte`."""
        self._read[log] = from_byte
        reason = f", again because {why if ':' in why else f'it {why}'}" if why else ""
        if goes_on:
            reason = ", going on from its last checkpoint"
        elif why.endswith("changed") or why.endswith("made again"):
            reason = f", again because {why}"
        if reason or not self.live:  # else the live line tells it
            self._line(step.name, f"{step.title}{reason}", count=False)

    def kept(self, step: Step, record: Mapping[str, Any]) -> None:
        """A step was done already."""
        self.over += 1
        told = record.get("told")
        self._line(step.name, "is there" + (f": {told}" if told else ""))

    def done(self, step: Step, seconds: float, told: str, log: Path) -> None:
        """A step has ended well."""
        self.over += 1
        self._show_new({step.name: log})
        left = ""
        if self._rest is not None and self.over < self.total:
            left = f", about {duration(self._rest)} left"
        self._line(step.name, f"done in {clock(seconds)}{left}" + (f": {told}" if told else ""))

    def blocked(self, step: Step, lost: Sequence[str]) -> None:
        """A step cannot be run, because one that it needs failed."""
        self.over += 1
        self._line(step.name, f"not run: it needs {' and '.join(lost)}")

    def failed(self, step: Step, why: str, log: Path, from_byte: int) -> None:
        """A step has failed: its last lines, where the rest is, what to do."""
        self.over += 1
        self._show_new({step.name: log})
        self._line(step.name, f"FAILED: {why}; its last lines:")
        for line in last_lines(log, from_byte):
            self._write(f"    | {line}\n")
        self._write(
            f"    all of it: {log}\n    mend what it says, then give the same command again: what is done is kept\n"
        )

    def show(self, running: Mapping[str, tuple[float, Path]], rest: float | None) -> None:
        """The running steps, `{name: (seconds so far, log)}`, and how long everything will take, if that is known."""
        self._rest = rest
        if self.verbose:
            self._show_new({name: log for name, (_, log) in running.items()})
        if not self.live:
            return
        parts = [f"{name} {clock(took)}{_count(log)}" for name, (took, log) in running.items()]
        left = f"   about {duration(rest)} left" if rest and running else ""
        self._live(f"{clock(time.monotonic() - self.began):>8}  {' | '.join(parts)}{left}" if parts else "")

    def say(self, text: str = "") -> None:
        """Text of its own lines."""
        self._write(text + "\n")

    def _line(self, name: str, text: str, count: bool = True) -> None:
        number = f"{self.over:>{len(str(self.total))}}/{self.total}" if count else " " * (2 * len(str(self.total)) + 1)
        self._write(f"{clock(time.monotonic() - self.began):>8}  {number}  {name:<{self.width}}  {text}\n")

    def _write(self, text: str) -> None:
        self._live("")
        self.stream.write(text)
        self.stream.flush()

    def _live(self, text: str) -> None:
        """Put one line in the place of the live one; "" takes it away."""
        if not self.live or text == self._shown:
            return
        import shutil

        cut = text[: max(20, shutil.get_terminal_size().columns - 1)]
        self.stream.write("\r" + cut + " " * max(0, len(self._shown) - len(cut)) + ("" if cut else "\r"))
        self.stream.flush()
        self._shown = cut

    def _show_new(self, logs: Mapping[str, Path]) -> None:
        """With --verbose: the whole lines that the logs have got since the last look."""
        for name, log in logs.items() if self.verbose else ():
            seen = self._read.get(log, 0)
            with log.open("rb") as stream:
                stream.seek(seen)
                fresh = stream.read()
            whole = fresh[: fresh.rfind(b"\n") + 1]
            self._read[log] = seen + len(whole)
            for line in whole.decode("utf-8", "replace").split("\n")[:-1]:
                self._write(f"{name:>{self.width}} | {_at_last(line)}\n")


def last_lines(log: Path, from_byte: int = 0, most: int = _LAST) -> list[str]:
    """The last lines of a log that are not empty; of a progress bar what stood there last."""
    text = _end_of(log, from_byte)
    lines = [_at_last(line) for line in text.split("\n")]
    return [line for line in lines if line][-most:] or ["(it printed nothing)"]


def _at_last(line: str) -> str:
    """What stood in a line at last, where a progress bar wrote it over and over."""
    return line.rstrip("\r").rpartition("\r")[2].rstrip()


def _end_of(log: Path, from_byte: int = 0) -> str:
    with log.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(from_byte, size - _END))
        return stream.read().decode("utf-8", "replace")


def _count(log: Path) -> str:
    """How far the last progress bar of a log is, as ` 12/96`."""
    try:
        found = _BAR.findall(_end_of(log)[-2000:])
    except OSError:
        return ""
    return f" {found[-1][0]}/{found[-1][1]}" if found else ""


def clock(seconds: float) -> str:
    """Seconds as on a clock.

    >>> clock(71), clock(3671.4)
    ('1:11', '1:01:11')
    """
    minutes, left = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{left:02d}" if hours else f"{minutes}:{left:02d}"


def duration(seconds: float) -> str:
    """A rough time in words.

    >>> duration(40), duration(400), duration(9000)
    ('1 min', '7 min', '2 h 30 min')
    """
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
