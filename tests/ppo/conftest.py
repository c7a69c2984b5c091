"""Tiny models for the tests of PPO, written once."""

import pytest


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A base, its SFT adapter and its reward adapter, in float32."""
    from tests.ppo import toys

    return toys.write(tmp_path_factory.mktemp("roles"))


@pytest.fixture(scope="session")
def quantised(tmp_path_factory):
    """The same, with adapters that were made on the base in NF4."""
    from tests.ppo import toys

    return toys.write(tmp_path_factory.mktemp("roles-nf4"), toys.NF4)
