"""inference.py as a user calls it: chat and batch, base, adapter and merged models, and every way to ask wrongly.

sh run_tests.sh tests/stages/test_inference.py
"""

import io
import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import inference
from bedside import adapters, engine, lineage, models
from bedside.errors import ConfigError, DataError, LineageError


@pytest.fixture(scope="module")
def adapter(tmp_path_factory, tiny_model_dir) -> Path:
    """An NF4 adapter with lineage, as supervised_finetuning.py leaves it (its weights are random)."""
    directory = tmp_path_factory.mktemp("trained") / "sft"
    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, "qwen3")
    base = models.load_base(tiny_model_dir, quantisation={"bits": 4, "type": "nf4", "double": True})
    model = adapters.attach(base, adapters.lora_config(r=4))
    torch.manual_seed(0)
    for name, weight in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(weight, std=0.3)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    load = {"task": "CAUSAL_LM", "quant": models.quantisation_of(base)}
    load["base"] = lineage.base_record(directory, tiny_model_dir, None, None)
    lineage.write(directory, "sft", "adapter", load, tokenizer=tokenizer, template={"name": template.name})
    return directory


@pytest.fixture
def asked(tmp_path) -> Path:
    path = tmp_path / "in.jsonl"
    rows = [{"prompt": "Fever?"}, {"prompt": ""}, {"messages": [{"role": "user", "content": "咳嗽怎么办？"}]}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(*flags: object) -> None:
    inference.main(["--max_new_tokens", "6", "--temperature", "0", *map(str, flags)])


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_adapter_is_served_as_it_was_trained(adapter, asked, tmp_path, said, tiny_model_dir):
    output = tmp_path / "out.jsonl"
    run("--lora_model", adapter, "--data_file", asked, "--output_file", output)
    assert [row.get("error") for row in rows(output)] == [None, "E_EMPTY", None]
    facts = dict(line.split(maxsplit=1) for line in said if line.startswith("  "))
    assert facts["model"] == tiny_model_dir
    assert facts["adapter"] == str(adapter)
    assert facts["template"] == "qwen3"
    assert facts["device"] == "CPU, 4-bit NF4, computing in bfloat16"
    assert facts["memory"].endswith("GiB of this process's memory")
    assert "the adapter was trained on a 4-bit NF4 base: loading that (another: --dtype bfloat16)" in said
    assert any(line.startswith(f"{output}: 3 rows = ") for line in said)


def test_the_adapter_is_really_in(adapter, tiny_model_dir):
    """Answers with the adapter differ from the base's, and the adapter as --base_model is the same thing."""
    chat = [[{"role": "user", "content": "Fever?"}]]

    def answer(base, lora):
        origin = engine.find(base, lora)
        tokenizer, template = engine.text_side(origin, "qwen3")
        loaded = engine.load(origin, tokenizer, template, dtype="float32")
        assert not any(weight.requires_grad for weight in loaded.model.parameters() if weight.ndim > 2)
        from bedside.generate import Sampling

        return loaded.answer(chat, Sampling(8, temperature=0))[0].text

    with_adapter = answer(None, str(adapter))
    assert with_adapter == answer(str(adapter), None) == answer(tiny_model_dir, str(adapter))
    assert with_adapter != answer(tiny_model_dir, None)


def test_the_seeds_commands(adapter, asked, tmp_path, tiny_model_dir, said, monkeypatch, capsys):
    output = tmp_path / "output.jsonl"
    base = ["--base_model", tiny_model_dir, "--lora_model", adapter]
    run(*base, "--data_file", asked, "--output_file", output, "--template_name", "qwen3")
    assert len(rows(output)) == 3
    assert not [line for line in said if "trained with" in line]
    monkeypatch.setattr("sys.stdin", io.StringIO("Fever?\nquit\n"))
    run(*base, "--interactive")
    shown = capsys.readouterr().out
    assert "\n> Fever?\n" in shown
    assert "tokens/s, " in shown
    assert "\x1b" not in shown


def test_a_finished_file_is_left_and_a_started_one_continued(adapter, asked, tmp_path, said):
    output = tmp_path / "out.jsonl"
    flags = ["--lora_model", adapter, "--data_file", asked, "--output_file", output]
    run(*flags)
    whole = output.read_bytes()
    run(*flags)
    assert f"{output}: all 3 rows are there already (--overwrite_output_file True starts anew)" in said
    output.write_bytes(whole[: len(whole) - 20])
    run(*flags)
    assert output.read_bytes() == whole
    assert f"{output}: 2 of 3 rows are there, going on with the rest" in said
    with pytest.raises(ConfigError, match=r"is another run's: settings system_prompt \(None then, Be brief. now\)"):
        run(*flags, "--system_prompt", "Be brief.")
    run(*flags, "--system_prompt", "Be brief.", "--overwrite_output_file")
    assert rows(output)[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_a_template_other_than_the_trained_one_is_warned_of(adapter, said):
    engine.text_side(engine.find(None, str(adapter)), "chatml")
    assert said == [
        f"warning: {adapter} was trained with the template qwen3, not this chatml: what is served is not what was "
        "trained; drop --template_name"
    ]


@pytest.mark.parametrize(
    ("wanted", "dtype", "expected", "told"),
    [
        (None, "auto", ({"bits": 4, "type": "nf4", "double": True}, "bfloat16"), "loading that"),
        (None, "float32", (None, "float32"), "trained on a 4-bit NF4 base and answers on a 16/32-bit one"),
        ({"bits": 8}, "auto", ({"bits": 8}, "auto"), "trained on a 4-bit NF4 base and answers on a 8-bit one"),
    ],
)
def test_the_precision_is_the_trained_one_unless_asked_for(adapter, said, wanted, dtype, expected, told):
    assert engine.precision(engine.find(None, str(adapter)), wanted, dtype) == expected
    assert told in said[0]


def test_a_model_merged_into_nf4_is_not_quantised_again(tiny_model_dir, tmp_path):
    merged = shutil.copytree(tiny_model_dir, tmp_path / "merged")
    lineage.write(merged, "merge", "merged", {"task": "CAUSAL_LM"}, merge={"mode": "nf4"})
    with pytest.raises(ConfigError, match="merged with --mode nf4; quantising it again loses the adapter"):
        engine.precision(engine.find(str(merged), None), {"bits": 4}, "auto")


def test_another_base_is_refused(adapter, tiny_model_dir, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(tiny_model_dir, other)
    weights = other / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(LineageError, match="not the model this adapter was trained on .*; run: python inference.py"):
        engine.find(str(other), str(adapter))


def test_another_tokenizer_is_refused(adapter):
    origin = engine.find(None, str(adapter))
    with pytest.raises(LineageError, match="this tokenizer is not the one that .* was trained with"):
        engine.text_side(origin, "qwen3", "models/starter")


def test_a_reward_model_cannot_answer(adapter, tmp_path):
    copy = tmp_path / "rm"
    shutil.copytree(adapter, copy)
    manifest = json.loads((copy / "lineage.json").read_text())
    manifest["load"]["task"] = "SEQ_CLS"
    manifest["load"]["base"]["path"] = os.path.relpath(engine.find(None, str(adapter)).resolved.base, copy)
    (copy / "lineage.json").write_text(json.dumps(manifest))
    with pytest.raises(ConfigError, match="a SEQ_CLS model .* scores answers and cannot write them"):
        engine.find(None, str(copy))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ([], "nothing to do: add --interactive to chat, or --data_file FILE"),
        (["--interactive", "--base_model", "nope/at/all"], "--base_model nope/at/all: no such directory"),
        (["--interactive", "--lora_model", "models/starter"], "--lora_model models/starter: no adapter_config.json"),
        (["--interactive"], "the model has no chat template of its own; add --template_name"),
        (["--interactive", "--template_name", "qwn"], "--template_name qwn: no such template; did you mean qwen?"),
        (["--interactive", "--output_file", "o.jsonl"], "--output_file belongs to --data_file"),
        (["--data_file", "data"], "--data_file data: a directory, expected one file"),
        (["--data_file", "nope.jsonl"], "--data_file nope.jsonl: no such file or directory; ./ holds"),
        (["--data_file", "README.md", "--output_file", "README.md"], "--output_file README.md: is the --data_file"),
        (
            ["--interactive", "--system_prompt", "a\ufdd0"],
            "--system_prompt: messages.0..content holds U.FDD0",
        ),
        (["--interactive", "--gpus", "0,1"], "--gpus 0,1: set CUDA_VISIBLE_DEVICES=0,1 in front of the command"),
        (["--interactive", "--quantization_bit", "3"], "--quantization_bit 3: expected 4 or 8"),
        (["--interactive", "--load_in_4bits"], "--load_in_4bits: unknown flag; did you mean --load_in_4bit?"),
    ],
)
def test_wrong_wishes(flags, says):
    with pytest.raises(ConfigError, match=says):
        inference.main(flags)


def test_conflicts_are_told_together():
    wrong = "--interactive --data_file data/eval/mcq.jsonl --load_in_4bit --load_in_8bit --batch_size 0 --top_p 0 "
    wrong += "--temperature -1 --max_new_tokens 0 --top_k -1 --repetition_penalty 0 --seed -1 --role_map x"
    with pytest.raises(ConfigError) as error:
        inference.main(wrong.split())
    assert error.value.problems == [
        "--load_in_4bit and --load_in_8bit: choose one",
        "--interactive and --data_file: choose one",
        "--batch_size 0: expected at least 1",
        "--max_new_tokens 0: expected at least 1",
        "--temperature -1.0: expected 0 or more",
        "--top_p 0.0: expected more than 0 and at most 1",
        "--top_k -1: expected 0 (all) or more",
        "--repetition_penalty 0.0: expected more than 0; 1 changes nothing",
        "--seed -1: expected 0 to 4294967295",
        "--role_map x: expected name=role pairs, as patient=user,doctor=assistant",
    ]


def test_both_adapters_at_once_are_refused(adapter):
    with pytest.raises(ConfigError, match="are both adapters; one contains what was trained before it"):
        engine.find(str(adapter), str(adapter))


def test_a_bad_file_stops_before_the_model_is_loaded(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_bytes("".encode("utf-16") + '{"prompt": "a"}'.encode("utf-16-le"))
    with pytest.raises(DataError, match="the file looks like UTF-16"):
        inference.main(["--data_file", str(path), "--base_model", "Qwen/not-here"])


def test_a_mistake_ends_with_status_2_and_a_sentence(repo):
    done = subprocess.run(
        [sys.executable, "inference.py", "--interactive", "--gpus", "0"], cwd=repo, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --gpus 0: set CUDA_VISIBLE_DEVICES=0 in front of the command instead\n"


def wait_for(terminal: int, text: str, shown: bytes = b"", more: int = 0, seconds: float = 90) -> bytes:
    """Everything the program wrote until `text` is in it, with `more` bytes after it."""
    end = time.monotonic() + seconds
    while text.encode() not in shown or len(shown.partition(text.encode())[2]) < more:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        assert ready, f"no {text!r} within {seconds} s in {shown[-2000:]!r}"
        shown += os.read(terminal, 65536)
    return shown


@pytest.mark.slow
def test_a_person_at_a_terminal(adapter, repo):
    """Dimming, Ctrl-C in an answer (the chat goes on), Ctrl-D at the prompt."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(repo)
        flags = f"--interactive --lora_model {adapter} --max_new_tokens 450 --temperature 0".split()
        os.execv(sys.executable, [sys.executable, "inference.py", *flags])
    try:
        wait_for(terminal, "\n> ")
        os.write(terminal, b"A cough?\r")
        shown = wait_for(terminal, "A cough?\r\n", more=30)
        os.write(terminal, b"\x03")
        shown = wait_for(terminal, "\n> ", wait_for(terminal, "tokens/s", shown)).decode("utf-8", "replace")
        assert "stopped by Ctrl-C" in shown
        assert "\x1b[2m[" in shown
        os.write(terminal, b"\x04")
        _, status = os.waitpid(child, 0)
        child = 0
        assert os.waitstatus_to_exitcode(status) == 0
    finally:
        if child:
            os.kill(child, 9)
            os.waitpid(child, 0)
        os.close(terminal)
