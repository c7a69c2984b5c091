"""PT, merge, SFT on NF4, DPO, merge: everything after the first command is found by the manifests alone, and ten
planted faults are each caught with a message of their own.

sh run_tests.sh tests/lineage/test_chain.py
"""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

import dpo_training
import merge_peft_adapter
import supervised_finetuning
from bedside import engine, lineage, probe
from bedside.errors import ConfigError, LineageError
from bedside.lineage import __main__ as command
from bedside.lineage import verify
from tests.lineage.conftest import dpo_flags, jsonl, merge, sft_flags
from tests.merge.toys import make_adapter


@pytest.fixture
def mine(chain, tmp_path) -> Path:
    """A copy of the chain to plant faults in; its adapter_config.json files still name the original's directories."""
    return shutil.copytree(chain, tmp_path / "mine")


def failures(directory: Path, *flags: str) -> list[str]:
    return [check.line() for check in verify.checks(str(directory), *flags) if check.ok is False]


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-10] ^= 1
    file.write_bytes(content)


# --- what holds ------------------------------------------------------------------------------------------------------


def test_every_directory_of_the_chain_verifies_down_to_its_probe(chain):
    for name in ("pt", "pt-merged", "sft", "dpo", "final", "final-nf4"):
        probes = [check for check in verify.checks(str(chain / name)) if check.name == "probe"]
        assert [check.ok for check in probes] == [True], name
        assert failures(chain / name) == [], name


def test_the_history_is_whole_and_each_step_says_how(chain):
    parents = lineage.read(chain / "final")["parents"]
    assert [(parent["stage"], parent["how"], parent["path"]) for parent in parents] == [
        ("dpo", "merged", "../dpo"),
        ("sft", "continued", "../sft"),
        ("merge", "base", "../pt-merged"),
        ("pt", "merged", "../pt"),
    ]
    dpo, sft = lineage.read(chain / "dpo"), lineage.read(chain / "sft")
    assert dpo["reference"] == {"kind": "adapter", "id": sft["id"], "path": "ref"}
    assert "ref/adapter_model.safetensors" in dpo["files"]
    assert lineage.read(chain / "dpo" / "checkpoint-1")["files"].keys() >= {"optimizer.pt", "ref/adapter_config.json"}
    assert sft["load"]["base"]["path"] == dpo["load"]["base"]["path"] == "../pt-merged"


def test_both_merges_are_of_the_last_adapter_and_passed_their_gate(chain):
    modes = {}
    for name in ("final", "final-nf4"):
        section = lineage.read(chain / name)["merge"]
        assert section["ratio"] < 0.1 and section["trained_quant"] == "nf4"
        modes[section["mode"]] = section["shift_kl"]
    assert modes["nf4"] < modes["original"] / 5  # what training computed, to the rounding of bfloat16


def test_a_moved_tree_resolves_to_itself(mine, chain):
    resolved = lineage.resolve(str(mine / "dpo"))
    assert resolved.base == str(mine / "pt-merged")
    named = json.loads((mine / "dpo" / "adapter_config.json").read_text())["base_model_name_or_path"]
    assert Path(named).is_relative_to(chain)  # which lies there still, and is not believed
    assert failures(mine / "dpo", None, False) == []


def test_the_tree_is_shown_from_its_base(chain, capsys):
    assert command.main(["show", str(chain / "final")]) == 0
    shown = capsys.readouterr().out.splitlines()
    heads = [line.split("  ")[-4:] for line in shown if "[" in line]
    stages = [re.sub(r"^[ └─]*", "", line).split("  ")[0] for line in shown if "[" in line]
    assert stages == [str(chain / "base"), "pt", "merge", "sft", "dpo", "merge"]
    assert heads[4][-2] == "continues sft" and shown[-2].endswith("[this directory]")
    assert command.main(["show", str(chain / "final"), "--json"]) == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [(stage["stage"], stage["status"]) for stage in stages] == [
        ("pt", "found"), ("merge", "found"), ("sft", "found"), ("dpo", "found"), ("merge", "here"),
    ]  # fmt: skip


def test_a_parent_that_was_moved_or_lost_is_told(mine, capsys):
    (mine / "sft").rename(mine / "sft-old")
    shutil.rmtree(mine / "pt")
    command.main(["show", str(mine / "final"), "--json"])
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert [(stage["stage"], stage["status"]) for stage in stages] == [
        ("pt", "missing"), ("merge", "found"), ("sft", "moved"), ("dpo", "found"), ("merge", "here"),
    ]  # fmt: skip
    assert command.main(["verify", str(mine / "final"), "--no_probe"]) == 0  # history is never applied
    assert "no longer there: pt (missing)" in capsys.readouterr().out


# --- the seeds' mistake ----------------------------------------------------------------------------------------------


def test_an_adapter_on_a_base_it_was_not_trained_on_ends_with_the_right_command(mine, monkeypatch):
    monkeypatch.chdir(mine)
    flags = ["--base_model_name_or_path", "base", "--peft_model_path", "dpo/checkpoint-2", "--output_dir", "merged"]
    with pytest.raises(LineageError) as error:
        merge_peft_adapter.main(flags)
    assert str(error.value) == (
        "dpo/checkpoint-2: base is not the model this adapter was trained on (its weights differ); it was trained on "
        "pt-merged; run: python merge_peft_adapter.py --base_model_name_or_path pt-merged --peft_model_path "
        "dpo/checkpoint-2 --output_dir merged"
    )
    right = str(error.value).partition("run: python merge_peft_adapter.py ")[2]
    assert merge_peft_adapter.main(shlex.split(right)) == 0
    assert lineage.read("merged")["parents"][0]["id"] == lineage.read("dpo/checkpoint-2")["id"]


@pytest.mark.parametrize("name", ["Qwen/Qwen2.5-0.5B-Instruct", "base"])
def test_a_wrong_base_is_never_ignored(mine, monkeypatch, name):
    monkeypatch.chdir(mine)
    said = f"{name} is not the model this adapter was trained on"
    with pytest.raises(LineageError, match=f"{said} .*it was trained on pt-merged; run: python merge_peft"):
        merge_peft_adapter.main(["--base_model", name, "--lora_model", "dpo", "--output_dir", "merged"])
    with pytest.raises(LineageError, match=f"{said} .*run: python inference.py --base_model pt-merged"):
        engine.find(name, "dpo")
    with pytest.raises(LineageError, match=said):
        dpo_training.main(dpo_flags(Path(name), Path("data"), Path("again"), "--peft_path", "sft", "--qlora", "True"))


def test_an_adapter_given_as_a_base_is_named_as_one(mine, monkeypatch):
    monkeypatch.chdir(mine)
    with pytest.raises(LineageError, match="sft is an adapter, not a base; dpo was trained on pt-merged; run: python"):
        merge_peft_adapter.main(["--base_model", "sft", "--lora_model", "dpo", "--output_dir", "merged"])
    with pytest.raises(ConfigError, match="are both adapters"):
        engine.find("sft", "dpo")
    with pytest.raises(ConfigError, match="are both adapters"):
        supervised_finetuning.main(sft_flags(Path("sft"), Path("data"), Path("x"), "--peft_path", "dpo"))


def test_a_foreign_stack_is_refused_with_the_order_of_the_commands(mine, monkeypatch):
    monkeypatch.chdir(mine)
    (mine / "dpo" / "lineage.json").unlink()
    config = json.loads((mine / "dpo" / "adapter_config.json").read_text())
    (mine / "dpo" / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "sft"}))
    order = (
        "merge that one first: python merge_peft_adapter.py --peft_model_path sft --output_dir sft-merged; then: run: "
        "python merge_peft_adapter.py --base_model_name_or_path sft-merged --peft_model_path dpo --output_dir merged"
    )
    with pytest.raises(LineageError, match=re.escape(order)):
        merge(Path("dpo"), Path("merged"))


def test_a_checkpoint_is_no_reference_by_accident(mine):
    with pytest.raises(LineageError, match="is a checkpoint of a dpo run; starting anew .* --resume_from_checkpoint"):
        dpo_training.main(dpo_flags(mine / "dpo" / "checkpoint-1", mine / "data", mine / "again", "--qlora", "True"))


def test_a_run_that_took_from_its_base_reloads_merges_and_is_not_copied(chain, tmp_path):
    run = tmp_path / "pissa"
    supervised_finetuning.main(sft_flags(chain / "base", chain / "data", run, "--init_lora_weights", "pissa"))
    assert lineage.read(run)["load"]["vllm"] == "merge_only"  # vLLM would put it on a base that is still whole
    assert failures(run) == []
    with pytest.raises(ConfigError, match="take that part out twice. Merge it first: python merge_peft_adapter.py"):
        dpo_training.main(dpo_flags(run, chain / "data", tmp_path / "dpo"))
    with pytest.raises(ConfigError, match="pissa was started with pissa.* fits the unquantised base only"):
        supervised_finetuning.main(sft_flags(run, chain / "data", tmp_path / "again", "--qlora", "True"))
    assert merge(run, tmp_path / "merged") == 0
    assert lineage.read(tmp_path / "merged")["merge"]["ratio"] < 0.1


# --- ten planted faults ----------------------------------------------------------------------------------------------


def test_fault_base_swapped(mine):
    file = mine / "pt-merged" / "model.safetensors"
    save_file({name: tensor * 1.01 for name, tensor in load_file(file).items()}, file, {"format": "pt"})
    with pytest.raises(LineageError, match="the base at .*pt-merged is not the model this adapter was trained on"):
        merge(mine / "dpo", mine / "merged")
    with pytest.raises(LineageError, match="the base at .*pt-merged is not the model this adapter was trained on"):
        dpo_training.main(dpo_flags(mine / "sft", mine / "data", mine / "again", "--qlora", "True"))
    assert [line[:22].split() for line in failures(mine / "dpo")] == [["base", "FAILED"]]


def test_fault_base_missing(mine):
    (mine / "pt-merged").rename(mine.parent / "elsewhere")
    with pytest.raises(LineageError, match="its base model ../pt-merged is not there; give it with --base_model"):
        merge(mine / "dpo", mine / "merged")
    assert failures(mine / "dpo", str(mine.parent / "elsewhere")) == []
    assert merge(mine / "dpo", mine / "merged", "--base_model", str(mine.parent / "elsewhere"), "--verify", "16") == 0


def test_fault_template_edited(mine):
    file = mine / "sft" / "chat_template.jinja"
    file.write_text(file.read_text() + "Be brief.")
    flags = dpo_flags(mine / "sft", mine / "data", mine / "again", "--qlora", "True")
    without_name = [flag for flag in flags if flag not in ("--template_name", "qwen3")]
    with pytest.raises(LineageError, match="chat template differs .* then, .* now.*--allow_template_change True"):
        dpo_training.main(without_name)
    with pytest.raises(LineageError, match="chat template differs .*; restore the tokenizer files"):
        merge(mine / "sft", mine / "merged")
    failed = failures(mine / "sft", None, False)
    assert failed[0].startswith("file       FAILED      chat_template.jinja has")
    assert failed[1].startswith("template   FAILED      chat template differs")


def test_fault_token_added(mine):
    tokenizer = AutoTokenizer.from_pretrained(mine / "sft")
    tokenizer.add_tokens(["<dose>"])
    tokenizer.save_pretrained(mine / "sft")
    with pytest.raises(LineageError, match=r"tokenizer \(it now has <dose>\) differs"):
        dpo_training.main(dpo_flags(mine / "sft", mine / "data", mine / "again", "--qlora", "True"))
    with pytest.raises(LineageError, match=r"tokenizer \(it now has <dose>\) differs"):
        merge(mine / "sft", mine / "merged")
    assert any("it now has <dose>" in line for line in failures(mine / "sft", None, False))


def test_fault_one_bit_flipped(mine):
    flip_a_bit(mine / "dpo" / "adapter_model.safetensors")
    with pytest.raises(LineageError, match="its weights are not those that lineage.json describes"):
        merge(mine / "dpo", mine / "merged")
    with pytest.raises(LineageError, match="its weights are not those that lineage.json describes"):
        engine.find(None, str(mine / "dpo"))
    assert [line[:22].split() for line in failures(mine / "dpo")] == [["file", "FAILED"], ["id", "FAILED"]]
    flip_a_bit(mine / "sft" / "checkpoint-2" / "optimizer.pt")
    assert lineage.damage(mine / "sft" / "checkpoint-2") == "optimizer.pt changed since it was saved"


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_config.json"])
def test_fault_adapter_lost(mine, name):
    (mine / "sft" / name).unlink()
    with pytest.raises(LineageError, match=f"{name} is missing, so the adapter is lost"):
        dpo_training.main(dpo_flags(mine / "sft", mine / "data", mine / "again", "--qlora", "True"))
    with pytest.raises(LineageError, match=f"{name} is missing, so the adapter is lost"):
        engine.find(str(mine / "sft"), None)
    assert any(f"{name} is missing" in line for line in failures(mine / "sft"))


def test_fault_adapter_applied_twice(mine):
    final = str(mine / "final")
    with pytest.raises(LineageError, match="final already holds .*dpo; merging it again would apply it twice"):
        merge(mine / "dpo", mine / "merged", "--base_model", final)
    with pytest.raises(LineageError, match="final already holds .*sft; merging it again"):  # by way of the DPO
        engine.find(final, str(mine / "sft"))
    assert merge(mine / "sft", mine / "sft-merged", "--verify", "0") == 0
    with pytest.raises(LineageError, match="already holds the sft stage .* that .*dpo continues and so contains"):
        engine.find(str(mine / "sft-merged"), str(mine / "dpo"))
    (mine / "dpo" / "lineage.json").unlink()  # even as a foreign adapter
    with pytest.raises(LineageError, match="final already holds .*dpo; merging it again"):
        merge(mine / "dpo", mine / "merged", "--base_model", final)


def test_fault_wrong_task(mine):
    reward = make_adapter(mine / "base", mine / "rm", task_type="SEQ_CLS", target_modules=["q_proj"])
    for sealed in (True, False):
        with pytest.raises(ConfigError, match="a SEQ_CLS model .* scores answers and cannot write them"):
            engine.find(None, str(reward))
        with pytest.raises(ConfigError, match="rm is a SEQ_CLS model"):
            supervised_finetuning.main(sft_flags(reward, mine / "data", mine / "x"))
        with pytest.raises(ConfigError, match="rm is a SEQ_CLS model"):
            dpo_training.main(dpo_flags(reward, mine / "data", mine / "x"))
        assert merge(reward, mine / f"rm-merged-{sealed}") == 0  # which stays a reward model
        with pytest.raises(ConfigError, match="a SEQ_CLS model"):
            engine.find(str(mine / f"rm-merged-{sealed}"), None)
        (reward / "lineage.json").unlink(missing_ok=True)


def test_fault_nf4_quantised_again(mine):
    message = "final-nf4 was merged with --mode nf4; quantising it again loses the adapter"
    with pytest.raises(ConfigError, match=message):
        supervised_finetuning.main(sft_flags(mine / "final-nf4", mine / "data", mine / "x", "--qlora", "True"))
    with pytest.raises(ConfigError, match=message):
        engine.precision(engine.find(str(mine / "final-nf4"), None), {"bits": 4}, "auto")
    # An adapter trained on it, and what that one is merged into, carry the same weakness on.
    child = lineage.read(mine / "final")
    child["parents"] = lineage.parents_of(lineage.resolve(str(mine / "final-nf4")), str(mine / "final-nf4"),
                                          mine / "final", "base")  # fmt: skip
    (mine / "final" / "lineage.json").write_text(json.dumps(child))
    with pytest.raises(ConfigError, match="final goes back to a model that was merged with --mode nf4"):
        engine.precision(engine.find(str(mine / "final"), None), {"bits": 4}, "auto")


def test_fault_data_changed_before_the_resume(mine):
    jsonl(mine / "data" / "pairs.jsonl", [{"prompt": f"Other {n}?", "chosen": "Yes.", "rejected": "No."}
                                          for n in range(12)])  # fmt: skip
    go_on = ("--qlora", "True", "--resume_from_checkpoint", "True")
    with pytest.raises(ConfigError, match="checkpoint-2: data was .*pairs.jsonl.* and is .* now"):
        dpo_training.main(dpo_flags(mine / "sft", mine / "data", mine / "dpo", *go_on))


def test_the_probe_tells_what_hashes_cannot(mine):
    """A base edited where a fingerprint does not look: simulated by correcting the fingerprint."""
    weights = load_file(mine / "pt-merged" / "model.safetensors")
    weights["model.norm.weight"] += 0.5
    save_file(weights, mine / "pt-merged" / "model.safetensors", {"format": "pt"})
    kept = lineage.read(mine / "dpo")
    kept["load"]["base"]["fp"] = lineage.fingerprint(mine / "pt-merged")
    (mine / "dpo" / "lineage.json").write_text(json.dumps(kept))
    failed = failures(mine / "dpo")
    assert len(failed) == 1 and failed[0].startswith("probe      FAILED")
    assert probe.LIMIT == 0.008 and "(limit 0.008)" in failed[0]
