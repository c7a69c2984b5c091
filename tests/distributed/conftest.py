"""What one process makes of every way of training, which two must match."""

import importlib

import pytest

from tests.resume import toys

from . import launches


@pytest.fixture(scope="package")
def argv(tmp_path_factory, tiny_model_dir):
    """The flags of a way, by its name, output and number of processes."""
    root = tmp_path_factory.mktemp("rows")

    def of(name, output, processes):
        return launches.flags(name, root, tiny_model_dir, output, processes)

    return of


@pytest.fixture(scope="package")
def alone(argv, tmp_path_factory):
    """The output of one process, by way; made here when first asked for."""
    root, made = tmp_path_factory.mktemp("one"), {}

    def of(name):
        if name not in made:
            made[name] = root / name
            stage, _ = launches.WAYS[name]
            importlib.import_module(toys.SCRIPTS[stage]).main(argv(name, made[name], 1))
        return made[name]

    return of
