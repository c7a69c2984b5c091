"""The flags themselves: declared once, read somewhere, meaning one thing in every script.

sh run_tests.sh tests/test_args.py
"""

import dataclasses
import re

import pytest

from bedside import flagsdoc, spellings
from bedside.flagtable import spellings as by_spelling
from bedside.flagtable import table

TABLES = {script: table(*arguments) for script, arguments in flagsdoc.SCRIPTS.items()}
# Names of one thing in different scripts: where a spelling is shared, these are the fields it may belong to.
SAME = (
    {"model_name_or_path", "base_model", "base_model_name_or_path", "model"},
    {"peft_path", "lora_model", "peft_model_path"},
    {"tokenizer_name_or_path", "tokenizer_path", "base_tokenizer_path"},
    {"model_revision", "revision"},
    {"in_file", "input_file", "paths", "data_file"},
    {"num_proc", "dataset_num_proc"},
    {"per_device_eval_batch_size", "batch_size"},
    {"use_cpu", "only_cpu"},
    {"loss_type", "pref_loss"},
    {"beta", "orpo_beta"},
    {"max_target_length", "max_completion_length", "response_length"},
)


@pytest.mark.parametrize("script", TABLES)
def test_no_spelling_means_two_flags(script):
    spelled = [name for flag in TABLES[script] for name in (flag.name, *flag.aliases)]
    assert len(spelled) == len(set(spelled))


def test_a_spelling_means_the_same_in_every_script():
    meanings: dict[str, set[str]] = {}
    for flags in TABLES.values():
        for name, flag in by_spelling(flags).items():
            meanings.setdefault(name, set()).add(flag.name)
    differing = [names for names in meanings.values() if len(names) > 1 and not any(names <= same for same in SAME)]
    assert differing == []


def test_a_refused_or_unneeded_name_is_no_flag():
    names = set(by_spelling(TABLES["supervised_finetuning.py"]))
    assert not names & set(spellings.RETIRED)
    assert not names & set(spellings.ACCEPTED)
    assert not set(spellings.RETIRED) & set(spellings.ACCEPTED)
    assert [name for name in names if name.startswith(tuple(spellings.RETIRED_FAMILIES))] == []


def test_every_alias_of_a_trainer_flag_belongs_to_one_that_exists():
    trainer = {flag.name for flags in TABLES.values() for flag in flags}
    assert [name for name in spellings.TRAINER_ALIASES if name not in trainer] == []
    assert [name for name in spellings.DEFAULT_TEXT if name not in trainer] == []


def test_exclusive_families_are_of_flags_that_exist():
    trainer = {flag.name for flag in TABLES["supervised_finetuning.py"]}
    assert [name for family in spellings.EXCLUSIVE for name in family if name not in trainer] == []


@pytest.mark.parametrize("script", TABLES)
def test_every_field_is_read_somewhere(script, repo):
    if not (repo / script).exists():
        pytest.fail(f"{script} does not exist, but docs/flags.md documents it")
    code = [path for path in repo.glob("bedside/**/*.py") if path.name not in ("args.py", "spellings.py", "usage.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in [*code, *repo.glob("*.py")])
    unread = [
        field.name
        for group in flagsdoc.SCRIPTS[script][0]
        for field in dataclasses.fields(group)
        if not field.metadata["help"].startswith(("accepted", "not supported"))
        and not re.search(rf"\.{field.name}\b|[\"']{field.name}[\"']", text)
    ]
    assert unread == []


@pytest.mark.parametrize("script", TABLES)
def test_every_own_flag_is_explained(script):
    assert [flag.name for flag in TABLES[script] if flag.group != "trainer" and len(flag.help) < 8] == []


def test_a_help_that_accepts_one_value_is_held_to_it():
    for flags in TABLES.values():
        for flag in flags:
            if flag.help.startswith("accepted as"):
                assert flag.only or flag.choices, flag.name


def test_docs_flags_is_up_to_date(repo):
    written = (repo / "docs/flags.md").read_text(encoding="utf-8")
    made = flagsdoc.document()
    if flagsdoc.versions() not in written:  # another transformers: its trainer flags may differ, ours may not
        written, made = (
            [line for line in text.splitlines() if line.startswith("| `--")][:40] for text in (written, made)
        )
    assert written == made, "run: python -m bedside.flagsdoc"
