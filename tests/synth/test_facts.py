"""The fact table: schema, split and view."""

import json

import pytest

from bedside.errors import DataError
from bedside.synth import facts

ROWS = facts.load()
SEEN, HELD_OUT = facts.split(ROWS, 7)


def test_the_table_holds_136_conditions_of_16_groups():
    assert len(ROWS) == len({row["id"] for row in ROWS}) == 136
    assert len({row["group"] for row in ROWS}) == 16


def test_no_name_belongs_to_two_conditions():
    owners = {}
    for row in ROWS:
        for name in {name.lower() for name in facts.names_of(row)}:
            assert owners.setdefault(name, row["id"]) == row["id"], name


def test_no_patient_words_are_used_for_two_findings():
    owners = {}
    for row in ROWS:
        for place, finding in enumerate(row["findings"]):
            for key in ("say_zh", "say_en"):
                assert owners.setdefault(finding[key].lower(), (row["id"], place)) == (row["id"], place), finding[key]


def test_the_split_holds_out_one_condition_of_each_group():
    assert (len(SEEN), len(HELD_OUT)) == (120, 16)
    assert len({row["group"] for row in HELD_OUT}) == 16
    assert not {row["id"] for row in SEEN} & {row["id"] for row in HELD_OUT}


def test_the_split_depends_on_the_seed_alone():
    assert facts.split(list(ROWS), 7) == (SEEN, HELD_OUT)
    assert facts.split(ROWS, 8)[1] != HELD_OUT


def test_both_languages_have_the_same_view():
    for row in ROWS:
        chinese, english = facts.localise(row, "zh"), facts.localise(row, "en")
        assert set(chinese) == set(english)
        assert len(chinese["terms"]) == len(english["says"]) == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"urgency": "soon"}, "urgency"),
        ({"drug_en": ""}, "drug_en"),
        ({"who_zh": "两行\n文字"}, "who_zh"),
        ({"steps": []}, "steps"),
        ({"extra": 1}, "extra"),
        ({"mimic": {"zh": "甲"}}, "mimic"),
    ],
)
def test_a_broken_row_is_named_with_its_line(tmp_path, change, words):
    path = tmp_path / "conditions.jsonl"
    rows = [ROWS[0], {**ROWS[1], **change}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    with pytest.raises(DataError, match=words) as caught:
        facts.load(path)
    assert f"{path}:2" in str(caught.value)


def test_a_line_that_is_not_json_or_an_id_used_twice_is_refused(tmp_path):
    path = tmp_path / "conditions.jsonl"
    path.write_text("{\n", encoding="utf-8")
    with pytest.raises(DataError, match="JSON"):
        facts.load(path)
    path.write_text((json.dumps(ROWS[0]) + "\n") * 2, encoding="utf-8")
    with pytest.raises(DataError, match="twice"):
        facts.load(path)
