"""A model that is asked through its book: batches, seeds, questions that cannot be answered, servers in trouble.

sh run_tests.sh tests/evaluate/test_subject.py
"""

from concurrent.futures import Future
from types import SimpleNamespace

import pytest

from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.errors import ConfigError
from bedside.evaluate.book import Book
from bedside.evaluate.subject import FAILED, Asked, Recalled

GREEDY = Sampling(8, temperature=0)
WARM = Sampling(8, temperature=1.0)


def chat(text: str) -> list[dict]:
    return [{"role": "user", "content": text}]


def said(text: str) -> Answer:
    return Answer(text, None, text, "stop", 1, 1)


class Echo:
    """An engine of this process that answers with the question, and writes down its batches."""

    name, thinks = "echo", True

    def __init__(self, dies_after: int | None = None):
        self.batches: list[list[str]] = []
        self.seeds: list = []
        self.dies_after = dies_after

    def prompt(self, messages, enable_thinking=None):
        text = " | ".join(turn["content"] for turn in messages)
        if "overlong" in text:
            raise RowError("W_OVERLONG", "the prompt has 900 tokens, the model's context is 512")
        return SimpleNamespace(ids=list(text), text=text)

    def complete(self, prompts, sampling):
        if self.dies_after is not None and len(self.batches) == self.dies_after:
            raise KeyboardInterrupt
        self.batches.append([prompt.text for prompt in prompts])
        self.seeds.append(sampling.seed)
        return [said(prompt.text.upper()) for prompt in prompts]


class Server:
    """An engine at the other end of a wire: `answers` maps a question to what comes, one after the other."""

    name, thinks, at_once = "server", True, 2

    def __init__(self, **answers):
        self.left = {name: list(value) if isinstance(value, list) else [value] for name, value in answers.items()}
        self.asked: list[tuple[str, int | None]] = []

    def ask(self, messages, sampling, enable_thinking=None):
        text = messages[-1]["content"]
        self.asked.append((text, sampling.seed))
        coming = self.left.get(text, [said(text.upper())])
        found = coming.pop(0) if len(coming) > 1 else coming[0]
        future = Future()
        future.set_exception(found) if isinstance(found, Exception) else future.set_result(found)
        return future


@pytest.fixture
def told(monkeypatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr("bedside.logs.warn", lines.append)
    return lines


def asked(engine, book: Book | None = None, **settings) -> Asked:
    return Asked("m", engine, None, book if book is not None else Book(None, {}), **settings)


def texts(answers) -> list[str]:
    return [answer.answer for answer in answers]


def test_answers_come_in_the_order_of_the_questions_and_long_prompts_go_together():
    engine = Echo()
    answers = asked(engine, batch=2).answers([chat("a"), chat("bbbb"), chat("cc"), chat("ddd")], GREEDY, "q")
    assert texts(answers) == ["A", "BBBB", "CC", "DDD"]
    assert engine.batches == [["bbbb", "ddd"], ["cc", "a"]]


def test_the_same_question_is_asked_once_in_all_tasks():
    engine = Echo()
    subject = asked(engine)
    assert texts(subject.answers([chat("a"), chat("a")], GREEDY, "q")) == ["A", "A"]
    assert texts(subject.answers([chat("a")], GREEDY, "another task")) == ["A"]
    assert engine.batches == [["a"]]
    assert subject.counted == 3


def test_nothing_is_asked_for_no_questions():
    assert asked(Echo()).answers([], GREEDY, "q") == []


def test_a_killed_run_goes_on_with_the_same_batches(tmp_path):
    questions = [chat("x" * size) for size in range(1, 8)]
    path = tmp_path / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        asked(Echo(dies_after=2), Book(path, {}), batch=2).answers(questions, GREEDY, "q")
    engine = Echo()
    resumed = asked(engine, Book(path, {}), batch=2).answers(questions, GREEDY, "q")
    whole = asked(Echo(), batch=2).answers(questions, GREEDY, "q")
    assert resumed == whole
    assert engine.batches == [["xxx", "xx"], ["x"]]


def test_a_batch_of_which_one_answer_is_missing_is_made_again_whole(tmp_path):
    path = tmp_path / "answers.jsonl"
    asked(Echo(), Book(path, {}), batch=2).answers([chat("aa"), chat("b")], GREEDY, "q")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    engine = Echo()
    asked(engine, Book(path, {}), batch=2).answers([chat("aa"), chat("b")], GREEDY, "q")
    assert engine.batches == [["aa", "b"]]


def test_every_answer_is_drawn_by_a_seed_of_its_own():
    engine, alone = Echo(), Echo()
    asked(engine, batch=4).answers([chat("aa"), chat("b")], WARM, "q")
    asked(alone, batch=4).answers([chat("b")], WARM, "q")
    assert len(set(engine.seeds[0])) == 2
    assert alone.seeds[0][0] == engine.seeds[0][1], "whatever stands beside it"
    asked(other := Echo(), batch=4, seed=7).answers([chat("b")], WARM, "q")
    assert other.seeds != alone.seeds


def test_draws_are_kept_apart_and_counted():
    engine = Echo()
    subject = asked(engine)
    first, second = subject.draw(0), subject.draw(1)
    first.answers([chat("a")], WARM, "q")
    second.answers([chat("a")], WARM, "q")
    assert len(engine.batches) == 2
    assert (first.counted, second.counted, subject.counted) == (1, 1, 0)


def test_a_system_turn_is_put_before_chats_that_have_none():
    engine = Echo()
    own = [{"role": "system", "content": "own"}, *chat("b")]
    asked(engine, system="be brief").answers([chat("aa"), own], GREEDY, "q")
    assert engine.batches == [["be brief | aa", "own | b"]]


def test_a_question_that_does_not_fit_counts_as_failed_and_is_told(told):
    answers = asked(Echo()).answers([chat("overlong"), chat("a")], GREEDY, "questions")
    assert [answer.finish_reason for answer in answers] == [FAILED, "stop"]
    assert (answers[0].text, answers[0].answer) == ("", "")
    assert "questions: overlong: the prompt has 900 tokens" in told[0]


def test_a_batch_that_does_not_fit_into_memory_is_halved(told):
    from bedside.generate import TooLittleMemory

    class Small(Echo):
        def complete(self, prompts, sampling):
            if len(prompts) > 1:
                raise TooLittleMemory("too much")
            return super().complete(prompts, sampling)

    engine = Small()
    assert texts(asked(engine).answers([chat("aa"), chat("b"), chat("ccc")], GREEDY, "q")) == ["AA", "B", "CCC"]
    assert "--batch_size 1" in told[0]


def test_a_server_is_asked_several_at_once_with_a_seed_a_row():
    engine = Server()
    answers = asked(engine).answers([chat("a"), chat("b")], WARM, "q")
    assert texts(answers) == ["A", "B"]
    assert len({seed for _, seed in engine.asked}) == 2
    asked(greedy := Server()).answers([chat("a")], GREEDY, "q")
    assert greedy.asked == [("a", None)]


def test_a_row_that_the_server_refuses_counts_as_failed_and_is_final(told):
    engine = Server(bad=RowError("W_OVERLONG", "too long"))
    subject = asked(engine)
    answers = subject.answers([chat("a"), chat("bad")], GREEDY, "q")
    assert [answer.finish_reason for answer in answers] == ["stop", FAILED]
    assert (subject.lost, len(engine.asked)) == ([], 2)
    assert "bad: no answer, which counts as a wrong one (W_OVERLONG too long)" in told[0]


def test_what_failed_is_asked_once_more():
    engine = Server(c=[EngineFailed("broke off", again=True), said("C")])
    questions = [chat(text) for text in "abcdef"]
    subject = asked(engine)
    assert texts(subject.answers(questions, GREEDY, "q")) == list("ABCDEF")
    assert subject.lost == []


def test_what_failed_twice_counts_as_wrong_and_is_left_for_the_next_run(told):
    engine = Server(f=EngineFailed("broke off", again=True))
    subject = asked(engine)
    answers = subject.answers([chat(text) for text in "abcdef"], GREEDY, "q")
    assert [answer.finish_reason for answer in answers] == ["stop"] * 5 + [FAILED]
    assert subject.lost == ["broke off"]
    assert "which counts as a wrong one (broke off)" in told[-1]


def test_a_wrong_key_stops_at_once(tmp_path):
    engine = Server(a=EngineFailed("the key is wrong"))
    with pytest.raises(EngineFailed, match="the key is wrong; .* the same command goes on from there"):
        asked(engine, Book(tmp_path / "a.jsonl", {})).answers([chat("a"), chat("b")], GREEDY, "q")


def test_a_server_that_is_down_stops_the_run():
    down = EngineFailed("nobody answers", again=True)
    with pytest.raises(EngineFailed, match="nobody answers"):
        asked(Server(a=down, b=down, c=down)).answers([chat("a"), chat("b"), chat("c")], GREEDY, "q")


def test_a_server_that_breaks_too_often_stops_the_run_with_what_it_gave(tmp_path):
    broken = EngineFailed("broke off", again=True)
    book = Book(tmp_path / "a.jsonl", {})
    with pytest.raises(EngineFailed, match="2 of 4 questions got no answer.*holds 2 answers"):
        asked(Server(c=broken, d=broken), book).answers([chat(text) for text in "abcd"], GREEDY, "q")
    assert len(Book(tmp_path / "a.jsonl", {})) == 2


def test_a_model_of_an_earlier_evaluation_is_recalled_from_its_book(tmp_path):
    path = tmp_path / "a.jsonl"
    asked(Echo(), Book(path, {}), system="s").answers([chat("a")], GREEDY, "q")
    recalled = Recalled("m", Book(path, {}), None, "s")
    assert texts(recalled.answers([chat("a")], GREEDY, "chat")) == ["S | A"]
    with pytest.raises(ConfigError, match=r"1 of 2 questions \(chat\) were never put to m"):
        recalled.answers([chat("a"), chat("b")], GREEDY, "chat")


def test_a_real_model_draws_the_same_alone_and_in_a_batch(tiny_model_dir):
    from bedside import engine

    origin = engine.find(tiny_model_dir, None)
    loaded = engine.load(origin, *engine.text_side(origin, "qwen3"), dtype="float32")
    questions = [chat("Fever?"), chat("咳嗽怎么办？"), chat("What should be done now?")]
    together = asked(loaded, batch=3).answers(questions, WARM, "q")
    alone = [asked(loaded, batch=1).answers([question], WARM, "q")[0] for question in questions]
    assert [answer.text for answer in together] == [answer.text for answer in alone]
    assert len({answer.text for answer in together}) == 3
