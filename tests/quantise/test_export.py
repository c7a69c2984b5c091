"""quantize_model.py on tiny models: what is written is what was quantised; what must not be quantised is refused.

sh run_tests.sh tests/quantise
"""

import json
import shutil
from pathlib import Path

import pytest
import torch

from bedside import engine, errors, lineage, models
from bedside.errors import ConfigError, DataError
from bedside.quantise import source, stored, work
from bedside.quantise.arguments import QuantiseArguments
from quantize_model import main

CALIBRATING = Path(".quant-venv/bin/python")
IDS = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12]])


@pytest.fixture(scope="module")
def merged(tmp_path_factory, tiny_model_dir, tiny_tokenizer) -> str:
    """The tiny model with ChatML, as a merge leaves it; its layers made to matter, so that quantising them shows."""
    place = tmp_path_factory.mktemp("merged") / "model"
    shutil.copytree(tiny_model_dir, place)
    model = models.load_base(tiny_model_dir)
    with torch.no_grad():
        for weight in model.model.layers.parameters():
            weight.mul_(20 if weight.ndim == 2 else 1)
    model.save_pretrained(place)
    tokenizer = models.load_tokenizer(str(place))
    template = models.install_template(tokenizer, "qwen3")
    tokenizer.save_pretrained(place)
    section = {
        "name": "qwen3",
        "thinking": template.thinking,
        "reasoning_parser": "as-trained",
        "stops": [tokenizer.eos_token_id],
    }
    load = {"task": "CAUSAL_LM", "num_labels": None, "quant": None, "rows": None, "vllm": "full"}
    lineage.write(place, "merge", "merged", load, tokenizer=tokenizer, template=section, merge={"mode": "original"})
    return str(place)


@pytest.fixture
def questions(tmp_path) -> str:
    """Four held-out rows."""
    answer = {"content": "Flu. " + "Rest, drink. " * 20, "reasoning_content": "Think of flu."}
    row = {"messages": [{"role": "user", "content": "Fever?"}, {"role": "assistant", **answer}], "expect": ["Flu"]}
    path = tmp_path / "heldout.jsonl"
    path.write_text((json.dumps(row) + "\n") * 4, encoding="utf-8")
    return str(path)


def logits_of(model):
    with torch.inference_mode():
        return model(input_ids=IDS).logits.float()


@pytest.mark.parametrize("method", ["nf4", "int8"])
def test_what_is_written_computes_what_was_quantised(method, merged, tmp_path):
    job = {"do": "quantise", "model": merged, "place": str(tmp_path), "method": method, "max_shard_size": "5GB"}
    assert work.run(job, None, tmp_path / "log")["library"] == "bitsandbytes"
    held = models.load_base(merged, "auto", stored.KINDS[method])
    written = models.load_base(str(tmp_path))
    assert torch.equal(logits_of(held), logits_of(written))
    assert not torch.equal(logits_of(written), logits_of(models.load_base(merged)))


def test_an_export_with_its_report(merged, questions, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["--model_name_or_path", merged, "--output_dir", str(out), "--eval_file", questions,
            "--max_new_tokens", "4", "--min_agreement", "0"]  # fmt: skip
    assert main(argv) == 0
    said = capsys.readouterr().err
    assert "same likeliest next token" in said and f"wrote {out}" in said
    told = json.loads((out / "equivalence.json").read_text(encoding="utf-8"))
    assert told["answers"] == 4 and told["questions"]["strict"]["n"] == 4
    assert 0.5 < told["agreement"]["share"] <= 1 and told["bytes"][1] < told["bytes"][0]
    made = lineage.read(out)
    assert (made["stage"], made["kind"], made["quantised"]["name"]) == ("quantise", "merged", "nf4")
    assert made["parents"][0]["id"] == lineage.read(merged)["id"]
    assert made["template"] == lineage.read(merged)["template"]
    assert made["template"]["reasoning_parser"] == "as-trained"
    assert lineage.damage(out) is None
    assert (out / "chat_template.jinja").read_bytes() == (Path(merged) / "chat_template.jinja").read_bytes()
    assert not (out / "working").exists() and not Path(f"{out}.tmp").exists()
    origin = engine.find(str(out), None)
    tokenizer, template = engine.text_side(origin)
    assert engine.load(origin, tokenizer, template).model.config.quantization_config is not None


def test_too_little_agreement_is_told_and_the_model_kept(merged, questions, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["--model_name_or_path", merged, "--output_dir", str(out), "--eval_file", questions,
            "--max_new_tokens", "4", "--min_agreement", "1"]  # fmt: skip
    assert main(argv) == 1
    assert "less than --min_agreement 1: do not take it for the same model" in capsys.readouterr().err
    assert lineage.damage(out) is None


def test_without_a_report(merged, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["--model_name_or_path", merged, "--output_dir", str(out), "--eval_file", "None", "--method", "int8"]
    assert main(argv) == 0
    assert not (out / "equivalence.json").exists()
    with pytest.raises(ConfigError, match=r"holds a merged model; add --overwrite_output_dir True"):
        main(argv)
    assert main([*argv, "--overwrite_output_dir", "True"]) == 0
    with pytest.raises(ConfigError, match=r"is quantised already \(bitsandbytes\); quantise the 16-bit model"):
        main(["--model_name_or_path", str(out), "--output_dir", str(tmp_path / "again")])
    capsys.readouterr()


def refused(*argv):
    with pytest.raises(errors.UserError) as caught:
        main(list(argv))
    return str(caught.value)


def test_flags_are_settled_at_once(merged):
    said = refused("--min_agreement", "2", "--group_size", "-1", "--calibration_rows", "5")
    assert "no model: give --model_name_or_path" in said and "no place for the result" in said
    assert "--min_agreement 2.0: expected a share" in said and "--group_size -1: expected 0 or more" in said
    assert "--group_size, --calibration_rows: --method nf4 looks at no data" in said
    assert "unknown flag; did you mean --method?" in refused("--metod", "nf4")
    assert "choose another directory" in refused("--model_name_or_path", merged, "--output_dir", merged)


def test_an_adapter_is_sent_to_the_merge(tmp_path):
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    said = refused("--model_name_or_path", str(tmp_path), "--output_dir", "x", "--eval_file", "None")
    assert "is an adapter; merge it first: python merge_peft_adapter.py --peft_model_path" in said


def test_a_merge_for_nf4_is_not_quantised_again(merged, tmp_path):
    place = tmp_path / "nf4-merge"
    shutil.copytree(merged, place)
    manifest = lineage.read(place)
    manifest["merge"] = {"mode": "nf4"}
    (place / lineage.NAME).write_text(json.dumps(manifest), encoding="utf-8")
    said = refused("--model_name_or_path", str(place), "--output_dir", str(tmp_path / "x"), "--eval_file", "None")
    assert "merged with --mode nf4; quantising it again loses the adapter" in said


def test_a_missing_environment_is_told_with_its_command(merged, tmp_path):
    said = refused("--model_name_or_path", merged, "--output_dir", str(tmp_path / "x"), "--method", "gptq",
                   "--quant_python", str(tmp_path / "none/bin/python"))  # fmt: skip
    assert "python3 -m venv .quant-venv && .quant-venv/bin/python -m pip install -r requirements-quantise.txt" in said


def sizes_of(*widths):
    from bedside.memory.sizes import Part, Sizes

    return Sizes({"a": Part(tuple((8, width) for width in widths))}, ())


def test_the_group_that_every_layer_admits():
    assert source.group_size(sizes_of(256, 704), 0) == 64
    assert source.group_size(sizes_of(256, 512), 0) == 128
    assert source.group_size(sizes_of(256, 512), 32) == 32
    with pytest.raises(ConfigError, match=r"--group_size 128: layers of this model read 256, 704 numbers; give .* 64"):
        source.group_size(sizes_of(256, 704), 128)
    with pytest.raises(ConfigError, match=r"no multiples of 128, 64 or 32; use --method nf4 or int8"):
        source.group_size(sizes_of(250), 0)


def test_calibration_rows_are_drawn_by_seed(merged, sft_file, caplog):
    def drawn(**flags):
        args = QuantiseArguments(model_name_or_path=merged, output_dir="x", calibration_file=str(sft_file), **flags)
        return source.calibration(args, source.find(args))

    first, again, other = drawn(calibration_rows=4), drawn(calibration_rows=4), drawn(calibration_rows=4, seed=1)
    assert first == again != other
    assert len(first) == 4 and all(isinstance(i, int) for row in first for i in row)
    with pytest.raises(DataError, match="no row can be used with --calibration_length 16"):
        drawn(calibration_length=16)


def test_a_failed_job_shows_the_end_of_its_log(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho out of memory\nexit 3\n", encoding="utf-8")
    broken.chmod(0o755)
    with pytest.raises(work.JobFailed, match=r"could not calibrate m \(exit status 3\):\nout of memory"):
        work.run({"do": "calibrate", "model": "m"}, str(broken), tmp_path / "log")


@pytest.mark.skipif(not CALIBRATING.is_file(), reason="no .quant-venv: see requirements-quantise.txt")
def test_gptq_through_its_own_environment(merged, sft_file, questions, tmp_path, capsys):
    out = tmp_path / "out"
    argv = ["--model_name_or_path", merged, "--output_dir", str(out), "--method", "gptq", "--calibration_file",
            str(sft_file), "--calibration_rows", "8", "--eval_file", questions, "--max_new_tokens", "4",
            "--min_agreement", "0"]  # fmt: skip
    assert main(argv) == 0
    assert "calibrating on 8 rows" in capsys.readouterr().err
    config = json.loads((out / "config.json").read_text(encoding="utf-8"))["quantization_config"]
    assert config["quant_method"] == "compressed-tensors"
    assert config["config_groups"]["group_0"]["weights"]["group_size"] == 64
    assert lineage.read(out)["quantised"]["calibration_rows"] == 8
