"""Chats in one batch: the same answers as alone, joining and leaving, bounds, and what happens when the model breaks.

sh run_tests.sh tests/serving/test_scheduler.py
"""

import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue

import pytest
import torch

from bedside.answers import Answer, EngineFailed, Sampling
from bedside.data.conversation import RowError
from bedside.serving.batched import BatchedEngine
from bedside.serving.scheduler import Busy

GREEDY = Sampling(max_new_tokens=12, temperature=0)
CHATS = [
    [{"role": "user", "content": text}]
    for text in (
        "咳嗽怎么办？",
        "The patient has had a fever and a cough for three days. What should be done?",
        "a",
        "患者发热咳嗽三天，应该怎么办？先测体温，再听诊肺部。",
        "listen to the chest",
    )
]


@pytest.fixture
def batched(chat_engine):
    """Makes engines, and closes them."""
    made = []

    def make(**limits) -> BatchedEngine:
        made.append(BatchedEngine(chat_engine, **limits))
        return made[-1]

    yield make
    for engine in made:
        engine.close()


class Gate:
    """The model's forward, which waits before its n-th call until it is let through. Calls are counted."""

    def __init__(self, model, monkeypatch, at=()):
        self.calls, self.sizes, self.go, self.reached = 0, [], threading.Event(), threading.Event()
        self.broken = {}
        forward = model.forward

        def gated(*args, **kwargs):
            self.calls += 1
            self.sizes.append(len(kwargs["input_ids"]))
            if self.calls in at:
                self.reached.set()
                assert self.go.wait(60)
            if self.calls in self.broken:
                raise self.broken[self.calls]
            return forward(*args, **kwargs)

        gated.__signature__ = inspect.signature(forward)
        monkeypatch.setattr(model, "forward", gated)


def submit(engine, chat, sampling=GREEDY, **more):
    pieces = SimpleQueue()
    return engine.submit(engine.prompt(chat), sampling, pieces.put, **more), pieces


def last(pieces):
    while not isinstance(piece := pieces.get(timeout=60), (Answer, EngineFailed)):
        pass
    return piece


@pytest.mark.parametrize(
    "sampling",
    [
        GREEDY,
        Sampling(12, temperature=1.3, top_p=0.9, seed=5),
        Sampling(12, temperature=0.9, top_p=1.0, top_k=7, repetition_penalty=1.3, seed=-1),
        Sampling(12, temperature=0, repetition_penalty=1.5),
    ],
    ids=["greedy", "top p", "top k and penalty", "greedy with penalty"],
)
def test_in_a_batch_each_answer_is_the_one_it_gets_alone(batched, chat_engine, sampling):
    alone = [chat_engine.answer([chat], sampling)[0] for chat in CHATS]
    assert len({answer.text for answer in alone}) == len(CHATS)
    engine = batched(max_batch=4)
    assert engine.answer(CHATS, sampling) == alone
    assert engine.answer(CHATS[::-1], sampling) == alone[::-1]
    assert [list(engine.stream(chat, sampling))[-1] for chat in CHATS] == alone
    assert chat_engine.answer(CHATS, sampling) == alone


def test_rows_of_one_batch_have_their_own_settings(batched, chat_engine):
    settings = [GREEDY, Sampling(3, temperature=1.5, seed=1), Sampling(9, temperature=0, stop=("e",)),
                Sampling(12, temperature=1.5, seed=2), Sampling(12, 0.5, 0.5, 3, 1.2, seed=3)]  # fmt: skip
    alone = [chat_engine.answer([chat], wish)[0] for chat, wish in zip(CHATS, settings, strict=True)]
    engine = batched()
    queues = [submit(engine, chat, wish)[1] for chat, wish in zip(CHATS, settings, strict=True)]
    assert [last(pieces) for pieces in queues] == alone


def test_a_chat_joins_while_another_runs(batched, chat_engine, monkeypatch):
    alone = [chat_engine.answer([chat], GREEDY)[0] for chat in CHATS[:2]]
    engine = batched()
    gate = Gate(chat_engine.model, monkeypatch, at=(5,))
    _, first = submit(engine, CHATS[0])
    assert gate.reached.wait(60)
    _, second = submit(engine, CHATS[1])
    gate.go.set()
    assert [last(first), last(second)] == alone
    # The prompt of one, four steps of it alone; the prompt of the other; then both, until the first has its 12 tokens.
    assert gate.sizes == [1] * 6 + [2] * 7 + [1] * 4


def test_without_a_seed_answers_differ(batched):
    hot = Sampling(12, temperature=2.0)
    engine = batched()
    assert len({answer.text for answer in engine.answer(CHATS[:1] * 4, hot)}) > 1


def test_a_cancelled_chat_leaves_at_the_next_step(batched, chat_engine, monkeypatch):
    engine, cancel = batched(), threading.Event()
    gate = Gate(chat_engine.model, monkeypatch, at=(4,))
    _, running = submit(engine, CHATS[0], Sampling(400, temperature=0), cancel=cancel)
    assert gate.reached.wait(60)
    cancel.set()
    gate.go.set()
    answer = last(running)
    assert (answer.finish_reason, answer.completion_tokens) == ("cancelled", 4)
    assert gate.calls == 4
    assert engine.answer(CHATS[:1], GREEDY)[0].finish_reason == "length"


def test_a_chat_that_is_cancelled_while_it_waits_costs_nothing(batched, chat_engine, monkeypatch):
    engine, cancel = batched(max_batch=1), threading.Event()
    gate = Gate(chat_engine.model, monkeypatch, at=(2,))
    _, running = submit(engine, CHATS[0])
    assert gate.reached.wait(60)
    _, waiting = submit(engine, CHATS[1], cancel=cancel)
    cancel.set()
    gate.go.set()
    answer = last(waiting)
    assert (answer.finish_reason, answer.completion_tokens) == ("cancelled", 0)
    assert last(running).finish_reason == "length"
    assert gate.calls == 12


def test_a_reader_that_goes_away_ends_the_work(batched, chat_engine, monkeypatch):
    engine, gate = batched(), Gate(chat_engine.model, monkeypatch)
    stream = engine.stream(CHATS[0], Sampling(450, temperature=0))
    next(stream)
    stream.close()
    engine.answer(CHATS[1:2], GREEDY)
    assert engine.scheduler.running == 0
    assert gate.calls < 450


def test_a_full_queue_refuses(batched, chat_engine, monkeypatch):
    engine = batched(max_batch=1, max_waiting=1)
    gate = Gate(chat_engine.model, monkeypatch, at=(2,))
    _, one = submit(engine, CHATS[0])
    assert gate.reached.wait(60)
    _, two = submit(engine, CHATS[1])
    with pytest.raises(Busy, match="the queue is full: 1 waiting"):
        submit(engine, CHATS[2])
    gate.go.set()
    assert [last(one).finish_reason, last(two).finish_reason] == ["length", "length"]


def test_many_threads_each_get_their_own(batched, chat_engine):
    alone = [chat_engine.answer([chat], GREEDY)[0] for chat in CHATS]
    engine = batched(max_batch=6)
    with ThreadPoolExecutor(24) as threads:
        found = list(threads.map(lambda i: list(engine.stream(CHATS[i % 5], GREEDY))[-1], range(100)))
    assert found == [alone[i % 5] for i in range(100)]


def test_the_cache_stays_within_its_bound(batched, chat_engine, monkeypatch):
    widths = []
    engine = batched(max_batch=8, max_tokens=160)
    gate = Gate(chat_engine.model, monkeypatch)
    count = engine.scheduler._write

    def noting(requests, logits):
        widths.append(len(requests) * max(len(request.ids) + 1 for request in requests))
        return count(requests, logits)

    monkeypatch.setattr(engine.scheduler, "_write", noting)
    assert len(engine.answer(CHATS, GREEDY)) == 5
    assert max(gate.sizes) > 1
    assert max(widths) <= 160
    with pytest.raises(RowError, match=r"W_OVERLONG the prompt has \d+ tokens, the cache holds 160"):
        engine.answer([[{"role": "user", "content": "x y " * 90}]], GREEDY)


def test_a_model_that_breaks_fails_everyone_and_says_why(batched, chat_engine, monkeypatch):
    died = threading.Event()
    engine = batched(max_batch=1, on_death=died.set)
    gate = Gate(chat_engine.model, monkeypatch, at=(3,))
    gate.broken[3] = ValueError("the card fell off\nlong tail")
    _, running = submit(engine, CHATS[0])
    assert gate.reached.wait(60)
    _, waiting = submit(engine, CHATS[1])
    gate.go.set()
    for pieces in (running, waiting):
        failure = last(pieces)
        assert str(failure) == ("the model broke off (ValueError: the card fell off); start the server again")
    assert died.wait(60)
    with pytest.raises(EngineFailed, match="the card fell off"):
        engine.answer(CHATS[:1], GREEDY)


def test_out_of_memory_goes_on_with_fewer_at_once(batched, chat_engine, monkeypatch):
    alone = [chat_engine.answer([chat], GREEDY)[0] for chat in CHATS[:4]]
    engine = batched(max_batch=4)
    gate = Gate(chat_engine.model, monkeypatch, at=(1, 4))
    gate.broken[4] = torch.OutOfMemoryError("CUDA out of memory")
    queues = [submit(engine, CHATS[0])[1]]
    assert gate.reached.wait(60)
    queues += [submit(engine, chat)[1] for chat in CHATS[1:4]]
    gate.go.set()
    assert [last(pieces) for pieces in queues] == alone
    assert engine.scheduler.max_batch == 2
    assert max(gate.sizes[4:]) == 2


def test_one_chat_that_the_memory_does_not_hold_fails_alone(batched, chat_engine, monkeypatch):
    engine = batched()
    gate = Gate(chat_engine.model, monkeypatch)
    gate.broken[1] = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
    with pytest.raises(EngineFailed, match=r"the memory does not hold one chat of \d+ tokens"):
        engine.answer(CHATS[:1], GREEDY)
    assert engine.answer(CHATS[:1], GREEDY)[0].finish_reason == "length"


def test_an_answer_of_nan_fails_and_the_others_go_on(batched, chat_engine, monkeypatch):
    engine = batched()
    reader = engine.scheduler._reader
    read = reader.read

    def spoiled(prompts):
        rows, logits = read(prompts)
        logits[0] = float("nan")
        return rows, logits

    monkeypatch.setattr(reader, "read", spoiled)
    with pytest.raises(EngineFailed, match="NaN"):
        engine.answer(CHATS[:1], GREEDY)
    monkeypatch.setattr(reader, "read", read)
    assert engine.answer(CHATS[:1], GREEDY)[0].finish_reason == "length"


def test_closing_ends_what_runs(batched, chat_engine, monkeypatch):
    engine = batched()
    _, pieces = submit(engine, CHATS[0], Sampling(450, temperature=0))
    pieces.get(timeout=60)
    engine.close()
    assert str(last(pieces)) == "the server is stopping"
    with pytest.raises(EngineFailed, match="the server is stopping"):
        submit(engine, CHATS[0])


def test_a_cache_that_cannot_be_joined_answers_one_at_a_time(chat_engine, batched, monkeypatch):
    from bedside.serving import rows

    monkeypatch.setattr(rows.Reader, "joins", property(lambda self: False))
    engine = batched(max_batch=8)
    assert engine.scheduler.max_batch == 1
    gate = Gate(chat_engine.model, monkeypatch)
    assert len(engine.answer(CHATS, GREEDY)) == 5
    assert set(gate.sizes) == {1}


def test_it_is_an_engine(batched):
    engine = batched()
    assert (engine.name, engine.thinks, engine.context) == ("tiny", True, 512)
