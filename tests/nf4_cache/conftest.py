"""What the tests of 4-bit copies share."""

import shutil
from pathlib import Path

import pytest
import torch

from bedside import models
from tests.nf4_cache.copies import NF4


@pytest.fixture
def base(tiny_model_dir, tmp_path) -> Path:
    """A base of its own, which a test may spoil."""
    return Path(shutil.copytree(tiny_model_dir, tmp_path / "base"))


@pytest.fixture
def load(base, tmp_path):
    """`load(mode)` the base in 4-bit with copies under tmp_path/copies."""

    def run(mode="on", quantisation=NF4, name=str(base), **more):
        torch.manual_seed(3)
        return models.load_base(
            name, quantisation=quantisation, nf4_cache=mode, nf4_cache_dir=str(tmp_path / "copies"), **more
        )

    return run
