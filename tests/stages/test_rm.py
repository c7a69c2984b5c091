"""reward_modeling.py as a user calls it: main([...]) on a tiny model.

sh run_tests.sh tests/stages/test_rm.py
"""

import json
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import inference
import merge_peft_adapter
import reward_modeling
import supervised_finetuning
from bedside import lineage, models, probe, reward_model
from bedside.errors import ConfigError, DataError, LineageError
from tests.stages.files import logged, losses, metrics, same, weights, write

HEAD = "base_model.model.score.weight"


def flags(model: str, data: Path, output: Path, *more: str) -> list[str]:
    return [
        "--model_name_or_path", str(model), "--train_file_dir", str(data), "--output_dir", str(output),
        "--template_name", "qwen3", "--max_length", "128", "--per_device_train_batch_size", "2",
        "--learning_rate", "1e-2", "--gradient_checkpointing", "False", "--logging_steps", "1", "--report_to", "none",
        "--max_steps", "1", "--save_strategy", "no", "--seed", "7", *more,
    ]  # fmt: skip


def pair(number: int) -> dict:
    return {"prompt": f"Fever {number}?", "chosen": f"Rest, drink, {number}.", "rejected": f"No {number}."}


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", [pair(number) for number in range(20)])


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model_dir, pairs_file):
    """One LoRA run with evaluation and checkpoints: what most tests look at."""
    output = tmp_path_factory.mktemp("run") / "out"
    argv = flags(tiny_model_dir, pairs_file, output, "--max_steps", "6", "--save_strategy", "steps", "--save_steps",
                 "3", "--validation_split_percentage", "25", "--eval_strategy", "steps", "--eval_steps", "3",
                 "--per_device_eval_batch_size", "2")  # fmt: skip
    reward_modeling.main(argv)
    return argv, output


def loaded(directory: Path):
    """A reward adapter as the next stage loads it."""
    resolved = lineage.resolve(str(directory))
    base = models.load_base(resolved.base, quantisation=resolved.quant, num_labels=1)
    base.config.pad_token_id = 3
    return reward_model.start(base, resolved.adapter, resolved.task, None)[0]


def scores(model, tokenizer, rows: list[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores `(B,)` of chosen and of rejected answers, one text at a time, read at the end of the turn."""

    def score(row: dict, side: str) -> torch.Tensor:
        chat = [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": row[side]}]
        text = tokenizer.apply_chat_template(chat, tokenize=False)
        text = text[: text.rindex("<|im_end|>") + len("<|im_end|>")]
        ids = tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]
        return model(input_ids=ids).logits[0, 0].float()

    with torch.no_grad():
        model.eval()
        return tuple(torch.stack([score(row, side) for row in rows]) for side in ("chosen", "rejected"))


# --- what a run leaves ---------------------------------------------------------------------------------------------


def test_the_output_holds_the_model_its_lineage_and_its_report(run, tiny_model_dir):
    _, output = run
    names = {path.name for path in output.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja", "README.md",
            "lineage.json", "ledger.json", "metrics.json", "plots", "checkpoint-3",
            "checkpoint-6"} <= names  # fmt: skip
    plots = {path.name for path in (output / "plots").iterdir()}
    assert {"loss.png", "accuracy.png", "reward_calibration.png", "reward_margins.png",
            "reward_by_length.png"} <= plots and "perplexity.png" not in plots  # fmt: skip
    manifest = lineage.read(output)
    assert (manifest["stage"], manifest["kind"]) == ("rm", "adapter")
    load = manifest["load"]
    assert (load["task"], load["num_labels"], load["vllm"]) == ("SEQ_CLS", 1, "merge_only")
    assert load["base"]["fp"] == lineage.fingerprint(tiny_model_dir)
    assert lineage.damage(output) is None and lineage.damage(output / "checkpoint-6") is None
    assert lineage.read(output / "checkpoint-6")["load"]["task"] == "SEQ_CLS"


def test_held_out_numbers_are_those_of_the_scores(run):
    _, output = run
    found = metrics(output)
    assert "train_perplexity" not in found and "eval_perplexity" not in found
    made = found["reward"]
    assert made["accuracy"]["pairs"] == 5 and list(made["by_source"]) == ["pairs.jsonl"]
    assert found["eval_accuracy"] == made["accuracy"]["accuracy"] == logged(output, "eval_accuracy")[-1]
    assert found["eval_loss"] == pytest.approx(made["nll"])
    assert found["eval_margin"] == pytest.approx(made["margin"]["mean"])
    assert made["longer_wins"]["accuracy"] == 1.0  # every chosen answer here is the longer one


def test_the_head_is_exact_in_output_checkpoint_and_merged_model(run, tmp_path):
    _, output = run
    head = weights(output)[HEAD]
    assert head.dtype == torch.float32 and head.shape == (1, 64)
    assert not torch.equal(head, head.bfloat16().float())
    for directory in (output, output / "checkpoint-6"):
        kept = loaded(directory).get_base_model().score.modules_to_save["default"].weight
        assert torch.equal(kept, head)
    model = loaded(output)
    assert probe.distance(model, lineage.read(output)["probe"]) < 1e-4
    merged = tmp_path / "merged"
    assert not merge_peft_adapter.main(["--peft_model_path", str(output), "--output_dir", str(merged)])
    again = models.load_base(str(merged), num_labels=1)
    assert torch.equal(again.score.weight, head)
    assert lineage.resolve(str(merged)).task == "SEQ_CLS"


def test_resume_is_bitwise_the_uninterrupted_run(run, tmp_path):
    argv, output = run
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    shutil.copytree(output / "checkpoint-3", resumed / "checkpoint-3")
    argv = [str(resumed) if word == str(output) else word for word in argv]
    reward_modeling.main([*argv, "--resume_from_checkpoint", "True"])
    assert same(resumed, output)
    assert losses(resumed) == losses(output)
    shutil.rmtree(resumed / "checkpoint-6")
    with pytest.raises(ConfigError, match="loss was reward, centre None in that run and is reward, centre 0.1 now"):
        reward_modeling.main([*argv, "--resume_from_checkpoint", "True", "--center_rewards_coefficient", "0.1"])


def test_the_loss_is_that_of_the_pairs_and_centring_adds_its_term(tiny_model_dir, tmp_path, tiny_tokenizer):
    rows = [pair(1), {"prompt": "Cough?", "chosen": "Drink.", "rejected": "Run, run, run."}]
    data = write(tmp_path / "two.jsonl", rows)
    still = ["--learning_rate", "0", "--dtype", "float32"]
    reward_modeling.main(flags(tiny_model_dir, data, tmp_path / "plain", *still))
    reward_modeling.main(
        flags(tiny_model_dir, data, tmp_path / "centred", *still, "--center_rewards_coefficient", "0.5")
    )
    tokenizer = models.load_tokenizer(str(tmp_path / "plain"))
    resolved = lineage.resolve(str(tmp_path / "plain"))
    base = models.load_base(resolved.base, "float32", num_labels=1)
    chosen, rejected = scores(reward_model.start(base, resolved.adapter, "SEQ_CLS", None)[0], tokenizer, rows)
    plain = -torch.nn.functional.logsigmoid(chosen - rejected).mean().item()
    assert losses(tmp_path / "plain") == [pytest.approx(plain, abs=1e-4)]
    term = 0.5 * ((chosen + rejected) ** 2).mean().item()
    assert term > 1e-3
    assert losses(tmp_path / "centred") == [pytest.approx(plain + term, abs=1e-4)]


# --- where it starts ---------------------------------------------------------------------------------------------


def test_an_sft_adapter_is_kept_and_named_as_parent(tiny_model_dir, sft_file, pairs_file, tmp_path):
    sft = tmp_path / "sft"
    supervised_finetuning.main(flags(tiny_model_dir, sft_file, sft, "--qlora", "True", "--lora_dropout", "0"))
    output = tmp_path / "out"
    reward_modeling.main(flags(sft, pairs_file, output, "--qlora", "True", "--learning_rate", "0"))
    before, after = weights(sft), weights(output)
    assert after.keys() - before.keys() == {HEAD}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    manifest = lineage.read(output)
    assert [(parent["stage"], parent["how"]) for parent in manifest["parents"]] == [("sft", "continued")]
    assert manifest["load"]["quant"]["type"] == "nf4"
    config = json.loads((output / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS" and config["modules_to_save"] == ["classifier", "score"]


def test_a_reward_adapter_is_trained_further(run, pairs_file, tmp_path):
    _, first = run
    reward_modeling.main(flags(first, pairs_file, tmp_path / "out", "--learning_rate", "0"))
    assert same(tmp_path / "out", first)
    assert [p["stage"] for p in lineage.read(tmp_path / "out")["parents"]] == ["rm"]


def test_full_training_then_an_adapter_on_it(tiny_model_dir, pairs_file, tmp_path):
    full = tmp_path / "full"
    reward_modeling.main(flags(tiny_model_dir, pairs_file, full, "--use_peft", "False"))
    manifest = lineage.read(full)
    assert (manifest["kind"], manifest["load"]["task"], manifest["load"]["num_labels"]) == ("full", "SEQ_CLS", 1)
    head = load_file(full / "model.safetensors")["score.weight"]
    assert probe.distance(models.load_base(str(full), num_labels=1), manifest["probe"]) < 1e-4
    reward_modeling.main(flags(full, pairs_file, tmp_path / "out", "--learning_rate", "0"))
    assert torch.equal(weights(tmp_path / "out")[HEAD], head)


def test_the_command_of_the_tutorial_runs(tiny_model_dir, pairs_file, tmp_path):
    command = f"""--model_name_or_path {tiny_model_dir} --train_file_dir {pairs_file.parent}
        --validation_file_dir {pairs_file.parent} --per_device_train_batch_size 4 --gradient_accumulation_steps 8
        --per_device_eval_batch_size 4 --do_train --use_peft True --seed 42 --max_train_samples 1000
        --max_eval_samples 10 --num_train_epochs 1 --learning_rate 2e-5 --warmup_ratio 0.05 --weight_decay 0.001
        --logging_strategy steps --logging_steps 10 --eval_steps 50 --eval_strategy steps --save_steps 500
        --save_strategy steps --save_total_limit 3 --max_source_length 1024 --max_target_length 256
        --output_dir {tmp_path}/outputs-rm-qwen-v1 --overwrite_output_dir --ddp_timeout 30000
        --logging_first_step True --target_modules all --lora_rank 8 --lora_alpha 16 --lora_dropout 0.05 --bf16
        --torch_dtype bfloat16 --device_map auto --report_to tensorboard --ddp_find_unused_parameters False
        --remove_unused_columns False --gradient_checkpointing True"""
    # The tutorial's model brings a chat template; the tiny one has none.
    reward_modeling.main([*shlex.split(command), "--template_name", "qwen"])
    output = tmp_path / "outputs-rm-qwen-v1"
    assert metrics(output)["reward"]["accuracy"]["pairs"] == 10
    assert json.loads((output / "adapter_config.json").read_text())["lora_dropout"] == 0.05
    assert lineage.read(output)["inputs"]["limits"] == [1024, 256]


def test_every_shape_of_preference_rows(tiny_model_dir, tmp_path):
    folder = tmp_path / "mixed"
    folder.mkdir()
    turn = [{"role": "user", "content": "Cough?"}]
    write(folder / "a.jsonl", [
        pair(1),
        {"conversations": [{"from": "human", "value": "Pain?"}], "chosen": "Rest.", "rejected": "Run."},
        {"prompt": turn, "chosen": [{"role": "assistant", "content": "Tea."}], "rejected": [
            {"role": "assistant", "content": "Beer."}]},
        {"chosen": [*turn, {"role": "assistant", "content": "Tea."}], "rejected": [
            *turn, {"role": "assistant", "content": "Gin."}]},
        {"question": "Sore throat?", "response_chosen": "Gargle.", "response_rejected": "Shout."},
    ])  # fmt: skip
    (folder / "b.csv").write_bytes(
        "prompt,chosen,rejected\n咳嗽怎么办？,多喝水。,不用管。\n发热呢？,测体温。,没事。\n".encode("gbk")
    )
    output = tmp_path / "out"
    reward_modeling.main(flags(tiny_model_dir, folder, output))
    total = json.loads((output / "ledger.json").read_text())["total"]
    assert (total["rows"], total["kept"]) == (7, 7)


def test_a_registered_dataset_of_rankings_under_its_own_column_names(tiny_model_dir, tmp_path):
    write(tmp_path / "mine.jsonl", [{"q": f"Fever {n}?", "good": f"Rest {n}.", "bad": "No."} for n in range(3)])
    info = {
        "file_name": "mine.jsonl",
        "ranking": True,
        "columns": {"prompt": "q", "chosen": "good", "rejected": "bad"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps({"mine": info}))
    argv = flags(tiny_model_dir, tmp_path, tmp_path / "out")
    place = argv.index("--train_file_dir")
    reward_modeling.main([*argv[:place], *argv[place + 2 :], "--dataset", "mine", "--dataset_dir", str(tmp_path)])
    assert json.loads((tmp_path / "out" / "ledger.json").read_text())["total"]["kept"] == 3


def test_long_answers_are_left_out_by_their_tokens_and_counted(tiny_model_dir, tmp_path):
    rows = [pair(number) for number in range(4)]
    rows[2]["rejected"] = "No. " * 60
    data = write(tmp_path / "rows.jsonl", rows)
    output = tmp_path / "out"
    reward_modeling.main(flags(tiny_model_dir, data, output, "--max_target_length", "40"))
    total = json.loads((output / "ledger.json").read_text())["total"]
    assert (total["rows"], total["kept"], total["overlong"]) == (4, 3, 1)


# --- what is refused ---------------------------------------------------------------------------------------------


def test_wrong_flags_and_wrong_rows_take_a_sentence(tiny_model_dir, pairs_file, sft_file, tmp_path):
    argv = flags(tiny_model_dir, pairs_file, tmp_path / "out")
    with pytest.raises(ConfigError, match="--center_rewards_coefficient -1: expected at least 0; 0.01 is usual"):
        reward_modeling.main([*argv, "--center_rewards_coefficient", "-1"])
    with pytest.raises(ConfigError, match="--label_smoothing_factor: the loss of pairs has no such term"):
        reward_modeling.main([*argv, "--label_smoothing_factor", "0.1"])
    with pytest.raises(ConfigError, match="--max_target_length 0: expected at least 1"):
        reward_modeling.main([*argv, "--max_target_length", "0"])
    with pytest.raises(DataError, match="expected chosen and rejected"):
        reward_modeling.main(flags(tiny_model_dir, sft_file, tmp_path / "out"))


def test_an_adapter_that_holds_a_language_head_is_refused(tiny_model_dir, sft_file, pairs_file, tmp_path):
    sft = tmp_path / "sft"
    supervised_finetuning.main(flags(tiny_model_dir, sft_file, sft, "--lora_modules_to_save", "lm_head"))
    with pytest.raises(ConfigError, match=r"also trained lm_head.*merge_peft_adapter.py --peft_model_path"):
        reward_modeling.main(flags(sft, pairs_file, tmp_path / "out"))


def test_a_reward_model_is_no_language_model(run, sft_file, tmp_path):
    _, first = run
    with pytest.raises((ConfigError, LineageError), match="SEQ_CLS"):
        supervised_finetuning.main(flags(first, sft_file, tmp_path / "out"))
    with pytest.raises((ConfigError, LineageError), match="scores answers and cannot write them"):
        inference.main(["--lora_model", str(first), "--data_file", str(sft_file)])


def test_a_head_that_was_lost_is_noticed(run, pairs_file, tmp_path):
    _, first = run
    broken = tmp_path / "broken"
    shutil.copytree(first, broken)
    (broken / "lineage.json").unlink()
    save_file({n: t for n, t in weights(first).items() if n != HEAD}, broken / "adapter_model.safetensors")
    argv = flags(lineage.resolve(str(first)).base, pairs_file, tmp_path / "out", "--peft_path", str(broken))
    with pytest.raises(LineageError, match="a reward model without its head"):
        reward_modeling.main(argv)
