"""Exact texts, exact spans, and what serving rests on: the prompt is the beginning of what was trained."""

import itertools

import pytest

from bedside import templates
from bedside.data.conversation import RowError
from bedside.templates.render import compiled, render

NAMES = sorted(templates.REGISTRY)
NO_TOOLS = [name for name in NAMES if templates.get(name).tool_format is None]
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
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


def rendered(name, messages, tools=None, **variables):
    return templates.get(name).render(messages, tools, **TOKENS, **variables)


# What every template makes of SHORT; ⟦what is trained⟧ where one pass trains it, and what else is an assistant's.
SHORT = [
    {"role": "system", "content": "系统"},
    {"role": "user", "content": "问"},
    {"role": "assistant", "content": "答"},
    {"role": "user", "content": "又问"},
    {"role": "assistant", "content": "又答"},
]
MARKED = {
    "qwen": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n⟦又答<|im_end|>⟧\n",
    "qwen_default": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n⟦又答<|im_end|>⟧\n",
    "qwen3": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    "⟦又答<|im_end|>⟧\n",
    "qwen3_thinking": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    "⟦又答<|im_end|>⟧\n",
    "qwen3_instruct": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n⟦又答<|im_end|>⟧\n",
    "qwen3_5": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    "⟦又答<|im_end|>⟧\n",
    "qwen3_5_nothink": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    "⟦又答<|im_end|>⟧\n",
    "deepseek": "<s>系统<｜User｜>问<｜Assistant｜>⟦答</s>⟧<｜User｜>又问<｜Assistant｜><think>\n\n</think>\n\n"
    "⟦又答</s>⟧",
    "deepseek3": "<s>系统<｜User｜>问<｜Assistant｜>⟦答</s>⟧<｜User｜>又问<｜Assistant｜>⟦又答</s>⟧",
    "deepseek_llm": "<s>系统\n\nUser: 问\n\nAssistant:⟦ 答</s>⟧User: 又问\n\nAssistant:⟦ 又答</s>⟧",
    "deepseek_coder": "<s>系统### Instruction:\n问\n### Response:\n⟦答\n<|EOT|>⟧\n### Instruction:\n又问\n"
    "### Response:\n"
    "⟦又答\n<|EOT|>⟧\n",
    "llama2": "<s>[INST] <<SYS>>\n系统\n<</SYS>>\n\n问 [/INST]⟦ 答 </s>⟧<s>[INST] 又问 [/INST]⟦ 又答 </s>⟧",
    "llama3": "<s><|start_header_id|>system<|end_header_id|>\n\n"
    "系统<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "问<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦答<|eot_id|>⟧"
    "<|start_header_id|>user<|end_header_id|>\n\n"
    "又问<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦又答<|eot_id|>⟧",
    "llama3_1": "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n系统<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "问<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦答<|eot_id|>⟧"
    "<|start_header_id|>user<|end_header_id|>\n\n"
    "又问<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦又答<|eot_id|>⟧",
    "llama3_2": "<s><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
    "Today Date: 26 Jul 2024\n\n系统<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n"
    "问<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦答<|eot_id|>⟧"
    "<|start_header_id|>user<|end_header_id|>\n\n"
    "又问<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n⟦又答<|eot_id|>⟧",
    "mistral_v1": "<s>[INST] 系统\n\n问 [/INST]⟦答</s>⟧[INST] 又问 [/INST]⟦又答</s>⟧",
    "mistral": "<s>[INST] 系统\n\n问[/INST]⟦ 答</s>⟧[INST] 又问[/INST]⟦ 又答</s>⟧",
    "mistral_nemo": "<s>[INST]系统\n\n问[/INST]⟦答</s>⟧[INST]又问[/INST]⟦又答</s>⟧",
    "mistral_small": "<s>[SYSTEM_PROMPT]系统[/SYSTEM_PROMPT][INST]问[/INST]⟦答</s>⟧[INST]又问[/INST]⟦又答</s>⟧",
    "gemma": "<s><start_of_turn>user\n系统\n\n问<end_of_turn>\n<start_of_turn>model\n⟦答<end_of_turn>⟧\n"
    "<start_of_turn>user\n又问<end_of_turn>\n<start_of_turn>model\n⟦又答<end_of_turn>⟧\n",
    "gemma3": "<s><start_of_turn>user\n系统\n\n问<end_of_turn>\n<start_of_turn>model\n⟦答<end_of_turn>⟧\n"
    "<start_of_turn>user\n又问<end_of_turn>\n<start_of_turn>model\n⟦又答<end_of_turn>⟧\n",
    "phi3": "<|system|>\n系统<|end|>\n<|user|>\n问<|end|>\n<|assistant|>\n⟦答<|end|>⟧\n<|user|>\n又问<|end|>\n"
    "<|assistant|>\n⟦又答<|end|>⟧\n",
    "phi4": ""
    "<|im_start|>system<|im_sep|>系统<|im_end|><|im_start|>user<|im_sep|>问<|im_end|><|im_start|>assistant<|im_sep|>⟦答<|im_end|>⟧"
    "<|im_start|>user<|im_sep|>又问<|im_end|><|im_start|>assistant<|im_sep|>⟦又答<|im_end|>⟧",
    "glm4": "[gMASK]<sop><|system|>\n系统<|user|>\n问<|assistant|>\n⟦答<|user|>⟧\n又问<|assistant|>\n⟦又答<|user|>⟧",
    "glm4_moe": "[gMASK]<sop><|system|>\n系统<|user|>\n问<|assistant|>\n<think></think>⟦\n答<|user|>⟧\n"
    "又问<|assistant|>\n<think></think>⟦\n又答<|user|>⟧",
    "chatglm": "系统\n[Round 0]\n问：问\n答：⟦答⟧\n[Round 1]\n问：又问\n答：⟦又答</s>⟧",
    "chatglm2": "系统\n\n[Round 1]\n\n问：问\n\n答：⟦答⟧\n\n[Round 2]\n\n问：又问\n\n答：⟦又答</s>⟧",
    "chatglm3": "[gMASK]sop<|system|>\n 系统<|user|>\n 问<|assistant|>⟦\n 答<|user|>⟧\n 又问<|assistant|>⟦\n"
    " 又答<|user|>⟧",
    "baichuan": "系统<reserved_102>问<reserved_103>⟦答⟧<reserved_102>又问<reserved_103>⟦又答</s>⟧",
    "baichuan2": "系统<reserved_106>问<reserved_107>⟦答⟧<reserved_106>又问<reserved_107>⟦又答</s>⟧",
    "intern": "<s><|System|>:系统\n<|User|>:问<eoh>\n<|Bot|>:⟦答<eoa>⟧\n<|User|>:又问<eoh>\n<|Bot|>:⟦又答<eoa>⟧\n",
    "intern2": "<s><|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n⟦又答<|im_end|>⟧\n",
    "yi": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n⟦又答<|im_end|>⟧\n",
    "chatml": "<|im_start|>system\n系统<|im_end|>\n<|im_start|>user\n问<|im_end|>\n<|im_start|>assistant\n"
    "⟦答<|im_end|>⟧\n<|im_start|>user\n又问<|im_end|>\n<|im_start|>assistant\n⟦又答<|im_end|>⟧\n",
    "zephyr": "<|system|>\n系统</s>\n<|user|>\n问</s>\n<|assistant|>\n⟦答</s>⟧\n<|user|>\n又问</s>\n<|assistant|>\n"
    "⟦又答</s>⟧\n",
    "cohere": ""
    "<s><|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>系统<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|USER_TOKEN|>问<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>⟦答<|END_OF_TURN_TOKEN|>⟧"
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>又问<|END_OF_TURN_TOKEN|><|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>⟦又答<|END_OF_TURN_TOKEN|>⟧"
    "",
    "starchat": "<|system|>\n系统<|end|>\n<|user|>\n问<|end|>\n<|assistant|>\n⟦答<|end|>⟧\n<|user|>\n又问<|end|>\n"
    "<|assistant|>\n⟦又答<|end|>⟧\n",
    "stablelm": "<|SYSTEM|>系统<|USER|>问<|ASSISTANT|>⟦答</s>⟧<|USER|>又问<|ASSISTANT|>⟦又答</s>⟧",
    "xverse": "系统\n\nHuman: 问\n\nAssistant:⟦ 答</s>⟧Human: 又问\n\nAssistant:⟦ 又答</s>⟧",
    "orion": "<s>系统\n\nHuman: 问\n\nAssistant: </s>⟦答</s>⟧Human: 又问\n\nAssistant: </s>⟦又答</s>⟧",
    "aquila": "<s>系统###Human: 问###Assistant:⟦ 答</s>⟧###Human: 又问###Assistant:⟦ 又答</s>⟧",
    "phoenix": "系统\n\nHuman: <s>问</s>Assistant: <s>⟦答</s>⟧Human: <s>又问</s>Assistant: <s>⟦又答</s>⟧",
    "openbuddy": "<s>系统\n\nUser: 问\nAssistant:⟦ 答</s>⟧\nUser: 又问\nAssistant:⟦ 又答</s>⟧\n",
    "belle": "<s>系统\n\nHuman: 问\n\nBelle:⟦ 答</s>⟧\n\nHuman: 又问\n\nBelle:⟦ 又答</s>⟧",
    "ziya": "<s>系统\n<human>:问\n<bot>:⟦答</s>⟧\n<human>:又问\n<bot>:⟦又答</s>⟧\n",
    "linly": "<s>系统\nUser: 问\nBot:⟦ 答</s>⟧\nUser: 又问\nBot:⟦ 又答</s>⟧\n",
    "vicuna": "<s>系统 USER: 问 ASSISTANT:⟦ 答</s>⟧USER: 又问 ASSISTANT:⟦ 又答</s>⟧",
    "alpaca": "<s>系统\n\n### Instruction:\n问\n\n### Response:\n⟦答</s>⟧\n\n### Instruction:\n又问\n\n"
    "### Response:\n⟦又答</s>⟧",
    "base": "<s>系统\n问\n⟦答</s>⟧\n又问\n⟦又答</s>⟧",
}


def marked(text, spans):
    pieces, position = [], 0
    for start, end in spans:
        pieces += [text[position:start], "⟦", text[start:end], "⟧"]
        position = end
    return "".join([*pieces, text[position:]])


@pytest.mark.parametrize("name", NAMES)
def test_text_and_spans(name):
    assert marked(*rendered(name, SHORT)) == MARKED[name]


@pytest.mark.parametrize("name", NAMES)
def test_without_a_system_message_there_is_none(name):
    without = rendered(name, SHORT[1:]).text
    if name == "qwen_default":
        assert without == MARKED["qwen"].replace("系统", "You are Qwen, created by Alibaba Cloud. You are a helpful "
                                                 "assistant.").replace("⟦", "").replace("⟧", "")  # fmt: skip
        return
    assert "系统" not in without
    assert without == rendered(name, [{"role": "system", "content": " \n"}, *SHORT[1:]]).text
    assert all(word not in without for word in ("You are", "assistant.", "helpful"))


THOUGHT_OF_LAST = {
    "qwen3": "⟦<think>\n想\n</think>\n\n又答<|im_end|>⟧\n",
    "qwen3_thinking": "<think>\n⟦想\n</think>\n\n又答<|im_end|>⟧\n",
    "qwen3_5": "<think>\n⟦想\n</think>\n\n又答<|im_end|>⟧\n",
    "qwen3_5_nothink": "<think>\n⟦想\n</think>\n\n又答<|im_end|>⟧\n",
    "deepseek": "<think>\n⟦想\n</think>\n\n又答</s>⟧",
    "glm4_moe": "⟦\n<think>想</think>\n又答<|user|>⟧",
}


@pytest.mark.parametrize("name", [name for name in NAMES if templates.get(name).thinking != "none"])
def test_the_last_thought_is_trained_and_earlier_ones_are_left_out(name):
    chat = [
        *SHORT[:2],
        {**SHORT[2], "reasoning_content": "旧想"},
        SHORT[3],
        {**SHORT[4], "reasoning_content": " 想\n"},
    ]
    text = marked(*rendered(name, chat, enable_thinking=True))
    assert text.endswith(THOUGHT_OF_LAST[name])
    assert "旧想" not in text
    inline = [*SHORT[:4], {"role": "assistant", "content": "<think>\n想\n</think>\n\n又答"}]
    assert marked(*rendered(name, inline, enable_thinking=True)) == text


def test_an_answer_without_a_thought_is_trained_behind_the_closed_block():
    for name in ("qwen3", "qwen3_thinking", "qwen3_5", "qwen3_5_nothink", "deepseek"):
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
        if templates.get(name).thinking != "none":
            switches = {"enable_thinking": bool(message.get("reasoning_content"))}
        prompt = rendered(name, messages[:index], tools, add_generation_prompt=True, **switches).text
        whole = rendered(name, messages[: index + 1], tools, **switches)
        assert whole.text.startswith(prompt)
        start, end = whole.spans[-1]
        assert start == len(prompt)
        assert whole.text[start:end].endswith(templates.turn_ends_of(templates.get(name), TOKENS))
        assert whole.text[end:] in ("", "\n")


@pytest.mark.parametrize("messages", _shapes())
@pytest.mark.parametrize("name", NAMES)
def test_the_prompt_is_the_beginning_of_what_is_trained(name, messages):
    _prompt_is_a_prefix(name, messages)


@pytest.mark.parametrize("content", ["", None, "我查一下。"])
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NO_TOOLS])
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
    with pytest.raises(RowError, match="E_TEMPLATE this template has no tool format of its own; add --tool_format"):
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
