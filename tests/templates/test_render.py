"""Exact texts, exact spans, and what serving rests on: the prompt is the beginning of what was trained."""

import itertools
import json
from pathlib import Path

import pytest

from bedside import templates
from bedside.data.conversation import RowError
from bedside.templates.render import compiled, render

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "templates" / "texts.json").read_text(encoding="utf-8"))
NAMES = sorted(templates.REGISTRY)
NO_TOOLS = [name for name in NAMES if name not in ("qwen", "qwen3")]
TOKENS = {
    "deepseek": {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"},
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "vicuna": {"bos_token": "<s>", "eos_token": "</s>"},
    "alpaca": {"bos_token": "<s>", "eos_token": "</s>"},
}
SYSTEM = {"role": "system", "content": "你是一名专业的医生助手。"}
CHAT = [
    {"role": "user", "content": "头晕怎么办？"},
    {"role": "assistant", "content": "建议先测量血压。"},
    {"role": "user", "content": "需要吃药吗？"},
    {"role": "assistant", "content": "请先就医检查。"},
]
THOUGHTS = [CHAT[0], {**CHAT[1], "reasoning_content": "先排除低血压。"}, CHAT[2]]
THOUGHTS += [{**CHAT[3], "reasoning_content": "用药需要诊断。"}]
CALL = {"type": "function", "function": {"name": "drug_lookup", "arguments": {"name": "阿司匹林"}}}
SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TOOLS = [{"type": "function", "function": {"name": "drug_lookup", "description": "查询药品", "parameters": SCHEMA}}]
TOOL_CHAT = [
    {"role": "user", "content": "阿司匹林怎么吃？"},
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "100mg 每日一次"},
    {"role": "assistant", "content": "请遵医嘱。"},
]
# golden entry -> (template, messages after the system message, tools, switches)
CASES = {
    "qwen": ("qwen", CHAT, None, {}),
    "qwen3": ("qwen3", CHAT, None, {}),
    "qwen3@nothink": ("qwen3", CHAT, None, {"enable_thinking": False}),
    "qwen3@think": ("qwen3", THOUGHTS, None, {}),
    "qwen3@think_turn1": ("qwen3", THOUGHTS[:2], None, {}),
    "qwen3@tools": ("qwen3", TOOL_CHAT, TOOLS, {}),
    "deepseek@train": ("deepseek", THOUGHTS, None, {}),
    "chatml": ("chatml", CHAT, None, {}),
    "llama3": ("llama3", CHAT, None, {}),
    "vicuna": ("vicuna", CHAT, None, {}),
    "alpaca": ("alpaca", CHAT, None, {}),
}


def rendered(name, messages, tools=None, **variables):
    return templates.get(name).render(messages, tools, **TOKENS.get(name, {"eos_token": "<|im_end|>"}), **variables)


@pytest.mark.parametrize("entry", CASES)
def test_the_text_is_the_official_one(entry):
    name, messages, tools, switches = CASES[entry]
    assert rendered(name, [SYSTEM, *messages], tools, **switches).text == GOLDEN[entry]["text"]


@pytest.mark.parametrize("entry", CASES)
def test_the_prompt_is_the_official_one(entry):
    name, messages, tools, switches = CASES[entry]
    prompt = rendered(name, [SYSTEM, *messages[:-1]], tools, add_generation_prompt=True, **switches)
    assert prompt.text == GOLDEN[entry]["prompt"]
    assert all(end <= len(prompt.text) for _, end in prompt.spans)


def test_r1_opens_the_thought_as_the_official_file_does():
    plain = rendered("deepseek", [SYSTEM, *CHAT[:-1]], add_generation_prompt=True)
    assert plain.text == GOLDEN["deepseek"]["prompt"]


WITHOUT_SYSTEM = {
    "qwen": "<|im_start|>user\n头晕怎么办？<|im_end|>\n<|im_start|>assistant\n",
    "qwen3": "<|im_start|>user\n头晕怎么办？<|im_end|>\n<|im_start|>assistant\n",
    "deepseek": "<｜begin▁of▁sentence｜><｜User｜>头晕怎么办？<｜Assistant｜><think>\n",
    "chatml": "<|im_start|>user\n头晕怎么办？<|im_end|>\n<|im_start|>assistant\n",
    "llama3": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n头晕怎么办？<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
    "vicuna": "<s>USER: 头晕怎么办？ ASSISTANT:",
    "alpaca": "<s>### Instruction:\n头晕怎么办？\n\n### Response:\n",
}


@pytest.mark.parametrize("name", NAMES)
def test_nobody_speaks_for_the_system_when_the_data_does_not(name):
    assert rendered(name, CHAT[:1], add_generation_prompt=True).text == WITHOUT_SYSTEM[name]


TRAINED = {
    "qwen": ["建议先测量血压。<|im_end|>", "请先就医检查。<|im_end|>"],
    "qwen3": ["建议先测量血压。<|im_end|>", "<think>\n用药需要诊断。\n</think>\n\n请先就医检查。<|im_end|>"],
    "deepseek": [
        "建议先测量血压。<｜end▁of▁sentence｜>",
        "用药需要诊断。\n</think>\n\n请先就医检查。<｜end▁of▁sentence｜>",
    ],
    "chatml": ["建议先测量血压。<|im_end|>", "请先就医检查。<|im_end|>"],
    "llama3": ["建议先测量血压。<|eot_id|>", "请先就医检查。<|eot_id|>"],
    "vicuna": [" 建议先测量血压。</s>", " 请先就医检查。</s>"],
    "alpaca": ["建议先测量血压。</s>", "请先就医检查。</s>"],
}


@pytest.mark.parametrize("name", NAMES)
def test_spans_are_answer_and_turn_end_and_nothing_else(name):
    text, spans = rendered(name, THOUGHTS if name in ("qwen3", "deepseek") else CHAT)
    assert [text[start:end] for start, end in spans] == TRAINED[name]


def test_an_answer_without_a_thought_is_trained_behind_the_closed_block():
    for name in ("qwen3", "deepseek"):
        text, spans = rendered(name, CHAT[:2], enable_thinking=False)
        start, end = spans[-1]
        assert text[:start].endswith("<think>\n\n</think>\n\n")
        assert text[start:end].startswith("建议先测量血压。")


def _shapes():
    """Chats that templates stumble over: blank lines, nothing in the system turn, braces, three turns."""
    odd = "\n\n  第一行\n\n第二行 {{ x }} {% if %} {0} %s \\n\u2028 "
    for system, turns, thought in itertools.product(
        (None, "", "\n系统{{}}\n"), ((CHAT[0]["content"], "好。"), (odd, odd)), (None, odd)
    ):
        messages = [] if system is None else [{"role": "system", "content": system}]
        for _ in range(3):
            messages.append({"role": "user", "content": turns[0]})
            messages.append({"role": "assistant", "content": turns[1]})
            if thought:
                messages[-1]["reasoning_content"] = thought
        yield messages


def _prompt_is_a_prefix(name, messages, tools=None):
    for index, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        switches = {}
        if templates.get(name).thinking != "none" and not message.get("reasoning_content"):
            switches = {"enable_thinking": False}
        prompt = rendered(name, messages[:index], tools, add_generation_prompt=True, **switches).text
        whole = rendered(name, messages[: index + 1], tools, **switches)
        assert whole.text.startswith(prompt)
        start, end = whole.spans[-1]
        # qwen3 opens the thought itself; everywhere else the trained span begins where the prompt ends.
        assert start == len(prompt)
        assert whole.text[start:end].endswith(templates.turn_end_of(templates.get(name), TOKENS.get(name, {})))
        assert whole.text[end:] in ("", "\n")


@pytest.mark.parametrize("messages", _shapes())
@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_is_the_beginning_of_what_is_trained(name, messages):
    _prompt_is_a_prefix(name, messages)


@pytest.mark.parametrize("content", ["", None, "我查一下。"])
@pytest.mark.parametrize("name", ["qwen", "qwen3"])
def test_the_prompt_is_the_beginning_with_tools(name, content):
    messages = [SYSTEM, TOOL_CHAT[0], {**TOOL_CHAT[1], "content": content}, *TOOL_CHAT[2:], *CHAT]
    _prompt_is_a_prefix(name, messages, TOOLS)


@pytest.mark.parametrize("name", NAMES)
def test_three_turns_read_the_same_as_history(name):
    """Where one pass trains every turn, the text of two turns is the beginning of the text of three."""
    if not templates.single_pass(templates.get(name)):
        pytest.skip("history is rewritten: N turns become N samples")
    chat = [*CHAT, {"role": "user", "content": "多久？"}, {"role": "assistant", "content": "两周。"}]
    two, three = rendered(name, chat[:4]), rendered(name, chat)
    assert three.spans[:2] == two.spans
    assert three.text.startswith(two.text[: two.spans[-1][1]])


@pytest.mark.parametrize("name", NO_TOOLS)
def test_a_template_without_a_tool_format_refuses_tool_rows(name):
    with pytest.raises(RowError, match=f"E_TEMPLATE template {name} has no tool format; use qwen or qwen3"):
        rendered(name, TOOL_CHAT)


def test_parallel_tool_calls_and_results():
    chat = [TOOL_CHAT[0], {**TOOL_CHAT[1], "tool_calls": [CALL, CALL]}, TOOL_CHAT[2], TOOL_CHAT[2], TOOL_CHAT[3]]
    call = '<tool_call>\n{"name": "drug_lookup", "arguments": {"name": "阿司匹林"}}\n</tool_call>'
    result = "<tool_response>\n100mg 每日一次\n</tool_response>"
    text = rendered("qwen", chat).text
    assert f"<|im_start|>assistant\n{call}\n{call}<|im_end|>\n<|im_start|>user\n{result}\n{result}<|im_end|>\n" in text


@pytest.mark.parametrize("name", NAMES)
def test_content_none_is_no_content(name):
    text = rendered(name, [{"role": "system", "content": None}, {"role": "user", "content": None}]).text
    assert "None" not in text


def test_without_a_thinking_mode_the_thought_stands_in_front_of_every_answer():
    text, spans = rendered("chatml", THOUGHTS)
    assert [text[start:end] for start, end in spans] == [
        "<think>\n先排除低血压。\n</think>\n\n建议先测量血压。<|im_end|>",
        "<think>\n用药需要诊断。\n</think>\n\n请先就医检查。<|im_end|>",
    ]


def test_spans_are_right_inside_macros_and_set_blocks():
    """transformers' own tracker trains the wrong tokens here, without a word."""
    source = (
        "{%- macro turn(m) -%}A:{%- generation -%}{{ m.content }}|{%- endgeneration -%}{%- endmacro -%}"
        "{%- for m in messages -%}{%- set x -%}Q{{ turn(m) }}{%- endset -%}{{ x }};{%- endfor -%}"
    )
    text, spans = render(source, [{"content": "one"}, {"content": "two"}])
    assert text == "QA:one|;QA:two|;"
    assert [text[start:end] for start, end in spans] == ["one|", "two|"]


@pytest.mark.parametrize("mark", ["\ufdd0", "\ufdd1"])
def test_text_cannot_forge_a_span(mark):
    with pytest.raises(RowError, match="W_SPECIAL a message holds U\\+FDD0 or U\\+FDD1"):
        rendered("qwen", [{"role": "user", "content": f"a{mark}b"}])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('no system here') }}", "E_TEMPLATE no system here"),
        ("{{ messages[0].content + 1 }}", r"E_TEMPLATE the template fails on this row \(TypeError\)"),
        ("{{ messages[9].content.x }}", "E_TEMPLATE the template fails on this row: .*no element 9"),
        ("{{ 1 / 0 }}", r"\(ZeroDivisionError\)"),
        ("{% for m in %}", "E_TEMPLATE the template fails on this row"),
        ("{{ strftime_now('%d') }}", "E_TEMPLATE the template writes today's date"),
        ("{{ ''.__class__.__mro__ }}", "E_TEMPLATE .*unsafe"),
    ],
)
def test_a_failing_template_is_a_row_fault(source, message):
    with pytest.raises(RowError, match=message):
        render(source, [{"role": "user", "content": "a"}])


def test_a_models_own_template_stays_in_the_sandbox():
    assert compiled("a").environment.sandboxed
    assert not compiled(templates.get("qwen").source, trusted=True).environment.sandboxed
    assert not templates.own("{{ messages }}").trusted


def test_a_models_own_template_may_read_thinking():
    own = templates.own("{% for m in messages %}{{ m.thinking }}|{{ m.content }}{% endfor %}")
    assert own.render([{"role": "assistant", "content": "a", "reasoning_content": "t"}]).text == "t|a"
