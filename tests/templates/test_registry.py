"""The registry: names, what each row says about itself, and what no template file may hold."""

import re

import pytest

from bedside import templates
from bedside.errors import ConfigError
from bedside.templates.template import format_of

NAMES = sorted(templates.REGISTRY)


def test_names_and_aliases():
    assert len(NAMES) == 49
    assert templates.get("qwen2_5") is templates.get("qwen")
    assert templates.get("deepseekr1") is templates.get("deepseek")
    aliases = [alias for row in templates.REGISTRY.values() for alias in (row.name, *row.aliases)]
    assert len(aliases) == len(set(aliases))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="--template_name Qwen_3: no such template; did you mean qwen3\\? \\(python"):
        templates.get("Qwen_3")
    with pytest.raises(ConfigError, match="xyzzy: no such template; known: qwen, .*docs/templates.md how to add one"):
        templates.get("xyzzy")


REWRITE_HISTORY = {"baichuan", "baichuan2", "chatglm", "chatglm2", "deepseek", "glm4_moe", "qwen3", "qwen3_5",
                   "qwen3_5_nothink", "qwen3_thinking"}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_single_pass_is_computed(name):
    assert templates.single_pass(templates.get(name)) is (name not in REWRITE_HISTORY)


@pytest.mark.parametrize("name", NAMES)
def test_files_write_no_dates(name):
    assert "strftime_now" not in templates.get(name).source
    assert "date_string" not in templates.get(name).source


def wrapped_blocks(source):
    """How many generation blocks stand inside a macro, a call, a filter or a set block."""
    depth = wrapped = 0
    for keyword, rest in re.findall(r"\{%-?\s*(\w+)([^%]*)%\}", source):
        depth += keyword in ("macro", "call", "filter") or (keyword == "set" and "=" not in rest)
        depth -= keyword in ("endmacro", "endcall", "endfilter", "endset")
        wrapped += keyword == "generation" and depth > 0
    return wrapped


def test_wrapped_blocks_are_seen():
    assert wrapped_blocks("{% macro a(x) %}{%- generation -%}{% endgeneration %}{% endmacro %}") == 1
    assert wrapped_blocks("{% set a %}{% generation %}{% endgeneration %}{% endset %}") == 1
    assert wrapped_blocks("{% set a = 1 %}{% generation %}{% endgeneration %}") == 0


@pytest.mark.parametrize("name", NAMES)
def test_generation_blocks_stand_outside_macros_and_set_blocks(name):
    """transformers counts characters from the last emitted block: inside one of these its mask would be wrong."""
    assert len(re.findall(r"\{%-? generation", templates.get(name).source)) == 1
    assert wrapped_blocks(templates.get(name).source) == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_trained_span_ends_with_the_turn_end(name):
    row, tokens = templates.get(name), {"bos_token": "<b>", "eos_token": "<e>"}
    text, spans = row.render([{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}], **tokens)
    trained = text[spans[0][0] : spans[0][1]]
    gap = {"llama2": " ", "deepseek_coder": "\n"}.get(name, "")
    assert trained.strip() == "a" + gap + templates.turn_end_of(row, tokens)


NO_BOS = {"baichuan", "baichuan2", "chatglm", "chatglm2", "chatglm3", "chatml", "glm4", "glm4_moe", "phi3", "phi4",
          "qwen", "qwen3", "qwen3_5", "qwen3_5_nothink", "qwen3_instruct", "qwen3_thinking", "qwen_default",
          "stablelm", "starchat", "xverse", "yi", "zephyr"}  # fmt: skip
SEVERAL_BOS = {"llama2": 2, "phoenix": 4}  # officially one in front of every question; of everything that is said


@pytest.mark.parametrize("name", NAMES)
def test_bos_stands_once_in_front_or_nowhere(name):
    tokens = {"bos_token": "<b>", "eos_token": "<e>"}
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    text = templates.get(name).render([*chat, *chat], **tokens).text
    assert text.count("<b>") == SEVERAL_BOS.get(name, 0 if name in NO_BOS else 1)
    assert text.startswith(("<b>", "Human: <b>") if name == "phoenix" else "<b>") or name in NO_BOS
    without = templates.get(name).render([*chat, *chat], bos_token=None, eos_token="<e>").text
    assert "None" not in without
    assert without == text.replace("<b>", "")


def test_own_recognises_our_files_and_reads_thinking_off_the_text():
    assert templates.own(templates.get("qwen3").source + "\n") is templates.get("qwen3")
    assert templates.own("{{ messages }}").thinking == "none"
    assert templates.own("{{ m.reasoning_content }}").thinking == "hybrid"
    assert templates.own("{{ m.content.split('</think>')[-1] }}").thinking == "hybrid"
    assert templates.own("x").turn_end == "eos_token"


def test_own_recognises_a_swapped_tool_format():
    swapped = templates.get("chatml", "qwen")
    assert (swapped.name, swapped.tool_format, swapped.tool_parser) == ("chatml", "qwen", "hermes")
    assert templates.own(swapped.source) == swapped
    assert templates.get("qwen", "qwen") is templates.get("qwen")
    assert templates.own(templates.get("qwen", "none").source).tool_format is None
    altered = swapped.source.replace("You may call one", "You must call one")
    assert templates.own(altered).name == "the model's own"


def test_an_unknown_tool_format_is_refused():
    with pytest.raises(ConfigError, match="--tool_format hermes: no such format; known: default, qwen, llama3"):
        templates.get("qwen", "hermes")


@pytest.mark.parametrize("name", NAMES)
def test_the_tool_format_of_a_file_is_that_of_the_formats_own_file(name):
    """Each file is complete, so that a server can be given it; what they share is held equal here."""
    assert format_of(templates.get(name).source) in (*templates.TOOL_FORMATS, "none")


@pytest.mark.parametrize("name", NAMES)
def test_the_blocks_of_text_and_control_tokens_are_the_same_in_all_files(name):
    macro = re.compile(r"\{%- macro text.*?endmacro -%\}\n")
    assert macro.search(templates.get(name).source).group() == macro.search(templates.get("qwen").source).group()


def test_every_stand_in_leads_to_a_row_and_has_a_reason():
    for name, (target, reason) in templates.STAND_INS.items():
        assert name not in templates.REGISTRY
        assert templates.get(name) is templates.REGISTRY[target]
        assert reason


def test_fitting_names_the_familys_templates_first():
    chatml = {"<|im_start|>", "<|im_end|>"}
    fits = templates.fitting(chatml.__contains__)
    assert fits[:3] == ["qwen", "qwen_default", "qwen3"]
    assert "llama3" not in fits
    assert templates.fitting(lambda token: False)[:2] == ["deepseek", "deepseek3"]
