"""Bytes over HTTP into files: several at once, each going on where an earlier try, or an earlier run, broke off.

The hub's own client begins a file anew after every interruption, which a large file on a slow line never survives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bedside import logs
from bedside.hub.remote import File

PARTS = ".partial"  # directory of what has arrived so far
FIRST_PAUSE = 1.0  # seconds before a try again, doubled after each one without a byte
_TRIES = 4  # in a row without a byte
_BLOCK = 1 << 16  # what is lost at most when a connection breaks


def part_of(directory: Path, file: File) -> Path:
    """Where a file grows: named by its hash, so that what belongs to another version is never continued."""
    return directory / PARTS / f"{file.sha256 or file.blob or file.path.replace('/', '--')}.part"


def fetch_all(files: list[File], url_of: Callable[[File], str], headers: dict, directory: Path, workers: int) -> None:
    """Fetch every file into `directory`; the first failure is raised, after the others have stopped."""
    from tqdm import tqdm

    stop = threading.Event()
    have = sum(part.stat().st_size for file in files if (part := part_of(directory, file)).is_file())
    total = sum(file.size for file in files)
    with (
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc="fetching", disable=logs.rank() != 0) as bar,
        ThreadPoolExecutor(workers) as pool,
    ):
        jobs = [pool.submit(_fetch, file, url_of(file), headers, directory, bar.update, stop) for file in files]
        try:
            for job in jobs:
                job.result()
        finally:  # a failure, or Ctrl-C: what has arrived stays
            stop.set()
    if (directory / PARTS).is_dir() and not any((directory / PARTS).iterdir()):
        (directory / PARTS).rmdir()


def _fetch(file: File, url: str, headers: dict, directory: Path, told: Callable, stop: threading.Event) -> None:
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    part = part_of(directory, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    fruitless = 0
    while part.stat().st_size < file.size and not stop.is_set():
        before = part.stat().st_size
        try:
            _stream(url, headers, part, told, stop)
        except HTTPError as error:
            answered = getattr(getattr(error, "response", None), "status_code", 0)
            fruitless = 0 if part.stat().st_size > before else fruitless + 1
            if fruitless >= _TRIES or (isinstance(error, HfHubHTTPError) and answered < 500):
                raise
            stop.wait(FIRST_PAUSE * 2 ** max(0, fruitless - 1))
        if not stop.is_set() and part.stat().st_size == before:
            fruitless += 1
            if fruitless > _TRIES:
                break  # an answer without bytes: verification tells
    if not stop.is_set():
        target = directory / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        part.replace(target)


def _stream(url: str, headers: dict, part: Path, told: Callable, stop: threading.Event) -> None:
    """Append to `part` what is missing; a server that knows no ranges sends all, and then it begins anew."""
    from huggingface_hub.utils import get_session, hf_raise_for_status

    start = part.stat().st_size
    asked = headers | ({"Range": f"bytes={start}-"} if start else {})
    with get_session().stream("GET", url, headers=asked, follow_redirects=True, timeout=30) as response:
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        if start and response.status_code != 206:
            told(-start)
            start = 0
        with open(part, "ab" if start else "wb") as stream:
            for block in response.iter_bytes(_BLOCK):
                stream.write(block)
                told(len(block))
                if stop.is_set():
                    return
