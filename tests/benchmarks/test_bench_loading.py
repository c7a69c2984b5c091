"""The benchmark of loading still runs, and its check sees a difference.

sh run_tests.sh tests/benchmarks/test_bench_loading.py
"""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "benchmarks" / "bench_loading.py"


@pytest.fixture
def bench(monkeypatch):
    """The benchmark as a module, its starts run in this process (each would import torch anew)."""
    spec = importlib.util.spec_from_file_location("bench_loading", BENCH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def run(command, **_):
        after = command.index("--child") - 1
        lines: list[str] = []
        with monkeypatch.context() as patch:
            patch.setattr("builtins.print", lambda text, **_: lines.append(text))
            module.main(command[after + 1 :])
        return subprocess.CompletedProcess(command, 0, "\n".join(lines), "")

    monkeypatch.setattr(module.subprocess, "run", run)
    return module


def test_all_starts_of_a_tiny_model(bench, tmp_path, capsys):
    bench.main(["--smoke", "--check", "--cold", "--json", str(tmp_path / "figures.json")])
    told = capsys.readouterr().out
    assert told.endswith(
        "quantised and read back are one, bit for bit: weights, logits, loss, adapters after a step\n"
    )
    found = json.loads((tmp_path / "figures.json").read_text())
    assert [start["start"] for start in found] == ["quantise", "first start", "next start", "16-bit"]
    assert all(start["load"] > 0 and start["first_step"] > start["load"] for start in found)
    assert found[3]["logits"] != found[0]["logits"], "4-bit is not 16-bit"
    assert "1.00x" in told


def test_a_difference_is_named(bench):
    parts = {"weights": "a", "logits": "b", "loss": 1.0, "adapters": "c"}
    results = [
        {"start": "quantise", **parts},
        {"start": "first start", **parts},
        {"start": "next start", **parts, "logits": "x"},
    ]
    assert bench.disagreements(results) == ["next start: other logits"]


def test_a_start_that_fails_is_shown(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(bench.subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 1, "", "no memory"))
    with pytest.raises(SystemExit, match="quantise: failed\nno memory"):
        bench.main(["--smoke", "--model", str(tmp_path)])


def test_a_random_model_in_several_files(bench, tmp_path, monkeypatch):
    import huggingface_hub

    from bedside import models

    split = huggingface_hub.split_torch_state_dict_into_shards
    monkeypatch.setattr(
        huggingface_hub, "split_torch_state_dict_into_shards", lambda tensors, **more: split(
            tensors, **more, max_shard_size=60_000
        )
    )  # fmt: skip
    bench.write_random(tmp_path / "base", bench.SHAPES["tiny"])
    assert len(list((tmp_path / "base").glob("model-*.safetensors"))) > 1
    model = models.load_base(str(tmp_path / "base"))
    weight = model.model.layers[0].mlp.up_proj.weight.float()
    assert 0.019 < weight.std() < 0.021
