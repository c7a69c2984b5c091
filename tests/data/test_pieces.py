"""Tokenizing by pieces gives the ids and positions of the whole text.

sh run_tests.sh tests/data/test_pieces.py
"""

import random

import pytest
from tokenizers import Tokenizer, pre_tokenizers

from bedside import models
from bedside.data.pieces import Batches, separable

BITS = [
    "<|im_start|>",
    "<|im_end|>",
    "<think>",
    "\n",
    "\n\n",
    " ",
    "发热三天",
    "fever",
    "，",
    "?",
    "é",
    "e\u0301",
    "😀",
]


@pytest.fixture(scope="module")
def starter():
    return models.load_tokenizer("models/starter").backend_tokenizer


def test_ids_and_positions_are_those_of_the_whole_text(starter):
    rng = random.Random(1)
    texts = ["".join(rng.choices(BITS, k=rng.randint(1, 25))) for _ in range(400)]
    for text, joined in zip(texts, Batches(starter).encode_batch(texts), strict=True):
        whole = starter.encode(text, add_special_tokens=False)
        assert joined.ids == whole.ids and len(joined) == len(whole.ids)
        for position in range(len(text)):
            assert joined.char_to_token(position) == whole.char_to_token(position)
        for token in range(len(whole.ids)):
            assert joined.token_to_chars(token) == whole.token_to_chars(token)


def test_a_tokenizer_that_marks_the_first_word_is_not_cut(starter):
    assert separable(starter)
    other = Tokenizer.from_str(starter.to_str())
    other.pre_tokenizer = pre_tokenizers.Metaspace()
    assert not separable(other)
    other.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    assert not separable(other)
