"""merge_peft_adapter.py: what it writes is the adapter on its base, or nothing is written and the reason is given."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import merge_peft_adapter
from bedside import lineage, merge, merge_check, merge_source, models, policy, probe
from bedside.errors import ConfigError, LineageError

ROOT = Path(__file__).resolve().parents[2]
STARTER = ROOT / "models" / "starter"
NF4 = {"bits": 4, "type": "nf4", "double": True}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    """A random two-layer Qwen3 in bfloat16 with the starter's tokenizer."""
    directory = tmp_path_factory.mktemp("base") / "tiny"
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=5000, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, head_dim=32, tie_word_embeddings=True, eos_token_id=0, pad_token_id=3, dtype="bfloat16",
    )  # fmt: skip
    model = Qwen3ForCausalLM(config)
    model.model.embed_tokens.weight.data *= 5  # so that its predictions are not all alike
    model.to(torch.bfloat16).save_pretrained(directory)
    AutoTokenizer.from_pretrained(STARTER).save_pretrained(directory)
    return directory


def make_adapter(base: Path, directory: Path, quant=None, sealed=True, rows=None, scale=0.05, **lora) -> Path:
    """An adapter with random weights on `base`, sealed with the lineage that a training stage would write."""
    torch.manual_seed(1)
    model = models.load_base(
        str(base), quantisation=quant, num_labels=1 if lora.get("task_type") == "SEQ_CLS" else None
    )
    tokenizer = models.load_tokenizer(str(base))
    template = models.install_template(tokenizer, "qwen3")
    if rows:
        model.resize_token_embeddings(rows, mean_resizing=False)
    lora = {"r": 4, "lora_alpha": 8, "target_modules": "all-linear", "task_type": "CAUSAL_LM"} | lora
    model = get_peft_model(model, LoraConfig(**lora))
    for name, parameter in model.named_parameters():
        if "lora_B" in name or "lora_embedding_B" in name:
            parameter.data += torch.randn_like(parameter) * scale
        elif "modules_to_save" in name or "trainable_tokens_delta" in name:
            parameter.data += torch.randn_like(parameter) * 0.1
        elif "magnitude" in name:
            parameter.data *= 1.1
    model.save_pretrained(directory, save_embedding_layers=bool(rows) or "auto")
    tokenizer.save_pretrained(directory)
    if sealed:
        stops = models.stop_ids(tokenizer, template, 0)
        load = {"task": lora["task_type"], "num_labels": None, "quant": models.quantisation_of(model), "rows": rows}
        load["base"] = lineage.base_record(directory, str(base), None, None)
        causal = lora["task_type"] == "CAUSAL_LM"
        lineage.write(
            directory, "sft", "adapter", load, tokenizer=tokenizer,
            template={"name": "qwen3", "thinking": "hybrid", "stops": stops},
            **({"probe": probe.record(model, tokenizer)} if causal else {}),
        )  # fmt: skip
    return directory


def run(*flags: object) -> int:
    return merge_peft_adapter.main([str(flag) for flag in flags])


def merged_from(adapter: Path, *flags: object) -> Path:
    output = adapter.with_name(adapter.name + "-merged")
    assert run("--peft_model_path", adapter, "--output_dir", output, *flags) == 0
    return output


def leftovers(directory: Path) -> list[str]:
    return sorted(p.name for p in directory.iterdir() if "merged" in p.name)


IDS = torch.tensor([[11, 402, 77, 1033, 2044, 5, 910, 64, 333, 1200]])


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return model.float().eval()(input_ids=IDS).logits


def on_base(base: Path, adapter: Path) -> torch.Tensor:
    """The adapter on its base, computed in float32."""
    return logits(PeftModel.from_pretrained(models.load_base(str(base), "float32"), str(adapter)))


# --- exactness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"use_dora": True},
        {"use_rslora": True},
        {"init_lora_weights": "pissa"},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"trainable_token_indices": [1, 2]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["v_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "v_proj"], "rank_pattern": {"v_proj": 2}},
    ],
    ids=lambda lora: "-".join(f"{key}={value}" for key, value in lora.items()) or "lora",
)
def test_float32_merge_is_the_adapter_on_its_base(base, tmp_path, lora):
    adapter = make_adapter(base, tmp_path / "adapter", **lora)
    output = merged_from(adapter, "--dtype", "fp32")
    merged = logits(AutoModelForCausalLM.from_pretrained(output))
    wanted = on_base(base, adapter)
    effect = (wanted - logits(models.load_base(str(base), "float32"))).abs().max()
    # PiSSA's base is stored rounded to bfloat16 in training, as it is merged here; a float32 base is not rounded.
    limit = 0.02 if "init_lora_weights" in lora else 1e-4
    assert effect > 0.1
    assert (merged - wanted).abs().max() < limit * effect


def test_merge_keeps_the_bases_precision_and_says_what_it_did(base, tmp_path, caplog):
    adapter = make_adapter(base, tmp_path / "adapter")
    output = merged_from(adapter)
    weights = load_file(output / "model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.bfloat16}
    assert json.loads((output / "config.json").read_text())["dtype"] == "bfloat16"
    written = lineage.read(output)
    assert written["stage"] == "merge" and written["kind"] == "merged" and written["load"]["quant"] is None
    assert written["parents"] == [
        {"id": lineage.identity(adapter), "stage": "sft", "path": "../adapter", "how": "merged"}
    ]
    section = written["merge"]
    assert (section["mode"], section["dtype"], section["trained_quant"]) == ("original", "bfloat16", "none")
    assert (
        section["kl"] < 1e-4
        and section["ratio"] < 0.01
        and section["effect_kl"] > 1e-3
        and section["shift_kl"] is None
    )
    model = models.load_base(str(output))
    assert probe.distance(model, written["probe"]) < 1e-5
    assert "| merge error |" in (output / "README.md").read_text()
    assert lineage.damage(output) is None
    assert leftovers(tmp_path) == ["adapter-merged"]


@pytest.mark.parametrize("dtype,kind", [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_other_precisions_and_shards(base, tmp_path, dtype, kind):
    adapter = make_adapter(base, tmp_path / "adapter")
    output = merged_from(adapter, "--dtype", dtype, "--max_shard_size", "300KB")
    shards = sorted(output.glob("model-*.safetensors"))
    assert len(shards) > 1 and (output / "model.safetensors.index.json").is_file()
    assert load_file(shards[0])[next(iter(load_file(shards[0])))].dtype == kind
    assert (logits(AutoModelForCausalLM.from_pretrained(output)) - on_base(base, adapter)).abs().max() < 0.1


def test_nf4_mode_reproduces_training_where_original_weights_do_not(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", quant=NF4)
    trained = PeftModel.from_pretrained(models.load_base(str(base), quantisation=NF4), str(adapter))
    with torch.no_grad():
        wanted = trained.eval()(input_ids=IDS).logits.float()
    distance, sections = {}, {}
    for mode in ("auto", "nf4"):
        output = tmp_path / f"merged-{mode}"
        assert run("--peft_model_path", adapter, "--output_dir", output, "--mode", mode) == 0
        with torch.no_grad():
            found = AutoModelForCausalLM.from_pretrained(output, dtype="bfloat16").eval()(input_ids=IDS).logits.float()
        distance[mode] = (found.log_softmax(-1) - wanted.log_softmax(-1)).abs().mean()
        sections[mode] = lineage.read(output)["merge"]
    assert distance["nf4"] < distance["auto"] / 4
    assert sections["auto"]["mode"] == "original" and sections["nf4"]["mode"] == "nf4"
    assert sections["nf4"]["shift_kl"] < sections["auto"]["shift_kl"] / 10
    for section in sections.values():  # merging itself is equally good in both
        assert section["kl"] < 1e-4 and section["trained_quant"] == "nf4"


def test_next_qlora_stage_refuses_an_nf4_merge_and_takes_an_original_one(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", quant=NF4)
    for mode in ("nf4", "original"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / mode, "--mode", mode, "--verify", 0)
    with pytest.raises(ConfigError, match="merged with --mode nf4; quantising it again loses the adapter"):
        policy.check_quantisation(policy.origin_of(str(tmp_path / "nf4"), None, True), NF4)
    policy.check_quantisation(policy.origin_of(str(tmp_path / "nf4"), None, True), None)
    policy.check_quantisation(policy.origin_of(str(tmp_path / "original"), None, True), NF4)


def test_eight_bit_adapter_merges_into_the_original(base, tmp_path, capsys):
    adapter = make_adapter(base, tmp_path / "adapter", quant={"bits": 8})
    output = merged_from(adapter)
    assert "precision shift int8->bf16 KL" in capsys.readouterr().err
    assert lineage.read(output)["merge"]["trained_quant"] == "int8"


def test_report_is_two_parts_on_one_line(base, tmp_path, capsys):
    adapter = make_adapter(base, tmp_path / "adapter", quant=NF4)
    merged_from(adapter)
    error = capsys.readouterr().err
    assert "trained on nf4, merging into the original weights; --mode nf4 is closer for bf16 serving" in error
    line = next(line for line in error.splitlines() if line.startswith("merge error KL"))
    assert (
        "% of adapter effect) OK; precision shift nf4->bf16 KL" in line and "(base alone" in line and ", NLL" in line
    )
    assert "probe of training: 0.0000 nats off with the adapter" in error
    assert error.splitlines()[-1].endswith(f"python inference.py --base_model {tmp_path}/adapter-merged --interactive")


def test_checkpoint_directory_merges(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "run" / "checkpoint-3", sealed=False)
    tokenizer = models.load_tokenizer(str(adapter))
    load = {"task": "CAUSAL_LM", "quant": None, "rows": None}
    load["base"] = lineage.base_record(adapter, str(base), None, None)
    lineage.write(adapter, "sft", "checkpoint", load, tokenizer=tokenizer, template={"name": "qwen3", "stops": [2, 0]})
    output = merged_from(adapter)
    assert lineage.read(output)["template"]["stops"] == [2, 0]


def test_reward_model_keeps_its_head(base, tmp_path, capsys):
    adapter = make_adapter(base, tmp_path / "adapter", task_type="SEQ_CLS", target_modules=["q_proj", "v_proj"])
    output = merged_from(adapter)
    merged = AutoModelForSequenceClassification.from_pretrained(output)
    assert merged.num_labels == 1 and merged.config.pad_token_id == 3
    loaded = models.load_base(str(base), num_labels=1)
    wanted = logits(PeftModel.from_pretrained(loaded, str(adapter)))
    assert (logits(merged) - wanted).abs().max() < 0.01
    head = load_file(adapter / "adapter_model.safetensors")["base_model.model.score.weight"]
    assert torch.equal(
        load_file(output / "model.safetensors")["score.weight"].float(), head.to(torch.bfloat16).float()
    )
    assert lineage.read(output)["load"]["num_labels"] == 1
    error = capsys.readouterr().err
    assert "merge error |score|" in error and "inference.py" not in error


def test_reward_model_without_its_head_is_refused(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", sealed=False, task_type="SEQ_CLS", target_modules=["q_proj"])
    file = adapter / "adapter_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if "score" not in name}, file)
    with pytest.raises(LineageError, match="a reward model without its head"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "out")


# --- vocabulary, tokenizer, stops ------------------------------------------------------------------------------------


def test_added_vocabulary_rows_survive_and_none_are_removed(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", rows=5010)
    merged = AutoModelForCausalLM.from_pretrained(merged_from(adapter))
    saved = load_file(adapter / "adapter_model.safetensors")["base_model.model.model.embed_tokens.weight"]
    assert merged.config.vocab_size == 5010 and merged.config.tie_word_embeddings
    assert torch.equal(merged.model.embed_tokens.weight.float(), saved.float())


def test_adapter_whose_rows_were_removed_is_refused(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", rows=4900, sealed=False)
    with pytest.raises(LineageError, match="its vocabulary has 4900 rows, the base 5000"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "out")


def test_tokens_without_rows_are_refused(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", sealed=False)
    tokenizer = AutoTokenizer.from_pretrained(adapter)
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(adapter)
    with pytest.raises(LineageError, match="its tokenizer reaches id 5000, but base and adapter hold 5000 rows"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "out")


def test_tokenizer_and_template_are_the_adapters_byte_for_byte(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    output = merged_from(adapter)
    for name in TOKENIZER_FILES:
        assert (output / name).read_bytes() == (adapter / name).read_bytes()
    config = json.loads((output / "config.json").read_text())
    assert (config["eos_token_id"], config["pad_token_id"]) == (2, 3)
    stops = json.loads((output / "generation_config.json").read_text())
    assert (stops["eos_token_id"], stops["pad_token_id"]) == ([2, 0], 3)
    assert not {"temperature", "top_p", "top_k", "do_sample"} & set(stops)
    lineage.check_tokenizer(lineage.read(adapter), models.load_tokenizer(str(output)), "merged")


@pytest.mark.parametrize("stop", [2, 0])
def test_generation_stops_at_every_stop_id(base, tmp_path, stop):
    adapter = make_adapter(base, tmp_path / "adapter")
    model = AutoModelForCausalLM.from_pretrained(merged_from(adapter))

    def third_is_stop(ids, scores):
        if ids.shape[1] == IDS.shape[1] + 2:
            scores[:, stop] = 1e4
        return scores

    output = model.generate(
        IDS, attention_mask=torch.ones_like(IDS), max_new_tokens=20, logits_processor=[third_is_stop]
    )
    assert output.shape[1] == IDS.shape[1] + 3 and output[0, -1] == stop


def test_merged_text_is_the_adapters_text(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", scale=0.2)
    with_adapter = PeftModel.from_pretrained(models.load_base(str(base), "float32"), str(adapter)).eval()
    merged = AutoModelForCausalLM.from_pretrained(merged_from(adapter, "--dtype", "fp32")).eval()
    greedy = {"attention_mask": torch.ones_like(IDS), "max_new_tokens": 24, "do_sample": False}
    assert merged.generate(IDS, **greedy).tolist() == with_adapter.generate(input_ids=IDS, **greedy).tolist()


# --- what must not happen --------------------------------------------------------------------------------------------


def test_an_adapter_cannot_be_applied_twice(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    output = merged_from(adapter)
    with pytest.raises(LineageError, match="is not the model this adapter was trained on .*give the right one"):
        run("--base_model", output, "--lora_model", adapter, "--output_dir", tmp_path / "twice")
    (adapter / "lineage.json").unlink()  # even as a foreign adapter
    with pytest.raises(LineageError, match="already holds .*; merging it again would apply it twice"):
        run("--base_model", output, "--lora_model", adapter, "--output_dir", tmp_path / "twice")
    with pytest.raises(ConfigError, match="a full model, nothing to merge"):
        run("--peft_model_path", output, "--output_dir", tmp_path / "twice")
    assert not (tmp_path / "twice").exists()


def test_swapped_base_is_refused(base, tmp_path):
    mine = shutil.copytree(base, tmp_path / "base")
    adapter = make_adapter(mine, tmp_path / "adapter")
    weights = load_file(mine / "model.safetensors")
    save_file({name: tensor * 1.01 for name, tensor in weights.items()}, mine / "model.safetensors", {"format": "pt"})
    with pytest.raises(LineageError, match="is not the model this adapter was trained on"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged")
    assert leftovers(tmp_path) == []


def test_base_edited_in_one_small_place_is_told_by_the_probe(base, tmp_path, capsys):
    mine = shutil.copytree(base, tmp_path / "base")
    adapter = make_adapter(mine, tmp_path / "adapter")
    weights = load_file(mine / "model.safetensors")
    weights["model.norm.weight"] += 0.5
    save_file(weights, mine / "model.safetensors", metadata={"format": "pt"})
    kept = lineage.read(adapter)
    kept["load"]["base"]["fp"] = lineage.fingerprint(mine)  # a fingerprint samples: it may miss a few bytes
    (adapter / "lineage.json").write_text(json.dumps(kept))
    assert run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged") == 1
    assert "FAILED: this is not the model that training left" in capsys.readouterr().err
    assert leftovers(tmp_path) == []


def test_missing_base_is_named_and_can_be_given(base, tmp_path):
    mine = shutil.copytree(base, tmp_path / "base")
    adapter = make_adapter(mine, tmp_path / "adapter")
    mine.rename(tmp_path / "elsewhere")
    with pytest.raises(LineageError, match="its base model ../base is not there; give it with --base_model"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged")
    flags = ("--peft_model_path", adapter, "--output_dir", tmp_path / "merged")
    assert run(*flags, "--base_model_name_or_path", tmp_path / "elsewhere") == 0


def test_one_flipped_bit_in_the_adapter_is_refused(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    file = adapter / "adapter_model.safetensors"
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)
    with pytest.raises(LineageError, match="its weights are not those that lineage.json describes"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged")


def test_edited_template_is_refused(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    file = adapter / "chat_template.jinja"
    file.write_text(file.read_text() + "\n")
    with pytest.raises(LineageError, match="chat template differs .* restore the tokenizer files"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged")


def test_existing_output_is_kept_unless_told(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    output = merged_from(adapter, "--verify", 0)
    before = lineage.read(output)
    flags = ("--peft_model_path", adapter, "--output_dir", output, "--verify", 0)
    with pytest.raises(ConfigError, match="holds a merged model; add --overwrite_output_dir True to replace it"):
        run(*flags)
    assert lineage.read(output) == before
    assert run(*flags, "--overwrite_output_dir", "--dtype", "fp32") == 0
    assert lineage.read(output)["merge"]["dtype"] == "float32"
    other = tmp_path / "merged-photos"
    other.mkdir()
    (other / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(ConfigError, match="not empty; choose another directory"):
        run("--peft_model_path", adapter, "--output_dir", other, "--overwrite_output_dir")
    assert [p.name for p in other.iterdir()] == ["holiday.jpg"]
    assert leftovers(tmp_path) == ["adapter-merged", "merged-photos"]


@pytest.mark.parametrize("where", ["nothing", "file", "empty"])
def test_what_is_not_an_adapter_is_named(tmp_path, where):
    path = tmp_path / where
    if where == "file":
        path.write_text("x")
    elif where == "empty":
        path.mkdir()
        (path / "notes.txt").write_text("x")
    message = "not an adapter: no adapter_config.json .it holds notes.txt" if where == "empty" else "no such directory"
    with pytest.raises(ConfigError, match=message):
        run("--peft_model_path", path, "--output_dir", tmp_path / "merged")


def test_adapter_for_another_architecture_is_refused(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", sealed=False)
    with pytest.raises(LineageError, match="does not fit the base"):
        run("--base_model", STARTER, "--lora_model", adapter, "--output_dir", tmp_path / "merged")
    assert leftovers(tmp_path) == []


def test_all_wrong_flags_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        run("--verify", 3, "--max_shard_size", "big", "--hf_hub_model_id", "a/b", "--max_error_ratio", 7)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "no adapter",
        "no place for the result",
        "--hf_hub_model_id",
        "--verify 3",
        "--max_error_ratio 7.0",
        "--max_shard_size BIG",
    ]


def test_place_that_cannot_be_written(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError, match="cannot be written .*; choose another directory"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "file" / "merged")
    with pytest.raises(ConfigError, match="a file; expected a directory"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "file")
    with pytest.raises(ConfigError, match="is the adapter or the base itself"):
        run("--peft_model_path", adapter, "--output_dir", adapter, "--overwrite_output_dir")


def test_full_disk_is_found_before_the_work(base, tmp_path, monkeypatch):
    adapter = make_adapter(base, tmp_path / "adapter")
    monkeypatch.setattr(merge.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(ConfigError, match="the merged model needs .* GB, 0.0 GB are free there"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged")
    assert leftovers(tmp_path) == []


def test_wrong_merge_fails_with_status_1_and_leaves_nothing(base, tmp_path, monkeypatch, capsys):
    adapter = make_adapter(base, tmp_path / "adapter")
    fold = merge.fold

    def twice(model, dtype):
        source = merge_source.source_of(str(adapter), None, None, None)
        return fold(merge.attach(source, fold(model, dtype)), dtype)

    monkeypatch.setattr(merge, "fold", twice)
    assert run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged") == 1
    error = capsys.readouterr().err
    assert "of adapter effect) FAILED (limit 10%)" in error and "was not written" in error
    assert leftovers(tmp_path) == []


def test_adapter_that_training_did_not_leave_fails_with_status_1(base, tmp_path, capsys):
    adapter = make_adapter(base, tmp_path / "adapter")
    kept = json.loads((adapter / "lineage.json").read_text())
    tokenizer = models.load_tokenizer(str(base))
    kept["probe"] = probe.record(models.load_base(str(base)), tokenizer)  # as if the adapter had been lost
    (adapter / "lineage.json").write_text(json.dumps(kept))
    assert run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged") == 1
    assert "FAILED: this is not the model that training left" in capsys.readouterr().err
    assert leftovers(tmp_path) == []


def test_interrupted_merge_leaves_nothing(base, tmp_path, monkeypatch):
    adapter = make_adapter(base, tmp_path / "adapter")
    monkeypatch.setattr(merge, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "merged")
    assert leftovers(tmp_path) == []


# --- foreign adapters ------------------------------------------------------------------------------------------------


def test_foreign_adapter_merges_with_a_note_and_is_never_guessed_at(base, tmp_path, capsys):
    adapter = make_adapter(base, tmp_path / "adapter", sealed=False, quant=NF4)
    output = merged_from(adapter)
    error = capsys.readouterr().err
    assert "no lineage.json: base taken from adapter_config.json, training precision unknown" in error
    assert "precision shift" not in error
    written = lineage.read(output)
    assert written["merge"]["trained_quant"] is None
    assert written["parents"][0]["id"] == lineage.identity(adapter)
    assert written["template"]["name"] == "qwen3" and written["template"]["stops"] == [2, 0]
    with pytest.raises(ConfigError, match="add --trained_quant nf4 if it was NF4 with double quantisation"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "nf4", "--mode", "nf4")
    flags = ("--peft_model_path", adapter, "--output_dir", tmp_path / "nf4")
    assert run(*flags, "--mode", "nf4", "--trained_quant", "nf4") == 0
    assert lineage.read(tmp_path / "nf4")["merge"]["trained_quant"] == "nf4"


def test_nf4_mode_needs_nf4_in_training(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    flags = ("--peft_model_path", adapter, "--output_dir", tmp_path / "merged")
    with pytest.raises(ConfigError, match="trained on an unquantised base, not on NF4; use --mode original"):
        run(*flags, "--mode", "nf4")
    with pytest.raises(ConfigError, match="--trained_quant nf4: lineage.json says none; drop the flag"):
        run(*flags, "--trained_quant", "nf4")


def test_hub_base_is_taken_from_the_cache(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", sealed=False)
    cache = tmp_path / "cache" / "models--someone--tiny"
    shutil.copytree(base, cache / "snapshots" / ("a" * 40))
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("a" * 40)
    flags = ("--base_model", "someone/tiny", "--lora_model", adapter, "--output_dir", tmp_path / "merged")
    assert run(*flags, "--cache_dir", tmp_path / "cache") == 0
    with pytest.raises(ConfigError, match="someone/tiny: cannot be loaded"):
        run(*flags[:-1], tmp_path / "again", "--cache_dir", tmp_path / "empty")


def test_other_tokenizer_is_refused_and_its_own_accepted(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    flags = ("--peft_model_path", adapter, "--output_dir", tmp_path / "merged", "--verify", 0)
    with pytest.raises(ConfigError, match="--tokenizer_path .*: differs from the one the adapter was trained with"):
        run(*flags, "--tokenizer_path", base)
    assert run(*flags, "--tokenizer_path", adapter, "--resize_emb", "True") == 0


# --- arithmetic of the proof -----------------------------------------------------------------------------------------


def test_divergence_and_gate_by_hand():
    first, second = torch.tensor([[0.5, 0.5]]).log(), torch.tensor([[0.25, 0.75]]).log()
    # 0.5 ln(0.5 / 0.25) + 0.5 ln(0.5 / 0.75)
    assert merge_check.difference(first, second, "CAUSAL_LM") == pytest.approx(0.1438410, abs=1e-6)
    assert merge_check.difference(torch.tensor([[1.0], [3.0]]), torch.tensor([[1.5], [3.0]]), "SEQ_CLS") == 0.25

    def passes(error, effect):
        return merge_check.Report("CAUSAL_LM", error, effect, 3e-5, 0.1, None, None).passed

    assert passes(2e-5, 1e-6) and passes(1e-3, 2e-2)
    weak = merge_check.Report("CAUSAL_LM", 2e-5, 4e-5, 3e-5, 0.1, None, None)
    assert weak.line() == "merge error KL 2.0e-05 (50.0% of adapter effect) OK, within rounding"
    assert not passes(4e-5, 1e-4) and not passes(float("nan"), 1.0)


def test_float32_arithmetic_changes_nothing_for_good(base):
    model = models.load_base(str(base))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    exact = merge_check.exact_outputs(model, IDS[0].tolist(), "CAUSAL_LM")
    wanted = merge_check.outputs(models.load_base(str(base), "float32"), IDS[0].tolist(), "CAUSAL_LM")
    assert torch.equal(exact, wanted)
    after = model.state_dict()
    assert all(after[name].dtype == torch.bfloat16 and torch.equal(after[name], before[name]) for name in before)


# --- as a user -------------------------------------------------------------------------------------------------------


def test_seed_command_as_written(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    adapter = make_adapter(Path("models/starter"), tmp_path / "outputs-sft")
    flags = ("--base_model_name_or_path", "models/starter", "--peft_model_path", adapter)
    assert run(*flags, "--output_dir", tmp_path / "merged") == 0
    written = lineage.read(tmp_path / "merged")
    assert [parent["how"] for parent in written["parents"]] == ["merged"]
    assert written["merge"]["ratio"] < 0.05


def test_mistakes_end_with_status_2_and_a_sentence(tmp_path):
    command = [
        sys.executable,
        "merge_peft_adapter.py",
        "--peft_model_path",
        str(tmp_path / "gone"),
        "--output_dir",
        "x",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: --peft_model_path") and "Traceback" not in done.stderr
    assert not (ROOT / "x").exists() and not (ROOT / "x.tmp").exists()
