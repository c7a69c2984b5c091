"""Alarms of a training by rewards: sentences about a run that goes wrong, from the measures of its rollouts.

Medians of several rollouts are compared, never one rollout: noise is no alarm. `check` is pure; a trainer turns its
sentence into `errors.Alarmed`, which ends the run. All of this is said by the log, so it costs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import fmean, median
from typing import Any

from bedside import launch
from bedside.errors import Alarmed
from bedside.rollouts import measures, plots

_LATEST = 3  # rollouts whose median KL is looked at: a policy that runs away does so fast
_RISE_FROM = 0.2  # of the limit: a KL that rises below it is the beginning of every run
_KL_UNLIMITED = 50.0  # stands for the limit where there is none
_FINITE = ("reward", "kl", "length", "entropy", "policy_loss", "value_loss")
_SURE, _MAYBE = 4.0, 1.0  # standard errors by which a measure has certainly, or possibly, changed

Rows = list[dict[str, float]]  # see `measures.rows`


@dataclass(frozen=True)
class Thresholds:
    """When a run is stopped. Each has the flag `--alarm_NAME`, and 0 switches it off."""

    kl: float = 50.0  # nats an answer, policy against reference
    kl_rise: float = 10.0  # times the KL of the rollouts before, once it is above a fifth of the limit
    cut: float = 0.5  # share of answers cut at the length limit, where less than half of that was at the start
    shrink: float = 0.2  # mean length, as a share of the start's
    hacking: float = 0.2  # share of answers that lost the strict format while the reward rose
    entropy: float = 0.1  # entropy, as a share of the start's, while the reward did not rise
    entropy_floor: float = 0.001  # nats a token, whatever the reward does
    window: int = 8  # rollouts that are compared with as many of the start

    def problems(self) -> list[str]:
        """What of these values cannot be meant, by their flags."""
        found = [
            f"--alarm_{field.name} {value:g}: expected at least 0 (0 switches the alarm off)"
            for field in fields(self)
            if field.name != "window" and not (value := getattr(self, field.name)) >= 0
        ]
        for name in ("cut", "shrink", "hacking", "entropy"):
            if getattr(self, name) >= 1:
                found.append(f"--alarm_{name} {getattr(self, name):g}: expected a share below 1 (0 switches it off)")
        if 0 < self.kl_rise <= 1:
            found.append(f"--alarm_kl_rise {self.kl_rise:g}: expected a factor above 1 (0 switches it off)")
        return found if self.window >= 2 else [*found, f"--alarm_window {self.window}: expected at least 2 rollouts"]


def _column(rows: list[tuple[float, ...]], index: int = 1) -> list[float]:
    return [row[index] for row in rows]


def _ends(values: list[float], window: int) -> tuple[float, float] | None:
    """Medians of the first and the last `window` values, once these do not overlap."""
    return (median(values[:window]), median(values[-window:])) if len(values) >= 2 * window else None


def _noise(values: list[float], window: int) -> float:
    """Standard error of the difference of two medians of `window` values, from how much neighbours differ.

    Those of the whole run: a few values may differ little by chance, and a trend is no noise.
    """
    steps = [(new - old) ** 2 for old, new in zip(values, values[1:], strict=False)]
    # sqrt(pi / 2): the median of normal values against their mean; neighbours differ by two errors, so do medians.
    return math.sqrt(math.pi / 2 * fmean(steps) / window)


def not_finite(history: list[dict]) -> str | None:
    """A measure of the newest rollout that is no number."""
    if not history:
        return None
    row, measured = history[-1], measures.of(history[-1])
    # TRL writes None where every value of a measure was nan.
    bad = [name for name in _FINITE if row.get(name, 0.0) is None or not math.isfinite(measured.get(name, 0.0))]
    return f"{' and '.join(bad)} not finite (nan or inf)" if bad else None


def kl_too_large(rows: Rows, limit: float) -> str | None:
    """The policy has left the reference: the median KL of the last rollouts is above `limit`."""
    latest = _column(measures.series(rows, "kl")[-_LATEST:])
    if len(latest) < _LATEST or median(latest) <= limit:
        return None
    return f"the KL to the reference is {median(latest):.1f} nats an answer, above {limit:g}"


def kl_jumped(rows: Rows, factor: float, limit: float, window: int) -> str | None:
    """The KL of the last rollouts is `factor` times that of the `window` rollouts before them, and not small."""
    values = _column(measures.series(rows, "kl"))
    if len(values) < window + _LATEST:
        return None
    before, latest = median(values[-_LATEST - window : -_LATEST]), median(values[-_LATEST:])
    if latest <= max(_RISE_FROM * (limit or _KL_UNLIMITED), factor * before):
        return None
    return f"the KL to the reference jumped from {before:.2f} to {latest:.1f} nats an answer"


def cut_off(rows: Rows, limit: float, window: int) -> str | None:
    """Answers run into the length limit that did not at the start."""
    ends = _ends(_column(measures.series(rows, "clipped")), window)
    if not ends or ends[0] >= limit / 2 or ends[1] <= limit:
        return None
    first, last = (f"{100 * share:.0f} %" for share in ends)
    return f"{last} of the answers are cut at the length limit, {first} were at the start"


def too_short(rows: Rows, share: float, window: int) -> str | None:
    """Answers shrank below `share` of their first length; a start that was mostly cut says nothing about lengths."""
    ends = _ends(_column(measures.series(rows, "length")), window)
    start = _column(measures.series(rows[:window], "clipped"))
    if not ends or ends[1] >= share * ends[0] or (start and median(start) > 0.5):
        return None
    return f"the answers shrank from {ends[0]:.0f} to {ends[1]:.0f} tokens"


def hacked(rows: Rows, fall: float, window: int) -> str | None:
    """The reward rose while answers lost the strict format, since any earlier stretch: it pays for something else."""
    found = measures.series(rows, "reward", "format")
    if len(found) < 2 * window:
        return None
    reward, strict = _column(found, 1), _column(found, 2)
    rise, lost = _SURE * _noise(reward, window), max(fall, _SURE * _noise(strict, window))
    good, now = median(reward[-window:]), median(strict[-window:])
    for begin in range(0, len(found) - 2 * window + 1, window):
        stretch = slice(begin, begin + window)
        poor, then = median(reward[stretch]), median(strict[stretch])
        if then - now > lost and good - poor > rise:
            return (
                f"since step {found[begin][0]} the reward rose from {poor:.2f} to {good:.2f}, while strict format "
                f"fell from {100 * then:.0f} to {100 * now:.0f} %"
            )
    return None


def entropy_lost(rows: Rows, share: float, window: int) -> str | None:
    """The policy became certain of itself (entropy below `share` of the start's) and is not rewarded for it."""
    found = measures.series(rows, "entropy", "reward")
    ends, reward = _ends(_column(found), window), _column(found, 2)
    if not ends or ends[1] >= share * ends[0]:
        return None
    poor, good = _ends(reward, window)
    if good - poor > _MAYBE * _noise(reward, window):
        return None
    return f"the entropy fell from {ends[0]:.3f} to {ends[1]:.4f} nats a token, and the reward did not rise"


def entropy_gone(rows: Rows, floor: float, window: int) -> str | None:
    """All samples of a prompt are the same: the entropy fell below `floor`, where it was above it at the start."""
    ends = _ends(_column(measures.series(rows, "entropy")), window)
    if not ends or ends[1] >= floor or ends[0] < floor:
        return None
    return f"the entropy fell from {ends[0]:.3f} to {ends[1]:.5f} nats a token: there is nothing left to choose from"


class Alarms:
    """The alarms of one run. `kl_flag` is what holds the policy at its reference: `--kl_coef`, or `--beta` in GRPO."""

    def __init__(self, thresholds: Thresholds | None = None, kl_flag: str = "--kl_coef"):
        self.thresholds, self.kl_flag = thresholds or Thresholds(), kl_flag
        self._read, self._rows = [], []  # of a log that only grows, what was read of it before

    def check(self, history: list[dict]) -> str | None:
        """What is wrong at the end of `history` (rows of a trainer's log, see `measures`) and what to do, or None."""
        if broken := not_finite(history):
            return self._sentence(history, broken, "lower --learning_rate, or use --bf16 instead of --fp16")
        limits, rows = self.thresholds, self._measured(history)
        window, closer = limits.window, f"raise {self.kl_flag} or lower --learning_rate"
        more_chance = f"raise --temperature or {self.kl_flag}, or lower --learning_rate"
        checks = (
            ("kl", kl_too_large, (limits.kl,), closer),
            ("kl_rise", kl_jumped, (limits.kl_rise, limits.kl, window), closer),
            ("cut", cut_off, (limits.cut, window), f"reward answers that end, or {closer}"),
            ("shrink", too_short, (limits.shrink, window), f"reward what short answers lack, or {closer}"),
            ("hacking", hacked, (limits.hacking, window), f"give the format more weight, or {closer}"),
            ("entropy", entropy_lost, (limits.entropy, window), more_chance),
            ("entropy_floor", entropy_gone, (limits.entropy_floor, window), more_chance),
        )
        for name, find, arguments, remedy in checks:
            if getattr(limits, name) and (found := find(rows, *arguments)):
                return self._sentence(history, found, f"{remedy}; --alarm_{name} 0 switches this alarm off")
        return None

    def _measured(self, history: list[dict]) -> Rows:
        known = len(self._read)
        if known and (len(history) < known or history[known - 1] is not self._read[-1]):
            known, self._rows = 0, []
        self._rows += measures.rows(history[known:])
        self._read = list(history)
        return self._rows

    @staticmethod
    def _sentence(history: list[dict], found: str, remedy: str) -> str:
        step = history[-1].get("step", 0)
        return f"stopped at step {step}: {found}; {remedy}. Checkpoints saved before are intact"


def callback(alarms: Alarms, directory: Path | None = None) -> Any:
    """A TrainerCallback that raises `Alarmed` in every process when the log says so, before a checkpoint is saved.

    The curves up to that step are drawn into `directory` first.
    """
    from transformers import TrainerCallback

    class Watch(TrainerCallback):
        """Reads the trainer's log whenever a row is added."""

        def on_log(self, args, state, control, **_):
            found = launch.once(lambda: alarms.check(state.log_history))
            if found:
                if directory and state.is_world_process_zero:
                    plots.curves(state.log_history, directory)
                raise Alarmed(found)

    return Watch()
