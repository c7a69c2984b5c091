"""lineage.json itself: its sections, what it seals, and names on the hub.

sh run_tests.sh tests/lineage/test_record.py
"""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from bedside import lineage, models, probe
from bedside.errors import LineageError
from bedside.lineage.record import start_of
from bedside.lineage.sections import template_record
from tests.merge.toys import make_adapter

COMMIT = "a" * 40
DEFAULT = "{% if messages[0]['role'] != 'system' %}[S]be kind[/S]{% endif %}"
CHAT = "{% for m in messages %}{{ '[S]' if m['role'] == 'system' else '[U]' }}{{ m['content'] }}" \
       "{{ '[/S]' if m['role'] == 'system' else '[/U]' }}{% endfor %}"  # fmt: skip


def weights(directory: Path, value: float = 1.0, name: str = "model.safetensors") -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    save_file({"w": torch.full((4,), value)}, directory / name, {"format": "pt"})
    return directory


def adapter(directory: Path, base: Path, parents: list | None = None, **more) -> Path:
    weights(directory, 2.0, "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "/gone"}))
    load = {"task": "CAUSAL_LM", "base": lineage.base_record(directory, str(base), None, None)}
    lineage.write(directory, "sft", "adapter", load, parents or [], **more)
    return directory


def hub_copy(cache: Path, name: str = "someone/tiny", value: float = 1.0) -> Path:
    place = cache / f"models--{name.replace('/', '--')}"
    weights(place / "snapshots" / COMMIT, value)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / "main").write_text(COMMIT)
    return place / "snapshots" / COMMIT


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_sections_of_the_schema(tiny_model_dir, tmp_path):
    directory = weights(tmp_path / "out")
    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, "qwen3")
    written = lineage.write(
        directory, "dpo", "full", {"task": "CAUSAL_LM"}, tokenizer=tokenizer, template={"name": template.name},
        reference={"kind": "model", "id": "s1:x", "path": "../sft"},
    )  # fmt: skip
    assert lineage.read(directory) == written
    assert written["schema"] == 1 and written["id"] == lineage.identity(directory)
    assert written["reference"] == {"kind": "model", "id": "s1:x", "path": "../sft"}
    assert written["template"] == {
        "sha": written["tokenizer"]["template"], "source": "name", "default_system": None, "name": "qwen3",
    }  # fmt: skip
    assert written["tokenizer"]["added"][-2:] == ["<think>", "</think>"]
    assert (written["tokenizer"]["len"], written["tokenizer"]["eos"], written["tokenizer"]["pad"]) == (400, 2, 3)
    assert {"torch", "transformers", "trl", "peft", "bnb", "self"} <= written["versions"].keys()


@pytest.mark.parametrize(("source", "expected"), [(DEFAULT + CHAT, "be kind"), (CHAT, None)])
def test_a_system_prompt_that_a_template_writes_unasked_is_recorded(source, expected):
    class Tokenizer:
        chat_template = source
        special_tokens_map: dict = {}

    found = template_record({"name": "own"}, Tokenizer())
    assert found["source"] == "tokenizer"
    assert found["default_system"] == (lineage.sections.sha_text(expected) if expected else None)


def test_a_checkpoint_seals_its_folders_and_an_output_its_reference(tmp_path):
    for kind, sealed in (("checkpoint", True), ("adapter", False)):
        directory = weights(tmp_path / kind)
        for name in ("ref/adapter_model.safetensors", "global_step3/rank0.pt", "README.md", "ref/README.md"):
            (directory / name).parent.mkdir(exist_ok=True)
            (directory / name).write_text(name)
        files = lineage.write(directory, "dpo", kind, {"task": "CAUSAL_LM"})["files"]
        names = ["model.safetensors", "ref/adapter_model.safetensors"]
        assert sorted(files) == (["global_step3/rank0.pt"] if sealed else []) + names
    (tmp_path / "checkpoint" / "global_step3" / "rank0.pt").write_text("half")
    assert lineage.damage(tmp_path / "checkpoint") == "global_step3/rank0.pt has 4 bytes, was saved with 21"
    (tmp_path / "adapter" / "ref" / "adapter_model.safetensors").unlink()
    assert lineage.damage(tmp_path / "adapter") == "ref/adapter_model.safetensors is missing"


def test_shards_of_a_distributed_run_have_an_identity_and_are_for_a_resume_only(tmp_path):
    for value in ("one", "two"):
        (tmp_path / value / "global_step3").mkdir(parents=True)
        (tmp_path / value / "global_step3" / "rank0.pt").write_text(value)
        lineage.write(tmp_path / value, "sft", "checkpoint", {"task": "CAUSAL_LM"})
    assert lineage.read(tmp_path / "one")["id"] != lineage.read(tmp_path / "two")["id"]
    assert lineage.damage(tmp_path / "one") is None
    with pytest.raises(LineageError, match="shards of a distributed run, which only a resume reads"):
        lineage.resolve(str(tmp_path / "one"))


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "damaged"), ("[]", "damaged"), ('{"schema": 2}', "schema 2, expected 1"), ('{"schema": 1}', "expected 1")],
)
def test_a_manifest_that_cannot_be_read_is_named(tmp_path, text, says):
    (tmp_path / "lineage.json").write_text(text)
    with pytest.raises(LineageError, match=f"lineage.json: .*{says}"):
        lineage.read(tmp_path)


def test_every_ancestor_is_found_from_where_the_manifest_lies(tmp_path):
    base = weights(tmp_path / "base")
    first = adapter(tmp_path / "runs" / "a" / "sft", base)
    resolved = lineage.resolve(str(first))
    second = tmp_path / "dpo" / "checkpoint-3"
    adapter(second, base, lineage.parents_of(resolved, str(first), second, "continued"))
    third = lineage.parents_of(lineage.resolve(str(second)), str(second), tmp_path / "out", "merged")
    assert [parent["path"] for parent in third] == ["../dpo/checkpoint-3", "../runs/a/sft"]
    assert [parent["how"] for parent in third] == ["merged", "continued"]


# --- the hub ---------------------------------------------------------------------------------------------------------


def test_a_hub_base_is_recorded_by_name_and_commit(cache, tmp_path):
    local = hub_copy(cache)
    record = lineage.base_record(tmp_path / "out", "someone/tiny", local, "main")
    assert record == {"path": None, "name": "someone/tiny", "revision": COMMIT, "fp": lineage.fingerprint(local)}
    by_path = lineage.base_record(tmp_path / "out", str(local), None, None)
    assert (by_path["name"], by_path["revision"]) == ("someone/tiny", COMMIT)


def test_a_downloaded_copy_knows_its_name(tmp_path):
    copy = weights(tmp_path / "models" / "tiny")
    record = {"source": "huggingface", "name": "someone/tiny", "commit": COMMIT, "complete": True}
    (copy / "download.json").write_text(json.dumps(record))
    found = lineage.base_record(tmp_path / "out", str(copy), None, None)
    assert (found["path"], found["name"], found["revision"]) == ("../models/tiny", "someone/tiny", COMMIT)
    merged = weights(tmp_path / "merged", 3.0)
    lineage.write(merged, "merge", "merged", {"task": "CAUSAL_LM"}, merge={"base": found})
    root = lineage.base_record(tmp_path / "out", str(merged), None, None)
    assert root["name"] is None  # a merged model is not the hub's, and must never be replaced by it
    assert root["root"] == {"name": "someone/tiny", "revision": COMMIT, "fp": found["fp"]}
    assert start_of(lineage.read(merged)) == found


def test_an_adapter_on_a_hub_model_pins_the_commit_and_refuses_another(cache, tmp_path):
    local = hub_copy(cache)
    directory = weights(tmp_path / "sft", 2.0, "adapter_model.safetensors")
    (directory / "adapter_config.json").write_text("{}")
    load = {"task": "CAUSAL_LM", "base": lineage.base_record(directory, "someone/tiny", local, "main")}
    lineage.write(directory, "sft", "adapter", load)
    for given in (None, "someone/tiny"):
        resolved = lineage.resolve(str(directory), given)
        assert (resolved.base, resolved.revision) == ("someone/tiny", COMMIT)
    hub_copy(cache, "other/tiny", 5.0)
    with pytest.raises(LineageError, match="other/tiny is not the model .*weights differ.*trained on someone/tiny"):
        lineage.resolve(str(directory), "other/tiny")
    with pytest.raises(LineageError, match="absent/tiny is not the model .*`python download_model.py absent/tiny`"):
        lineage.resolve(str(directory), "absent/tiny")
    hub_copy(cache, "someone/tiny", 7.0)  # the cache was tampered with
    with pytest.raises(LineageError, match="someone/tiny@a.* in the cache is not the model this adapter was trained"):
        lineage.resolve(str(directory))


# --- foreign directories ---------------------------------------------------------------------------------------------


def test_a_foreign_adapter_is_taken_at_its_word_and_no_further(tmp_path):
    base = weights(tmp_path / "base")
    foreign = weights(tmp_path / "foreign", 2.0, "adapter_model.safetensors")
    config = {"base_model_name_or_path": str(base), "task_type": "SEQ_CLS", "peft_type": "LORA"}
    (foreign / "adapter_config.json").write_text(json.dumps(config))
    resolved = lineage.resolve(str(foreign))
    assert (resolved.base, resolved.task, resolved.quant, resolved.manifest) == (str(base), "SEQ_CLS", None, None)
    assert "training precision unknown" in resolved.notes[0]
    base.rename(tmp_path / "elsewhere")
    with pytest.raises(LineageError, match="its base .*base .from adapter_config.json. is not there; give it with"):
        lineage.resolve(str(foreign))
    assert lineage.resolve(str(foreign), str(tmp_path / "elsewhere")).base == str(tmp_path / "elsewhere")
    (foreign / "adapter_model.safetensors").unlink()
    with pytest.raises(LineageError, match="adapter_model.safetensors is missing, so the adapter is lost"):
        lineage.resolve(str(foreign), str(tmp_path / "elsewhere"))


def test_a_foreign_reward_model_is_known_by_its_architecture(tmp_path):
    directory = weights(tmp_path / "rm")
    (directory / "config.json").write_text('{"architectures": ["Qwen3ForSequenceClassification"]}')
    assert lineage.resolve(str(directory)).task == "SEQ_CLS"


# --- starts that change the base -------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["pissa", "olora"])
def test_a_start_that_takes_from_the_base_is_not_quantised_nor_copied(tiny_model_dir, tmp_path, start):
    directory = str(make_adapter(Path(tiny_model_dir), tmp_path / "sft", init_lora_weights=start))
    assert lineage.changes_base(directory) == start
    with pytest.raises(lineage.guards.ConfigError, match=f"started with {start}.* fits the unquantised base only"):
        lineage.check_quantisable(tiny_model_dir, directory, "drop the --load_in flag")
    with pytest.raises(lineage.guards.ConfigError, match="take that part out twice. Merge it first: python merge"):
        lineage.check_copyable(directory)


def test_a_reward_model_is_probed_by_its_scores(tiny_model_dir, tmp_path):
    directory = make_adapter(Path(tiny_model_dir), tmp_path / "rm", task_type="SEQ_CLS", target_modules=["q_proj"])
    kept = lineage.read(directory)["probe"]
    assert len(kept["ids"]) == 64 and len(kept["scores"]) == 8 and "logprobs" not in kept
    base = models.load_base(tiny_model_dir, num_labels=1)
    assert probe.limit(kept) == 0.01 < probe.distance(base, kept)  # a head of its own, drawn by chance
    assert probe.distance(base, {"ids": kept["ids"], "scores": probe.scores(base, kept["ids"]).tolist()}) == 0


def test_old_manifests_still_load(repo, tmp_path):
    kept = json.loads((repo / "models" / "starter" / "lineage.json").read_text())
    assert {"reference", "template"}.isdisjoint(kept)  # written before these sections were
    copy = shutil.copytree(repo / "models" / "starter", tmp_path / "starter")
    assert lineage.resolve(str(copy)).manifest["id"] == kept["id"]
    record = lineage.base_record(tmp_path / "out", os.path.relpath(copy), None, None)
    assert record["path"] == "../starter"
