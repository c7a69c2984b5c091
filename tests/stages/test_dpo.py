"""dpo_training.py as a user calls it: main([...]) on a tiny model, from an SFT adapter, a base, and in full.

sh run_tests.sh tests/stages/test_dpo.py
"""

import json
import math
import shlex
import shutil
from pathlib import Path

import pytest
import torch

import dpo_training
import supervised_finetuning
from bedside import adapters, guards, lineage, models
from bedside.errors import ConfigError, DataError, LineageError
from tests.stages.files import losses, metrics, same, write

LN2 = math.log(2)


def flags(model, data, output, *more) -> list[str]:
    return [
        "--model_name_or_path", str(model), "--train_file_dir", str(data), "--output_dir", str(output),
        "--max_length", "128", "--per_device_train_batch_size", "2", "--per_device_eval_batch_size", "2",
        "--learning_rate", "1e-2", "--gradient_checkpointing", "False", "--logging_steps", "1", "--report_to", "none",
        "--max_steps", "2", "--save_strategy", "no", "--seed", "7", *map(str, more),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def pairs_file(tmp_path_factory) -> Path:
    rows = [{"prompt": f"Fever for {n} days?", "chosen": f"Rest {n} days and drink.", "rejected": f"No {n}."}
            for n in range(16)]  # fmt: skip
    return write(tmp_path_factory.mktemp("pairs") / "pairs.jsonl", rows)


@pytest.fixture(scope="module")
def sft(tmp_path_factory, tiny_model_dir) -> Path:
    """A QLoRA adapter that has learnt something."""
    root = tmp_path_factory.mktemp("sft")
    data = write(root / "rows.jsonl", [{"instruction": f"Q {n}?", "output": f"A {n}."} for n in range(8)])
    supervised_finetuning.main(
        flags(tiny_model_dir, data, root / "out", "--template_name", "qwen3", "--qlora", "True", "--max_steps", "6",
              "--save_strategy", "steps", "--save_steps", "3")
    )  # fmt: skip
    return root / "out"


@pytest.fixture(scope="module")
def run(tmp_path_factory, sft, pairs_file) -> Path:
    """DPO that continues the adapter (R1), with checkpoints and held-out pairs."""
    output = tmp_path_factory.mktemp("dpo") / "out"
    dpo_training.main(
        flags(sft, pairs_file, output, "--qlora", "True", "--max_steps", "4", "--save_strategy", "steps",
              "--save_steps", "2", "--validation_split_percentage", "25", "--eval_strategy", "steps",
              "--eval_steps", "2")
    )  # fmt: skip
    return output


def test_an_sft_adapter_is_continued_and_its_own_copy_is_the_reference(run, sft):
    assert losses(run)[0] == pytest.approx(LN2, abs=1e-6)
    assert losses(run)[-1] < LN2
    assert same(run / "ref", sft), "the reference is the SFT, to the bit"
    assert not same(run, sft)
    manifest = lineage.read(run)
    assert manifest["stage"] == "dpo" and manifest["kind"] == "adapter"
    assert manifest["reference"] == {"kind": "adapter", "id": lineage.read(sft)["id"], "path": "ref"}
    first = manifest["parents"][0]
    assert (first["how"], first["stage"], first["id"]) == ("continued", "sft", lineage.read(sft)["id"])
    assert lineage.damage(run) is None and lineage.damage(run / "checkpoint-2") is None


def test_the_policy_starts_from_the_adapters_own_numbers(sft, tiny_model_dir):
    base = models.load_base(tiny_model_dir, quantisation={"bits": 4, "type": "nf4", "double": True})
    model = adapters.continue_adapter(base, str(sft))
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    with adapters.unrounded(model):
        for parameter in model.parameters():  # what TRL does to the adapters of a quantised base
            parameter.data = parameter.data.to(torch.bfloat16) if parameter.requires_grad else parameter.data
    assert before and all(torch.equal(dict(model.named_parameters())[name], p) for name, p in before.items())


def test_held_out_pairs_are_ranked_before_and_after(run):
    found = metrics(run)
    kept = json.loads((run / "heldout_pairs.json").read_text())
    assert len(kept["pairs"]) == len(kept["after"]["chosen"]) == 4
    margins = [good - bad for good, bad in zip(kept["after"]["chosen"], kept["after"]["rejected"], strict=True)]
    assert found["heldout_margin"] == pytest.approx(sum(margins) / 4)
    assert found["heldout_win_rate"] == sum(margin > 0 for margin in margins) / 4
    assert found["heldout_margin"] > found["heldout_margin_before"]
    assert "train_perplexity" not in found, "the loss of pairs is no likelihood"
    assert {"loss.png", "reward_margin.png", "reward_accuracy.png"} <= {p.name for p in (run / "plots").iterdir()}


def test_a_checkpoint_of_the_same_stage_does_not_become_the_reference_unawares(run, pairs_file, tmp_path):
    checkpoint = run / "checkpoint-2"
    with pytest.raises(LineageError, match="resume_from_checkpoint True") as caught:
        dpo_training.main(flags(checkpoint, pairs_file, tmp_path / "out", "--qlora", "True"))
    assert f"--output_dir {run}" in str(caught.value)
    dpo_training.main(
        flags(checkpoint, pairs_file, tmp_path / "out", "--qlora", "True", "--allow_checkpoint_reference", "True")
    )
    assert same(tmp_path / "out/ref", checkpoint)


def test_a_resumed_run_ends_in_the_same_weights_with_the_first_reference(run, sft, pairs_file, tmp_path):
    output = tmp_path / "out"
    shutil.copytree(run, output)
    shutil.rmtree(output / "checkpoint-4")
    argv = flags(sft, pairs_file, output, "--qlora", "True", "--max_steps", "4", "--save_strategy", "steps",
                 "--save_steps", "2", "--validation_split_percentage", "25", "--eval_strategy", "steps",
                 "--eval_steps", "2")  # fmt: skip
    with pytest.raises(ConfigError, match="beta was 0.1 in that run and is 0.3 now"):
        dpo_training.main([*argv, "--beta", "0.3", "--resume_from_checkpoint", "True"])
    with pytest.raises(ConfigError, match="loss was sigmoid in that run and is hinge now"):
        dpo_training.main([*argv, "--loss_type", "hinge", "--resume_from_checkpoint", "True"])
    dpo_training.main([*argv, "--resume_from_checkpoint", "True"])
    assert same(output, run) and same(output / "ref", sft)


def test_a_base_gets_a_new_adapter_and_is_its_own_reference(tiny_model_dir, pairs_file, tmp_path):
    output = tmp_path / "out"
    dpo_training.main(flags(tiny_model_dir, pairs_file, output, "--template_name", "qwen3"))
    assert losses(output)[0] == pytest.approx(LN2, abs=1e-6)
    manifest = lineage.read(output)
    assert manifest["reference"]["kind"] == "adapter_off" and manifest["parents"] == []
    assert not (output / "ref").exists()


@pytest.mark.parametrize("precompute", ["True", "False"])
def test_full_training_compares_with_a_frozen_copy(tiny_model_dir, pairs_file, tmp_path, precompute):
    output = tmp_path / "out"
    more = ("--template_name", "qwen3", "--use_peft", "False", "--precompute_ref_log_probs", precompute)
    dpo_training.main(flags(tiny_model_dir, pairs_file, output, *more, "--learning_rate", "1e-3"))
    assert losses(output)[0] == pytest.approx(LN2, abs=1e-5)
    assert lineage.read(output)["reference"]["kind"] == "model" and lineage.read(output)["kind"] == "full"


def test_precomputed_references_give_the_same_losses(sft, pairs_file, tmp_path):
    found = []
    for precompute in ("True", "False"):
        output = tmp_path / precompute
        more = ("--qlora", "True", "--precompute_ref_log_probs", precompute)
        dpo_training.main(flags(sft, pairs_file, output, *more))
        found.append(losses(output))
    assert found[0] == pytest.approx(found[1], abs=1e-5) and found[0][0] == pytest.approx(LN2, abs=1e-6)


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("--loss_type hinge", 1.0),
        ("--loss_type ipo --beta 0.5", 1.0),
        ("--loss_type exo_pair --label_smoothing 0.1", -LN2 - 0.5 * math.log(0.9) - 0.5 * math.log(0.1)),
        ("--loss_type robust --label_smoothing 0.1", LN2),
        ("--loss_type nca_pair", 2 * LN2),
        ("--loss_type bco_pair", 2 * LN2),
        ("--loss_type sppo_hard --beta 0.5", 2.0),
        ("--loss_type aot", LN2),
        ("--loss_type aot_unpaired", LN2),
        ("--loss_type apo_zero", 1.0),
        ("--loss_type apo_down", 1.0),
        ("--loss_type discopop", 0.5 * LN2 + 0.5),
        ("--loss_type sigmoid_norm", LN2),
        ("--pref_loss sigmoid --pref_beta 0.2", LN2),
        ("--loss_type sigmoid hinge --loss_weights 0.5 0.25", 0.5 * LN2 + 0.25),
    ],
)
def test_losses_start_where_their_equations_say(tiny_model_dir, pairs_file, tmp_path, text, first):
    more = ("--template_name", "qwen3", "--max_steps", "1", "--plot_loss", "False", *shlex.split(text))
    dpo_training.main(flags(tiny_model_dir, pairs_file, tmp_path / "out", *more))
    assert losses(tmp_path / "out")[0] == pytest.approx(first, abs=1e-4)


def test_pref_ftx_adds_the_likelihood_of_chosen_answers(tiny_model_dir, pairs_file, tmp_path):
    more = ("--template_name", "qwen3", "--max_steps", "1", "--pref_ftx", "0.5")
    dpo_training.main(flags(tiny_model_dir, pairs_file, tmp_path / "out", *more))
    assert losses(tmp_path / "out")[0] > LN2 + 0.5  # a random model is far from likely answers
    assert lineage.read(tmp_path / "out")["args"]["loss_weights"] == [1.0, 0.5]


def test_simpo_needs_no_reference(sft, pairs_file, tmp_path):
    output = tmp_path / "out"
    more = ("--qlora", "True", "--loss_type", "simpo", "--simpo_gamma", "0.3", "--validation_split_percentage", "25")
    dpo_training.main(flags(sft, pairs_file, output, *more))
    manifest = lineage.read(output)
    assert manifest["reference"]["kind"] == "none" and manifest["parents"][0]["how"] == "continued"
    assert (manifest["args"]["beta"], manifest["args"]["simpo_gamma"]) == (2.0, 0.3)
    assert not (output / "ref").exists() and not same(output, sft)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("--loss_type sigmiod", "--loss_type sigmiod: did you mean sigmoid?"),
        ("--loss_type orpo", "run orpo_training.py with the same flags"),
        ("--loss_type simpo --label_smoothing 0.1", "--label_smoothing 0.1: has no meaning with --loss_type simpo"),
        ("--loss_type simpo hinge", "--loss_type simpo stands alone"),
        ("--simpo_gamma 0.3", "--simpo_gamma 0.3: belongs to --loss_type simpo"),
        ("--loss_type exo_pair", "needs --label_smoothing above 0"),
        ("--label_smoothing 0.1", "robust is DPO with it"),
        ("--loss_weights 1 2", "2 weights for 1 losses"),
        ("--beta 0", "--beta 0: expected more than 0"),
        ("--sync_ref_model True", "an adapter's reference is frozen"),
        ("--max_source_length 0", "--max_source_length 0: expected at least 1"),
        ("--padding_free True", "--padding_free: "),
        ("--packing True", "--packing: "),
        ("--f_divergence_type forward_kl --loss_type aot", "f_divergence"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(tiny_model_dir, pairs_file, tmp_path, text, told):
    with pytest.raises(ConfigError) as caught:
        dpo_training.main(flags(tiny_model_dir, pairs_file, tmp_path / "out", "--template_name", "qwen3",
                                *shlex.split(text)))  # fmt: skip
    assert told in str(caught.value)


def test_the_seeds_command(sft, pairs_file, tmp_path, monkeypatch):
    """Seed 003, section 4.5, paths and steps apart."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sft, tmp_path / "outputs-sft-qwen-v1")
    config = json.loads((tmp_path / "outputs-sft-qwen-v1/lineage.json").read_text())
    base = (sft / config["load"]["base"]["path"]).resolve()
    shutil.copytree(base, tmp_path / "model")
    for place in (tmp_path / "outputs-sft-qwen-v1").rglob("lineage.json"):
        kept = json.loads(place.read_text())
        kept["load"]["base"]["path"] = str(Path("../" * (len(place.relative_to(tmp_path).parts) - 1)) / "model")
        place.write_text(json.dumps(kept))
    dpo_training.main(
        shlex.split(f"""
        --model_name_or_path outputs-sft-qwen-v1/checkpoint-3 --template_name qwen3
        --train_file_dir {pairs_file} --validation_file_dir {pairs_file}
        --per_device_train_batch_size 4 --gradient_accumulation_steps 1 --per_device_eval_batch_size 1
        --do_train --do_eval --use_peft True --max_train_samples 1000 --max_eval_samples 10 --max_steps 2
        --eval_steps 1 --save_steps 1 --max_source_length 1024 --max_target_length 512
        --output_dir outputs-dpo-qwen-v1 --target_modules all --lora_rank 8 --lora_alpha 16 --lora_dropout 0.05
        --torch_dtype bfloat16 --bf16 True --fp16 False --device_map auto --report_to tensorboard
        --remove_unused_columns False --gradient_checkpointing True --cache_dir ./cache""")
    )
    output = tmp_path / "outputs-dpo-qwen-v1"
    manifest = lineage.read(output)
    assert manifest["args"]["max_length"] == 1536 and (output / "checkpoint-2").is_dir()
    assert manifest["reference"]["kind"] == "adapter" and manifest["parents"][0]["stage"] == "sft"


def test_long_pairs_are_dropped_by_tokens_and_counted(tiny_model_dir, tmp_path, pairs_file):
    path = tmp_path / "pairs.jsonl"
    long = {"prompt": "Fever?", "chosen": "word " * 200, "rejected": "No."}
    path.write_text(pairs_file.read_text() + json.dumps(long) + "\n")
    output = tmp_path / "out"
    dpo_training.main(flags(tiny_model_dir, path, output, "--template_name", "qwen3", "--max_steps", "1"))
    ledger = json.loads((output / "ledger.json").read_text())
    assert (ledger["total"]["rows"], ledger["total"]["kept"], ledger["total"]["overlong"]) == (17, 16, 1)
    assert json.loads((output / "rejected.jsonl").read_text()) == {"file": str(path), "line": 17, "code": "W_OVERLONG"}


def test_nothing_left_is_a_sentence(tiny_model_dir, pairs_file, tmp_path):
    with pytest.raises(DataError, match="no pair is left to train on"):
        dpo_training.main(flags(tiny_model_dir, pairs_file, tmp_path / "out", "--template_name", "qwen3",
                                "--max_target_length", "2"))  # fmt: skip


def test_another_template_than_the_sft_had_is_refused(sft, pairs_file, tmp_path):
    with pytest.raises(LineageError, match=r"trained with qwen3.*--allow_template_change True"):
        dpo_training.main(flags(sft, pairs_file, tmp_path / "out", "--template_name", "chatml"))
    more = ("--template_name", "chatml", "--allow_template_change", "True", "--max_steps", "1")
    dpo_training.main(flags(sft, pairs_file, tmp_path / "out", *more))
    assert lineage.read(tmp_path / "out")["template"]["name"] == "chatml"


def test_a_wrong_reference_is_caught_by_the_first_loss(sft, pairs_file, tmp_path, monkeypatch):
    before = dpo_training.runner.describe

    def spoil(model, *args):
        for name, parameter in model.named_parameters():
            if ".ref." in name and "lora_B" in name:
                parameter.data.zero_()  # the reference is the base, as LLaMA-Factory's is
        before(model, *args)

    monkeypatch.setattr(dpo_training.runner, "describe", spoil)
    with pytest.raises(ConfigError, match="policy and reference are not the same model"):
        dpo_training.main(flags(sft, pairs_file, tmp_path / "out", "--beta", "5"))


def test_a_run_that_trains_nothing_is_caught(sft, pairs_file, tmp_path, monkeypatch):
    before = dpo_training.runner.describe

    def detach(model, *args):
        for module in model.modules():  # the adapter is there, trainable, and has no part in the answer
            if hasattr(module, "scaling") and isinstance(module.scaling, dict):
                module.scaling["default"] = 0.0
        before(model, *args)

    monkeypatch.setattr(dpo_training.runner, "describe", detach)
    monkeypatch.setattr(guards, "TOLERANCE", 10.0)
    with pytest.raises(ConfigError, match="no trained tensor changed in 3 steps"):
        dpo_training.main(flags(sft, pairs_file, tmp_path / "out", "--max_steps", "5", "--max_grad_norm", "0"))


@pytest.mark.parametrize("start", ["--init_lora_weights pissa", "--pissa_init True", "--init_lora_weights olora"])
def test_an_adapter_that_takes_weights_out_of_the_base_has_no_reference(tiny_model_dir, pairs_file, tmp_path, start):
    more = ("--template_name", "qwen3", "--dtype", "float32", "--max_steps", "1", *start.split())
    with pytest.raises(ConfigError, match="takes weights out of the base"):
        dpo_training.main(flags(tiny_model_dir, pairs_file, tmp_path / "out", *more))
    dpo_training.main(flags(tiny_model_dir, pairs_file, tmp_path / "out", *more, "--loss_type", "simpo"))
