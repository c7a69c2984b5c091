"""A model's own template: which registered one it is, what is said when another one is asked for, what it trains."""

import logging
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers import models as cores

from bedside import logs, models, own_template, templates
from bedside.data import fit, tokens
from bedside.errors import ConfigError
from bedside.templates import advice
from bedside.templates.nearest import nearest, recognised

QWEN = {"eos_token": "<|im_end|>"}
R1 = {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>"}
LLAMA = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
PLAIN = {"bos_token": "<s>", "eos_token": "</s>"}

# In the style of their families, written here.
V3 = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'system' %}{{ m.content }}{% elif m.role == 'user' %}"
    "{{ '<｜User｜>' + m.content }}{% else %}{{ '<｜Assistant｜>' + CONTENT + '<｜end▁of▁sentence｜>' }}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<｜Assistant｜>' }}{% endif %}"
)
EARLY_R1 = V3.replace("CONTENT", "m.content.split('</think>')[-1]")
V3 = V3.replace("CONTENT", "m.content")
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
COMPANY = "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\nI am Q.<|im_end|>\n' }}{% endif %}" + CHATML
LLM = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ 'User: ' + m.content + '\n\n' }}"
    "{% elif m.role == 'assistant' %}{{ 'Assistant: ' + m.content + eos_token }}{% else %}{{ m.content + '\n\n' }}"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def official(name):
    """An official text, from the installed trl."""
    import trl

    return (Path(trl.__file__).parent / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "special_tokens", "expected"),
    [
        ("qwen2_5", QWEN, ("qwen_default", True)),
        ("qwen3", QWEN, ("qwen3", True)),
        ("qwen3_instruct_2507", QWEN, ("qwen3_instruct", True)),
        ("qwen3_5_think", QWEN, ("qwen3_5", True)),
        ("qwen3_5_nothink", QWEN, ("qwen3_5_nothink", True)),
        ("deepseek_r1_distill", R1, ("deepseek", True)),
        ("llama3", LLAMA, ("llama3", True)),
        ("llama3_1", LLAMA, ("llama3_1", True)),
        ("llama3_2", LLAMA, ("llama3_2", False)),  # it writes today's date
        ("gemma", PLAIN, ("gemma", True)),
        ("gemma3", PLAIN, ("gemma3", True)),
        ("phi3", PLAIN, ("phi3", True)),
        ("glm4moe", PLAIN, ("glm4_moe", True)),
        ("cohere", PLAIN, ("cohere", True)),
    ],
)
def test_official_texts_are_told(file, special_tokens, expected):
    assert nearest(official(file), special_tokens) == expected


@pytest.mark.parametrize("name", sorted(templates.REGISTRY))
def test_a_registered_file_that_was_edited_is_told(name):
    source = templates.REGISTRY[name].source + "{# edited #}"
    assert templates.own(source).name not in templates.REGISTRY
    found, exact = nearest(source, PLAIN)
    same = {"qwen": "qwen3_instruct", "llama3_2": "llama3_1", "gemma": "gemma3", "yi": "chatml", "starchat": "phi3"}
    assert (found, exact) == (same.get(name, name), True)


def test_our_own_files_need_no_rendering_with_whatever_tool_format():
    assert nearest(templates.get("qwen3").source, {}) == ("qwen3", True)
    assert nearest(templates.get("qwen3", "glm4").source, {}) == ("qwen3", True)


def test_chatml_is_called_chatml_and_a_default_system_prompt_is_no_other_family():
    assert nearest(CHATML, QWEN) == ("chatml", True)
    assert nearest(COMPANY, QWEN) == ("chatml", False)


@pytest.mark.parametrize("source", ["{{ raise_exception('no') }}", "{% for %}", "{{ messages.x.y }}", ""])
def test_a_template_that_renders_no_chat_is_near_to_nothing(source):
    assert nearest(source, QWEN) is None
    assert recognised(source, QWEN).name == "the model's own"


SAID = {
    "llama3 on 3.1": (
        "llama3", "llama3_1", LLAMA,
        "the model's own template is llama3_1's; with llama3 no dates stand in the system turn: what it was "
        "pretrained to expect differs; give --template_name llama3_1",
    ),
    "llama3 on 3.2": (
        "llama3", "llama3_2", LLAMA,
        "the model's own template resembles llama3_2; with llama3 no dates stand in the system turn: what it was "
        "pretrained to expect differs; give --template_name llama3_2",
    ),
    "qwen on Qwen3": (
        "qwen", "qwen3", QWEN,
        "the model's own template is qwen3's; with qwen its thoughts become plain text in front of the answer, and "
        "history keeps them; give --template_name qwen3",
    ),
    "qwen3 on Instruct-2507": (
        "qwen3", "qwen3_instruct_2507", QWEN,
        "the model's own template is qwen3_instruct's; it has no thoughts, and with qwen3 each answer follows a "
        "thought or a closed empty one; give --template_name qwen3_instruct, unless the model is to learn to think",
    ),
    "vicuna on Qwen2.5": (
        "vicuna", "qwen2_5", QWEN,
        "the model's own template is qwen_default's; vicuna is for base models and writes none of the chat tokens "
        "that this model knows; give --template_name qwen_default",
    ),
    "alpaca on Llama 3": (
        "alpaca", "llama3", LLAMA,
        "the model's own template is llama3's; alpaca is for base models and writes none of the chat tokens that "
        "this model knows; give --template_name llama3",
    ),
    "qwen3 on R1": (
        "qwen3", "deepseek_r1_distill", R1,
        "the model's own template is deepseek's; qwen3 writes turns that it was not trained on; give "
        "--template_name deepseek",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("given", "file", "special_tokens", "sentence"), SAID.values(), ids=SAID)
def test_a_name_that_is_not_the_models_is_told_in_a_sentence(given, file, special_tokens, sentence):
    alarm = "learn to think" not in sentence  # which is often just what is wanted
    assert advice.on_choice(templates.get(given), official(file), special_tokens) == (alarm, sentence)


@pytest.mark.parametrize(
    ("given", "source", "special_tokens"),
    [
        ("qwen3", official("qwen3"), QWEN),
        ("qwen", official("qwen2_5"), QWEN),
        ("chatml", official("qwen2_5"), QWEN),
        ("qwen_default", official("qwen2_5"), QWEN),
        ("qwen", official("qwen3_instruct_2507"), QWEN),
        ("llama3_1", official("llama3_2"), LLAMA),
        ("gemma", official("gemma3"), PLAIN),
        ("chatml", COMPANY, QWEN),
        ("vicuna", None, PLAIN),
        ("qwen3", "{{ raise_exception('no') }}", QWEN),
    ],
)
def test_nothing_is_said_where_the_prompts_agree(given, source, special_tokens):
    assert advice.on_choice(templates.get(given), source, special_tokens) is None


def test_deepseek_is_r1_distill_here():
    r1 = templates.get("deepseek")
    for source in (official("deepseek_r1_distill"), EARLY_R1):
        told = advice.on_choice(r1, source, R1)
        assert not told.alarm
        assert told.text.startswith("template deepseek is this model's own; `deepseek` is the R1-Distill format here")
    for source, name in ((V3, "deepseek3"), (LLM, "deepseek_llm")):
        assert advice.on_choice(r1, source, R1) == (
            True,
            f"the model's own template is {name}'s; deepseek is the R1-Distill format here, which opens a thought in "
            f"front of every answer; give --template_name {name}",
        )
    assert advice.on_choice(r1, None, R1) == (True, r1.warning)


def make_tokenizer(chat_template, special=("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|pad|>"), **names):
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(cores.BPE())
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=list(special), initial_alphabet=alphabet, show_progress=False
    )
    core.train_from_iterator(["Rest and drink water."], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, **(names or {"eos_token": "<|endoftext|>", "pad_token": "<|pad|>"})
    )
    tokenizer.chat_template = chat_template
    return tokenizer


ROW = {
    "messages": [
        {"role": "user", "content": "Fever?"},
        {"role": "assistant", "content": "Rest.", "reasoning_content": "Flu."},
        {"role": "user", "content": "And then?"},
        {"role": "assistant", "content": "Drink."},
    ]
}


def test_an_own_template_gets_the_turn_end_stops_and_parsers_of_its_family():
    tokenizer = make_tokenizer(official("qwen3"))
    template = models.install_template(tokenizer, None)
    assert (template.name, template.turn_end, template.extra_stops) == (
        "the model's own", "<|im_end|>", ("<|endoftext|>",),
    )  # fmt: skip
    assert (template.reasoning_parser, template.tool_parser) == ("qwen3", "hermes")
    assert (tokenizer.eos_token, tokenizer.chat_template) == ("<|im_end|>", official("qwen3"))
    plain = models.install_template(make_tokenizer(CHATML), None)
    assert (plain.turn_end, plain.reasoning_parser, plain.tool_parser) == ("<|im_end|>", None, None)


def test_an_own_template_without_generation_blocks_trains_answers_and_their_ends():
    tokenizer = make_tokenizer(official("qwen3"))
    encoding = tokens.encoding_for(tokenizer, models.install_template(tokenizer, None), 500)
    fit.check_template([ROW], tokenizer.backend_tokenizer, encoding)
    (encoded,) = tokens.encode([ROW], tokenizer.backend_tokenizer, encoding)
    assert encoded.error is None
    decode = tokenizer.backend_tokenizer.decode
    trained = [decode(ids[start:end], skip_special_tokens=False) for ids, ((start, end),) in encoded.samples]
    assert trained == ["<think>\nFlu.\n</think>\n\nRest.<|im_end|>", "Drink.<|im_end|>"]


def test_an_own_template_that_loses_thoughts_stops_the_run_and_the_nearest_is_named():
    special = [*R1.values(), "<｜User｜>", "<｜Assistant｜>", "<pad>"]
    tokenizer = make_tokenizer(official("deepseek_r1_distill"), special, **R1, pad_token="<pad>")
    encoding = tokens.encoding_for(tokenizer, models.install_template(tokenizer, None), 500)
    with pytest.raises(
        ConfigError,
        match=r"^the model's own template does not show where an answer begins and ends, so nothing could be trained; "
        r"add --template_name deepseek \(the nearest one\), or a file of your own \(docs/templates.md tells how\)$",
    ):
        fit.check_template([ROW], tokenizer.backend_tokenizer, encoding)


@pytest.fixture
def said(monkeypatch):
    """The lines that a person would read, as they come."""
    lines = []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: lines.append(record.getMessage())
    monkeypatch.setattr(logs.LOGGER, "handlers", [handler])
    monkeypatch.setattr(logs.LOGGER, "propagate", False)
    monkeypatch.setattr(logs.LOGGER, "level", logging.INFO)
    return lines


def test_of_several_own_templates_the_default_one_is_taken(said):
    tokenizer = make_tokenizer({"default": CHATML, "tool_use": "x", "rag": "y"})
    assert models.install_template(tokenizer, None).source == CHATML
    assert tokenizer.chat_template == CHATML
    assert said == ["the model has several chat templates: the one called default is taken, tool_use, rag left out"]
    listed = make_tokenizer(None)
    listed.chat_template = [{"name": "default", "template": CHATML}]
    assert own_template.sources(listed) == {"default": CHATML}
    with pytest.raises(ConfigError, match=r"has several chat templates \(rag, tool_use\), none called default, of"):
        models.install_template(make_tokenizer({"rag": "x", "tool_use": "y"}), None)


def test_without_any_template_the_fitting_names_and_the_document_are_told():
    with pytest.raises(
        ConfigError,
        match=r"the model has no chat template of its own; add --template_name \(qwen, .*, \.\.\.; qwen3 for a model "
        r"that thinks first\), or a file of your own \(docs/templates.md",
    ):
        models.install_template(make_tokenizer(None), None)


def test_the_sentence_is_a_warning_once_and_can_be_left_out(said):
    template = models.install_template(make_tokenizer(official("qwen3")), "qwen")
    models.install_template(make_tokenizer(official("qwen3")), "qwen", advise=False)
    assert template is templates.get("qwen")
    assert len(said) == 1
    assert said[0].startswith("warning: the model's own template is qwen3's; with qwen its thoughts")


def test_a_tool_format_is_swapped_in_our_files_only():
    tokenizer = make_tokenizer(templates.get("qwen3").source)
    template = models.install_template(tokenizer, None, "glm4")
    assert (template.name, template.tool_format) == ("qwen3", "glm4")
    assert tokenizer.chat_template == templates.get("qwen3", "glm4").source
    with pytest.raises(ConfigError, match="--tool_format glm4: the model's own template is not one of bedside's"):
        models.install_template(make_tokenizer(CHATML), None, "glm4")
