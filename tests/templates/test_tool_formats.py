"""How tools, calls and results are written: each format word for word, in a template that has none of its own."""

import json

import pytest

from bedside import templates
from bedside.data.conversation import RowError

TOOL = {
    "type": "function",
    "function": {
        "name": "dose",
        "description": "查剂量",
        "parameters": {"type": "object", "properties": {"drug": {"type": "string"}}, "required": ["drug"]},
    },
}
JSON = json.dumps(TOOL, ensure_ascii=False)
FUNCTION = json.dumps(TOOL["function"], ensure_ascii=False)
CALLS = [
    {"type": "function", "function": {"name": "dose", "arguments": {"drug": "阿司匹林", "n": 2}}},
    {"type": "function", "function": {"name": "dose", "arguments": {"drug": "b"}}},
]
FIRST, SECOND = '{"drug": "阿司匹林", "n": 2}', '{"drug": "b"}'
# format -> (one call, two calls, one result)
WRITTEN = {
    "default": (
        f"Action: dose\nAction Input: {FIRST}",
        f"Action: dose\nAction Input: {FIRST}\nAction: dose\nAction Input: {SECOND}",
        "Observation: 100 mg",
    ),
    "qwen": (
        f'<tool_call>\n{{"name": "dose", "arguments": {FIRST}}}\n</tool_call>',
        f'<tool_call>\n{{"name": "dose", "arguments": {FIRST}}}\n</tool_call>\n'
        f'<tool_call>\n{{"name": "dose", "arguments": {SECOND}}}\n</tool_call>',
        "<tool_response>\n100 mg\n</tool_response>",
    ),
    "llama3": (
        f'{{"name": "dose", "parameters": {FIRST}}}',
        f'{{"name": "dose", "parameters": {FIRST}}}; {{"name": "dose", "parameters": {SECOND}}}',
        '"100 mg"',
    ),
    "mistral": (
        f'[TOOL_CALLS] [{{"name": "dose", "arguments": {FIRST}}}]',
        f'[TOOL_CALLS] [{{"name": "dose", "arguments": {FIRST}}}, {{"name": "dose", "arguments": {SECOND}}}]',
        '[TOOL_RESULTS] {"content": "100 mg"}[/TOOL_RESULTS]',
    ),
    "mistral_nemo": (
        f'[TOOL_CALLS][{{"name": "dose", "arguments": {FIRST}}}]',
        f'[TOOL_CALLS][{{"name": "dose", "arguments": {FIRST}}}, {{"name": "dose", "arguments": {SECOND}}}]',
        '[TOOL_RESULTS]{"content": "100 mg"}[/TOOL_RESULTS]',
    ),
    "glm4": (f"dose\n{FIRST}", None, "100 mg"),
    "deepseek": (
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>dose\n```json\n"
        f"{FIRST}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>dose\n```json\n"
        f"{FIRST}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>dose\n```json\n"
        f"{SECOND}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
        "<｜tool▁output▁begin｜>100 mg<｜tool▁output▁end｜>",
    ),
    "qwen3_5": (
        "<tool_call>\n<function=dose>\n<parameter=drug>\n阿司匹林\n</parameter>\n<parameter=n>\n2\n</parameter>\n"
        "</function>\n</tool_call>",
        "<tool_call>\n<function=dose>\n<parameter=drug>\n阿司匹林\n</parameter>\n<parameter=n>\n2\n</parameter>\n"
        "</function>\n</tool_call>\n<tool_call>\n<function=dose>\n<parameter=drug>\nb\n</parameter>\n</function>\n"
        "</tool_call>",
        "<tool_response>\n100 mg\n</tool_response>",
    ),
    "glm4_moe": (
        "<tool_call>dose\n<arg_key>drug</arg_key>\n<arg_value>阿司匹林</arg_value>\n<arg_key>n</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>",
        "<tool_call>dose\n<arg_key>drug</arg_key>\n<arg_value>阿司匹林</arg_value>\n<arg_key>n</arg_key>\n"
        "<arg_value>2</arg_value>\n</tool_call>\n<tool_call>dose\n<arg_key>drug</arg_key>\n"
        "<arg_value>b</arg_value>\n</tool_call>",
        "<tool_response>\n100 mg\n</tool_response>",
    ),
}
# What each format must say of the tool itself.
DEFINED = {
    "default": f"- dose: 查剂量\n  input: {json.dumps(TOOL['function']['parameters'])}\n",
    "qwen": f"<tools>\n{JSON}\n</tools>",
    "llama3": json.dumps(TOOL, ensure_ascii=False, indent=4),
    "mistral": f"[AVAILABLE_TOOLS] [{JSON}][/AVAILABLE_TOOLS]",
    "mistral_nemo": f"[AVAILABLE_TOOLS][{JSON}][/AVAILABLE_TOOLS]",
    "glm4": f"# 可用工具\n\n## dose\n\n{json.dumps(TOOL['function'], ensure_ascii=False, indent=4)}\n在调用",
    "deepseek": f"- `dose`:\n```json\n{FUNCTION}\n```",
    "qwen3_5": f"<tools>\n{JSON}\n</tools>",
    "glm4_moe": f"<tools>\n{JSON}\n</tools>",
}


def test_every_format_is_tested():
    assert set(WRITTEN) == set(DEFINED) == set(templates.TOOL_FORMATS)


def chat(calls, content="", results=1):
    return [
        {"role": "system", "content": "系统"},
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": content, "tool_calls": calls},
        *[{"role": "tool", "content": "100 mg"}] * results,
        {"role": "assistant", "content": "a"},
    ]


@pytest.mark.parametrize("tool_format", WRITTEN)
def test_calls_results_and_definitions(tool_format):
    one, two, result = WRITTEN[tool_format]
    row = templates.get("chatml", tool_format)
    text, spans = row.render(chat(CALLS[:1]), [TOOL])
    assert text.startswith("<|im_start|>system\n系统\n\n" if tool_format != "none" else "")
    assert DEFINED[tool_format] in text.split("<|im_end|>")[0]
    assert text[spans[0][0] : spans[0][1]] == f"{one}<|im_end|>"
    assert f"<|im_start|>user\n{result}<|im_end|>\n<|im_start|>assistant\na<|im_end|>" in text
    if two is None:
        with pytest.raises(RowError, match="E_TEMPLATE the tool format glm4 takes one call a turn"):
            row.render(chat(CALLS), [TOOL])
    else:
        text, spans = row.render(chat(CALLS, "我查。", results=2), [TOOL])
        gap = {"mistral": "", "mistral_nemo": "", "deepseek": "", "qwen3_5": "\n\n"}.get(tool_format, "\n")
        assert text[spans[0][0] : spans[0][1]] == f"我查。{gap}{two}<|im_end|>"
        assert f"<|im_start|>user\n{result}\n{result}<|im_end|>\n" in text


@pytest.mark.parametrize("tool_format", templates.TOOL_FORMATS)
@pytest.mark.parametrize("name", sorted(templates.REGISTRY))
def test_every_template_takes_every_format(name, tool_format):
    """The call is trained, the tool and its result stand in the prompt, and the prompt is a prefix."""
    row = templates.get(name, tool_format)
    tokens = {"bos_token": "<s>", "eos_token": "</s>"}
    messages = chat(CALLS[:1])
    for end in (3, 5):
        thinks = {"enable_thinking": False} if row.thinking != "none" else {}
        prompt = row.render(messages[: end - 1], [TOOL], add_generation_prompt=True, **tokens, **thinks).text
        text, spans = row.render(messages[:end], [TOOL], **tokens, **thinks)
        assert text[: spans[-1][0]] == prompt
        trained = text[slice(*spans[-1])]
        assert (WRITTEN[tool_format][0] if end == 3 else "a") in trained
        assert trained.endswith(templates.turn_ends_of(row, tokens))
        assert "dose" in prompt
        assert end == 3 or "100 mg" in prompt


def test_arguments_as_a_json_string_are_written_as_they_are():
    call = {"function": {"name": "dose", "arguments": '{"drug":"b"}'}}
    assert '"arguments": {"drug":"b"}}' in templates.get("qwen").render(chat([call])).text


def test_formats_that_a_server_can_read_name_its_parser():
    assert templates.TOOL_FORMATS == {
        "default": None,
        "qwen": "hermes",
        "llama3": "llama3_json",
        "mistral": "mistral",
        "mistral_nemo": "mistral",
        "glm4": None,
        "deepseek": "deepseek_v3",
        "qwen3_5": "qwen3_xml",
        "glm4_moe": "glm45",
    }
