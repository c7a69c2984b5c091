"""The benchmark of two processes: how it starts them, what it adds up and compares.

sh run_tests.sh tests/benchmarks/test_bench_scaling.py
"""

import json
import sys

import pytest

import benchmarks.bench_scaling as bench_scaling
from benchmarks.training import measure, running
from benchmarks.training.case import Case
from benchmarks.training.shapes import Counted


def test_one_process_is_started_as_it_is():
    assert running.launcher(Case("a", "b")) == [sys.executable]


def test_two_processes_are_started_by_torchrun_or_by_a_configuration():
    words = running.launcher(Case("a", "b", processes=2))
    assert words[1:3] == ["-m", "torch.distributed.run"] and words[-2:] == ["--nproc_per_node", "2"]
    words = running.launcher(Case("a", "b", processes=2, shards="zero3"))
    assert words[1:4] == ["-m", "accelerate.commands.launch", "--config_file"]
    assert words[4].endswith("accelerate/zero3.yaml") and words[5:7] == ["--num_processes", "2"]


def test_every_variant_has_a_configuration():
    for name, variant in bench_scaling.VARIANTS.items():
        case = variant.case(Case("", ""), name)
        assert case.shards == "ddp" or (running.CONFIGURATIONS / f"{case.shards}.yaml").is_file()


def test_a_step_has_the_same_rows_in_two_processes_as_in_one():
    cases = {name: running._settled(variant.case(Case("", ""), name), {"rows": 8}, False)
             for name, variant in bench_scaling.VARIANTS.items()}  # fmt: skip
    assert {name: case.rows * case.processes for name, case in cases.items()} == {
        "qlora_1": 8, "qlora_2": 16, "qlora_2_fsdp2": 16, "full_1": 8, "full_2_ddp": 8, "full_2_fsdp2": 8,
        "full_2_zero3": 8,
    }  # fmt: skip


def test_batches_of_one_process_are_counted_alone():
    seen = [Counted(5, 8, 3, 13)]
    assert measure.of_all(seen) == seen


def test_losses_are_held_against_those_of_one_process():
    found = {"full_1": {"losses": [2.0, 1.5]}, "full_2_ddp": {"losses": [2.0, 1.25]}, "full_2_zero3": {"error": "no"},
             "qlora_2": {"losses": [9.0, 9.0]}}  # fmt: skip
    assert bench_scaling.losses(found) == ["full_2_ddp: the loss of a step is at most 0.25 from that of one process"]
    assert bench_scaling.losses({"full_2_ddp": {"losses": [1.0]}}) == []


def test_the_first_process_alone_writes_the_figures(tmp_path, monkeypatch):
    case = Case("full_1", str(tmp_path), device="cpu")
    monkeypatch.setattr(running, "_device_name", lambda _: "a GPU")
    variants = {"full_1": bench_scaling.VARIANTS["full_1"].__class__(lambda _: {"tokens_per_s": 1.0}, "")}
    monkeypatch.setenv("RANK", "1")
    running.measure_one(variants, case)
    assert not (tmp_path / "full_1.json").exists()
    monkeypatch.setenv("RANK", "0")
    running.measure_one(variants, case)
    assert json.loads((tmp_path / "full_1.json").read_text()) == {"tokens_per_s": 1.0, "device": "a GPU"}


def test_a_name_that_fits_nothing_ends_in_a_sentence(capsys):
    with pytest.raises(SystemExit):
        bench_scaling.main(["--tiny", "--variants", "zero9"])
    assert "no such variant" in capsys.readouterr().err
