"""Our text, ids and mask are those of transformers' `apply_chat_template` on the same file."""

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from bedside import models as loading
from bedside import templates
from bedside.data import tokens
from bedside.errors import ConfigError
from tests.templates import toys

NAMES = sorted(templates.REGISTRY)
_TEXT = ["患者发热咳嗽三天，先测体温。", "The patient has had a fever for three days; drink water."] * 3
_TOKENS = ["<unk>", "<s>", "</s>", "<pad>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|start_header_id|>"]
_TOKENS += ["<|end_header_id|>", "<|eot_id|>", "<｜User｜>", "<｜Assistant｜>"]


def make_tokenizer(tokens_=_TOKENS, **special):
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(
        _TEXT,
        trainers.BpeTrainer(vocab_size=330, special_tokens=tokens_, initial_alphabet=alphabet, show_progress=False),
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=core, **(special or {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"})
    )


@pytest.fixture(params=["llama3", "llama2"])
def family(request):
    return toys.tokenizer(request.param)


CHAT = [
    {"role": "system", "content": "你是一名医生。\n"},
    {"role": "user", "content": "\n发热三天，怎么办？{{ x }}"},
    {"role": "assistant", "content": "\n\n先测体温。 "},
    {"role": "user", "content": "Drink water?\u2028🩺👩\u200d⚕️"},
    {"role": "assistant", "content": "Yes: water, 休息。"},
]
THOUGHTS = [
    *CHAT[:2],
    {**CHAT[2], "reasoning_content": "A fever."},
    CHAT[3],
    {**CHAT[4], "reasoning_content": "想\n想"},
]
CALL = {"type": "function", "function": {"name": "find", "arguments": {"药": "阿司匹林", "n": 1.5}}}
TOOL_CHAT = [
    *CHAT[:2],
    {"role": "assistant", "content": "", "tool_calls": [CALL]},
    {"role": "tool", "content": "<b>100 mg</b> & more"},
    CHAT[4],
]
TOOLS = [{"type": "function", "function": {"name": "find", "description": "查 <药>", "parameters": {}}}]
THINKING = [name for name in NAMES if templates.get(name).thinking != "none"]
WITH_TOOLS = [name for name in NAMES if templates.get(name).tool_format]
CASES = [(name, CHAT, None) for name in NAMES] + [(name, THOUGHTS, None) for name in THINKING]
CASES += [(name, TOOL_CHAT, TOOLS) for name in WITH_TOOLS]


def theirs(tokenizer, messages, tools, **switches):
    return tokenizer.apply_chat_template(
        messages, tools=tools, return_dict=True, return_assistant_tokens_mask=True, **switches
    )


@pytest.mark.parametrize(("name", "chat", "tools"), CASES)
def test_ids_and_mask_are_transformers_own(family, name, chat, tools):
    if tools and family.backend_tokenizer.token_to_id("<0x0A>") is not None:
        pytest.skip("this toy glues the newline of a header to the bracket of a call, which training refuses")
    template = loading.install_template(family, name)
    assert family.chat_template == template.source
    encoding = tokens.encoding_for(family, template, 10_000)
    row = {"messages": chat, "tools": tools}
    (encoded,) = tokens.encode([row], family.backend_tokenizer, encoding)
    assert encoded.error is None
    ends = [i + 1 for i, m in enumerate(chat) if m["role"] == "assistant"]
    ends = ends[-1:] if templates.single_pass(template) else ends
    assert len(encoded.samples) == len(ends)
    for (ids, spans), end in zip(encoded.samples, ends, strict=True):
        switches = {}
        if template.thinking != "none":
            switches = {"enable_thinking": bool(chat[end - 1].get("reasoning_content"))}
        expected = theirs(family, chat[:end], tools, **switches)
        assert ids == expected["input_ids"]
        trained = [i for start, stop in spans for i in range(start, stop)]
        masked = [i for i, bit in enumerate(expected["assistant_masks"]) if bit]
        if templates.single_pass(template):
            assert trained == masked
        else:  # of a history that is rewritten, only the last turn is trained
            assert trained == [i for i in masked if i >= spans[0][0]]
            assert len(spans) == 1
        ends = templates.turn_ends_of(template, encoding.names)
        assert family.convert_ids_to_tokens(ids[spans[-1][1] - 1]) in ends
        if name not in ("llama2", "phoenix"):  # officially one in front of every question, or of everything
            assert ids.count(family.bos_token_id) == (1 if "bos_token" in template.source else 0)


@pytest.mark.parametrize("name", NAMES)
def test_a_served_prompt_is_the_beginning_of_the_trained_ids(family, name):
    template = loading.install_template(family, name)
    encoding = tokens.encoding_for(family, template, 10_000)
    (encoded,) = tokens.encode([{"messages": CHAT}], family.backend_tokenizer, encoding)
    for ids, spans in encoded.samples:
        for index, (start, _) in enumerate(spans):
            end = 2 + 2 * (index if len(spans) > 1 else encoded.samples.index((ids, spans)))
            switches = {} if template.thinking == "none" else {"enable_thinking": False}
            prompt = family.apply_chat_template(CHAT[:end], add_generation_prompt=True, return_dict=True, **switches)[
                "input_ids"
            ]
            assert ids[:start] == prompt


@pytest.mark.parametrize(("name", "eos"), [("qwen", "<|im_end|>"), ("llama3", "<|eot_id|>"), ("vicuna", "</s>")])
def test_install_template_settles_turn_end_and_pad(name, eos):
    tokenizer = make_tokenizer(bos_token="<s>", eos_token="</s>", pad_token="</s>")
    loading.install_template(tokenizer, name)
    assert tokenizer.eos_token == eos
    assert tokenizer.pad_token not in (None, eos)
    assert tokenizer.pad_token == ("</s>" if eos != "</s>" else "<pad>")


def test_a_pad_that_ends_a_turn_is_replaced_or_refused():
    tokenizer = make_tokenizer(["<|endoftext|>", "<|im_end|>"], eos_token="<|im_end|>", pad_token="<|im_end|>")
    loading.choose_pad(tokenizer)
    assert tokenizer.pad_token == "<|endoftext|>"
    tokenizer = make_tokenizer(["</s>"], eos_token="</s>")
    with pytest.raises(ConfigError, match="pad token is its end of turn \\(</s>\\) and it has no other special token"):
        loading.choose_pad(tokenizer)


def test_a_tokenizer_of_another_family_is_refused():
    tokenizer = make_tokenizer(["<s>", "</s>", "<pad>"], bos_token="<s>", eos_token="</s>", pad_token="<pad>")
    with pytest.raises(ConfigError, match="template qwen3 needs the tokens <\\|im_start\\|>, <\\|im_end\\|>"):
        loading.install_template(tokenizer, "qwen3")
    tokenizer.chat_template = None
    with pytest.raises(ConfigError, match="the model has no chat template of its own; add --template_name"):
        loading.install_template(tokenizer, None)
