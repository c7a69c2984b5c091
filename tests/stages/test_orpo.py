"""orpo_training.py as a user calls it: main([...]) on a tiny model.

sh run_tests.sh tests/stages/test_orpo.py
"""

import json
import shutil
from pathlib import Path

import pytest

import orpo_training
import supervised_finetuning
from bedside import adapters, lineage, models, probe
from bedside.errors import ConfigError, DataError, LineageError
from tests.stages.files import history, metrics, same, weights, write


def pair_rows(count: int = 20) -> list[dict]:
    return [
        {"prompt": f"Fever for {n} days?", "chosen": f"Rest and drink water, day {n}.", "rejected": "Run a race."}
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", pair_rows())


def flags(model: str, data: Path, output: Path, *more: str) -> list[str]:
    return [
        "--model_name_or_path", model, "--train_file_dir", str(data), "--output_dir", str(output),
        "--template_name", "qwen3", "--max_length", "128", "--per_device_train_batch_size", "2",
        "--learning_rate", "1e-3", "--gradient_checkpointing", "False", "--logging_steps", "1", "--report_to", "none",
        "--max_steps", "2", "--save_strategy", "no", "--seed", "7", *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model_dir, pairs_file):
    """A QLoRA run with checkpoints and held-out pairs: what most tests look at."""
    output = tmp_path_factory.mktemp("orpo") / "out"
    argv = flags(tiny_model_dir, pairs_file, output, "--qlora", "True", "--max_steps", "6", "--save_strategy", "steps",
                 "--save_steps", "3", "--validation_split_percentage", "20", "--lora_dropout", "0.1",
                 "--disable_dropout", "False", "--gradient_accumulation_steps", "2")  # fmt: skip
    orpo_training.main(argv)
    return argv, output


def test_the_output_says_what_was_trained_and_reloads(run, tiny_model_dir, pairs_file):
    _, output = run
    manifest = lineage.read(output)
    assert lineage.damage(output) is None and lineage.damage(output / "checkpoint-6") is None
    assert (manifest["stage"], manifest["kind"], manifest["reference"]["kind"]) == ("orpo", "adapter", "none")
    assert manifest["inputs"]["loss"] == "orpo" and manifest["inputs"]["beta"] == 0.1
    assert manifest["data"][0]["rows"] == manifest["data"][0]["used"] == 20
    resolved = lineage.resolve(str(output))
    assert Path(resolved.base).samefile(tiny_model_dir)
    base = models.load_base(resolved.base, quantisation=resolved.quant)
    model = adapters.continue_adapter(base, str(output), trainable=False)
    assert probe.distance(model, manifest["probe"]) < probe.LIMIT


def test_held_out_pairs_are_evaluated_and_ranked(run):
    _, output = run
    found = metrics(output)
    assert {"eval_loss", "eval_rewards/accuracies", "eval_log_odds_ratio", "heldout_win_rate", "heldout_margin",
            "heldout_win_rate_before"} <= found.keys()  # fmt: skip
    assert found["eval_loss"] == pytest.approx(found["eval_nll_loss"] - 0.1 * found["eval_log_odds_ratio"], abs=1e-6)
    assert "train_perplexity" not in found  # the loss is no likelihood a token
    lines = [line for line in history(output) if "loss" in line]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    assert all({"rewards/margins", "nll_loss", "log_odds_chosen"} <= line.keys() for line in lines)


def test_resume_is_bitwise_the_uninterrupted_run(run, tmp_path):
    argv, output = run
    shutil.copytree(output / "checkpoint-3", tmp_path / "resumed" / "checkpoint-3")
    argv = [str(tmp_path / "resumed") if word == str(output) else word for word in argv]
    orpo_training.main([*argv, "--resume_from_checkpoint", "True"])
    assert same(tmp_path / "resumed", output)
    with pytest.raises(ConfigError, match="beta was 0.1 in that run and is 0.7 now"):
        orpo_training.main([*argv, "--resume_from_checkpoint", "True", "--orpo_beta", "0.7"])


def test_an_sft_adapter_is_continued_with_its_training_kept(tiny_model_dir, sft_file, pairs_file, tmp_path):
    sft = tmp_path / "sft"
    supervised_finetuning.main(flags(tiny_model_dir, sft_file, sft))
    orpo_training.main([*flags(str(sft), pairs_file, tmp_path / "kept", "--learning_rate", "1e-9")])
    kept, start = weights(tmp_path / "kept"), weights(sft)
    assert max((kept[name] - start[name]).abs().max() for name in start) < 1e-7
    assert any(start[name].abs().sum() > 0 for name in start if "lora_B" in name)
    parents = lineage.read(tmp_path / "kept")["parents"]
    assert [(parent["stage"], parent["how"]) for parent in parents] == [("sft", "continued")]
    with pytest.raises(LineageError, match="template|--allow_template_change"):
        orpo_training.main(flags(str(sft), pairs_file, tmp_path / "other", "--template_name", "chatml"))


@pytest.mark.parametrize(
    "more",
    [
        ["--use_peft", "False"],
        ["--bf16", "True", "--gradient_checkpointing", "True"],
        ["--lora_target_modules", "q_proj", "--modules_to_save", "lm_head,embed_tokens", "--bf16", "True"],
        ["--lora_target_modules", "q_proj,lm_head"],
        ["--group_by_length", "True", "--use_dora", "True"],
    ],
    ids=lambda more: " ".join(more),
)
def test_every_way_of_training_runs_and_moves_what_it_trains(tiny_model_dir, pairs_file, tmp_path, more):
    output = tmp_path / "out"
    orpo_training.main(flags(tiny_model_dir, pairs_file, output, *more))
    first, *_ = [line for line in history(output) if "loss" in line]
    assert first["nll_loss"] == pytest.approx(6.0, abs=0.5)  # log 400: a random model knows nothing of 400 tokens
    assert lineage.damage(output) is None


def test_the_seeds_command_runs_with_other_paths(tiny_model_dir, pairs_file, tmp_path):
    output = tmp_path / "outputs-orpo-qwen-v1"
    orpo_training.main([
        "--model_name_or_path", tiny_model_dir, "--template_name", "qwen", "--train_file_dir", str(pairs_file.parent),
        "--validation_file_dir", str(pairs_file.parent), "--per_device_train_batch_size", "4",
        "--gradient_accumulation_steps", "8", "--per_device_eval_batch_size", "1", "--do_train", "--do_eval",
        "--use_peft", "True", "--max_train_samples", "1000", "--max_eval_samples", "10", "--max_steps", "2",
        "--eval_steps", "20", "--save_steps", "50", "--max_source_length", "1024", "--max_target_length", "512",
        "--output_dir", str(output), "--target_modules", "all", "--lora_rank", "8", "--lora_alpha", "16",
        "--lora_dropout", "0.05", "--torch_dtype", "bfloat16", "--bf16", "True", "--device_map", "auto",
        "--report_to", "tensorboard", "--gradient_checkpointing", "True", "--cache_dir", str(tmp_path / "cache"),
    ])  # fmt: skip
    found = metrics(output)
    assert found["eval_rewards/accuracies"] in [n / 10 for n in range(11)]  # ten held-out pairs
    assert lineage.read(output)["inputs"]["limits"] == [1024, 512]
    assert (output / "adapter_model.safetensors").is_file()


def test_over_long_rows_are_left_out_by_their_tokens_and_counted(tiny_model_dir, tmp_path):
    rows = pair_rows(6)
    rows[2]["rejected"] = "word " * 60
    data = write(tmp_path / "pairs.jsonl", rows)
    orpo_training.main(flags(tiny_model_dir, data, tmp_path / "out", "--max_target_length", "40"))
    account = json.loads((tmp_path / "out" / "ledger.json").read_text())["total"]
    assert (account["rows"], account["kept"], account["overlong"]) == (6, 5, 1)


@pytest.mark.parametrize(
    "more, message",
    [
        (["--loss_type", "simpo"], "--loss_type simpo: .*expected orpo"),
        (["--simpo_gamma", "0.5"], "--simpo_gamma 0.5: not offered; belongs to dpo_training.py --loss_type simpo"),
        (["--orpo_beta", "-1"], "--orpo_beta -1: expected at least 0"),
        (["--beta", "0.1", "--orpo_beta", "0.2"], "--beta 0.1 and --orpo_beta 0.2 are the same flag; give one"),
        (["--label_smoothing_factor", "0.1"], "--label_smoothing_factor 0.1: has no meaning here; drop it"),
        (["--max_target_length", "0"], "--max_target_length 0: expected at least 1"),
    ],
)
def test_a_wrong_flag_is_a_sentence(tiny_model_dir, pairs_file, tmp_path, more, message):
    with pytest.raises(ConfigError, match=message):
        orpo_training.main(flags(tiny_model_dir, pairs_file, tmp_path / "out", *more))


def test_rows_of_another_stage_are_refused_before_anything_is_loaded(tiny_model_dir, sft_file, tmp_path):
    with pytest.raises(DataError, match="train.jsonl:1: E_SCHEMA .*expected chosen and rejected"):
        orpo_training.main(flags(tiny_model_dir, sft_file, tmp_path / "out"))
