"""`python -m bedside.templates`: what list, show and check print, and their exit status."""

import importlib
import json
import shutil

import pytest

from bedside import lineage, models, template_view, templates
from bedside.errors import ConfigError
from bedside.manifest import write_generation_config
from bedside.template_check import checks

command = importlib.import_module("bedside.templates.__main__")


def run(capsys, *words):
    """`(exit status, standard output)` of the command."""
    status = command.main(list(words))
    return status, capsys.readouterr().out


def test_alone_it_tells_its_use(capsys):
    for words in ((), ("--help",), ("show", "--help")):
        status, out = run(capsys, *words)
        assert status == 0
        assert "python -m bedside.templates check DIR" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["shwo"], r"^shwo: no such command; did you mean show\? known: list, show, check, parity$"),
        (["show"], "^expected one template, found none: python -m bedside.templates show NAME$"),
        (["show", "qwen", "yi"], r"^expected one template, found 2 \(qwen, yi\)"),
        (["show", "qwne3"], r"no such template; did you mean qwen3\?"),
        (["show", "models/nothing"], "^models/nothing: no such directory; expected a model's directory, or the name"),
        (["show", "qwen", "--row", "3"], "^--row 3: of which file"),
        (["show", "qwen", "--data", "data/sft"], "^--data data/sft: a directory, expected one file"),
        (
            ["show", "qwen", "--data", "data/sft/alpaca.jsonl", "--row", "9999"],
            "^--row 9999: .* has no row there",
        ),
        (["show", "qwen", "--tool_format", "xml"], "^--tool_format xml: no such format; known: default, qwen"),
        (
            ["show", "llama3", "--tokenizer", "models/starter"],
            "^template llama3 needs the tokens <.start_header_id",
        ),
        (["list", "--jsn"], r"^--jsn: unknown flag; did you mean --json\?"),
        (["check", "nowhere"], "^nowhere: no such directory; expected one that a stage"),
        (["check", "data"], "no config.json in this directory"),
    ],
)
def test_mistakes_are_told(words, message):
    with pytest.raises(ConfigError, match=message):
        command.main(words)


def test_list_is_a_table_of_every_template_and_stand_in(capsys):
    status, out = run(capsys, "list")
    lines = out.splitlines()
    assert status == 0
    assert lines[0].split("  ")[0] == "name"
    column = lines[0].index("for ")
    rows = {line.split()[0]: line for line in lines[1 : 1 + len(templates.REGISTRY)]}
    assert set(rows) == set(templates.REGISTRY)
    assert {line[column - 1] for line in rows.values()} == {" "}
    told = " ".join(rows["qwen3"][column:].split())
    assert told == "Qwen3, and any base that shall think first hybrid <|im_end|> qwen3 qwen, hermes"
    assert "the tokenizer's EOS" in rows["vicuna"]
    assert any(line.split()[:3] == ["bloom", "->", "vicuna"] and len(line) > 40 for line in lines)


def test_list_as_json_has_the_same_rows(capsys):
    status, out = run(capsys, "list", "--json")
    told = json.loads(out)
    assert status == 0
    assert [row["name"] for row in told["templates"]] == list(templates.REGISTRY)
    row = next(row for row in told["templates"] if row["name"] == "qwen3")
    assert (row["thinking"], row["turn_end"], row["tool_parser"]) == ("hybrid", "<|im_end|>", "hermes")
    assert {"name": "ministral", "target": "mistral_nemo", "reason": "the same text"} in told["stand_ins"]


def test_show_marks_what_is_trained(capsys):
    status, out = run(capsys, "show", "llama3")
    assert status == 0
    assert out == (
        "llama3: an example; what is trained stands between ⟦ and ⟧\n\n--- sample 1 of 1 ---\n"
        "<bos><|start_header_id|>system<|end_header_id|>\n\n你是一名医生助手。Answer in the language of the question."
        "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n头痛两天了，怎么办？<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
        "⟦先量体温和血压，多休息；若伴呕吐或视物模糊，请尽快就医。<|eot_id|>⟧"
        "<|start_header_id|>user<|end_header_id|>\n\nMy blood pressure is 150/95. Is that high?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
        "⟦Yes, it is above normal. Rest, and measure it again tomorrow.<|eot_id|>⟧\n\n"
        "turn end:          <|eot_id|>\n"
        "stops:             <|eot_id|> <|end_of_text|>\n"
        "reasoning parser:  none\n"
        "tool format:       none: rows with tools are refused, unless --tool_format gives one\n"
        "tool parser:       none\n"
        "samples per chat:  1, a single pass\n"
        "file:              bedside/templates/llama3.jinja\n"
        "<bos> and <eos> stand for a tokenizer's own; --tokenizer DIR shows them, and token ids\n"
    )


@pytest.mark.parametrize("name", sorted(templates.REGISTRY))
def test_every_template_shows_its_example(capsys, name):
    template = templates.get(name)
    status, out = run(capsys, "show", name, "--color", "never")
    assert status == 0
    assert out.count("⟦") == 1 + (3 if template.tool_format else 2)  # the first line names the mark
    assert ("normal_range" in out) == bool(template.tool_format)
    assert ("先排除急症" in out) == (template.thinking != "none")


def test_show_counts_tokens_and_swaps_the_tool_format(capsys):
    status, out = run(capsys, "show", "qwen3", "--tokenizer", "models/starter", "--tool_format", "none")
    assert status == 0
    assert "--- sample 2 of 2 ---" in out
    assert "samples per chat:  N, one an answer (2 here)" in out
    tokenizer = models.load_tokenizer("models/starter")
    text = (
        "<|im_start|>system\n你是一名医生助手。Answer in the language of the question.<|im_end|>\n"
        "<|im_start|>user\n头痛两天了，怎么办？<|im_end|>\n<|im_start|>assistant\n"
    )
    answer = (
        "<think>\n先排除急症：发热、呕吐、视物模糊。\n</think>\n\n"
        "先量体温和血压，多休息；若伴呕吐或视物模糊，请尽快就医。<|im_end|>"
    )
    prompt, trained = (tokenizer(part, add_special_tokens=False)["input_ids"] for part in (text, answer))
    line = next(line for line in out.splitlines() if line.startswith("ids: "))
    assert line == (
        f"ids: {len(prompt) + len(trained) + 1} tokens, {len(trained)} trained: "
        f"{' '.join(map(str, prompt[:8]))} ..{len(prompt) - 9}.. {prompt[-1]} "
        f"⟦{' '.join(map(str, trained[:6]))} ..{len(trained) - 7}.. {trained[-1]}⟧ "
        f"{tokenizer.convert_tokens_to_ids('Ċ')}"
    )


def test_show_without_thinking_puts_the_closed_block_into_the_prompt(capsys):
    _, out = run(capsys, "show", "deepseek", "--enable_thinking", "False")
    assert "<think>\n\n</think>\n\n⟦Yes" in out
    assert "先排除急症" not in out


@pytest.fixture
def rows(tmp_path):
    chat = {"messages": [{"role": "user", "content": "q ⟦1⟧\x1b[2J"}, {"role": "assistant", "content": "a\nb"}]}
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{json.dumps(chat)}\n\n" + '{"instruction": "x", "output": ""}\nno json\n', encoding="utf-8")
    return path


def test_show_takes_a_row_by_the_line_that_messages_name(capsys, rows, tmp_path):
    status, out = run(capsys, "show", "chatml", "--data", str(rows))
    assert status == 0
    assert out.startswith(f"chatml: {rows}:1; what is trained stands between ⟦⟦ and ⟧⟧\n")
    assert "q ⟦1⟧\\x1b[2J<|im_end|>\n<|im_start|>assistant\n⟦⟦a\nb<|im_end|>⟧⟧" in out
    assert run(capsys, "show", "chatml", "--data", str(rows), "--row", "3") == (
        1, f"{rows}:3: dropped: E_EMPTY output is empty\n",
    )  # fmt: skip
    status, out = run(capsys, "show", "chatml", "--data", str(rows), "--row", "4")
    assert (status, out.startswith(f"{rows}:4: dropped: E_JSON ")) == (1, True)
    with pytest.raises(ConfigError, match="--row 2: .* has no row there; its last one is 4"):
        command.main(["show", "chatml", "--data", str(rows), "--row", "2"])
    array = tmp_path / "rows.json"
    array.write_text('[\n{"instruction": "x", "output": "1"},\n\n{"instruction": "y", "output": "2"}]')
    _, out = run(capsys, "show", "chatml", "--data", str(array), "--row", "2")
    assert out.startswith(f"chatml: {array}:4 (item 2); ")


def test_show_in_colour_sets_it_anew_on_each_line(capsys, rows, monkeypatch):
    _, out = run(capsys, "show", "chatml", "--data", str(rows), "--color", "always")
    assert "assistant\n\x1b[32ma\x1b[0m\n\x1b[32mb<|im_end|>\x1b[0m" in out
    assert "what is trained stands in green" in out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert template_view.marks_for("auto", "").open == "\x1b[32m"
    assert template_view.marks_for("never", "").open == "⟦"
    monkeypatch.setenv("NO_COLOR", "1")
    assert template_view.marks_for("auto", "").open == "⟦"


@pytest.fixture(scope="module")
def sealed(tiny_model_dir, tmp_path_factory):
    """A model directory as a stage with --template_name qwen3 leaves it."""
    directory = tmp_path_factory.mktemp("saved") / "model"
    shutil.copytree(tiny_model_dir, directory)
    tokenizer = models.load_tokenizer(tiny_model_dir)
    template = models.install_template(tokenizer, "qwen3")
    tokenizer.save_pretrained(directory)
    stops = models.stop_ids(tokenizer, template, tokenizer.convert_tokens_to_ids("<|endoftext|>"))
    write_generation_config(directory, stops, tokenizer.pad_token_id)
    section = {"name": "qwen3", "thinking": "hybrid", "reasoning_parser": "qwen3", "tool_parser": "hermes"}
    lineage.write(
        directory, "sft", "full", {"task": "CAUSAL_LM"}, tokenizer=tokenizer, template={**section, "stops": stops}
    )
    return directory


@pytest.fixture
def saved(sealed, tmp_path):
    return shutil.copytree(sealed, tmp_path / "model")


def change(path, **fields):
    """Set fields of a JSON file; None removes one."""
    value = json.loads(path.read_text(encoding="utf-8")) | fields
    path.write_text(json.dumps({k: v for k, v in value.items() if v is not None}), encoding="utf-8")


def wrong(directory):
    return [finding.line() for finding in checks(str(directory)) if not finding.ok]


def test_check_passes_what_a_stage_saves(capsys, saved):
    status, out = run(capsys, "check", str(saved))
    lines = out.splitlines()
    assert status == 0
    assert lines[0] == "ok     chat template: chat_template.jinja is qwen3"
    assert lines[-2].startswith(
        "ok     lineage.json: agrees: qwen3, reasoning parser qwen3, tool parser hermes, stops"
    )
    assert lines[-1] == "all 9 checks passed"


def test_check_ends_with_1_and_says_what_to_do(capsys, saved):
    change(saved / "generation_config.json", temperature=0.6, max_new_tokens=2048)
    status, out = run(capsys, "check", str(saved))
    assert status == 1
    assert (
        "WRONG  other fields of generation_config.json: found max_new_tokens, temperature; expected none. They become "
        "the server's defaults, unasked: remove them."
    ) in out
    assert out.endswith("1 of 9 failed\n")


def _edit_template(saved):
    path = saved / "chat_template.jinja"
    path.write_text(path.read_text(encoding="utf-8") + "{# edited #}", encoding="utf-8")


def _second_template(saved):
    change(saved / "tokenizer_config.json", chat_template="{{ messages }}")


def _more_templates(saved):
    (saved / "additional_chat_templates").mkdir()
    (saved / "additional_chat_templates" / "tool_use.jinja").write_text("{{ messages }}")


def _special_tags(saved):
    path = saved / "tokenizer.json"
    value = json.loads(path.read_text(encoding="utf-8"))
    for token in value["added_tokens"]:
        token["special"] |= token["content"] == "</think>"
    path.write_text(json.dumps(value), encoding="utf-8")


FAULTS = {
    "edited": (
        _edit_template,
        [
            "chat template: found chat_template.jinja is the model's own (its prompts are those of qwen3); "
            "expected qwen3, as lineage.json says",
            "lineage.json: found name qwen3; expected name the model's own, as the files have it",
        ],
    ),
    "second": (
        _second_template,
        ["chat_template in tokenizer_config.json: found another text; expected none, or that of chat_template.jinja"],
    ),
    "more": (_more_templates, ["other chat templates: found additional_chat_templates/tool_use.jinja; expected none"]),
    "eos": (
        lambda saved: change(saved / "tokenizer_config.json", eos_token="<|endoftext|>"),
        ["eos token: found <|endoftext|>; expected <|im_end|>, which ends a turn of this template. Answers would not"],
    ),
    "pad": (
        lambda saved: change(saved / "tokenizer_config.json", pad_token="<|endoftext|>"),
        ["pad token: found <|endoftext|>; expected a token that ends no turn. A padded end of turn is never learnt"],
    ),
    "tags": (_special_tags, ["think tags: found </think> special; expected tokens that are not special"]),
    "stops": (
        lambda saved: change(saved / "generation_config.json", eos_token_id=0),
        [
            "stops in generation_config.json: found eos_token_id [0]; expected eos_token_id with 2 <|im_end|>, 0",
            "lineage.json: found stops [0, 2]; expected stops [0]",
        ],
    ),
    "no stops": (
        lambda saved: (saved / "generation_config.json").unlink(),
        ["stops in generation_config.json: found no file; expected", "lineage.json: found stops [0, 2]"],
    ),
    "parser": (
        lambda saved: change(saved / "lineage.json", template={"name": "qwen", "stops": [2, 0]}),
        ["lineage.json: found name qwen, reasoning_parser None, tool_parser None; expected name qwen3, reasoning_"],
    ),
    "none": (
        lambda saved: (saved / "chat_template.jinja").unlink(),
        ["chat template: found none; expected chat_template.jinja. Is it a base model?"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("spoil", "expected"), FAULTS.values(), ids=FAULTS)
def test_check_finds_what_was_spoilt(saved, spoil, expected):
    spoil(saved)
    found = wrong(saved)
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(f"WRONG  {start}")


def test_check_of_a_directory_of_someone_elses(saved):
    (saved / "lineage.json").unlink()
    _edit_template(saved)
    change(saved / "tokenizer_config.json", chat_template=(saved / "chat_template.jinja").read_text(encoding="utf-8"))
    found = {finding.what: finding.line() for finding in checks(str(saved))}
    assert (
        found["chat template"]
        == "ok     chat template: chat_template.jinja is the model's own (its prompts are those of qwen3)"
    )
    assert found["lineage.json"] == "ok     lineage.json: no lineage.json: not made by bedside, nothing to compare"
    assert found["chat_template in tokenizer_config.json"].startswith("ok ")


def test_show_a_directory_shows_what_it_saves(capsys, saved):
    status, out = run(capsys, "show", str(saved), "--tool_format", "none")
    assert status == 0
    assert out.startswith("qwen3: an example; ")
    assert "ids: " in out
    assert f"file:              {saved}/chat_template.jinja" in out


def test_parity_is_handed_on(monkeypatch):
    from bedside import parity

    monkeypatch.setattr(parity, "main", lambda rest: rest)
    assert command.main(["parity", "--help", "x"]) == ["--help", "x"]


def test_the_documents_table_is_current(repo):
    """`python -m bedside.templates list --markdown docs/templates.md` writes it."""
    text = (repo / "docs" / "templates.md").read_text(encoding="utf-8")
    table = text.partition("<!-- list -->\n\n")[2].partition("\n\n<!-- /list -->")[0]
    assert table.splitlines() == template_view.registry_markdown()


def test_list_writes_the_table_into_a_document(tmp_path, capsys):
    document = tmp_path / "d.md"
    with pytest.raises(ConfigError, match="no such file; give a file with <!-- list --> and <!-- /list --> in it"):
        command.main(["list", "--markdown", str(document)])
    document.write_text("a\n<!-- list -->\nold\n<!-- /list -->\nb\n")
    assert command.main(["list", "--markdown", str(document)]) == 0
    text = document.read_text(encoding="utf-8")
    assert text.startswith("a\n<!-- list -->\n\n| name | for |")
    assert text.endswith(" |\n\n<!-- /list -->\nb\n")
    assert "| `qwen3` | Qwen3, and any base that shall think first | hybrid | `<\\|im_end\\|>` | qwen |  |" in text
    assert "old" not in text
