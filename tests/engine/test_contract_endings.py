"""How every engine ends before its answer does: cancelled, left by its reader, broken.

sh run_tests.sh tests/engine/test_contract_endings.py
"""

import threading

import pytest

from bedside.answers import EngineFailed, Sampling
from tests.engine.dictated import GREEDY, SHORT, put_together, run


def test_setting_cancel_ends_the_answer(engine):
    cancel, pieces = threading.Event(), []
    for piece in engine.stream(SHORT, Sampling(400, temperature=0), cancel=cancel):
        pieces.append(piece)
        cancel.set()
    *deltas, last = pieces
    assert last.finish_reason == "cancelled"
    assert last.completion_tokens < 400
    assert put_together(deltas) == (last.thought or "", last.answer)


def test_another_thread_may_cancel(engine):
    cancel = threading.Event()
    stream = engine.stream(SHORT, Sampling(400, temperature=0), cancel=cancel)
    next(stream)
    thread = threading.Thread(target=cancel.set)
    thread.start()
    assert run(stream)[1].finish_reason == "cancelled"
    thread.join()


def test_what_was_cancelled_before_it_began_writes_next_to_nothing(engine):
    cancel = threading.Event()
    cancel.set()
    last = run(engine.stream(SHORT, Sampling(400, temperature=0), cancel=cancel))[1]
    assert last.finish_reason == "cancelled"
    assert last.completion_tokens <= 1


def test_a_reader_may_go_away_and_another_come(engine):
    stream = engine.stream(SHORT, Sampling(400, temperature=0))
    next(stream)
    stream.close()
    assert engine.answer([SHORT], GREEDY)[0].finish_reason == "length"


BROKEN = RuntimeError("CUDA error: an illegal memory access")


def test_a_model_that_breaks_is_one_sentence(engine, dictate):
    dictate("", breaks=BROKEN)
    with pytest.raises(EngineFailed, match="illegal memory access"):
        engine.answer([SHORT], GREEDY)


def test_a_stream_whose_model_breaks_is_one_sentence(engine, dictate):
    dictate("", breaks=BROKEN)
    with pytest.raises(EngineFailed, match="illegal memory access"):
        list(engine.stream(SHORT, GREEDY))


def test_a_model_that_breaks_in_the_middle_is_one_sentence(engine, dictate):
    dictate("Drink water", breaks=BROKEN)
    stream = engine.stream(SHORT, Sampling(100))
    assert next(stream).kind == "answer"
    with pytest.raises(EngineFailed, match="illegal memory access"):
        list(stream)
