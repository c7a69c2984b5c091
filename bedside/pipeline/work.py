"""The steps that are not done yet are run, as many side by side as there are lanes; each as a process of its own.

One thread, no queue: what is due is started, what has ended is looked at, and the screen is told. A step is marked as
begun before it starts and as done once its output verifies, so a kill at any moment costs the steps that ran.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside import lineage
from bedside.checkpoints import numbered
from bedside.deploy.server import end
from bedside.errors import LineageError
from bedside.pipeline import measures, schedule
from bedside.pipeline.lock import Lock
from bedside.pipeline.screen import Screen
from bedside.pipeline.state import BEGUN, DONE, FAILED, State, made_of, product, stands
from bedside.pipeline.steps import ANSWER, EVALUATION, MODEL, Step

KEPT, MADE, BROKEN, BLOCKED = "kept", "made", "failed", "not run"
_PAUSE = 0.2
_PR_SET_PDEATHSIG = 1


@dataclass
class Running:
    """A step at work."""

    step: Step
    process: subprocess.Popen
    log: Path
    from_byte: int
    made_of: dict[str, Any]
    began: float


@dataclass
class Lanes:
    """How the steps of a chain are run: `jobs` at once, each in `environment`; `identities` are those of the outputs
    that are there, `outcome` is what became of each step."""

    steps: Sequence[Step]
    state: State
    screen: Screen
    lock: Lock
    logs: Path
    jobs: int
    environment: dict[str, str]
    running: dict[str, Running] = field(default_factory=dict)
    identities: dict[str, str] = field(default_factory=dict)
    outcome: dict[str, str] = field(default_factory=dict)


def run(lanes: Lanes) -> dict[str, str]:
    """Run what is not done; returns what became of each step (KEPT, MADE, BROKEN or BLOCKED). Whatever happens, no
    step runs any more when this ends."""
    lanes.logs.mkdir(parents=True, exist_ok=True)
    seconds = schedule.expected(lanes.steps, lanes.state.steps)
    order = schedule.urgent_first(lanes.steps, seconds)
    with _ended(lanes.running):
        while len(lanes.outcome) < len(lanes.steps):
            for step in order:
                _settle(lanes, step)
            if lanes.running:
                time.sleep(_PAUSE)
            for name in list(lanes.running):
                _look(lanes, name)
            took = {name: time.monotonic() - at.began for name, at in lanes.running.items()}
            rest = schedule.rest(lanes.steps, seconds, set(lanes.outcome), took, lanes.jobs)
            lanes.screen.show({name: (took[name], at.log) for name, at in lanes.running.items()}, rest)
    return lanes.outcome


def _settle(lanes: Lanes, step: Step) -> None:
    """A step that can be decided on now: kept, blocked, or started if there is room."""
    if step.name in lanes.outcome or step.name in lanes.running:
        return
    lost = [name for name in step.needs if lanes.outcome.get(name) in (BROKEN, BLOCKED)]
    if lost:
        lanes.outcome[step.name] = BLOCKED
        lanes.screen.blocked(step, lost)
        return
    if any(name not in lanes.outcome for name in step.needs) or len(lanes.running) >= lanes.jobs:
        return
    now = made_of(step, lanes.identities)
    record = lanes.state.steps.get(step.name)
    done, why = stands(step, record, now)
    if done:
        lanes.outcome[step.name] = KEPT
        lanes.identities[step.name] = record["identity"]
        lanes.screen.kept(step, record)
        return
    _start(lanes, step, record, now, why)


def _start(lanes: Lanes, step: Step, record: dict | None, now: dict, why: str) -> None:
    extra = again(step, record, now)
    lanes.state.keep(step.name, status=BEGUN, made_of=now, seconds=(record or {}).get("seconds"))
    log = lanes.logs / f"{step.name}.log"
    with log.open("a", encoding="utf-8") as sink:
        sink.write(f"$ {typed([*step.argv, *extra])}\n")
        sink.flush()
        process = subprocess.Popen(
            command([*step.argv, *extra]), stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT,
            env=lanes.environment, process_group=0, pass_fds=(lanes.lock.descriptor,), preexec_fn=_end_with_parent,
        )  # fmt: skip
        began = sink.tell()
    lanes.running[step.name] = Running(step, process, log, began, now, time.monotonic())
    lanes.lock.note({name: at.process.pid for name, at in lanes.running.items()})
    lanes.screen.begun(step, why, "--resume_from_checkpoint" in extra, log, began)


def _look(lanes: Lanes, name: str) -> None:
    """A step that has ended: written down as done if its output is whole, else as failed."""
    at = lanes.running[name]
    status = at.process.poll()
    if status is None:
        return
    del lanes.running[name]
    end(at.process)  # what it may have left in its process group
    seconds = round(time.monotonic() - at.began, 1)
    identity, damage = product(at.step) if status == 0 else (None, _ending(status))
    if identity is None:
        lanes.state.keep(name, status=FAILED, made_of=at.made_of, why=damage)
        lanes.outcome[name] = BROKEN
        lanes.screen.failed(at.step, damage or "", at.log, at.from_byte)
        return
    told = measures.told(at.step)
    lanes.state.keep(
        name, status=DONE, made_of=at.made_of, identity=identity, seconds=seconds, told=told,
        ended=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )  # fmt: skip
    lanes.identities[name] = identity
    lanes.outcome[name] = MADE
    lanes.screen.done(at.step, seconds, told, at.log)


def again(step: Step, record: dict | None, now: dict) -> list[str]:
    """What is added to a step's command because something lies where it writes: go on with it, or replace it.

    A training goes on from its newest sealed checkpoint only if it was begun by the same command from the same inputs.
    """
    place, same = Path(step.output), record is not None and record.get("made_of") == now
    if step.kind == ANSWER:
        return ["--overwrite_output_file", "True"] if place.exists() else []
    if not place.is_dir() or not any(place.iterdir()):
        return []
    if step.kind == EVALUATION:
        begun = any((place / name).exists() for name in ("evaluation.json", "answers.jsonl"))
        # Where it was only interrupted its answers are in its book, and are not asked again.
        return ["--overwrite_output_dir", "True"] if begun and not (same and record["status"] != DONE) else []
    if step.kind == MODEL and step.name.startswith("merge-"):
        _remove_half(place)
        return ["--overwrite_output_dir", "True"] if place.is_dir() else []
    if step.kind == MODEL and same and record["status"] != DONE and numbered(place):
        return ["--resume_from_checkpoint", "auto"]
    return ["--overwrite_output_dir", "True"]


def _remove_half(place: Path) -> None:
    """A merge replaces only what is whole; half a one that a step of ours left is removed, it is made of others."""
    with contextlib.suppress(LineageError):
        if (lineage.read(place) or {}).get("kind") == "merged":
            return
    shutil.rmtree(place)


def command(argv: Sequence[str]) -> list[str]:
    """The words as a process is started with: this Python, and its torchrun."""
    if argv[0] == "torchrun":
        return [sys.executable, "-m", "torch.distributed.run", *argv[1:]]
    return [sys.executable, *argv[1:]] if argv[0] == "python" else list(argv)


def typed(argv: Sequence[str]) -> str:
    """The words as they are typed."""
    import shlex

    return shlex.join(argv)


def _ending(status: int) -> str:
    if status >= 0:
        return f"ended with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = str(-status)
    hint = "; the machine may have run out of memory: fewer --jobs, or smaller batches" if -status == 9 else ""
    return f"was ended by {name}{hint}"


def _end_with_parent() -> None:
    """Have the kernel end a step when the pipeline dies without a chance to do so (kill -9), on Linux."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


@contextmanager
def _ended(running: dict[str, Running]) -> Iterator[None]:
    """No step runs on when this is left: all are asked to end at once, then each is waited for, then killed."""
    try:
        yield
    finally:
        for at in running.values():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(at.process.pid, signal.SIGTERM)
        for at in running.values():
            end(at.process)
