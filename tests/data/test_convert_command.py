"""convert_dataset.py as people call it: the seed's spelling, MedicalGPT's, templates, cleaning, refusals."""

import json
from pathlib import Path

import pytest

import convert_dataset
from bedside.errors import ConfigError, DataError


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_seeds_spelling(tmp_path, capsys):
    output = tmp_path / "out.jsonl"
    words = ["--input_file", "data/sft/cot.jsonl", "--output_file", str(output), "--template_name", "qwen"]
    assert convert_dataset.main(words) == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [
        "800 rows = 800 written + 0 refused", f"{output}: 800 rows of sharegpt, read back equal",
    ]  # fmt: skip
    assert "sharegpt is written, as no --to says otherwise" in told.err
    assert "--template_name qwen: rows hold no template" in told.err
    first, source = rows_of(output)[0], rows_of(Path("data/sft/cot.jsonl"))[0]
    thought = f"<think>\n{source['Complex_CoT']}\n</think>\n\n{source['Response']}"
    assert first["conversations"][1] == {"from": "gpt", "value": thought}
    assert first["id"] == source["id"]


@pytest.mark.parametrize(
    ("source", "written"),
    [
        ("data/sft/alpaca.jsonl", "sharegpt"),
        ("data/reward/preferences_conversations.jsonl", "preference"),
        ("data/eval/mcq.jsonl", "choice"),
        ("data/pretrain/documents.jsonl", "text"),
    ],
)
def test_without_a_format_the_usual_one_of_its_kind_is_written(tmp_path, capsys, source, written):
    output = tmp_path / "out.jsonl"
    assert convert_dataset.main([source, "--output_file", str(output)]) == 0
    assert f" rows of {written}, read back equal" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["alpaca", "qa", "sharegpt"])
def test_medicalgpts_spelling(tmp_path, capsys, kind):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"instruction": "a", "input": "", "output": "b"}\n')
    assert convert_dataset.main(["--in_file", str(source), "--out_file", str(output), "--data_type", kind]) == 0
    assert rows_of(output) == [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}]
    assert f"--data_type {kind}: the input is recognised by itself; sharegpt is written" in capsys.readouterr().err


def test_text_through_a_template(tmp_path, capsys):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"Question": "a", "Complex_CoT": "b", "Response": "c"}\n')
    assert (
        convert_dataset.main([str(source), "--output_file", str(output), "--to", "text", "--template", "qwen3"]) == 0
    )
    wanted = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n<think>\nb\n</think>\n\nc<|im_end|>\n"
    assert rows_of(output) == [{"text": wanted}]
    again = ["--output_file", str(output), "--to", "text", "--template_name", "llama2", "--overwrite_output_file"]
    assert convert_dataset.main([str(source), *again]) == 0
    assert "writes the tokenizer's own bos_token, which is left out of the text" in capsys.readouterr().err


def test_refused_rows_are_listed_and_set_the_exit_status(tmp_path, capsys):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.csv"
    chat = [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]
    source.write_text("".join(json.dumps({"conversations": chat * turns}) + "\n" for turns in (1, 2, 1)) + "{\n")
    words = [str(source), "--output_file", str(output), "--to", "csv"]
    assert convert_dataset.main(words) == 1
    assert capsys.readouterr().out.splitlines() == [
        f"{source}:2: E_PLACE no place in question_answer for turns; --lossy True leaves it out",
        f"{source}:4: E_JSON Expecting property name enclosed in double quotes at column 2",
        "4 rows = 2 written + 2 refused (E_PLACE 1, E_JSON 1)",
        f"{output}: 2 rows of question_answer, read back equal",
    ]
    assert output.read_bytes() == b'"question","answer"\n"a","b"\n"a","b"\n'
    assert convert_dataset.main([*words, "--lossy", "--overwrite_output_file", "--max_bad_rate", "0.25"]) == 0
    assert "lost, by field: turns 1" in capsys.readouterr().out


def test_cleaning_on_the_way(tmp_path):
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"instruction": "我的电话是13800138000，发热怎么办", "output": "多休息。"}) + "\n")
    assert convert_dataset.main([str(source), "--output_file", str(output), "--to", "alpaca", "--clean"]) == 0
    assert "13800138000" not in output.read_text(encoding="utf-8")
    assert rows_of(output)[0]["output"] == "多休息。"


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([], ConfigError, "no files: name them"),
        (["data/sft", "--output_file", "OUT.jsonl", "--to", "sharegtp"], ConfigError, "did you mean sharegpt"),
        (["data/sft", "--output_file", "OUT.xlsx", "--to", "csv"], ConfigError, "expected a name that ends in .jsonl"),
        (["data/sft", "--to", "csv"], ConfigError, r"--output_file \(not given\)"),
        (["data/sft", "--output_file", "OUT.parquet.gz", "--to", "alpaca"], ConfigError, "leave .gz away"),
        (
            ["data/sft/cot.jsonl", "--output_file", "data/sft/cot.jsonl", "--to", "alpaca"],
            ConfigError,
            "also an input",
        ),
        (["data/sft", "--output_file", "OUT.jsonl", "--to", "kto"], ConfigError, "no row could be written as kto"),
        (["data/sft", "--output_file", "OUT.jsonl", "--to", "text", "--template", "qwn"], ConfigError, "qwen"),
        (["data/stf", "--output_file", "OUT.jsonl", "--to", "csv"], ConfigError, "no such file or directory"),
        (["data/reward", "--kind", "sft", "--output_file", "OUT.jsonl", "--to", "csv"], DataError, "preference data"),
    ],
)
def test_wrong_calls(tmp_path, words, error, message):
    with pytest.raises(error, match=message):
        convert_dataset.main([word.replace("OUT", str(tmp_path / "out")) for word in words])
    assert list(tmp_path.iterdir()) == []
