"""The benchmark of host memory still runs (a tiny model, CPU).

sh run_tests.sh tests/benchmarks/test_bench_offload.py
"""

import pytest

import benchmarks.bench_offload as bench
from bedside.errors import ConfigError


def test_every_way_gives_the_same_gradients(capsys):
    assert bench.main(["--tiny", "--check"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith(("ok", "FAIL"))]
    assert [line.split()[:2] for line in lines] == [["ok", way] for way in ("card", "card", "host", "embedding")]


def test_every_way_is_timed(capsys):
    assert bench.main(["--tiny"]) == 0
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "s a step" in line]
    assert lines == ["card", "host", "embedding"]


def test_without_a_gpu_it_says_what_to_do():
    with pytest.raises(ConfigError, match=r"a GPU is needed: .* add --tiny"):
        bench.main([])
