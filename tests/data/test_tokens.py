"""Ids and trained spans, by hand: one token a character, so that every number can be counted on the page."""

import pytest
from tokenizers import AddedToken, Tokenizer, models

from bedside import templates
from bedside.data import fit, tokens
from bedside.data.conversation import RowError
from bedside.errors import ConfigError

_CHARS = "usera\nitnQAqbcdk<>/h?"
SPECIAL = ("<|im_start|>", "<|im_end|>", "<eos>", "<bos>")
START, END, EOS, BOS = range(4)


def make(chars=_CHARS):
    """Special tokens are 0..3, then one token for each character, in the order of `chars`."""
    vocabulary = {char: 4 + i for i, char in enumerate(dict.fromkeys(chars))}
    tokenizer = Tokenizer(models.BPE(vocab={**{t: i for i, t in enumerate(SPECIAL)}, **vocabulary}, merges=[]))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    return tokenizer, vocabulary


def encoding(template, max_length=1000, **extra):
    names = (("bos_token", "<bos>"), ("eos_token", "<eos>"))
    if isinstance(template, str):
        template = templates.get(template)
    return tokens.Encoding(template, names, (*SPECIAL, "<|pad|>"), max_length, **extra)


def chat(*texts, system=None):
    roles = ["user", "assistant"] * len(texts)
    messages = [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + messages}


def thinking(question, thought, answer):
    row = chat(question, answer)
    row["messages"][1]["reasoning_content"] = thought
    return row


def encode(row, template, max_length=1000, **extra):
    (encoded,) = tokens.encode([row], make()[0], encoding(template, max_length, **extra))
    return encoded


def ids_of(*parts):
    _, vocabulary = make()
    return [i for part in parts for i in ([part] if isinstance(part, int) else [vocabulary[c] for c in part])]


OWN_TAGGED = templates.own(
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}Q{{ m.content }}{% elif m.role == 'assistant' %}A"
    "{% generation %}{{ m.content }}{{ eos_token }}{% endgeneration %}{{ '\\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}A{% endif %}"
)
OWN_PLAIN = templates.own(OWN_TAGGED.source.replace("{% generation %}", "").replace("{% endgeneration %}", ""))


def test_chatml_by_hand():
    encoded = encode(chat("Q", "A"), "chatml")
    # Trained: A and <|im_end|>; neither the header in front nor the newline behind.
    expected = ids_of(START, "user\n", "Q", END, "\n", START, "assistant\n", "A", END, "\n")
    assert expected == [0, 4, 5, 6, 7, 9, 13, 1, 9, 0, 8, 5, 5, 10, 5, 11, 8, 12, 11, 9, 14, 1, 9]
    assert encoded.samples == [tokens.Sample(expected, [(20, 22)])]
    assert expected[20:22] == [14, END]


def test_one_pass_trains_every_answer():
    ((ids, spans),) = encode(chat("Q", "A", "q", "ab"), "chatml").samples
    assert spans == [(20, 22), (43, 46)]
    assert ids[43:46] == ids_of("ab", END)


def test_bos_once_and_eos_trained():
    ((ids, spans),) = encode(chat("u", "a"), OWN_TAGGED).samples
    assert ids == ids_of(BOS, "Q", "u", "A", "a", EOS, "\n")
    assert spans == [(4, 6)]


def test_a_models_own_template_with_tags():
    encoded = encode(chat("u", "a", "e", "bb"), OWN_TAGGED)
    expected = ids_of(BOS, "QuAa", EOS, "\n", "QeAbb", EOS, "\n")
    assert encoded.samples == [tokens.Sample(expected, [(4, 6), (10, 13)])]


def test_a_models_own_template_without_tags_trains_every_answer():
    encoded = encode(chat("u", "a", "e", "bb", "s", "c"), OWN_PLAIN)
    one, two, three = encoded.samples
    assert one == (ids_of(BOS, "QuAa", EOS, "\n"), [(4, 6)])
    assert two == (ids_of(BOS, "QuAa", EOS, "\n", "QeAbb", EOS, "\n"), [(10, 13)])
    assert three.ids[three.spans[0][0] : three.spans[0][1]] == ids_of("c", EOS)


def test_thinking_templates_make_a_sample_an_answer():
    """R1 and Qwen3: the last answer keeps its thought; as history it is the answer alone."""
    row = thinking("Q", "t", "A")
    row["messages"] += thinking("q", "k", "a")["messages"]
    tokenizer, vocabulary = make()
    first, second = encode(row, "qwen3").samples
    trained = [sample.ids[slice(*sample.spans[0])] for sample in (first, second)]
    assert trained[0] == ids_of("<think>\nt\n</think>\n\nA", END)
    assert trained[1] == ids_of("<think>\nk\n</think>\n\na", END)
    assert len(first.spans) == len(second.spans) == 1
    history = ids_of(START, "user\n", "Q", END, "\n", START, "assistant\n", "A", END, "\n")
    assert second.ids[: len(history)] == history


def test_an_answer_without_a_thought_follows_the_closed_block():
    ((ids, (span,)),) = encode(chat("Q", "A"), "qwen3").samples
    block = ids_of("<think>\n\n</think>\n\n")
    assert ids[span[0] - len(block) : span[0]] == block
    assert ids[slice(*span)] == ids_of("A", END)


def test_enable_thinking_false_trains_answers_alone():
    ((ids, (span,)),) = encode(thinking("Q", "t", "A"), "qwen3", enable_thinking=False).samples
    assert ids[slice(*span)] == ids_of("A", END)
    # Under a template without a thinking mode, too, where thoughts would be text in front of the answer.
    ((ids, (span,)),) = encode(thinking("Q", "t", "A"), "chatml", enable_thinking=False).samples
    assert ids == encode(chat("Q", "A"), "chatml").samples[0].ids


def test_a_family_that_thinks_only_when_told_to_trains_thoughts_behind_the_prompt_that_asks_for_them():
    row = thinking("Q", "t", "A")
    ((ids, (span,)),) = encode(row, "qwen3_5_nothink").samples
    assert ids[: span[0]] == ids_of(START, "user\n", "Q", END, "\n", START, "assistant\n", "<think>\n")
    fit.check_template([row], make()[0], encoding("qwen3_5_nothink"))


def test_overlong_chats_lose_their_oldest_turns_and_keep_the_system():
    row = chat("Q", "A", "q", "a", "u", "e", system="sss")
    whole = encode(row, "chatml")
    length = len(whole.samples[0].ids)
    assert encode(row, "chatml", length).turns_dropped == 0
    shorter = encode(row, "chatml", length - 1)
    assert shorter.turns_dropped == 1
    assert shorter.samples == encode(chat("q", "a", "u", "e", system="sss"), "chatml").samples
    last = encode(chat("u", "e", system="sss"), "chatml").samples[0]
    assert encode(row, "chatml", len(last.ids)).samples == [last]
    lost = encode(row, "chatml", len(last.ids) - 1)
    assert (lost.samples, lost.overlong, lost.error) == ([], len(last.ids), None)


def test_a_trained_span_is_never_cut():
    row = chat("Q" * 20, "A" * 20, "q", "a" * 10, "u", "e")
    for limit in range(1, 180):
        for ids, spans in encode(row, "chatml", limit).samples:
            assert len(ids) <= limit
            assert all(ids[end - 1] == END for _, end in spans)
            assert ids.count(START) == 2 * len(spans)


@pytest.mark.parametrize("token", ["<eos>", "<|pad|>"])
def test_a_special_token_in_an_answer_is_refused(token):
    row = chat("Q", "A")
    row["messages"][1]["content"] += token
    encoded = encode(row, "chatml")
    message = f"messages[1].content holds the control token {token}; no answer may write one"
    assert (encoded.samples, encoded.error, encoded.remark) == ([], ("W_SPECIAL", message), None)


def test_a_special_token_in_a_question_is_text():
    encoded = encode(chat("Q<eos>", "A"), "chatml")
    assert encoded.samples == encode(chat("Q< eos>", "A"), "chatml").samples
    assert EOS not in encoded.samples[0].ids
    message = "messages[0].content holds the control token <eos>, kept as < eos>, which forges no turn"
    assert (encoded.error, encoded.remark) == (None, ("W_SPECIAL", message))


def test_special_tokens_of_the_vocabulary_are_forbidden_although_nobody_names_them():
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=make()[0], eos_token="<eos>")
    made = tokens.encoding_for(tokenizer, templates.get("chatml"), 10)
    assert made.forbidden == ("<bos>", "<eos>", "<|im_end|>", "<|im_start|>")
    assert made.names == {"eos_token": "<eos>"}


def test_a_refusal_loses_the_row_and_nothing_else():
    rows = [chat("Q", "A"), chat("Q", "A"), chat("Q", "A")]
    rows[1]["messages"].insert(1, {"role": "tool", "content": "a"})
    results = list(tokens.encode(rows, make()[0], encoding("chatml")))
    assert [len(result.samples) for result in results] == [1, 0, 1]
    assert results[1].error[0] == "E_TEMPLATE"
    assert "--tool_format" in results[1].error[1]


def test_an_answer_that_begins_inside_a_token_is_refused():
    tokenizer, vocabulary = make()
    merged = Tokenizer(models.BPE(vocab={**tokenizer.get_vocab(), "Aa": 99}, merges=[("A", "a")]))
    merged.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    (encoded,) = tokens.encode([chat("u", "a")], merged, encoding(OWN_TAGGED))
    assert encoded.error == ("E_BOUNDARY", "the answer begins inside a token; this tokenizer needs another template")
    with pytest.raises(ConfigError, match="the model's own template gives a served prompt other ids than training"):
        fit.check_template([chat("u", "a")], merged, encoding(OWN_TAGGED))


def test_many_rows_give_what_each_gives_alone():
    rows = [chat("Q" * (i % 5 + 1), "A") for i in range(600)]
    together = list(tokens.encode(rows, make()[0], encoding("chatml")))
    assert together == [next(tokens.encode([row], make()[0], encoding("chatml"))) for row in rows]


@pytest.mark.parametrize("template", [OWN_TAGGED, OWN_PLAIN, "chatml", "qwen", "qwen3"])
def test_templates_that_fit(template):
    rows = [chat("Q", "A", "q", "a"), thinking("Q", "t", "A"), chat("<eos>", "A")]
    fit.check_template(rows, make()[0], encoding(template))


MISFITS = {
    "ends its turns with a token that is no EOS": (
        OWN_PLAIN.source.replace("eos_token", "'<|im_end|>'"),
        "the model's own template does not show where an answer begins and ends, so nothing could be trained; "
        r"add --template_name ",
    ),
    "gives a prompt that is no beginning": (
        OWN_PLAIN.source.replace("{% if add_generation_prompt %}A", "{% if add_generation_prompt %}AA"),
        "does not show where an answer begins and ends",
    ),
    "never trains the turn end": (
        OWN_TAGGED.source.replace("{{ eos_token }}{% endgeneration %}", "{% endgeneration %}{{ eos_token }}"),
        "the model's own template does not train the token that ends a turn, so no answer would ever end",
    ),
    "leaves thoughts out": (
        OWN_TAGGED.source + "{# </think> #}",
        r"leaves thoughts out \(--enable_thinking False trains answers alone\); add --template_name ",
    ),
    "opens with other ids": (
        OWN_TAGGED.source.replace("{{ bos_token }}", "{{ '' if add_generation_prompt else bos_token }}"),
        "gives a served prompt other ids than training would give it",
    ),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_template_that_does_not_fit_stops_the_run_with_the_flag_to_give(name):
    source, message = MISFITS[name]
    with pytest.raises(ConfigError, match=message):
        fit.check_template([thinking("Q", "kk", "A")] * 3, make()[0], encoding(templates.own(source)))


def test_rows_that_a_template_refuses_are_not_its_misfits():
    row = chat("Q", "A")
    row["messages"].insert(1, {"role": "tool", "content": "a"})
    fit.check_template([row], make()[0], encoding("chatml"))


def test_render_target_tells_an_unlocated_answer():
    source = templates.own(OWN_PLAIN.source.replace("eos_token", "'x'"))
    with pytest.raises(RowError, match="E_TEMPLATE the model's own template does not show"):
        tokens.render_target(chat("Q", "A")["messages"], None, encoding(source))


def test_text_outside_nfc_gets_the_ids_of_the_whole_tokenizer():
    """Half of the chats hold decomposed letters: skipping NFC for the other half must not change an id."""
    from tokenizers import normalizers

    plain = "".join(map(chr, range(32, 127))) + "\né"
    tokenizer, vocabulary = make(plain)
    tokenizer.normalizer = normalizers.NFC()
    rows = [chat("q" * (i % 7 + 1), "e\u0301" if i % 600 > 300 else "\u00e9") for i in range(1200)]
    results = list(tokens.encode(rows, tokenizer, encoding("chatml")))
    for row, result in zip(rows, results, strict=True):
        text = tokens.render_target(row["messages"], None, encoding("chatml")).text
        ((ids, spans),) = result.samples
        assert ids == tokenizer.encode(text, add_special_tokens=False).ids
        assert ids[slice(*spans[0])] == [vocabulary["é"], END]
