"""The benchmarks of training speed: they still run (a tiny model, CPU), and what they count is right.

sh run_tests.sh tests/benchmarks/test_bench_training.py
"""

import json

import pytest
import torch

import benchmarks.bench_dpo as bench_dpo
import benchmarks.bench_rm as bench_rm
import benchmarks.bench_sft as bench_sft
from benchmarks.training import checks, measure, ours, peers, rows, running, shapes, weights
from benchmarks.training.case import Case, Variant
from benchmarks.training.shapes import SHAPES, Counted


def test_the_operations_of_a_step_are_those_of_the_formula():
    one = Counted(real=2048, computed=2048, labelled=2048, squares=2048**2)
    per_token = {
        "adapter": shapes.flops(SHAPES["7B"], one) / 2048,
        "all parameters": shapes.flops(SHAPES["0.5B"], one, full=True) / 2048,
        "no head": shapes.flops(SHAPES["7B"], one, head=False) / 2048,
        "reference": shapes.flops(SHAPES["7B"], one, reference=True) / 2048,
    }
    assert SHAPES["7B"].linear == 6_525_288_448
    assert SHAPES["7B"].adapter(8) == 20_185_088
    assert {name: round(value / 1e9, 2) for name, value in per_token.items()} == {
        "adapter": 29.84,
        "all parameters": 3.27,
        "no head": 27.66,
        "reference": 44.39,
    }


def test_padding_and_recomputation_are_no_useful_work():
    padded = Counted(real=2048, computed=16384, labelled=2048, squares=2048**2)
    assert shapes.flops(SHAPES["7B"], padded) == shapes.flops(SHAPES["7B"], Counted(2048, 2048, 2048, 2048**2))


def test_a_peak_is_known_by_the_devices_name_or_not_at_all():
    assert shapes.peak_of("NVIDIA H200") == 989.0
    assert shapes.peak_of("NVIDIA GeForce RTX 4090") == 165.0
    assert shapes.peak_of("2 CPU threads") is None


PADDED = {
    "input_ids": torch.tensor([[7, 8, 9, 3], [7, 8, 3, 3]]),
    "attention_mask": torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]),
}


@pytest.mark.parametrize(
    ("batch", "found"),
    [
        (PADDED | {"labels": torch.tensor([[-100, 8, 9, -100], [-100, 8, -100, -100]])}, Counted(5, 8, 3, 9 + 4)),
        (PADDED | {"completion_mask": torch.tensor([[0, 0, 1, 0], [0, 1, 0, 0]])}, Counted(5, 8, 2, 9 + 4)),
        ({f"{side}_{name}": value for side in ("chosen", "rejected") for name, value in PADDED.items()},
         Counted(10, 16, 0, 2 * (9 + 4))),
        # A packed row of documents of 3 and 2 tokens and one of 4, whose padding is a sample of its own.
        ({"input_ids": torch.tensor([[7, 8, 9, 7, 8, 3], [7, 8, 9, 9, 3, 3]]),
          "position_ids": torch.tensor([[0, 1, 2, 0, 1, 0], [0, 1, 2, 3, 0, 1]]),
          "labels": torch.tensor([[-100, 8, 9, -100, 8, -100], [-100, 8, 9, 9, -100, -100]])},
         Counted(9, 12, 6, 9 + 4 + 16)),
    ],
    ids=["padded", "pairs", "two-sides", "packed"],
)  # fmt: skip
def test_a_batch_is_counted_in_every_form(batch, found):
    assert measure.counted(batch, pad=3) == found


def test_rows_have_the_lengths_that_were_drawn_and_are_the_same_for_all(tmp_path):
    rows.prepare(tmp_path, "mixed", 12, 128)
    sizes = rows.lengths(12, 128, full=False)
    ids, packed = rows.read(tmp_path / "mixed.ids.jsonl"), rows.read(tmp_path / "mixed.packed.jsonl")
    assert sorted(len(row["input_ids"]) for row in ids) == sorted(sizes)
    assert min(sizes) >= 20 and max(sizes) <= 128 and len(set(sizes)) > 6
    assert sum(sum(row["seq_lengths"]) for row in packed) == sum(sizes)
    rows.prepare(tmp_path, "mixed", 12, 128)
    assert rows.read(tmp_path / "mixed.ids.jsonl") == ids


def test_lengths_are_those_of_medical_dialogues():
    sizes = rows.lengths(2000, 2048, full=False)
    assert 650 < sum(sizes) / len(sizes) < 720 and min(sizes) < 150 and max(sizes) == 2048
    assert rows.lengths(3, 2048, full=True) == [2048] * 3


def test_full_pairs_and_their_sides_are_all_as_long_as_may_be(tmp_path):
    rows.prepare(tmp_path, "pairs_full", 3, 64)
    pairs = rows.read(tmp_path / "pairs_full.ids.jsonl")
    assert [len(row[side]) for row in pairs for side in ("chosen_ids", "rejected_ids")] == [64] * 6
    sides = rows.encoded(tmp_path / "sides_full.jsonl", 64)
    assert [len(row["input_ids"]) for row in sides] == [64] * 6


@pytest.mark.parametrize("name", ["tiny", "0.5B"])
def test_weights_on_the_disk_are_those_of_the_shape(tmp_path, monkeypatch, name):
    small = shapes.Shape(2, 64, 128, 2, 1, 32, 5120, SHAPES[name].tied)
    monkeypatch.setitem(shapes.SHAPES, name, small)
    place = weights.directory(tmp_path, name, "cpu")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(place, dtype="auto")
    assert model.dtype == torch.bfloat16
    assert (model.lm_head.weight is model.model.embed_tokens.weight) == small.tied
    assert model.model.layers[1].mlp.up_proj.weight.std().item() == pytest.approx(0.02, rel=0.1)


def test_names_of_variants_may_have_stars():
    variants = dict.fromkeys(("trl", "trl_liger", "bedside"))
    assert running.chosen("bedside,trl_*", variants, []) == ["trl_liger", "bedside"]
    assert running.chosen(None, variants, ["trl"]) == ["trl"]
    assert running.chosen("bedsid", variants, []) == "--variants bedsid: no such variant; --list shows them"


def test_what_a_variant_says_wins_over_the_command_line_only_at_memory_points():
    base = Case("", "", "sft")
    eight = running._settled(Variant(None, "", {"dropout": 0.05}).case(base, "a"), {"rows": 16, "model": None}, False)
    point = running._settled(Variant(None, "", {"data": "full", "rows": 24}).case(base, "b"), {"rows": 16}, False)
    assert (eight.rows, eight.model, eight.dropout) == (16, "7B", 0.05)
    assert point.rows == 24


def test_a_table_holds_figures_and_reasons():
    figures = {"tokens_per_s": 12203.4, "mean_tokens_per_s": 12100.0, "computed_per_s": 12300.0, "ms": 1340.0,
               "share_real": 0.994, "tflops": 494.5, "first_step_s": 21.25, "loss": 11.9, "peak_gb": 13.04,
               "reserved_gb": 14.1}  # fmt: skip
    slow, missing = figures | {"tokens_per_s": 3274.0}, {"error": "not installed: unsloth"}
    lines = running.table({"bedside": figures, "unsloth": missing, "trl": slow}, peak=989.0, against="trl")
    assert lines[2] == (
        "| bedside | 12,203 | 3.73 | 12,100 | 12,300 | 1,340 | 99% | 13.04 | 14.10 | 50.0% | 21.2 | 11.900 |"
    )
    assert lines[3] == "| unsloth | not installed: unsloth |  |  |  |  |  |  |  |  |  |  |"
    alone = running.table({"bedside": figures}, peak=None, against="trl")[2]
    assert alone.count("| - ") == 2  # no ratio without the other, no utilisation without a peak


def test_a_variant_that_dies_leaves_its_reason(tmp_path):
    def broken(case):
        raise ValueError("the kernel\nis not there")

    running.measure_one({"broken": Variant(broken, "")}, Case("broken", str(tmp_path), device="cpu"))
    assert json.loads((tmp_path / "broken.json").read_text()) == {"error": "ValueError: the kernel is not there"}


def test_a_process_that_is_killed_leaves_its_reason(tmp_path):
    script = tmp_path / "dies.py"
    script.write_text("import sys\nprint('out of memory')\nsys.exit(9)\n", encoding="utf-8")
    found = running.run_one(str(script), Case("x", str(tmp_path), device="cpu"), 60)
    assert found == {"error": "exit code 9: out of memory"}
    script.write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    assert running.run_one(str(script), Case("x", str(tmp_path), device="cpu"), 0.5) == {"error": "stopped after 0 s"}


def test_too_few_steps_are_refused():
    clock = measure.Clock("cpu")
    clock.mark(), clock.mark()
    with pytest.raises(RuntimeError, match="1 steps were made, and the first 4 do not count"):
        measure.figures(Case("x", "", device="cpu"), clock, [Counted(1, 1, 1, 1)], None, None)


def test_without_a_gpu_the_command_says_what_to_do(monkeypatch, capsys):
    monkeypatch.setattr(running, "_cuda", lambda: False)
    with pytest.raises(SystemExit):
        bench_sft.main([])
    assert "no CUDA GPU here; --tiny is a smoke test on the CPU" in capsys.readouterr().err


@pytest.mark.parametrize("bench", [bench_sft, bench_dpo, bench_rm])
def test_the_default_list_names_variants(bench, capsys):
    assert set(bench.DEFAULT) <= set(bench.VARIANTS)
    bench.main(["--list"])
    listed = capsys.readouterr().out.splitlines()
    assert len(listed) == len(bench.VARIANTS) and sum(line.startswith("*") for line in listed) == len(bench.DEFAULT)


@pytest.mark.slow
@pytest.mark.parametrize("check", [checks.causal, checks.scores])
def test_kernels_are_as_near_to_float32_as_the_plain_path(check, capsys):
    assert check("cpu")
    assert capsys.readouterr().out.count("ok   ") == 6


def test_a_wrong_gradient_would_be_found(monkeypatch, capsys):
    found = {"float32": (1.0, {"layers.0.a": torch.ones(3)}), "plain": (1.0, {"layers.0.a": torch.ones(3) * 1.01}),
             "kernels": (1.0, {"layers.0.a": torch.ones(3) * 1.1}),
             "kernels, checkpointed": (1.0, {"layers.0.a": torch.ones(3)})}  # fmt: skip
    monkeypatch.setattr(checks, "gradients", lambda way, *_: found[way])
    assert not checks.compare("nf4", "cpu", None, {}, None)
    assert "FAIL nf4   kernels " in capsys.readouterr().out


def smoke(bench, variants: str, tmp_path) -> dict[str, dict]:
    """The figures of a `--tiny` run."""
    figures = tmp_path / "figures.json"
    bench.main(["--tiny", "--variants", variants, "--json", str(figures)])
    found = json.loads(figures.read_text(encoding="utf-8"))["variants"]
    assert sorted(found) == sorted(variants.split(","))
    return found


@pytest.mark.slow
def test_a_benchmark_runs_its_variants_in_processes_of_their_own(tmp_path, capsys):
    found = smoke(bench_sft, "unsloth,bedside", tmp_path)
    told = capsys.readouterr().out
    assert found["bedside"]["tokens_per_s"] > 0 and found["bedside"]["first_step_s"] > 0
    assert found["unsloth"].get("error") == "not installed: unsloth" or "tokens_per_s" in found["unsloth"]
    assert "torch " in told and "| bedside | " in told and "says nothing about speed" in told


@pytest.mark.slow
@pytest.mark.parametrize(
    ("bench", "variants"),
    [(bench_sft, "trl,bedside_half,script"), (bench_dpo, "dpo,sft_full"), (bench_rm, "medicalgpt_rm,rm")],
)
def test_variants_of_each_benchmark_still_run(bench, variants, tmp_path, monkeypatch):
    """In this process, which has imported everything already."""

    def here(file, case, limit):
        running.measure_one(bench.VARIANTS, case)
        return json.loads(case.file(f"{case.name}.json").read_text(encoding="utf-8"))

    monkeypatch.setattr(running, "run_one", here)
    monkeypatch.setattr(peers, "start", lambda: None)  # what it sets is the whole process's
    monkeypatch.setattr(ours, "start", lambda: None)
    for name, figures in smoke(bench, variants, tmp_path).items():
        assert "error" not in figures, f"{name}: {figures['error']}"
        assert figures["tokens_per_s"] > 0 and 0.2 < figures["share_real"] <= 1 and figures["steps"] == 2
