"""One fork server for all tests of this folder."""

import pytest

from . import forks, toys


@pytest.fixture(scope="package")
def fork():
    """Runs stages in forked processes, which may be killed."""
    server = forks.Fork()
    yield server
    server.close()


@pytest.fixture(scope="package")
def sft_adapter(fork, tmp_path_factory, tiny_model_dir):
    """The adapter of a short SFT, from which a preference stage starts."""
    root = tmp_path_factory.mktemp("sft")
    argv = toys.flags("sft", tiny_model_dir, toys.write("sft", root), root / "out", "--save_strategy", "no")
    status, said = fork.run("supervised_finetuning", argv)
    assert status == 0, said
    return root / "out"
