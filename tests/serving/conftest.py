"""A tiny random model whose answers differ from question to question, as an engine and behind servers."""

from contextlib import ExitStack

import pytest

from bedside.generate import ChatEngine
from bedside.serving.batched import BatchedEngine
from tests.serving.clients import listening


@pytest.fixture
def chat_engine(loud_parts) -> ChatEngine:
    """Never stops by itself: the greedy answers of a random model do not hold this id."""
    return ChatEngine(*loud_parts, stop_ids=[loud_parts[1].eos_token_id], name="tiny")


@pytest.fixture
def serve(chat_engine):
    """Start servers; limits of the engine, then settings of the server."""
    with ExitStack() as stack:
        yield lambda limits=None, **more: stack.enter_context(
            listening(BatchedEngine(chat_engine, **(limits or {})), **more)
        )
