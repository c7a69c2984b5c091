"""What the tests of uploads share."""

from pathlib import Path

import pytest

from tests.hub import finished
from tests.hub.recorder import Recorder


@pytest.fixture
def model(tmp_path) -> Path:
    """A sealed adapter among everything that a run leaves behind it."""
    return finished.write(tmp_path / "outputs-sft")


@pytest.fixture
def hub(monkeypatch):
    """A hub that lets everything in."""
    return Recorder(monkeypatch)
