"""Tokenizing by pieces and words gives the ids and positions of the whole text.

sh run_tests.sh tests/data/test_pieces.py
"""

import random
import re

import numpy as np
import pytest
from tokenizers import Tokenizer, pre_tokenizers

from bedside import models
from bedside.data import words
from bedside.data.pieces import Batches, ByBytes, ByOffsets, separable
from tests.templates import toys

BITS = [
    "<|im_start|>", "<|im_end|>", "<think>", "</think>", "[INST]", "\n", "\n\n", " ", "  ", "\t", "发热三天", "咳嗽",
    "fever", "fevers", "'s", "'S", "’s", "1.5", "38", "，", "。", "?", "é", "e\u0301", "😀", "\u3000", "\xa0", "\x85",
    "\u2028", "ſ", "K", "ﬅ", "々", "ー", "한국", "\u200d", "½", "²", "A",
]  # fmt: skip


@pytest.fixture(scope="module", params=["starter", *toys.KINDS])
def tokenizer(request):
    if request.param == "starter":
        return models.load_tokenizer("models/starter").backend_tokenizer
    return toys.tokenizer(request.param).backend_tokenizer


def test_ids_and_positions_are_those_of_the_whole_text(tokenizer):
    rng = random.Random(1)
    texts = ["".join(rng.choices(BITS, k=rng.randint(1, 25))) for _ in range(400)]
    for text, made in zip(texts, Batches(tokenizer).encode_batch(texts), strict=True):
        whole = ByOffsets(tokenizer.encode(text, add_special_tokens=False))
        assert made.ids.tolist() == whole.ids.tolist()
        for position in range(len(text)):
            assert made.first(position) == whole.first(position)
            assert made.end(position + 1) == whole.end(position + 1)


def test_texts_of_byte_level_tokenizers_are_located_by_their_bytes():
    starter = models.load_tokenizer("models/starter").backend_tokenizer
    plain, composed, odd = Batches(starter).encode_batch(["发热 fever<|im_end|>", "e\u0301", "한국"])
    assert [type(made) for made in (plain, composed, odd)] == [ByBytes, ByOffsets, ByBytes]
    assert type(Batches(starter, many=False).encode_batch(["a"])[0]) is ByOffsets


def test_every_character_that_words_are_made_of_is_cut_as_the_tokenizer_cuts_it():
    """Two regular expression engines, each with its own Unicode tables, agree wherever `Words` relies on it."""
    starter = models.load_tokenizer("models/starter").backend_tokenizer
    known = words.Words.of(starter)
    sure = [chr(code) for code in range(0x10000) if not re.match(words._SETTLED, chr(code))]
    assert 20_000 < len(sure) < 35_000
    for begin in range(0, len(sure), 500):
        some = sure[begin : begin + 500]
        for text in ("".join(f"a{c}1{c} {c}'{c}\n" for c in some), "".join(some), " ".join(some), "'".join(some)):
            cut = [piece for piece, _ in starter.pre_tokenizer.pre_tokenize_str(text)]
            letters = [word.encode().decode("latin-1").translate(known._letters) for word in known._cut(text)]
            assert letters == cut


def test_what_words_are_not_sure_of_is_left_to_the_tokenizer():
    known = words.Words.of(models.load_tokenizer("models/starter").backend_tokenizer)
    assert isinstance(known.encode("发热 fever"), bytes)
    assert known.encode("a<think>b") is known.encode("a\x85b") is known.encode("한") is None


@pytest.mark.parametrize(("kind", "has"), [("gpt2", True), ("llama3", True), ("llama2", False), ("gemma", False)])
def test_which_tokenizers_have_words(kind, has):
    assert (words.Words.of(toys.core(kind)) is not None) is has


def test_the_bytes_of_every_token():
    starter = models.load_tokenizer("models/starter").backend_tokenizer
    text = "发热 fever 😀<|im_end|>"
    ids = starter.encode(text, add_special_tokens=False).ids
    assert words.byte_lengths(starter)[np.array(ids)].sum() == len(text.encode())


def test_a_tokenizer_that_marks_the_first_word_is_not_cut():
    starter = models.load_tokenizer("models/starter").backend_tokenizer
    assert separable(starter)
    other = Tokenizer.from_str(starter.to_str())
    other.pre_tokenizer = pre_tokenizers.Metaspace()
    assert not separable(other)
    other.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert not separable(other)
