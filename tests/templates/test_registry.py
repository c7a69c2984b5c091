"""The registry: names, what each row says about itself, and what no template file may hold."""

import re

import pytest

from bedside import templates
from bedside.errors import ConfigError

NAMES = sorted(templates.REGISTRY)


def test_names_and_aliases():
    assert NAMES == ["alpaca", "chatml", "deepseek", "llama3", "qwen", "qwen3", "vicuna"]
    assert templates.get("qwen2_5") is templates.get("qwen")
    assert templates.get("deepseekr1") is templates.get("deepseek")
    aliases = [alias for row in templates.REGISTRY.values() for alias in (row.name, *row.aliases)]
    assert len(aliases) == len(set(aliases))


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ConfigError, match="--template_name Qwen_3: no such template; did you mean qwen3\\? known: "):
        templates.get("Qwen_3")


@pytest.mark.parametrize(
    ("name", "value"),
    [("alpaca", True), ("chatml", True), ("llama3", True), ("qwen", True), ("vicuna", True)]
    + [("deepseek", False), ("qwen3", False)],
)
def test_single_pass_is_computed(name, value):
    assert templates.single_pass(templates.get(name)) is value


@pytest.mark.parametrize("name", NAMES)
def test_files_hold_no_dates_and_no_default_system(name):
    source = templates.get(name).source
    assert "strftime_now" not in source
    text = templates.get(name).render([{"role": "user", "content": "?"}], bos_token="", eos_token="<e>").text
    assert not re.search("You are|system|helpful|Alibaba|cutoff", text, re.IGNORECASE)


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
    assert text[spans[0][0] : spans[0][1]].strip() == "a" + templates.turn_end_of(row, tokens)


@pytest.mark.parametrize("name", NAMES)
def test_bos_stands_once_in_front_or_nowhere(name):
    tokens = {"bos_token": "<b>", "eos_token": "<e>"}
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    text = templates.get(name).render([*chat, *chat], **tokens).text
    assert text.count("<b>") == (1 if name in ("alpaca", "deepseek", "llama3", "vicuna") else 0)
    assert text.startswith("<b>") or "<b>" not in text
    without = templates.get(name).render([*chat, *chat], bos_token=None, eos_token="<e>").text
    assert "None" not in without
    assert without == text.removeprefix("<b>")


def test_own_recognises_our_files_and_reads_thinking_off_the_text():
    assert templates.own(templates.get("qwen3").source + "\n") is templates.get("qwen3")
    assert templates.own("{{ messages }}").thinking == "none"
    assert templates.own("{{ m.reasoning_content }}").thinking == "hybrid"
    assert templates.own("{{ m.content.split('</think>')[-1] }}").thinking == "hybrid"
    assert templates.own("x").turn_end == "eos_token"


def test_fitting_names_the_familys_templates_first():
    chatml = {"<|im_start|>", "<|im_end|>"}
    assert templates.fitting(chatml.__contains__) == ["qwen", "qwen3", "chatml", "deepseek", "vicuna", "alpaca"]
    assert templates.fitting(lambda token: False) == ["deepseek", "vicuna", "alpaca"]
