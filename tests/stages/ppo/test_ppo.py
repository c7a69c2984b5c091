"""ppo_training.py as a user calls it: main([...]) on a tiny model, from what it may start, and what it leaves.

sh run_tests.sh tests/stages/ppo
"""

import json
import shlex
import shutil
from pathlib import Path

import pytest

import inference
import merge_peft_adapter
import ppo_training
from bedside import lineage
from bedside.lineage import __main__ as lineage_command
from tests.stages.files import history, logged, metrics, same, weights, write
from tests.stages.ppo.runs import flags, task_rows


def test_the_sft_is_continued_and_its_frozen_copy_is_the_reference(run, sft, rm):
    assert logged(run, "kl")[0] == 0.0 and logged(run, "kl")[-1] != 0.0
    assert set(logged(run, "first_ratio_gap")) == {0.0}
    assert logged(run, "grad_norm/policy")[:2] == [0.0, 0.0], "the critic alone learns in the first rollout"
    assert weights(run).keys() == weights(sft).keys() and not same(run, sft)
    assert {p.name for p in run.iterdir() if p.is_dir()} == {"checkpoint-4", "checkpoint-6", "plots", "runs"}
    manifest = lineage.read(run)
    assert (manifest["stage"], manifest["kind"]) == ("ppo", "adapter")
    assert manifest["reference"]["kind"] == "adapter" and manifest["reference"]["id"] == lineage.read(sft)["id"]
    assert [(parent["stage"], parent["how"]) for parent in manifest["parents"]] == [("sft", "continued")]
    assert manifest["inputs"]["rewards"] == {
        "reward_model": {"path": "rm", "id": lineage.read(rm)["id"], "shared": True, "weight": 1.0}
    }
    assert lineage.damage(run) is None and lineage.damage(run / "checkpoint-4") is None


def test_what_a_run_leaves(run):
    found = metrics(run)
    assert found["heldout_tasks"] == 2 and {"heldout_reward", "heldout_reward_model_before"} <= found.keys()
    assert {"eval_reward", "eval_kl", "eval_format", "eval_eos", "eval_length"} <= found.keys()
    assert "train_perplexity" not in found, "PPO's loss is no likelihood"
    kept = [json.loads(line) for line in (run / "samples.jsonl").read_text("utf-8").splitlines()]
    assert [row["step"] for row in kept] == [0, 0, 0, 2, 2, 2, 4, 4, 4]
    assert kept[0]["rewards"].keys() == {"reward_model"} and ".jsonl:" in kept[0]["where"]
    assert (run / "exam_before.json").is_file() and (run / "exam_after.json").is_file()
    curves = {path.name for path in (run / "plots").iterdir()}
    assert {"reward.png", "kl.png", "explained_variance.png"} <= curves
    table = b"".join(path.read_bytes() for path in (run / "runs").rglob("events*"))
    assert b"| prompt | question | completion |" in table and b"rewards/reward_model" in table
    assert [row["step"] for row in history(run) if "eval_reward" in row] == [2, 4, 6, 6]


def test_checkpoints_stand_between_rollouts(run, capsys, sft, rm, data, tmp_path):
    assert (run / "checkpoint-4" / "critic" / "value_head.safetensors").is_file()
    assert not (run / "critic").exists(), "the end of the run is a plain adapter"
    ppo_training.main(flags(sft, data, tmp_path / "out", "--reward_model_path", rm, "--save_strategy", "steps",
                            "--save_steps", "0.3", "--max_steps", "3", "--num_train_epochs", "3"))  # fmt: skip
    said = capsys.readouterr().err
    assert "--max_steps 3 becomes 4: a rollout lasts 2 optimizer steps" in said
    assert "--max_steps 3 decides how long the run is; --total_episodes 12 and --num_train_epochs 3 has no" in said
    assert {path.name for path in (tmp_path / "out").glob("checkpoint-*")} == {"checkpoint-2", "checkpoint-4"}


def test_the_result_is_shown_merges_and_answers(run, tmp_path, capsys):
    lineage_command.main(["show", str(run)])
    shown = capsys.readouterr().out
    assert "ppo" in shown and "sft" in shown
    merge_peft_adapter.main(["--peft_model_path", str(run), "--output_dir", str(tmp_path / "merged")])
    write(tmp_path / "asked.jsonl", [{"instruction": "Fever?"}])
    for name, model in (("adapter", ("--lora_model", run)), ("merged", ("--base_model", tmp_path / "merged"))):
        inference.main([*map(str, model), "--data_file", str(tmp_path / "asked.jsonl"), "--output_file",
                        str(tmp_path / f"{name}.jsonl"), "--max_new_tokens", "8"])  # fmt: skip
        assert len((tmp_path / f"{name}.jsonl").read_text("utf-8").splitlines()) == 1


TEMPLATE = ("--template_name", "qwen3")
STARTS = {
    "a checkpoint of the sft": ("sft/checkpoint-2", (), "adapter", "continued"),
    "a merged model": ("merged", (), "adapter_off", "merged"),
    "a base": ("base", TEMPLATE, "adapter_off", None),
    "a base in 4-bit": ("base", (*TEMPLATE, "--qlora", "True"), "adapter_off", None),
    "an sft adapter in 4-bit": ("sft", ("--qlora", "True"), "adapter", "continued"),
    "an sft adapter in bf16": ("sft", ("--bf16", "True"), "adapter", "continued"),
}


@pytest.mark.parametrize("start", STARTS)
def test_every_start_is_its_own_reference(places, sft, merged, rm, tiny_model_dir, data, tmp_path, start):
    name, more, kind, how = STARTS[start]
    model = tiny_model_dir if name == "base" else places / name
    ppo_training.main(flags(model, data, tmp_path / "out", "--reward_model_path", rm, *more))
    found, manifest = logged(tmp_path / "out", "kl"), lineage.read(tmp_path / "out")
    assert found[0] == 0.0 and any(found[1:]) and set(logged(tmp_path / "out", "first_ratio_gap")) == {0.0}
    assert manifest["reference"]["kind"] == kind
    assert [parent["how"] for parent in manifest["parents"]][-1:] == ([how] if how else [])


def test_fewer_questions_than_a_rollout_come_again(sft, rm, tmp_path, capsys):
    data = write(tmp_path / "two.jsonl", task_rows(2))
    ppo_training.main(flags(sft, data, tmp_path / "out", "--reward_model_path", rm, "--samples_kept", "4"))
    assert "a rollout asks 4 questions and there are 2: some come more than once in it" in capsys.readouterr().err
    kept = [json.loads(line) for line in (tmp_path / "out/samples.jsonl").read_text("utf-8").splitlines()]
    first = [(row["where"], row["text"]) for row in kept if row["step"] == 0]
    assert len({where for where, _ in first}) == 2 and len(set(first)) == 4, "the same question is answered anew"


def test_the_seeds_command(places, sft, rm, data, tmp_path, monkeypatch, capsys):
    """Seed 003, section 4.4, paths, the number of episodes and the length of answers apart."""
    monkeypatch.chdir(tmp_path)
    for name, source in (("outputs-sft-qwen-v1", sft), ("outputs-rm-qwen-v1", rm)):
        shutil.copytree(source, tmp_path / name)
        (tmp_path / name / "checkpoint-4").rename(tmp_path / name / "checkpoint-500")
    base = (sft / lineage.read(sft)["load"]["base"]["path"]).resolve()
    shutil.copytree(base, tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text("utf-8"))
    (tmp_path / "model/config.json").write_text(json.dumps({**config, "max_position_embeddings": 4096}), "utf-8")
    for place in tmp_path.rglob("lineage.json"):
        kept = json.loads(place.read_text("utf-8"))
        kept["load"]["base"]["path"] = "../" * (len(place.relative_to(tmp_path).parts) - 1) + "model"
        place.write_text(json.dumps(kept), "utf-8")
    (tmp_path / "data/finetune").mkdir(parents=True)
    rows = [{"instruction": f"Fever {n}?", "input": "", "output": "Rest and drink."} for n in range(4)]
    write(tmp_path / "data/finetune/rows.jsonl", rows)
    ppo_training.main(
        shlex.split("""
        --sft_model_path outputs-sft-qwen-v1/checkpoint-500 --reward_model_path outputs-rm-qwen-v1/checkpoint-500
        --template_name qwen --torch_dtype bfloat16 --train_file_dir ./data/finetune
        --validation_file_dir ./data/finetune --max_source_length 1024 --response_length 32
        --per_device_train_batch_size 1 --gradient_accumulation_steps 4 --gradient_checkpointing True --do_train
        --total_episodes 8 --output_dir outputs-ppo-qwen-v1 --missing_eos_penalty 1.0 --eval_strategy steps
        --eval_steps 100 --num_train_epochs 3 --report_to tensorboard --allow_template_change True""")
    )
    output = tmp_path / "outputs-ppo-qwen-v1"
    assert logged(output, "kl")[0] == 0.0 and lineage.read(output)["template"]["name"] == "qwen"
    assert (
        "--total_episodes 8 decides how long the run is; --num_train_epochs 3 has no effect" in capsys.readouterr().err
    )


def test_medicalgpts_command(sft, rm, data, tmp_path):
    """The flags of MedicalGPT's run_ppo.sh."""
    ppo_training.main(
        shlex.split(f"""
        --sft_model_path {sft} --reward_model_path {rm} --template_name qwen3 --torch_dtype bfloat16 --bf16
        --train_file_dir {data} --validation_file_dir {data} --max_source_length 256 --response_length 12
        --per_device_train_batch_size 1 --gradient_accumulation_steps 4 --gradient_checkpointing True --do_train
        --total_episodes 8 --output_dir {tmp_path}/out --missing_eos_penalty 1.0 --eval_strategy steps --eval_steps 100
        --num_train_epochs 3 --report_to tensorboard --save_steps 50 --save_total_limit 13 --learning_rate 1e-5""")
    )
    assert logged(tmp_path / "out", "kl")[0] == 0.0


def test_the_best_policy_is_taken(sft, rm, data, tmp_path):
    output = tmp_path / "out"
    ppo_training.main(flags(
        sft, data, output, "--reward_model_path", rm, "--val_size", "2", "--eval_strategy", "steps", "--eval_steps", 2,
        "--save_strategy", "steps", "--save_steps", "2", "--load_best_model_at_end", "True", "--learning_rate", "5e-2",
    ))  # fmt: skip
    state = json.loads((output / "trainer_state.json").read_text("utf-8"))
    evaluated = {row["step"]: row["eval_reward"] for row in reversed(history(output)) if "eval_reward" in row}
    assert state["best_metric"] == max(evaluated.values()), "greater rewards are better"
    assert same(output, output / Path(state["best_model_checkpoint"]).name)
