"""A file of JSON lines judged in pieces, by several processes where it is big: the same account as row by row.

A piece is judged to a `Part` that numbers its lines from 1; `Reader` puts parts in order and knows what only the
whole file knows (the first row, formats that change, pairs that contradict one another). Nothing grows with the file
but some 150 bytes a preference pair.
"""

import codecs
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from bedside.data import encodings, lines, quick, strict_json, verdict
from bedside.data.conversation import RowError
from bedside.data.rows import Fault, Origin

PIECE = 4 << 20  # bytes judged at once
ALONE = 24 << 20  # bytes up to which starting processes costs more than it saves


@dataclass
class Part:
    """What a piece of a file holds. `events` are (line, row, what, code or name, detail or digests), in order."""

    lines: int = 0
    rows: int = 0
    kept: int = 0
    events: list[tuple] = field(default_factory=list)


def pieces(path: Path, size: int = PIECE) -> Iterator[tuple[int, int]]:
    """(begin, end) in bytes of pieces that end where a line does, about `size` long."""
    begin, whole = 0, path.stat().st_size
    with path.open("rb") as file:
        while begin < whole:
            file.seek(min(begin + size, whole))
            file.readline()
            end = file.tell()
            yield begin, end
            begin = end


def judge(raw: bytes, kind: str, roles: dict[str, str] | None = None, first: bool = False) -> Part:
    """The rows of some whole lines of UTF-8, each judged; `first` if they begin the file."""
    part, full = Part(), verdict.KINDS[kind]
    hurried = kind == "sft" and not roles
    odd = quick.oddities(raw) if hurried else ()
    formats: set[str] = set()
    loads = strict_json.loads
    found = raw.split(b"\n")
    part.lines = len(found) - (found[-1] == b"")
    for number, line in enumerate(found, 1):
        if hurried and len(line) <= lines.LONGEST:
            try:
                name = quick.format_of(loads(line), line, odd)
            except (strict_json.JsonFault, UnicodeDecodeError):
                name = None
            if name is not None:
                part.rows += 1
                part.kept += 1
                if name not in formats:
                    formats.add(name)
                    part.events.append((number, part.rows, "format", name, None))
                continue
        if first and number == 1 and line.startswith(codecs.BOM_UTF8):
            line = line[3:]
            part.events.append((1, 0, "remark", "I_BOM", "byte order mark removed"))
        if line.strip():
            part.rows += 1
            _judge_line(part, number, line, full, roles, formats)
    return part


def _judge_line(part: Part, number: int, line: bytes, full: Any, roles: Any, formats: set[str]) -> None:
    row = lines.parse(Origin("", number), line)
    if isinstance(row, Fault):
        what = "open" if part.rows == 1 and line.strip() == b"{" else "fault"
        part.events.append((number, part.rows, what, row.code, row.detail))
        return
    try:
        found = full(row.value, roles)
    except RowError as error:
        part.events.append((number, part.rows, "drop", error.code, error.detail))
        return
    if found.format not in formats:
        formats.add(found.format)
        part.events.append((number, part.rows, "format", found.format, None))
    part.events += [(number, part.rows, "remark", *remark) for remark in found.remarks]
    if found.identity:
        part.events.append((number, part.rows, "pair", *found.identity))
    else:
        part.kept += 1


def _judge_piece(path: str, begin: int, end: int, kind: str, roles: dict[str, str] | None) -> Part:
    with open(path, "rb") as file:
        file.seek(begin)
        return judge(file.read(end - begin), kind, roles, begin == 0)


def workers(size: int, wanted: int | None = None) -> int:
    """How many processes judge a file of `size` bytes: the cores we may use, at most 8, and 1 for a small file."""
    if wanted:
        return wanted
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(8, cores) if size > ALONE else 1


def parts(path: Path, kind: str, roles: dict[str, str] | None, processes: int | None = None) -> Iterator[Part]:
    """Parts of a whole file in order; at most two pieces a process are under way."""
    processes = workers(path.stat().st_size, processes)
    if processes == 1:
        for begin, end in pieces(path):
            yield _judge_piece(str(path), begin, end, kind, roles)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        waiting: deque[Future[Part]] = deque()
        try:
            for begin, end in pieces(path):
                waiting.append(pool.submit(_judge_piece, str(path), begin, end, kind, roles))
                if len(waiting) >= 2 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def head_of(path: Path, encoding: str | None) -> bytes | None:
    """The beginning of a file that is lines of UTF-8 as they lie on disk; None for any other, which `files` reads.

    Raises DataError for a file that is no text.
    """
    if encoding is not None or not path.is_file() or path.suffix.lower() != ".jsonl":
        return None
    with path.open("rb") as file:
        head = file.read(encodings.SAMPLE)
    encodings.refuse_other_things(path, head, whole=len(head) < encodings.SAMPLE)
    return None if head.removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"[" else head
