"""The benchmark still runs, and shows what it is about.

sh run_tests.sh tests/ppo/test_bench.py
"""

import re
import sys

import benchmarks.bench_ppo as bench_ppo


def test_the_smoke_run_prints_memory_and_speed_of_each_mode(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_ppo.py", "--smoke"])
    bench_ppo.main()
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()[2:]}
    assert list(lines) == ["sft", "shared", "four"]
    assert re.search(r"\b1\.00\b", lines["sft"])
    for mode in ("shared", "four"):
        assert len(re.findall(r"\d+ tok/s", lines[mode])) == 3  # rollout, score, update
