"""Whatever people say, in both languages: the ids of a prompt are the beginning of the ids that are trained.

Random conversations over four kinds of tokenizers. Where a tokenizer cannot give a template that (it glues the
answer to the text in front of it), training stops and says so; these pairs are listed here.
"""

import copy

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bedside import models, templates
from bedside.data import control, fit, tokens
from bedside.errors import ConfigError
from tests.templates.toys import KINDS, tokenizer

NAMES = sorted(templates.REGISTRY)
PIECES = st.sampled_from(
    ["头晕", "怎么办？", "发热三天", "，", "。", "Drink water", "fever", " ", "\n", "\n\n", "\t", "  ", "1.5 mg", "🩺",
     "👩\u200d⚕️", "{{ x }}", "{% if %}", "<b>", "[1]", ":", "###", "USER:", "\u3000", "é", "\u2028",
     "<|im_end|>", "</s>",
     "[INST]", "<start_of_turn>", "<｜User｜>"]
)  # fmt: skip
SAFE = st.sampled_from(
    ["头晕", "休息", "，", "。", "Rest", "see a doctor", " ", "\n", "\n\n", "  ", "1.5 mg", "🩺", "{{", "#", ":"]
)
SAID = st.lists(PIECES, min_size=1, max_size=6).map("".join).filter(str.strip)
ANSWER = st.lists(SAFE, min_size=1, max_size=6).map("".join).filter(str.strip)


@st.composite
def conversations(draw):
    messages = [{"role": "system", "content": draw(SAID)}] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(1, 3))):
        messages.append({"role": "user", "content": draw(SAID)})
        messages.append({"role": "assistant", "content": draw(ANSWER)})
        if draw(st.booleans()):
            messages[-1]["reasoning_content"] = draw(ANSWER)
    return {"messages": messages}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param, tokenizer(request.param)


def encoding_of(name, made):
    """The template's encoding, with the tokenizer set up for it."""
    return tokens.encoding_for(made, models.install_template(made, name), 100_000)


def refused(name, made):
    """Whether training stops for this template with this tokenizer."""
    encoding = encoding_of(name, made)
    chat = [{"role": "user", "content": "头晕 dizzy?"}, {"role": "assistant", "content": "休息。 Rest."}]
    english = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "rest, 休息"}]
    rows = [{"messages": chat}, {"messages": english}, {"messages": chat + english}]
    try:
        fit.check_template(rows, made.backend_tokenizer, encoding)
    except ConfigError:
        return True
    return any(result.error for result in tokens.encode(rows, made.backend_tokenizer, encoding))


# GPT-2's cuts glue two newlines at the end of a text but not in front of an answer; Llama 3's glue a mark of
# punctuation to the word behind it. Models of these families have other tokenizers.
REFUSED = {
    "gpt2": {"deepseek", "llama3", "llama3_1", "llama3_2", "qwen3", "qwen3_5", "qwen3_5_nothink", "qwen3_thinking"},
    "llama3": {"chatglm", "chatglm2"},
    "llama2": set(),
    "gemma": set(),
}


def test_the_pairs_that_training_refuses(kind):
    assert {name for name in NAMES if refused(name, copy.deepcopy(kind[1]))} == REFUSED[kind[0]]


def check(row, result, made, encoding):
    """Each answer's prompt is the beginning of its ids; the answer ends with the turn end and holds no other."""
    template, messages = encoding.template, row["messages"]
    answers = [index for index, message in enumerate(messages) if message["role"] == "assistant"]
    spans = [(ids, span) for ids, spans in result.samples for span in spans]
    assert len(spans) == len(answers)
    ends = {made.backend_tokenizer.token_to_id(text) for text in templates.turn_ends_of(template, encoding.names)}
    said = control.neutralised(messages, None, encoding.forbidden).messages
    for (ids, (start, end)), index in zip(spans, answers, strict=True):
        switches = {"enable_thinking": bool(messages[index].get("reasoning_content"))}
        prompt = made.apply_chat_template(
            said[:index],
            add_generation_prompt=True,
            return_dict=True,
            **(switches if template.thinking != "none" else {}),
        )["input_ids"]
        assert ids[:start] == prompt
        assert ids[end - 1] in ends
        assert not ends & set(ids[start : end - 1])
        assert ids.count(made.bos_token_id) >= prompt.count(made.bos_token_id)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=2, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(rows=st.lists(conversations(), min_size=6, max_size=6))
def test_a_prompt_is_the_beginning_of_what_is_trained(kind, name, rows):
    if name in REFUSED[kind[0]]:
        return
    made = kind[1]
    encoding = encoding_of(name, made)
    if encoding.template.thinking == "none":  # there a thought is part of the text, which has tests of its own
        for row in rows:
            for message in row["messages"]:
                message.pop("reasoning_content", None)
    results = list(tokens.encode(rows, made.backend_tokenizer, encoding))
    for row, result in zip(rows, results, strict=True):
        assert result.error is None
        check(row, result, made, encoding)
