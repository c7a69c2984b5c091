"""The pipeline run as a command, on scripts that train nothing: order, what is kept, what is made again, failures.

sh run_tests.sh tests/pipeline/test_pipeline_runs.py
"""

import json
import re
import shutil

CHAIN = ["pt", "merged-pt", "sft", "merged-sft", "dpo", "merged-dpo"]
EVALUATIONS = ["evaluate-starter", "evaluate-pt", "evaluate-sft", "evaluate-dpo"]


def test_a_run_and_the_same_command_again(place):
    first = place.run("--only", "dpo", "--jobs", "1")
    assert (first.returncode, first.stderr) == (0, "")
    assert sorted(place.ran) == sorted([*CHAIN, *EVALUATIONS, "against-sft", "report", "answer"])
    order = place.ran
    for before, after in (("pt", "merged-pt"), ("merged-pt", "sft"), ("sft", "dpo"), ("dpo", "merged-dpo")):
        assert order.index(before) < order.index(after)
    assert "13/13" in first.stdout
    assert "sft               done in 0:0" in first.stdout
    outputs = place.outputs()
    again = place.run("--only", "dpo", "--jobs", "1")
    assert (again.returncode, place.ran) == (0, [])
    assert again.stdout.count("is there") == 13
    assert place.outputs() == outputs


def test_the_end_shows_tree_table_and_answer(place):
    shown = place.run("--only", "dpo").stdout
    start = shown.index("models/starter  base")
    lines = [line for line in shown[start:].splitlines() if "─" in line and "  s1:" in line]
    assert [line[: line.index("  s1:")] for line in lines] == [
        "└─ pt  adapter",
        "   └─ merged-pt  merged",
        "      └─ sft  adapter",
        "         ├─ dpo  adapter",
        "         │  └─ merged-dpo  merged",
        "         └─ merged-sft  merged",
    ]
    assert "continues sft" in lines[3]
    table = shown[shown.index("  n = 1\n") :]
    assert [line.split()[0] for line in table.splitlines()[2:6]] == ["starter", "pt", "sft", "dpo"]
    assert "against-sft/report.md" in shown
    assert "answered  " in shown
    assert "outputs-pipeline/report/report.html" in shown
    assert "python inference.py --base_model outputs-pipeline/merged-dpo --interactive" in shown


def test_two_lanes_give_what_one_gives(place):
    place.run("--only", "ppo", "--jobs", "1")
    one = place.outputs()
    shutil.rmtree(place.root / "outputs-pipeline")
    run = place.run("--only", "ppo", "--jobs", "2")
    assert run.returncode == 0
    assert place.outputs() == one


def test_other_data_makes_a_stage_again_and_what_comes_after_it(place):
    place.run("--only", "dpo")
    place.write("data/reward/rows.jsonl", '{"text": "other"}\n')
    run = place.run("--only", "dpo")
    assert sorted(line.split()[0] for line in place.ran) == [
        "against-sft", "answer", "dpo", "evaluate-dpo", "merged-dpo", "report",
    ]  # fmt: skip
    assert all("--overwrite_output" in line for line in place.ran)
    assert "again because data/reward changed" in run.stdout
    assert "again because dpo was made again" in run.stdout


def test_another_recipe_makes_a_stage_again(place):
    place.run("--only", "sft")
    place.write("recipes/starter_sft.yaml", "train_file_dir: data/sft\nlearning_rate: 1\n")
    run = place.run("--only", "sft")
    assert "again because recipes/starter_sft.yaml changed" in run.stdout
    assert "pt" not in place.ran


def test_a_damaged_output_is_made_again(place):
    place.run("--only", "dpo")
    outputs = place.outputs()
    (place.root / "outputs-pipeline/sft/adapter_model.safetensors").write_text("bits")
    (place.root / "outputs-pipeline/merged-pt/lineage.json").unlink()
    (place.root / "outputs-pipeline/evaluations/pt/cases/chat.jsonl").write_text("{}\n")
    run = place.run("--only", "dpo")
    # The stages after them began with the same weights as they would now, so they stand.
    assert sorted(line.split()[0] for line in place.ran) == ["evaluate-pt", "merged-pt", "sft"]
    assert "outputs-pipeline/sft: adapter_model.safetensors has 4 bytes" in run.stdout
    assert place.outputs() == outputs


def test_a_failure_in_one_lane_stops_what_needs_it_alone(place):
    place.orders(dpo="fail")
    run = place.run("--only", "dpo", "orpo")
    assert run.returncode == 1
    failed = run.stdout[run.stdout.index("FAILED: ended with exit status 2; its last lines:") :].splitlines()
    assert failed[1:21] == [f"    | line {number}" for number in range(11, 30)] + [
        "    | error: the data of this step is not as it should be"
    ]
    assert failed[21] == "    all of it: outputs-pipeline/logs/dpo.log"
    assert "evaluate-orpo" in place.ran and "merged-dpo" not in place.ran
    assert re.search(r"merge-dpo +not run: it needs dpo\n", run.stdout)
    assert "FAILED: dpo; see outputs-pipeline/logs/dpo.log" in run.stdout
    place.orders()
    mended = place.run("--only", "dpo", "orpo")
    assert mended.returncode == 0
    assert sorted(line.split()[0] for line in place.ran) == [
        "against-sft", "answer", "dpo", "evaluate-dpo", "merged-dpo", "report",
    ]  # fmt: skip


def test_dry_run_prints_what_would_be_typed_and_leaves_nothing(place):
    run = place.run("--only", "dpo", "--skip", "pt", "--dry_run", "--question", "What's this?")
    assert run.returncode == 0
    assert "# SFT learns to think and answer\npython supervised_finetuning.py recipes/starter_sft.yaml" in run.stdout
    asked = """printf '%s\\n' '{"messages": [{"role": "user", "content": "What'"'"'s this?"}]}'"""
    assert f"{asked} > outputs-pipeline/question.jsonl\n\n# DPO is asked\npython inference.py" in run.stdout
    assert not (place.root / "outputs-pipeline").exists()


def test_what_is_left_out_is_said_before_anything_runs(place):
    place.write("my/sft/a.jsonl", "{}\n")
    place.write("my/eval/zzz.jsonl", "{}\n")
    run = place.run("--data_dir", "my")
    lines = run.stdout.splitlines()
    assert "left out: pt, needs my/pretrain/, which is missing" in lines[:9]
    assert "not used: my/eval/zzz.jsonl, it is no task's by its name (docs/stages/pipeline.md)" in lines[:9]
    assert place.ran[0].split()[0] in ("sft", "evaluate-starter")


def test_the_chain_of_another_model_is_not_replaced(place):
    place.write("mine/config.json", "{}")
    place.run("--only", "sft", "--model_name_or_path", "mine")
    outputs = place.outputs()
    run = place.run("--only", "sft")
    assert run.returncode == 2
    assert "outputs-pipeline: holds the chain of mine, and this one begins with models/starter" in run.stderr
    assert place.outputs() == outputs
    assert place.run("--only", "sft", "--overwrite_output_dir").returncode == 0


def test_a_model_that_lies_there_is_not_replaced(place):
    place.write("outputs-pipeline/sft/lineage.json", "{}")
    run = place.run("--only", "sft")
    assert run.returncode == 2
    assert "outputs-pipeline/sft: holds what this pipeline did not make" in run.stderr
    assert place.ran == []


def test_a_damaged_record_is_not_taken_for_none(place):
    place.run("--only", "pt")
    place.write("outputs-pipeline/pipeline.json", '{"schema": 1')
    run = place.run("--only", "pt")
    assert run.returncode == 2
    assert "outputs-pipeline/pipeline.json: damaged" in run.stderr


def test_the_record_tells_what_was_made_of_what(place):
    place.run("--only", "sft")
    kept = json.loads((place.root / "outputs-pipeline/pipeline.json").read_text())
    record = kept["steps"]["sft"]
    assert kept["model"] == "models/starter"
    assert (record["status"], record["made_of"]["command"][:2]) == ("done", ["python", "supervised_finetuning.py"])
    assert list(record["made_of"]["reads"]) == ["recipes/starter_sft.yaml", "data/sft"]
    assert record["made_of"]["needs"] == {"merge-pt": kept["steps"]["merge-pt"]["identity"]}


def test_verbose_streams_what_the_steps_print(place):
    run = place.run("--only", "pt", "--verbose")
    assert "pt | pt: written" in run.stdout


def test_outside_of_a_repository(place, tmp_path):
    (place.root / "pretraining.py").unlink()
    run = place.run("--only", "pt")
    assert run.returncode == 2
    assert "pretraining.py: not in this directory; run from the root of the repository" in run.stderr
