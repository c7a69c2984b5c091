"""The benchmark still runs, and shows what it is about.

sh run_tests.sh tests/ppo/test_bench.py
"""

import re
import subprocess
import sys
from pathlib import Path

BENCH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_ppo.py"


def test_the_smoke_run_prints_memory_and_speed_of_each_mode():
    done = subprocess.run([sys.executable, BENCH, "--smoke"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[2:]}
    assert list(lines) == ["sft", "shared", "four"]
    assert re.search(r"\b1\.00\b", lines["sft"])
    for mode in ("shared", "four"):
        assert len(re.findall(r"\d+ tok/s", lines[mode])) == 3  # rollout, score, update
