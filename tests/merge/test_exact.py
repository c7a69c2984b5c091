"""A merged model is the adapter on its base, to the precision it is stored in; tokenizer and stops come along."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from bedside import lineage, merge_check, models, policy, probe, reward_model
from bedside.errors import ConfigError, LineageError
from tests.merge.toys import (
    IDS,
    NF4,
    TOKENIZER_FILES,
    leftovers,
    logits,
    make_adapter,
    merged_from,
    on_base,
    run,
)


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"use_dora": True},
        {"use_rslora": True},
        {"init_lora_weights": "pissa"},
        {"init_lora_weights": "olora", "use_rslora": True},
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


@pytest.mark.parametrize(
    "lora",
    [
        {},
        {"use_dora": True, "init_lora_weights": "pissa"},
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens", "lm_head"], "use_rslora": True},
        {"trainable_token_indices": {"embed_tokens": [1, 2], "lm_head": [1, 2]}},
        {"target_modules": ["v_proj", "embed_tokens", "lm_head"]},
    ],
    ids=lambda lora: "-".join(lora) or "lora",
)
def test_float32_merge_with_a_head_of_its_own(untied, tmp_path, lora):
    adapter = make_adapter(untied, tmp_path / "adapter", **lora)
    merged = AutoModelForCausalLM.from_pretrained(merged_from(adapter, "--dtype", "fp32"))
    wanted = on_base(untied, adapter)
    effect = (wanted - logits(models.load_base(str(untied), "float32"))).abs().max()
    assert not merged.config.tie_word_embeddings and effect > 0.1
    assert (logits(merged) - wanted).abs().max() < (0.02 if "init_lora_weights" in lora else 1e-4) * effect


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
    assert torch.equal(load_file(output / "model.safetensors")["score.weight"], head)  # float32, to the bit
    assert lineage.read(output)["load"]["num_labels"] == 1
    error = capsys.readouterr().err
    assert "merge error |score|" in error and "inference.py" not in error
    assert "probe of training: 0.0000 points off with the adapter" in error
    kept = lineage.read(output)["probe"]
    assert len(kept["scores"]) == 8 and "logprobs" not in kept
    again = reward_model.exact_head(models.load_base(str(output), num_labels=1), str(output))
    assert probe.distance(again, kept) < 1e-4


def test_reward_model_without_its_head_is_refused(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", sealed=False, task_type="SEQ_CLS", target_modules=["q_proj"])
    file = adapter / "adapter_model.safetensors"
    save_file({name: tensor for name, tensor in load_file(file).items() if "score" not in name}, file)
    with pytest.raises(LineageError, match="a reward model without its head"):
        run("--peft_model_path", adapter, "--output_dir", tmp_path / "out")


def test_added_vocabulary_rows_survive_and_none_are_removed(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter", rows=5010)
    merged = AutoModelForCausalLM.from_pretrained(merged_from(adapter))
    saved = load_file(adapter / "adapter_model.safetensors")["base_model.model.model.embed_tokens.weight"]
    assert merged.config.vocab_size == 5010 and merged.config.tie_word_embeddings
    assert torch.equal(merged.model.embed_tokens.weight.float(), saved.float())


def test_added_rows_survive_beside_a_head_of_its_own(untied, tmp_path):
    adapter = make_adapter(untied, tmp_path / "adapter", rows=5010)
    merged = AutoModelForCausalLM.from_pretrained(merged_from(adapter))
    saved = load_file(adapter / "adapter_model.safetensors")
    for name in ("model.embed_tokens", "lm_head"):
        kept = saved[f"base_model.model.{name}.weight"]
        assert kept.shape[0] == 5010 and torch.equal(merged.get_submodule(name).weight.float(), kept.float())


def test_rows_of_added_tokens_that_were_trained_alone_survive(base, tmp_path):
    trained = {"embed_tokens": [5000, 5001]}
    adapter = make_adapter(base, tmp_path / "adapter", rows=5002, trainable_token_indices=trained)
    merged = AutoModelForCausalLM.from_pretrained(merged_from(adapter, "--dtype", "fp32"))
    saved = load_file(adapter / "adapter_model.safetensors")
    delta = next(tensor for name, tensor in saved.items() if "token_adapter" in name or "trainable_tokens" in name)
    assert torch.allclose(merged.model.embed_tokens.weight[5000:], delta.float(), atol=1e-6)
    assert merged.lm_head.weight.data_ptr() == merged.model.embed_tokens.weight.data_ptr()


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
