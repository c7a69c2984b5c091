"""The book of answers: what is found again, what is told of a file that a kill or another model has touched.

sh run_tests.sh tests/evaluate/test_book.py
"""

import json

import pytest

from bedside.answers import Answer, Sampling
from bedside.errors import ConfigError
from bedside.evaluate import book as books
from bedside.evaluate.book import Book

CHAT = [{"role": "user", "content": "发热怎么办？"}]
GREEDY = Sampling(64, temperature=0)
WARM = Sampling(64, temperature=0.7)
ANSWER = Answer("<think>\n想\n</think>\n\n休息。", "想", "休息。", "stop", 9, 12)


@pytest.fixture
def told(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr("bedside.logs.warn", lines.append)
    return lines


def test_a_book_gives_back_what_was_written(tmp_path):
    path = tmp_path / "deep" / "answers.jsonl"
    key = books.key(CHAT, GREEDY, None)
    Book(path, {"base": "q2:1", "adapter": None}).add([(key, ANSWER)])
    again = Book(path, {"base": "q2:1", "adapter": None})
    assert (len(again), key in again, again[key]) == (1, True, ANSWER)
    assert "发热" not in path.read_text(encoding="utf-8"), "a question is known by its key alone"


def test_half_a_character_is_kept(tmp_path):
    odd = Answer("a\ud83d", None, "a\ud83d", "length", 1, 1)
    Book(tmp_path / "b.jsonl", {}).add([("k", odd), ("l", ANSWER)])
    again = Book(tmp_path / "b.jsonl", {})
    assert (again["k"], again["l"]) == (odd, ANSWER)


def test_an_answer_is_written_once(tmp_path):
    book = Book(tmp_path / "b.jsonl", {})
    book.add([("k", ANSWER)])
    book.add([("k", Answer("other", None, "other", "stop", 1, 1))])
    assert book["k"] == ANSWER
    assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (books.key(CHAT, GREEDY, None), True),
        (books.key(CHAT, Sampling(64, temperature=0, top_p=0.5, top_k=9, seed=3), None), True),
        (books.key(CHAT, GREEDY, None, sample=1), True),
        (books.key(CHAT, Sampling(65, temperature=0), None), False),
        (books.key(CHAT, Sampling(64, temperature=0, repetition_penalty=1.1), None), False),
        (books.key(CHAT, GREEDY, False), False),
        (books.key([{"role": "system", "content": "Kurz."}, *CHAT], GREEDY, None), False),
        (books.key(CHAT, WARM, None), False),
    ],
)
def test_a_greedy_key_knows_what_an_answer_depends_on(other, same):
    assert (books.key(CHAT, GREEDY, None) == other) is same


def test_draws_of_one_question_have_keys_and_seeds_of_their_own():
    keys = [books.key(CHAT, WARM, None, sample) for sample in range(3)]
    assert len(set(keys)) == 3
    seeds = {books.seed_of(seed, key) for seed in (1, 2) for key in keys}
    assert len(seeds) == 6
    assert books.seed_of(1, keys[0]) == books.seed_of(1, keys[0]) < 1 << 32


def test_a_line_that_was_cut_off_is_told_and_dropped(tmp_path, told):
    path = tmp_path / "b.jsonl"
    Book(path, {"base": 1}).add([("k", ANSWER), ("l", ANSWER)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    again = Book(path, {"base": 1})
    assert (len(again), "l" in again) == (1, False)
    assert "last line was cut off" in told[0]
    again.add([("l", ANSWER)])
    assert path.read_bytes() == whole


def test_a_damaged_line_is_told_and_asked_again(tmp_path, told):
    path = tmp_path / "b.jsonl"
    Book(path, {}).add([("k", ANSWER), ("l", ANSWER)])
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], '{"key": "k"}', lines[2]]) + "\n")
    again = Book(path, {})
    assert (len(again), "l" in again) == (1, True)
    assert "1 damaged lines" in told[0]


def test_a_book_that_was_killed_in_its_first_line_begins_anew(tmp_path):
    path = tmp_path / "b.jsonl"
    path.write_text('{"schema": 1, "iden')
    assert len(Book(path, {"base": 1})) == 0
    assert json.loads(path.read_text())["identity"] == {"base": 1}


def test_another_models_book_is_refused(tmp_path):
    Book(tmp_path / "b.jsonl", {"base": "q2:1", "template": "a"})
    with pytest.raises(
        ConfigError, match=r"another model's answers: template \(a then, b now\).*overwrite_output_dir"
    ):
        Book(tmp_path / "b.jsonl", {"base": "q2:1", "template": "b"})


@pytest.mark.parametrize("text", ["not json\n", "[1]\n", '{"question": "?"}\n'])
def test_a_file_that_is_no_book_is_refused(tmp_path, text):
    (tmp_path / "b.jsonl").write_text(text)
    with pytest.raises(ConfigError, match="is no book of answers"):
        Book(tmp_path / "b.jsonl", {})


def test_a_later_schema_is_refused(tmp_path):
    (tmp_path / "b.jsonl").write_text('{"schema": 9, "identity": {}}\n')
    with pytest.raises(ConfigError, match="has schema 9, expected 1"):
        Book(tmp_path / "b.jsonl", {})


def test_a_book_without_a_path_is_in_memory():
    book = Book(None, {})
    book.add([("k", ANSWER)])
    assert book["k"] == ANSWER
