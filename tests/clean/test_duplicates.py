"""Signatures estimate Jaccard similarity; the index finds what comparing all pairs finds; the first row stays.

sh run_tests.sh tests/clean/test_duplicates.py
"""

import random

import numpy as np
import pytest

from bedside.clean import folding, minhash
from bedside.clean.duplicates import Exact, Near, fingerprint
from bedside.clean.fields import Case, texts_of
from bedside.data.rows import Origin

CHARS = "患者发热咳嗽三天应该怎么办先测体温再听诊肺部多喝水高血压糖尿病头痛恶心呕吐"


def case(question: str, answer: str = "好", **more: str) -> Case:
    row = {"instruction": question, "output": answer, **more}
    return Case(Origin("a.jsonl", 1), row, texts_of(row))


def shingle_set(text: str) -> set[tuple[str, ...]]:
    tokens = folding.tokens(text)
    return {tuple(tokens[i : i + minhash.SHINGLE]) for i in range(max(1, len(tokens) - minhash.SHINGLE + 1))}


def jaccard(one: str, other: str) -> float:
    a, b = shingle_set(one), shingle_set(other)
    return len(a & b) / len(a | b)


def changed(text: str, share: float, rng: random.Random) -> str:
    return "".join(rng.choice(CHARS) if rng.random() < share else char for char in text)


def test_vectorised_tokens_are_the_tokens():
    texts = ["发热 38.5℃，take Aspirin", "", "。！", "a", "ab ab"]
    hashes, counts = minhash.token_hashes([folding.fold(text) for text in texts])
    assert counts.tolist() == [len(folding.tokens(text)) for text in texts]
    of_token = {}
    for token, value in zip([t for text in texts for t in folding.tokens(text)], hashes.tolist(), strict=True):
        assert of_token.setdefault(token, value) == value
    assert len(set(of_token.values())) == len(of_token)


def test_signatures_estimate_the_true_similarity():
    rng = random.Random(7)
    errors = []
    for _ in range(150):
        one = "".join(rng.choices(CHARS, k=150))
        other = changed(one, rng.choice([0.01, 0.03, 0.1]), rng)
        pair = minhash.signatures([one, other])
        errors.append((pair[0] == pair[1]).mean() - jaccard(one, other))
    assert abs(np.mean(errors)) < 0.015  # the standard error of 120 places and 150 pairs is 0.003
    assert np.std(errors) < 0.05


@pytest.mark.parametrize("chunk", [7, 64, 500])
def test_the_index_finds_what_comparing_all_pairs_finds(chunk):
    rng = random.Random(3)
    texts = ["".join(rng.choices(CHARS, k=rng.randint(30, 120))) for _ in range(150)]
    texts += [changed(rng.choice(texts), rng.choice([0, 0.01, 0.02, 0.2]), rng) for _ in range(150)]
    rng.shuffle(texts)
    signatures, kept, wanted = minhash.signatures(texts), [], []
    for row in range(len(texts)):
        near = [k for k in kept if (signatures[k] == signatures[row]).mean() >= 0.8]
        wanted.append(near[0] if near else None)
        if not near:
            kept.append(row)
    near, found = Near(0.8), []
    cases = [(case(text, ""), number) for number, text in enumerate(texts)]
    cases = [(c._replace(texts=c.texts[:1]), number) for c, number in cases]
    for start in range(0, len(cases), chunk):
        found += near.partners(cases[start : start + chunk])
    assert found == wanted
    true = [row for row in range(len(texts)) if any(jaccard(texts[row], texts[k]) >= 0.9 for k in kept if k < row)]
    assert len(true) > 50
    assert all(found[row] is not None for row in true)


def test_an_index_that_grows_still_finds_its_first():
    rng = random.Random(5)
    texts = ["".join(rng.choices(CHARS, k=40)) for _ in range(9000)]
    index = minhash.Index()
    for start in range(0, 9000, 1000):
        index.add(minhash.signatures(texts[start : start + 1000]))
    assert index.near(minhash.signatures([texts[0], texts[8999], "全新的一句话没有人说过"]), 0.8).tolist() == [
        0,
        8999,
        -1,
    ]


def test_spelling_does_not_make_a_row_another():
    one = fingerprint(case("發熱，Three days?", "多喝水。"))
    assert one == fingerprint(case("发热 three  days", "多喝水", system="别的提示"))
    assert one != fingerprint(case("发热 three days", "多喝汤"))
    assert fingerprint(case("a b", "c")) != fingerprint(case("a", "b c"))


def test_the_first_of_equal_rows_stays_and_is_named():
    exact = Exact()
    rows = [case("一"), case("二"), case("一。"), case("二"), case("三")]
    assert [exact.partner(row, number) for number, row in enumerate(rows, 10)] == [None, None, 10, 11, None]


def test_rows_without_words_are_no_duplicates_of_each_other():
    near = Near(0.8)
    rows = [case("？", "！")._replace(texts=[]), case("。", "！")._replace(texts=[])]
    assert list(near.partners([(row, n) for n, row in enumerate(rows)])) == [None, None]
