"""How fast validate_jsonl.py checks a big file, beside the strict parser and the full check row by row, in one run.

    python benchmarks/bench_validate.py
    python benchmarks/bench_validate.py --megabytes 50 --processes 1

The file is made from the rows of data/sft, drawn with a seed and each given a number; it lies in the directory for
temporary files while the run lasts. The plain way is measured on its first 20 MB.
"""

import argparse
import os
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bedside.data import admit, build, rowwork, strict_json, validate

PLAIN = 20_000_000  # bytes


def make(path: Path, size: int, seed: int = 7) -> int:
    """Write rows like those of data/sft until the file has `size` bytes; returns how many."""
    draw = random.Random(seed)
    known = [line.rstrip(b"}\n") for file in sorted(Path("data/sft").glob("*.jsonl")) for line in file.open("rb")]
    written = rows = 0
    with path.open("wb") as file:
        while written < size:
            rows += 1
            written += file.write(draw.choice(known) + b', "number": %d}\n' % rows)
    return rows


def plainly(path: Path) -> tuple[int, int]:
    """(bytes, usable rows) of the file's beginning, each row parsed strictly and checked in full."""
    size = usable = 0
    with path.open("rb") as file:
        for raw in file:
            if size > PLAIN:
                break
            size += len(raw)
            row = strict_json.parse(raw.decode("utf-8").strip("\r\n"))
            looked = rowwork.look(row, None, admit.conversation)
            usable += not looked.error and not admit.clean_conversation(looked.record)[1]
    return size, usable


def main(argv: list[str] | None = None) -> None:
    """Make the file, measure both ways, and print one line each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=300)
    parser.add_argument("--processes", type=int, default=0, help="0 is as many as the command takes by itself")
    args = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "rows.jsonl"
        rows = make(path, args.megabytes * 1_000_000)
        begun = time.perf_counter()
        size, _ = plainly(path)
        plain = size / 1e6 / (time.perf_counter() - begun)
        print(f"plain way, one process: {plain:.1f} MB/s")
        for processes in sorted({1, args.processes or os.cpu_count() or 1}):
            begun = time.perf_counter()
            report = validate.check(build.Source(path), "auto", build.Reading(), processes=processes)
            speed = path.stat().st_size / 1e6 / (time.perf_counter() - begun)
            assert (report.usable, report.unusable) == (rows, None)
            print(f"{processes} process(es): {speed:.1f} MB/s, {speed / plain:.1f} times the plain way")
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(f"{rows:,} rows; largest process: {peak / 1024:.0f} MB; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
