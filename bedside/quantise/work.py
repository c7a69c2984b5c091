"""What needs the model: quantising it, and measuring it. A job is a record of JSON values, so that it can run in this
process or under another environment's Python (`python -m bedside.quantise JOB.json`)."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import time
from pathlib import Path

from bedside import logs
from bedside.errors import UserError

_TAIL = 2000  # characters of a failed job's log that are shown


class JobFailed(UserError):
    """The other environment could not do a job."""


def run(job: dict, python: str | None, log: Path) -> dict:
    """Do `job` and return its result, with `seconds`; in this process, or by `python` with its output in `log`.

    Raises JobFailed with the end of the log, and the UserError of a job in this process.
    """
    begun = time.monotonic()
    result = do(job) if python is None else _elsewhere(job, python, log)
    return result | {"seconds": round(time.monotonic() - begun, 1)}


def _elsewhere(job: dict, python: str, log: Path) -> dict:
    root = Path(__file__).resolve().parents[2]
    order, answer = log.with_suffix(".job.json"), log.with_suffix(".result.json")
    order.write_text(json.dumps(job), encoding="utf-8")
    answer.unlink(missing_ok=True)
    logs.info(f"    in {python}, which writes to {log}")
    with log.open("w", encoding="utf-8") as sink:
        ended = subprocess.run(
            [str(Path(python).absolute()), "-m", "bedside.quantise", str(order.absolute()), str(answer.absolute())],
            stdout=sink,
            stderr=subprocess.STDOUT,
            env=os.environ | {"PYTHONPATH": str(root), "HF_HUB_OFFLINE": "1"},
        )
    if ended.returncode or not answer.is_file():
        tail = log.read_text(encoding="utf-8", errors="replace")[-_TAIL:].strip()
        raise JobFailed(f"{python} could not {job['do']} {job['model']} (exit status {ended.returncode}):\n{tail}")
    return json.loads(answer.read_text(encoding="utf-8"))


def do(job: dict) -> dict:
    """Do a job here and forget the model; returns its result."""
    from bedside.quantise import calibrated, measure, stored

    works = {"quantise": stored.write, "calibrate": calibrated.write, "measure": measure.measure}
    try:
        return works[job["do"]](job)
    finally:
        _forget()


def _forget() -> None:
    import torch

    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
