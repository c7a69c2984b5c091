"""Every template's text against the official one: equal, or different exactly where and because a line here says so.

tests/golden/templates/texts.json holds the official texts, how sure they are, and where they come from.
"""

import importlib.util
import json
from pathlib import Path

import pytest

from bedside import templates
from bedside.templates.render import render

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "templates" / "texts.json").read_text(encoding="utf-8"))
# Entries whose row has another name; gpt_oss (channels, today's date) has no row.
ROW = {"qwen3_instruct_2507": "qwen3_instruct", "qwen3_5_think": "qwen3_5", "phi3_5": "phi3"}
ENTRIES = [entry for entry in GOLDEN if entry != "gpt_oss"]
SYSTEM, EOS_DS = "你是一名专业的医生助手。", "<｜end▁of▁sentence｜>"
COMPANY = "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"

# (entry, which text) -> (a piece of the official text, what stands there in ours, why), one or several.
DIFFERENT = {
    ("qwen", "prompt_without_system"): [(COMPANY, "", "no default system prompt")],
    ("vicuna", "prompt_without_system"): [
        (GOLDEN["vicuna"]["prompt_without_system"].split("USER")[0][3:], "", "no default system prompt")
    ],
    ("alpaca", "prompt_without_system"): [
        (GOLDEN["alpaca"]["prompt_without_system"].split("###")[0][3:], "", "no default system prompt")
    ],
    ("mistral_small", "prompt_without_system"): [
        (
            GOLDEN["mistral_small"]["prompt_without_system"].split("[INST]")[0][3:],
            "",
            "no default system prompt with today's date",
        )
    ],
    ("deepseek", "text"): [
        (
            "<｜Assistant｜>请",
            "<｜Assistant｜><think>\n\n</think>\n\n请",
            "an answer without a thought is served closed",
        )
    ],
    ("deepseek@think", "text"): [
        ("\n\n建", "建", "answers are trimmed"),
        (
            "\n\n请",
            "<think>\n用药需要诊断。\n</think>\n\n请",
            "the official file deletes the thought that is to be trained",
        ),
    ],
    ("deepseek@think", "prompt"): [("\n\n建", "建", "answers are trimmed")],
    **{
        (entry, "text"): [
            ("请先就医检查。", "请先就医检查。<|user|>", "the next header ends a turn, and has to be trained")
        ]
        for entry in ("chatglm3", "glm4", "glm4_moe")
    },
    **{
        (entry, which): [
            (f"[INST]{gap}{SYSTEM}\n\n", f"[INST]{gap}", "the system prompt does not wander to the last question"),
            (f"<s>[INST]{gap}", f"<s>[INST]{gap}{SYSTEM}\n\n", "nor get lost when an answer is last"),
        ]
        for entry, gap in (("mistral", " "), ("mistral_nemo", ""))
        for which in ("text", "prompt")
    },
    **{
        (entry, "text"): [("<|endoftext|>", "", "no answer ever contains what stands behind its end")]
        for entry in ("phi3", "phi3_5")
    },
    ("chatglm", "text"): [
        ("[Round 0]", f"{SYSTEM}\n[Round 0]", "the system prompt is not dropped"),
        ("检查。\n", "检查。</s>", "the end of the last answer is trained"),
    ],
    ("chatglm", "prompt"): [("[Round 0]", f"{SYSTEM}\n[Round 0]", "the system prompt is not dropped")],
}


def row(entry):
    name = entry.split("@")[0]
    return templates.get(ROW.get(name, name))


def ours(entry, which):
    golden = GOLDEN[entry]
    messages = golden["messages"]
    if which == "prompt_without_system":
        messages = [message for message in messages[:2] if message["role"] == "user"]
    elif which == "prompt":
        messages = messages[:-1]
    names = {"bos_token": golden["bos"], "eos_token": golden["eos"]}
    switches = {"add_generation_prompt": which != "text", **golden.get("switches", {})}
    return row(entry).render(messages, golden.get("tools"), **names, **switches).text


@pytest.mark.parametrize("which", ["text", "prompt", "prompt_without_system"])
@pytest.mark.parametrize("entry", ENTRIES)
def test_the_text_is_the_official_one_or_differs_as_stated(entry, which):
    official = GOLDEN[entry].get(which)
    if official is None:
        pytest.skip("the official text is not known")
    expected = official
    for old, new, _ in DIFFERENT.get((entry, which), ()):
        if (entry, which) in (("mistral", "text"), ("mistral_nemo", "text")) and old.endswith("\n\n"):
            continue  # officially the system prompt is lost here, so there is nothing to take away
        assert expected.count(old) == 1 or old.startswith("<s>"), f"{old!r} is not what differs"
        expected = expected.replace(old, new, 1)
    assert (expected != official) == ((entry, which) in DIFFERENT)
    assert ours(entry, which) == expected


def test_every_entry_of_the_fixture_belongs_to_a_row():
    assert {row(entry).name for entry in ENTRIES} <= set(templates.REGISTRY)
    assert len(ENTRIES) == 43


# --- the official files that TRL ships, executed here

TRL = Path(importlib.util.find_spec("trl").submodule_search_locations[0]) / "chat_templates"
USER, ASK = {"role": "user", "content": "头晕怎么办？"}, {"role": "user", "content": "Any drug?"}
ANSWERS = [{"role": "assistant", "content": "量血压。"}, {"role": "assistant", "content": "See a doctor first."}]
CALL = {"type": "function", "function": {"name": "find", "arguments": {"药": "阿司匹林", "n": 2, "all": [1, "b"]}}}
SCHEMA = {"type": "object", "properties": {"药": {"type": "string"}, "n": {"type": "integer"}}}
TOOLS = [
    {"type": "function", "function": {"name": "find", "description": "查药 <b> & more", "parameters": SCHEMA}},
    {"type": "function", "function": {"name": "now", "description": "time", "parameters": {"type": "object"}}},
]
CHATS = {
    "plain": ([USER, ANSWERS[0], ASK, ANSWERS[1]], None),
    "system": ([{"role": "system", "content": SYSTEM}, USER, ANSWERS[0], ASK, ANSWERS[1]], None),
    "thoughts": (
        [
            USER,
            {**ANSWERS[0], "reasoning_content": "低血压？"},
            ASK,
            {**ANSWERS[1], "reasoning_content": "No history."},
        ],
        None,
    ),
    "tools": (
        [
            {"role": "system", "content": SYSTEM},
            USER,
            {"role": "assistant", "content": "我查。", "tool_calls": [CALL]},
            {"role": "tool", "content": "100 mg"},
            {"role": "tool", "content": "第二条"},
            ANSWERS[0],
            ASK,
            {"role": "assistant", "content": "", "tool_calls": [CALL]},
            {"role": "tool", "content": "没有"},
            ANSWERS[1],
        ],
        TOOLS,
    ),
}
QWENS = [("qwen", "qwen2_5"), ("qwen3", "qwen3"), ("qwen3_instruct", "qwen3_instruct_2507"),
         ("qwen3_5", "qwen3_5_think"), ("qwen3_5_nothink",) * 2, ("qwen_default", "qwen2_5")]  # fmt: skip
OTHERS = [("llama3", "llama3"), ("llama3_1", "llama3_1"), ("llama3_2", "llama3_2"), ("gemma3", "gemma3"),
          ("cohere", "cohere"), ("glm4_moe", "glm4moe")]  # fmt: skip
EXECUTED = [(name, file, chat) for name, file in QWENS + OTHERS for chat in ("plain", "system")]
EXECUTED += [(name, file, "tools") for name, file in [*QWENS, ("glm4_moe", "glm4moe")]]
EXECUTED += [(name, file, "thoughts") for name, file in [*QWENS[1:2], *QWENS[3:5], ("glm4_moe", "glm4moe")]]


@pytest.mark.parametrize(("name", "file", "chat"), EXECUTED)
def test_the_prompt_is_what_the_official_file_renders(name, file, chat):
    """The prompt of every answer, with and without a thought, tools included."""
    source = (TRL / f"{file}.jinja").read_text(encoding="utf-8")
    messages, tools = CHATS[chat]
    names = {"bos_token": "<b>", "eos_token": "<e>"}
    for switches in ({}, {"enable_thinking": False}) if templates.get(name).thinking != "none" else ({},):
        for index, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            dates = {"date_string": "26 Jul 2024"} if name == "llama3_2" else {}
            official = render(source, messages[:index], tools, True, **names, **switches, **dates).text
            if name == "qwen" and messages[0]["role"] != "system":
                official = official.replace(COMPANY, "")
            variables = {"add_generation_prompt": True, **names, **switches}
            assert templates.get(name).render(messages[:index], tools, **variables).text == official


def test_a_single_call_of_llama3_1_is_the_official_text():
    chat = [USER, {"role": "assistant", "content": "", "tool_calls": [CALL]}, {"role": "tool", "content": "100 mg"}]
    source = (TRL / "llama3_1.jinja").read_text(encoding="utf-8")
    official = render(source, chat, TOOLS, True, bos_token="<b>").text
    assert templates.get("llama3_1").render(chat, TOOLS, add_generation_prompt=True, bos_token="<b>").text == official
