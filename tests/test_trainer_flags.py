"""The trainer's flags as read from source, beside those of the imported class.

sh run_tests.sh tests/test_trainer_flags.py
"""

import ast
import dataclasses

import pytest

from bedside import trainer_flags
from bedside.errors import ConfigError


@pytest.fixture(scope="module")
def imported():
    from trl import SFTConfig

    return {field.name: field for field in dataclasses.fields(SFTConfig) if field.init}


def test_the_names_are_exactly_those_of_the_installed_config(imported):
    assert set(trainer_flags.flags_of("SFTConfig")) == set(imported)


def test_literal_defaults_are_those_of_the_installed_config(imported):
    flags = trainer_flags.flags_of("SFTConfig")
    for name, field in imported.items():
        # Defaults that are computed (the optimizer's name, an empty list) read as None.
        if flags[name].default is not None:
            assert flags[name].default == field.default, name
    known = {name: flags[name].default for name in ("max_length", "num_train_epochs", "seed", "packing", "max_steps")}
    assert known == {"max_length": 1024, "num_train_epochs": 3.0, "seed": 42, "packing": False, "max_steps": -1}


def test_enumerations_are_choices():
    flags = trainer_flags.flags_of("SFTConfig")
    assert flags["save_strategy"].choices == ("no", "steps", "epoch", "best")
    assert "cosine" in flags["lr_scheduler_type"].choices
    assert {"adamw_torch", "paged_adamw_8bit", "adamw_8bit"} <= set(flags["optim"].choices)
    assert "group_by_length" in flags["train_sampling_strategy"].choices


@pytest.mark.parametrize(
    ("annotation", "kinds"),
    [
        ("int", ["int"]),
        ("int | None", ["int", "None"]),
        ("Optional[int]", ["int", "None"]),
        ("typing.Optional[Union[dict, str]]", ["dict", "str", "None"]),
        ("Union[str, List[str], None]", ["str", "list[str]", "None"]),
        ("transformers.training_args.OptimizerNames | str", ["OptimizerNames", "str"]),
        ("'float | None'", ["float", "None"]),
        ("dict[str, Any] | str", ["dict[str, Any]", "str"]),
    ],
)
def test_an_annotation_reads_the_same_in_every_spelling(annotation, kinds):
    assert trainer_flags.kinds_of(ast.parse(annotation, mode="eval").body) == kinds


def test_older_source_reads_the_same(tmp_path, monkeypatch):
    """transformers before and after 5.20 spell annotations, defaults and metadata differently."""
    (tmp_path / "old.py").write_text(
        "@dataclass\nclass Old:\n"
        "    steps: Optional[int] = field(default=-1, metadata={'help': 'A 5%% ' 'share'})\n"
        "    rate: float = 0.5\n"
        "    mode: Union[str, bool] = field(default='no', metadata={'help': f'one of {x}',"
        " 'choices': ['no', 'all']})\n"
        "    made: list[str] = field(default_factory=list)\n"
        "    _private: int = 3\n"
    )
    monkeypatch.setattr(trainer_flags, "_package_root", lambda package: tmp_path)
    monkeypatch.setitem(trainer_flags.CONFIGS, "Old", (("anything", "old.py", "Old"),))
    flags = trainer_flags.flags_of("Old")
    assert [tuple(flag) for flag in flags.values()] == [
        ("steps", "int | None", -1, "A 5% share", None),
        ("rate", "float", 0.5, "", None),
        ("mode", "str | bool", "no", "one of", ("no", "all")),
        ("made", "list[str]", None, "", None),
    ]


def test_a_missing_library_is_a_sentence(monkeypatch):
    monkeypatch.setattr(trainer_flags, "find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=r"trl is not installed; run: pip install -r requirements.txt"):
        trainer_flags._package_root("trl")
