"""One tiny model as an engine: in this process, and behind a server."""

import pytest

from bedside.generate import ChatEngine
from bedside.remote import RemoteEngine, refusals
from tests.engine import server
from tests.engine.dictated import Dictated


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """No keys of this machine, and pauses that tests can wait for."""
    for name in ("BEDSIDE_API_KEY", "VLLM_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(refusals, "_FIRST", 0.001)


@pytest.fixture(scope="module")
def inside(loud_parts):
    """A random model that never stops by itself, and whose answers are not one token for ever."""
    return ChatEngine(*loud_parts, [loud_parts[1].eos_token_id])


@pytest.fixture
def outside(inside):
    """The same model behind a server."""
    with server.serving(inside) as url:
        yield RemoteEngine(url, retries=0, timeout=60)


@pytest.fixture(params=["inside", "outside"])
def engine(request):
    """One engine after the other."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def dictate(inside, monkeypatch):
    """Has the model write a text and end (or break); returns where its prompts are noted."""

    def dictated(text, ended=True, breaks=None):
        ids = inside.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
        ids += inside.stop_ids[:1] * (ended and not breaks)
        wrote = Dictated(inside.model.forward, ids, breaks)
        monkeypatch.setattr(inside.model, "forward", wrote)
        return wrote

    return dictated
