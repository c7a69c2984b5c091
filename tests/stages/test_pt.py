"""pretraining.py as a user calls it: main([...]) on a tiny model.

sh run_tests.sh tests/stages/test_pt.py
"""

import json
import math
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import build_domain_tokenizer
import merge_peft_adapter
import pretraining
import supervised_finetuning
from bedside import adapters, lineage, models, probe
from bedside.errors import ConfigError, DataError
from tests.stages.files import losses, metrics, same, weights

WORDS = ["胸片", "measure", "temperature"]
LINES = [f"The patient has had a fever for {n} days. 先测体温，再听诊肺部，必要时拍胸片。" for n in range(30)]


def flags(model: str, data: Path, output: Path, *more: str) -> list[str]:
    return [
        "--model_name_or_path", model, "--train_file_dir", str(data), "--output_dir", str(output),
        "--block_size", "64", "--per_device_train_batch_size", "2", "--learning_rate", "1e-2", "--lora_dropout", "0",
        "--gradient_checkpointing", "False", "--logging_steps", "1", "--report_to", "none", "--max_steps", "2",
        "--save_strategy", "no", "--seed", "7", "--plot_loss", "False", *more,
    ]  # fmt: skip


def reloaded(directory: Path):
    """What a later stage loads from an output."""
    resolved = lineage.resolve(str(directory))
    base = models.load_base(resolved.base, quantisation=resolved.quant)
    return adapters.continue_adapter(base, str(directory), trainable=False) if resolved.adapter else base


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """Thirty documents of one line, in UTF-8 and ten more in GB18030."""
    folder = tmp_path_factory.mktemp("corpus") / "documents"
    folder.mkdir()
    (folder / "a.txt").write_text("\n".join(LINES) + "\n", encoding="utf-8")
    (folder / "b.txt").write_bytes(
        "".join(f"患者咳嗽{n}天，建议多喝水，注意休息。\n" for n in range(10)).encode("gb18030")
    )
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_model_dir, corpus):
    """One LoRA run with evaluation and checkpoints."""
    output = tmp_path_factory.mktemp("run") / "out"
    argv = flags(tiny_model_dir, corpus, output, "--max_steps", "6", "--save_strategy", "steps", "--save_steps", "3",
                 "--validation_split_percentage", "10", "--lora_dropout", "0.1")  # fmt: skip
    pretraining.main(argv)
    return argv, output


def test_the_output_is_an_adapter_without_a_template(run, tiny_model_dir):
    _, output = run
    manifest = lineage.read(output)
    assert (manifest["stage"], manifest["kind"], manifest["template"]) == ("pt", "adapter", None)
    assert manifest["load"]["base"]["fp"] == lineage.fingerprint(tiny_model_dir)
    assert [(row["file"], row["rows"], row["used"]) for row in manifest["data"]] == [
        ("a.txt", 30, 30),
        ("b.txt", 10, 10),
    ]
    assert not (output / "chat_template.jinja").exists()
    own = lineage.tokenizer_record(models.load_tokenizer(tiny_model_dir))
    assert lineage.tokenizer_record(models.load_tokenizer(str(output))) == own
    assert lineage.damage(output) is None and lineage.damage(output / "checkpoint-6") is None
    assert json.loads((output / "generation_config.json").read_text())["eos_token_id"] == [0]


def test_held_out_documents_are_compared(run):
    found = metrics(run[1])
    assert found["documents_compared"] == 4
    assert found["document_perplexity_before"] == pytest.approx(400, rel=0.3)  # a random model of 400 tokens
    assert found["document_perplexity_after"] < found["document_perplexity_before"]
    change = found["document_perplexity_after"] / found["document_perplexity_before"] - 1
    assert found["document_perplexity_change"] == pytest.approx(change, abs=1e-4)
    assert found["document_perplexity_change_low"] <= change <= found["document_perplexity_change_high"]
    # The trainer's own evaluation takes the same tokens of the same pieces.
    assert found["eval_perplexity"] == pytest.approx(found["document_perplexity_after"], rel=2e-2)


def test_the_reload_is_the_trained_model(run):
    _, output = run
    assert probe.distance(reloaded(output), lineage.read(output)["probe"]) < 1e-4


def test_resume_is_bitwise_the_uninterrupted_run(run, tmp_path):
    argv, output = run
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    shutil.copytree(output / "checkpoint-3", resumed / "checkpoint-3")
    argv = [str(resumed) if word == str(output) else word for word in argv]
    pretraining.main([*argv, "--resume_from_checkpoint", "True"])
    assert same(resumed, output) and losses(resumed) == losses(output)


@pytest.mark.parametrize(("change", "what"), [("--block_size", "max_length"), ("--txt_documents", "documents")])
def test_resume_refuses_other_pieces(run, change, what):
    argv, _ = run
    value = {"--block_size": "32", "--txt_documents": "blank_line"}[change]
    with pytest.raises(ConfigError, match=f"{what} was .* and is .* now"):
        pretraining.main([*argv, change, value, "--resume_from_checkpoint", "True"])


def test_the_seeds_command_runs_as_it_is_written(tiny_model_dir, corpus, tmp_path, capsys):
    command = f"""
        --model_name_or_path {tiny_model_dir} --train_file_dir {corpus} --validation_file_dir {corpus}
        --per_device_train_batch_size 4 --per_device_eval_batch_size 4 --do_train --do_eval --use_peft True --seed 42
        --max_train_samples 10000 --max_eval_samples 10 --num_train_epochs 0.5 --learning_rate 2e-4
        --warmup_ratio 0.05 --weight_decay 0.01 --logging_strategy steps --logging_steps 10 --eval_steps 50
        --eval_strategy steps --save_steps 500 --save_strategy steps --save_total_limit 13
        --gradient_accumulation_steps 8 --preprocessing_num_workers 10 --block_size 512 --group_by_length True
        --output_dir {tmp_path / "outputs-pt-qwen-v1"} --overwrite_output_dir --ddp_timeout 30000
        --logging_first_step True --target_modules all --lora_rank 8 --lora_alpha 16 --lora_dropout 0.05
        --torch_dtype bfloat16 --bf16 --device_map auto --report_to tensorboard --ddp_find_unused_parameters False
        --gradient_checkpointing True --cache_dir {tmp_path / "cache"}
    """
    pretraining.main(shlex.split(command))
    told = capsys.readouterr().err
    assert "validation files are training files" in told
    assert "held out: 10 documents" in told
    found = metrics(tmp_path / "outputs-pt-qwen-v1")
    assert found["documents_compared"] == 10 and math.isfinite(found["eval_perplexity"])


def test_full_training_saves_a_model_that_loads_alone(tiny_model_dir, corpus, tmp_path):
    output = tmp_path / "out"
    pretraining.main(flags(tiny_model_dir, corpus, output, "--use_peft", "False", "--packing", "False"))
    manifest = lineage.read(output)
    assert manifest["kind"] == "full" and manifest["template"] is None
    assert probe.distance(models.load_base(str(output)), manifest["probe"]) < 1e-4


def test_packed_pieces_lose_exactly_what_single_pieces_lose(tiny_model_dir, corpus, tmp_path):
    found = []
    for packing in ("True", "False"):
        output = tmp_path / packing
        pretraining.main(
            flags(tiny_model_dir, corpus, output, "--packing", packing, "--do_train", "False", "--do_eval", "True",
                  "--validation_file_dir", str(corpus), "--dtype", "float32")
        )  # fmt: skip
        found.append(metrics(output))
    assert found[0]["eval_loss"] == pytest.approx(found[1]["eval_loss"], abs=2e-6)
    assert found[0]["eval_loss"] == pytest.approx(math.log(found[0]["document_perplexity_after"]), abs=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"chosen": "a", "rejected": "b", "prompt": "c"}, "E_SCHEMA .*preference data, expected text"),
        ({"instruction": "a", "output": "b"}, "E_SCHEMA .*for supervised_finetuning.py, expected text"),
        ({"content": "a"}, "E_SCHEMA .*no document, expected text"),
    ],
)
def test_data_of_other_stages_is_refused_before_anything_is_loaded(tiny_model_dir, tmp_path, content, message):
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(content) + "\n")
    with pytest.raises(DataError, match=message):
        pretraining.main(flags(tiny_model_dir, path, tmp_path / "out"))


def test_wrong_flags_and_empty_directories_each_take_one_sentence(tiny_model_dir, corpus, tmp_path):
    with pytest.raises(ConfigError, match="--template_name: documents are trained on as they are"):
        pretraining.main(flags(tiny_model_dir, corpus, tmp_path / "a", "--template_name", "qwen3"))
    with pytest.raises(ConfigError, match="--prepared_dir: unknown flag"):
        pretraining.main(flags(tiny_model_dir, corpus, tmp_path / "a", "--prepared_dir", "x"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="empty: no data file here; expected .*, .txt, found nothing"):
        pretraining.main(flags(tiny_model_dir, tmp_path / "empty", tmp_path / "a"))


def test_pretraining_a_chat_model_is_told(run, tiny_model_dir, corpus, tmp_path, capsys):
    rows = tmp_path / "sft.jsonl"
    rows.write_text('{"instruction": "Fever?", "output": "Rest."}\n' * 4)
    chat = tmp_path / "sft"
    sft = flags(tiny_model_dir, rows, chat, "--template_name", "qwen3", "--max_length", "64", "--data_report", "False")
    supervised_finetuning.main(
        [word for index, word in enumerate(sft) if "--block_size" not in sft[max(0, index - 1) : index + 1]]
    )
    capsys.readouterr()
    pretraining.main(flags(str(chat), corpus, tmp_path / "out", "--max_steps", "1"))
    assert "has been through sft: pretraining on documents makes it forget" in capsys.readouterr().err
    assert [(p["stage"], p["how"]) for p in lineage.read(tmp_path / "out")["parents"]] == [("sft", "continued")]


# --- extended vocabularies -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["tied", "untied"])
def extended(request, tmp_path_factory, tiny_model_dir):
    """`(base, tokenizer that learnt words, model and tokenizer that did)`; embeddings tied or not."""
    root = tmp_path_factory.mktemp(request.param)
    base = Path(tiny_model_dir)
    if request.param == "untied":
        from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

        torch.manual_seed(1)
        config = AutoConfig.from_pretrained(tiny_model_dir, tie_word_embeddings=False)
        base = root / "base"
        AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(base)
        AutoTokenizer.from_pretrained(tiny_model_dir).save_pretrained(base)
    (root / "words.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    shared = ["--domain_file_path", str(root / "words.txt"), "--text_file", str(root / "words.txt"), "--output_dir"]
    build_domain_tokenizer.main(["--base_tokenizer_path", str(base), *shared, str(root / "tokenizer")])
    build_domain_tokenizer.main(["--model_name_or_path", str(base), *shared, str(root / "model")])
    return base, root / "tokenizer", root / "model"


def new_ids(directory: Path) -> list[int]:
    words = json.loads((directory / "vocabulary.json").read_text(encoding="utf-8"))["words"]
    return sorted(number for name in ("words", "steps") for _, number, _ in words[name])


def merged_of(adapter: Path) -> Path:
    output = adapter.with_name(adapter.name + "-merged")
    assert (
        merge_peft_adapter.main(["--peft_model_path", str(adapter), "--output_dir", str(output), "--dtype", "fp32"])
        == 0
    )
    return output


def logits(model, ids: list[int]) -> torch.Tensor:
    with torch.no_grad():
        return model.float().eval()(input_ids=torch.tensor([ids])).logits


def check_chain(output: Path, base: Path, ids: list[int], rows: int) -> None:
    """New rows moved and are in the adapter; merged and read back, the logits are those of the adapter on its base."""
    saved = weights(output)
    places = {name.split(".trainable_tokens")[0].rsplit(".token_adapter", 1)[0].rsplit(".", 1)[-1]: tensor
              for name, tensor in saved.items() if "trainable_tokens" in name}  # fmt: skip
    tied = json.loads((base / "config.json").read_text())["tie_word_embeddings"]
    assert {"embed_tokens"} <= places.keys() if tied else places.keys() == {"embed_tokens", "lm_head"}
    assert not tied or all(torch.equal(tensor, places["embed_tokens"]) for tensor in places.values())
    assert all(tensor.shape == (len(ids), 64) and tensor.dtype == torch.float32 for tensor in places.values())
    manifest = lineage.read(output)
    assert manifest["load"]["vllm"] == "merge_only"
    on_base = reloaded(output)
    assert probe.distance(on_base, manifest["probe"]) < 1e-3
    text = ids[:4] + [11, 40, 77] + ids[-4:]
    wanted = logits(on_base, text)
    merged = models.load_base(str(merged_of(output)))
    assert merged.get_input_embeddings().weight.shape[0] == rows
    assert (logits(merged, text) - wanted).abs().max() < 1e-4
    assert models.load_tokenizer(str(output.with_name(output.name + "-merged")))("胸片", add_special_tokens=False)[
        "input_ids"] == models.load_tokenizer(str(output))("胸片", add_special_tokens=False)["input_ids"]  # fmt: skip


def test_an_extended_model_trains_and_keeps_its_new_rows(extended, corpus, tmp_path):
    _, _, model = extended
    output = tmp_path / "out"
    pretraining.main(flags(str(model), corpus, output))
    rows = models.load_base(str(model)).get_input_embeddings().weight.shape[0]
    check_chain(output, model, new_ids(model), rows)
    assert lineage.read(output)["load"]["rows"] is None  # the base has them
    before = load_file(model / "model.safetensors")["model.embed_tokens.weight"].float()
    after = load_file(tmp_path / "out-merged" / "model.safetensors")["model.embed_tokens.weight"]
    used = models.load_tokenizer(str(model))("胸片", add_special_tokens=False)["input_ids"]
    assert len(used) == 1 and not torch.equal(after[used], before[used])
    old = [number for number in range(400) if number not in new_ids(model)]
    assert torch.equal(after[old], before[old])


def test_an_extended_tokenizer_gives_the_base_its_rows(extended, corpus, tmp_path, capsys):
    base, tokenizer, model = extended
    output = tmp_path / "out"
    pretraining.main(flags(str(base), corpus, output, "--tokenizer_name_or_path", str(tokenizer)))
    ids = new_ids(model)
    assert f"rows 400 -> {ids[-1] + 1}" in capsys.readouterr().err
    assert lineage.read(output)["load"]["rows"] == ids[-1] + 1
    check_chain(output, base, ids, ids[-1] + 1)
    # The next stage goes on with the adapter, rows included.
    pretraining.main(flags(str(output), corpus, tmp_path / "again", "--learning_rate", "0"))
    assert same(tmp_path / "again", output)
    assert lineage.read(tmp_path / "again")["load"]["rows"] == ids[-1] + 1
    assert lineage.read(tmp_path / "again")["load"]["vllm"] == "merge_only"


def test_full_training_with_an_extended_tokenizer(extended, corpus, tmp_path):
    base, tokenizer, model = extended
    output = tmp_path / "out"
    pretraining.main(
        flags(str(base), corpus, output, "--tokenizer_name_or_path", str(tokenizer), "--use_peft", "False")
    )
    ids = new_ids(model)
    trained = models.load_base(str(output))
    assert trained.get_input_embeddings().weight.shape[0] == -(-(ids[-1] + 1) // 8) * 8
    assert probe.distance(trained, lineage.read(output)["probe"]) < 1e-4


def test_whole_embeddings_may_be_trained_instead(extended, corpus, tmp_path):
    base, tokenizer, model = extended
    output = tmp_path / "out"
    pretraining.main(
        flags(str(base), corpus, output, "--tokenizer_name_or_path", str(tokenizer), "--lora_modules_to_save",
              "embed_tokens,lm_head")
    )  # fmt: skip
    saved = weights(output)
    assert not any("trainable_tokens" in name for name in saved)
    assert saved["base_model.model.model.embed_tokens.weight"].shape == (new_ids(model)[-1] + 1, 64)
    merged_of(output)


@pytest.mark.parametrize("quant", [["--qlora", "True"], ["--bf16", "True", "--gradient_checkpointing", "True"]])
def test_new_rows_stay_exact_in_low_precision_and_over_a_resume(extended, corpus, tmp_path, quant):
    base, tokenizer, _ = extended
    output = tmp_path / "out"
    argv = flags(str(base), corpus, output, "--tokenizer_name_or_path", str(tokenizer), *quant, "--max_steps", "4",
                 "--save_strategy", "steps", "--save_steps", "2")  # fmt: skip
    pretraining.main(argv)
    assert {t.dtype for n, t in weights(output).items() if "lora_" in n or "trainable" in n} == {torch.float32}
    assert probe.distance(reloaded(output), lineage.read(output)["probe"]) < probe.LIMIT
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    shutil.copytree(output / "checkpoint-2", resumed / "checkpoint-2")
    pretraining.main([*[str(resumed) if w == str(output) else w for w in argv], "--resume_from_checkpoint", "True"])
    assert same(resumed, output) and losses(resumed) == losses(output)


def test_another_models_tokenizer_is_refused(run, extended, tiny_model_dir, corpus, tmp_path):
    _, tokenizer, _ = extended
    with pytest.raises(ConfigError, match="--tokenizer_name_or_path models/starter: .* tokens of .* have another id"):
        pretraining.main(flags(tiny_model_dir, corpus, tmp_path / "a", "--tokenizer_name_or_path", "models/starter"))
    with pytest.raises(ConfigError, match="has .* tokens that the adapter .* was trained without; merge it first"):
        pretraining.main(flags(str(run[1]), corpus, tmp_path / "b", "--tokenizer_name_or_path", str(tokenizer)))
