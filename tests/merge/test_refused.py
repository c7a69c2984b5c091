"""What merge_peft_adapter.py must not write, each with its own message, and foreign adapters."""

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from bedside import lineage, merge, merge_source, models, probe
from bedside.errors import ConfigError, LineageError
from tests.merge.toys import (
    NF4,
    STARTER,
    leftovers,
    make_adapter,
    merged_from,
    run,
)


def test_an_adapter_cannot_be_applied_twice(base, tmp_path):
    adapter = make_adapter(base, tmp_path / "adapter")
    output = merged_from(adapter)
    with pytest.raises(LineageError, match="already holds .*; it was trained on .*/tiny; run: python merge"):
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
        run("--verify", 3, "--max_shard_size", "big", "--max_error_ratio", 7)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "no adapter",
        "no place for the result",
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
