"""supervised_finetuning.py as a user calls it: main([...]) on a tiny model.

sh run_tests.sh tests/stages/test_sft.py
"""

import json
import math
import shutil
from pathlib import Path

import pytest
import torch

import supervised_finetuning
from bedside import adapters, lineage, models, probe
from bedside.errors import ConfigError
from tests.stages.files import losses, metrics, same, weights


def flags(model: str, data: Path, output: Path, *more: str) -> list[str]:
    return [
        "--model_name_or_path", model, "--train_file_dir", str(data), "--output_dir", str(output),
        "--template_name", "qwen3", "--max_length", "128", "--per_device_train_batch_size", "2",
        "--learning_rate", "1e-3", "--lora_dropout", "0", "--gradient_checkpointing", "False",
        "--logging_steps", "1", "--report_to", "none", "--max_steps", "2", "--save_strategy", "no", "--seed", "7",
        *more,
    ]  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model_dir):
    """One QLoRA run with packing, evaluation and checkpoints: what most tests look at."""
    root = tmp_path_factory.mktemp("run")
    data = root / "rows.jsonl"
    rows = [{"instruction": f"Question {n}?", "input": "", "output": f"Answer {n}, drink water."} for n in range(40)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = root / "out"
    argv = flags(tiny_model_dir, data, output, "--qlora", "True", "--packing", "True", "--max_steps", "6",
                 "--save_strategy", "steps", "--save_steps", "3", "--validation_split_percentage", "10",
                 "--eval_strategy", "steps", "--eval_steps", "2")  # fmt: skip
    supervised_finetuning.main(argv)
    return argv, output, data


def test_the_output_holds_all_that_the_next_stage_needs(run):
    _, output, _ = run
    names = {path.name for path in output.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja",
            "generation_config.json", "lineage.json", "ledger.json", "rejected.jsonl", "metrics.json", "README.md",
            "data_report.html", "data_lengths.png", "plots", "checkpoint-3", "checkpoint-6"} <= names  # fmt: skip
    assert "training_args.bin" not in names
    curves = {path.name: path.read_bytes()[:8] for path in (output / "plots").iterdir()}
    assert {"loss.png", "perplexity.png", "learning_rate.png", "grad_norm.png"} <= curves.keys()
    assert set(curves.values()) == {b"\x89PNG\r\n\x1a\n"}
    assert str(Path.cwd()) not in (output / "README.md").read_text()


def test_the_lineage_says_what_was_trained_on_what(run, tiny_model_dir):
    _, output, data = run
    manifest = lineage.read(output)
    assert lineage.damage(output) is None and lineage.damage(output / "checkpoint-6") is None
    assert manifest["kind"] == "adapter" and manifest["stage"] == "sft"
    assert manifest["load"]["quant"] == {"bits": 4, "type": "nf4", "double": True, "compute": "bfloat16"}
    assert manifest["load"]["base"]["fp"] == lineage.fingerprint(tiny_model_dir)
    row = manifest["data"][0]
    assert row == {"file": data.name, "sha": lineage.file_sha256(data), "rows": 40, "used": 40, "rejected": {}}
    assert manifest["template"]["name"] == "qwen3" and manifest["template"]["stops"] == [2, 0]
    resolved = lineage.resolve(str(output / "checkpoint-3"))
    assert resolved.adapter == str(output / "checkpoint-3") and Path(resolved.base).samefile(tiny_model_dir)


def test_template_and_stops_are_saved_with_the_model(run, repo):
    _, output, _ = run
    for directory in (output, output / "checkpoint-6"):
        assert (directory / "chat_template.jinja").read_text() == (repo / "bedside/templates/qwen3.jinja").read_text()
        settings = json.loads((directory / "generation_config.json").read_text())
        assert settings["eos_token_id"] == [2, 0] and settings["pad_token_id"] == 3
        assert not {"temperature", "top_p", "max_new_tokens", "do_sample"} & settings.keys()
    assert models.load_tokenizer(str(output)).eos_token == "<|im_end|>"


def test_adapters_are_float32_and_the_reload_is_the_trained_model(run):
    _, output, _ = run
    assert {tensor.dtype for tensor in weights(output).values()} == {torch.float32}
    kept = lineage.read(output)["probe"]
    resolved = lineage.resolve(str(output))
    base = models.load_base(resolved.base, quantisation=resolved.quant)
    assert probe.distance(base, kept) > 0  # without the adapter it is another model
    model = adapters.continue_adapter(models.load_base(resolved.base, quantisation=resolved.quant), str(output), False)
    assert probe.distance(model, kept) < 1e-4


def test_evaluation_is_a_token_weighted_perplexity(run):
    _, output, _ = run
    found = metrics(output)
    assert found["eval_perplexity"] == pytest.approx(math.exp(found["eval_loss"]))
    ledger = json.loads((output / "ledger.json").read_text())
    assert ledger["total"]["rows"] == ledger["total"]["kept"] == 40
    assert ledger["samples"]["rows_held_out"] == 4


def test_resume_is_bitwise_the_uninterrupted_run(run, tmp_path):
    argv, output, _ = run
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    shutil.copytree(output / "checkpoint-3", resumed / "checkpoint-3")
    argv = [str(resumed) if word == str(output) else word for word in argv]
    supervised_finetuning.main([*argv, "--resume_from_checkpoint", "True"])
    assert same(resumed, output)
    assert losses(resumed) == losses(output)
    assert lineage.read(resumed)["resumed_from"] == [str(resumed / "checkpoint-3")]


def test_a_damaged_newest_checkpoint_is_set_aside(run, tmp_path, capsys):
    argv, output, _ = run
    resumed = tmp_path / "resumed"
    shutil.copytree(output, resumed)
    broken = resumed / "checkpoint-6" / "adapter_model.safetensors"
    content = bytearray(broken.read_bytes())
    content[-10] ^= 1
    broken.write_bytes(content)
    argv = [str(resumed) if word == str(output) else word for word in argv]
    supervised_finetuning.main([*argv, "--resume_from_checkpoint", "True"])
    assert "adapter_model.safetensors changed since it was saved" in capsys.readouterr().err
    assert (resumed / "broken-checkpoint-6").is_dir()
    assert same(resumed, output)


def test_resume_refuses_other_data(run, tmp_path):
    argv, output, data = run
    resumed = tmp_path / "resumed"
    shutil.copytree(output, resumed)
    other = tmp_path / data.name
    other.write_text(data.read_text().replace("water", "tea"))
    argv = [{str(output): str(resumed), str(data): str(other)}.get(word, word) for word in argv]
    with pytest.raises(ConfigError, match="data was .* and is .* now.*--force_resume"):
        supervised_finetuning.main([*argv, "--resume_from_checkpoint", "True"])


def test_a_second_run_into_the_same_directory_is_refused(run):
    argv, _, _ = run
    with pytest.raises(ConfigError, match="holds an earlier run; add --overwrite_output_dir True"):
        supervised_finetuning.main(argv)


def test_overwriting_removes_the_old_run_and_nothing_else(run, tmp_path):
    argv, output, _ = run
    copy = tmp_path / "copy"
    shutil.copytree(output, copy)
    (copy / "notes.txt").write_text("mine")
    argv = [str(copy) if word == str(output) else word for word in argv]
    supervised_finetuning.main([*argv, "--overwrite_output_dir", "True", "--max_steps", "1", "--save_steps", "5"])
    assert (copy / "notes.txt").read_text() == "mine"
    assert not (copy / "checkpoint-6").exists()


def test_packed_rows_lose_exactly_what_single_rows_lose(tiny_model_dir, sft_file, tmp_path):
    found = []
    for packing in ("False", "True"):
        output = tmp_path / packing
        supervised_finetuning.main(
            flags(tiny_model_dir, sft_file, output, "--packing", packing, "--do_eval", "--dtype", "float32",
                  "--validation_file_dir", str(sft_file), "--do_train", "False")
        )  # fmt: skip
        found.append(metrics(output)["eval_loss"])
    assert found[0] == pytest.approx(found[1], abs=2e-6)
    assert found[0] == pytest.approx(math.log(400), abs=0.5)  # a random model knows nothing of 400 tokens


def test_only_the_adapter_learns(tiny_model_dir, sft_file, tmp_path, monkeypatch):
    seen = {}

    def keep(trainer, *args, **kwargs):
        seen["before"] = {n: p.detach().clone() for n, p in trainer.model.named_parameters()}
        seen["trainable"] = {n for n, p in trainer.model.named_parameters() if p.requires_grad}
        result = original(trainer, *args, **kwargs)
        seen["after"] = dict(trainer.model.named_parameters())
        return result

    from bedside import runner

    original = runner.train
    monkeypatch.setattr(runner, "train", keep)
    supervised_finetuning.main(flags(tiny_model_dir, sft_file, tmp_path / "out"))
    assert seen["trainable"] and all("lora_" in name for name in seen["trainable"])
    moved = {name for name, value in seen["before"].items() if not torch.equal(value, seen["after"][name])}
    assert moved and moved <= seen["trainable"]
    # LoRA's B starts at zero, so in the first steps every B moves.
    assert {name for name in seen["trainable"] if "lora_B" in name} <= moved


@pytest.mark.parametrize(
    "more",
    [
        ["--use_dora", "True"],
        ["--use_rslora", "True"],
        ["--init_lora_weights", "pissa"],
        ["--load_in_8bit", "True"],
        ["--neftune_noise_alpha", "5"],
        ["--bf16", "True", "--gradient_checkpointing", "True"],
        ["--qlora", "True", "--use_dora", "True"],
        ["--target_modules", "q_proj,v_proj", "--modules_to_save", "embed_tokens"],
        ["--group_by_length", "True", "--optim", "adamw_torch"],
    ],
    ids=lambda more: " ".join(more),
)
def test_every_way_of_training_an_adapter_reloads(tiny_model_dir, sft_file, tmp_path, more):
    output = tmp_path / "out"
    supervised_finetuning.main(flags(tiny_model_dir, sft_file, output, *more))
    resolved = lineage.resolve(str(output))
    base = models.load_base(resolved.base, quantisation=resolved.quant)
    model = adapters.continue_adapter(base, str(output), trainable=False)
    assert probe.distance(model, lineage.read(output)["probe"]) < probe.LIMIT


def test_full_training_saves_a_model_that_loads_alone(tiny_model_dir, sft_file, tmp_path):
    output = tmp_path / "out"
    supervised_finetuning.main(flags(tiny_model_dir, sft_file, output, "--use_peft", "False"))
    manifest = lineage.read(output)
    assert manifest["kind"] == "full" and (output / "model.safetensors").is_file()
    model = models.load_base(str(output))
    assert probe.distance(model, manifest["probe"]) < 1e-4


def test_an_adapter_directory_is_continued_not_replaced(run, sft_file, tmp_path):
    _, first, _ = run
    output = tmp_path / "second"
    supervised_finetuning.main(flags(str(first), sft_file, output, "--learning_rate", "0"))
    assert same(output, first)
    parents = lineage.read(output)["parents"]
    assert [(p["stage"], p["how"]) for p in parents] == [("sft", "continued")]


def test_full_training_of_an_adapter_directory_is_refused(run, sft_file, tmp_path):
    _, first, _ = run
    with pytest.raises(ConfigError, match="is an adapter, which full training would lose; merge it first"):
        supervised_finetuning.main(flags(str(first), sft_file, tmp_path / "out", "--use_peft", "False"))


def test_a_wrong_base_is_refused(run, sft_file, tmp_path, tiny_model_dir):
    _, first, _ = run
    copy = tmp_path / "moved" / "adapter"
    shutil.copytree(first, copy)
    with pytest.raises(lineage.LineageError, match="not the model this adapter was trained on"):
        supervised_finetuning.main(["--peft_path", str(copy), *flags("models/starter", sft_file, tmp_path / "out")])


def test_missing_model_and_missing_template_each_take_one_sentence(tiny_model_dir, sft_file, tmp_path):
    with pytest.raises(ConfigError, match=r"models/nothing: no such directory; check the path, or give a hub name"):
        supervised_finetuning.main(flags("models/nothing", sft_file, tmp_path / "a"))
    argv = flags(tiny_model_dir, sft_file, tmp_path / "b")
    argv = argv[: argv.index("--template_name")] + argv[argv.index("--template_name") + 2 :]
    with pytest.raises(ConfigError, match="no chat template of its own; add --template_name"):
        supervised_finetuning.main(argv)
    with pytest.raises(ConfigError, match=r"template llama3 needs the tokens <\|start_header_id\|>"):
        supervised_finetuning.main([*argv, "--template_name", "llama3"])


@pytest.mark.slow
def test_the_seed_decides_everything(tiny_model_dir, sft_file, tmp_path):
    for name in ("one", "again"):
        supervised_finetuning.main(flags(tiny_model_dir, sft_file, tmp_path / name, "--max_steps", "2"))
    assert same(tmp_path / "one", tmp_path / "again")


def test_an_adapter_finds_its_base_and_a_wrong_one_is_not_overruled(run, sft_file, tmp_path):
    _, first, _ = run
    argv = flags("unused", sft_file, tmp_path / "out", "--peft_path", str(first), "--max_steps", "1")[2:]
    supervised_finetuning.main(argv)
    assert lineage.read(tmp_path / "out")["parents"][0]["how"] == "continued"
    with pytest.raises(lineage.LineageError, match="models/starter is not the model this adapter was trained on"):
        supervised_finetuning.main(["--model_name_or_path", "models/starter", *argv, "--overwrite_output_dir", "True"])
