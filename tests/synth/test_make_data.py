"""The committed files: up to date, readable, and nothing held out where it must not be."""

import importlib.util
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from bedside.synth import dialogues, facts, preferences
from bedside.synth.fields import PHRASES

DATA = Path(__file__).resolve().parents[2] / "data"
TRAINING = sorted(DATA.glob("sft/*.jsonl")) + sorted(DATA.glob("reward/*.jsonl")) + sorted(DATA.glob("grpo/*.jsonl"))
ROWS = facts.load()
BY_ID = {row["id"]: row for row in ROWS}
SEEN, HELD_OUT = facts.split(ROWS, 7)
HELD_IDS = {row["id"] for row in HELD_OUT}


def script():
    spec = importlib.util.spec_from_file_location("make_data", DATA / "make_data.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def make_data():
    """The script, which renders the same rows with the same seed once."""
    module = script()
    render, rendered = module.render, {}

    def once(rows, seed):
        key = json.dumps(rows), seed
        if key not in rendered:
            rendered[key] = render(rows, seed)
        return dict(rendered[key])

    module.render = once
    return module


def rows_of(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def texts(value):
    """Every string of a row, however deep."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


@pytest.fixture(scope="module")
def training_text():
    rows = [row for path in TRAINING for row in rows_of(path)]
    return "\n".join(text for row in rows for text in texts({**row, "id": ""})).lower()


def test_the_committed_files_are_what_the_script_renders(make_data, capsys):
    assert make_data.main(["--check"]) == 0, capsys.readouterr().out


def test_check_names_a_file_that_differs(make_data, tmp_path, capsys):
    assert make_data.main(["--output_dir", str(tmp_path)]) == 0
    assert (tmp_path / "finetune").resolve() == tmp_path / "sft"
    assert make_data.main(["--output_dir", str(tmp_path), "--check"]) == 0
    with (tmp_path / "sft" / "cot.jsonl").open("a", encoding="utf-8") as file:
        file.write("{}\n")
    assert make_data.main(["--output_dir", str(tmp_path), "--check"]) == 1
    assert "cot.jsonl" in capsys.readouterr().out


def test_data_stays_small():
    files = [
        path
        for path in DATA.rglob("*")
        if path.is_file() and not path.is_symlink() and "__pycache__" not in path.parts
    ]
    assert sum(path.stat().st_size for path in files if "finetune" not in path.parts) < 3_000_000


def test_every_row_carries_its_condition_and_its_language():
    for path in [*TRAINING, *DATA.glob("eval/*.jsonl")]:
        for row in rows_of(path):
            assert row["id"] in BY_ID and row["lang"] in facts.LANGUAGES, path
            if path.parent.name == "sft":
                assert row["split"] == "train"


def test_no_held_out_condition_is_in_any_training_conversation(training_text):
    for path in TRAINING:
        assert not {row["id"] for row in rows_of(path)} & HELD_IDS, path
    for row in HELD_OUT:
        for name in facts.names_of(row):
            assert not re.search(rf"(?<![a-z]){re.escape(name.lower())}(?![a-z])", training_text), name


def test_no_fifth_finding_in_the_patients_words_is_in_any_training_conversation(training_text):
    for row in ROWS:
        assert row["findings"][4]["say_zh"].lower() not in training_text
        assert row["findings"][4]["say_en"].lower() not in training_text


@pytest.mark.parametrize("language", facts.LANGUAGES)
def test_no_held_out_ask_frame_is_in_any_training_conversation(training_text, language):
    evaluation = (DATA / "eval" / "heldout_phrasings.jsonl").read_text(encoding="utf-8").lower()
    for frame in PHRASES[language].ASKS[-dialogues.HELD_OUT_ASKS :]:
        words = max(re.split(r"\{\w+\}", frame), key=len).lower().strip()
        assert words not in training_text, frame
        assert words in evaluation, frame


def test_the_held_out_phrasings_ask_once_about_every_seen_condition_in_each_language():
    rows = rows_of(DATA / "eval" / "heldout_phrasings.jsonl")
    assert Counter((row["id"], row["lang"]) for row in rows) == {
        (row["id"], language): 1 for row in SEEN for language in facts.LANGUAGES
    }


def test_the_held_out_conditions_are_asked_about_twice_in_each_language():
    rows = rows_of(DATA / "eval" / "heldout_conditions.jsonl")
    assert Counter((row["id"], row["lang"]) for row in rows) == {
        (row["id"], language): 2 for row in HELD_OUT for language in facts.LANGUAGES
    }


def test_evaluation_rows_expect_a_name_that_their_own_answer_has():
    for path in DATA.glob("eval/heldout_*.jsonl"):
        for row in rows_of(path):
            answer = row["messages"][-1]
            assert row["expect"][0].lower() in answer["content"].lower()
            assert row["expect"][0].lower() in answer["reasoning_content"].lower()


def is_refusal(row):
    words = "|".join(
        re.escape(max(re.split(r"\{\w+\}", frame), key=len))
        for language in facts.LANGUAGES
        for kind in PHRASES[language].REFUSALS.values()
        for frame in kind["answer"]
    )
    return bool(re.search(words, row["Response"]))


def test_every_thought_and_answer_names_the_right_condition_and_every_emergency_is_urgent():
    rows = rows_of(DATA / "sft" / "cot.jsonl")
    plain = [row for row in rows if not is_refusal(row)]
    assert 0.04 < 1 - len(plain) / len(rows) < 0.08
    for row in plain:
        name = BY_ID[row["id"]][row["lang"]].lower()
        assert name in row["Complex_CoT"].lower() and name in row["Response"].lower()
        if BY_ID[row["id"]]["urgency"] == "emergency":
            assert re.search("ambulance|emergency|120|急救|急诊", row["Response"]), row


def test_sft_formats():
    roles = ["human", "gpt"]
    shapes = set()
    for row in rows_of(DATA / "sft" / "sharegpt.jsonl"):
        talk = row["conversations"]
        assert [turn["from"] for turn in talk] == roles * (len(talk) // 2)
        assert all(turn["value"].startswith("<think>\n") for turn in talk[1::2])
        shapes.add((len(talk), "system" in row))
    assert {length for length, _ in shapes} == {2, 4, 6} and {system for _, system in shapes} == {True, False}
    alpaca = rows_of(DATA / "sft" / "alpaca.jsonl")
    assert not any("<think>" in text for row in alpaca for text in texts(row))
    assert {bool(row["input"]) for row in alpaca} == {True, False}
    assert any(row.get("history") for row in alpaca) and any(row.get("system") for row in alpaca)
    for row in rows_of(DATA / "sft" / "messages.jsonl"):
        talk = [message for message in row["messages"] if message["role"] != "system"]
        assert [message["role"] for message in talk] == ["user", "assistant"] * (len(talk) // 2)
        assert all(message["reasoning_content"] for message in talk[1::2])


def test_rejected_differs_from_chosen_and_the_faults_are_balanced():
    rows = rows_of(DATA / "reward" / "preferences.jsonl")
    counts = Counter(row["fault"] for row in rows)
    assert set(counts) == set(preferences.FAULTS)
    assert max(counts.values()) - min(counts.values()) <= 0.1 * len(rows), counts
    for row in [*rows, *rows_of(DATA / "reward" / "preferences_conversations.jsonl")]:
        assert row["chosen"] != row["rejected"]
        assert row["chosen"].startswith("<think>\n")
        assert row["rejected"].startswith("<think>\n") == (row["fault"] != "no_thought")


def test_multiple_choice_letters_are_balanced():
    rows = rows_of(DATA / "eval" / "mcq.jsonl")
    assert set(Counter(row["answer_idx"] for row in rows).values()) == {len(rows) // 4}
    assert {row["split"] for row in rows} == {"seen", "held_out"}
    for row in rows:
        assert row["options"][row["answer_idx"]] == row["answer"]
        assert (row["split"] == "held_out") == (row["id"] in HELD_IDS)


def test_the_same_seed_gives_the_same_files():
    make_data, few = script(), ROWS[::4]
    for name in ("DOCUMENTS", "DOCUMENT_ROWS", "WARD_DOCUMENTS", "EVAL_DOCUMENTS", "COT", "SHAREGPT", "ALPACA",
                 "MESSAGES", "PREFERENCES", "PREFERENCE_CONVERSATIONS", "VERIFIABLE"):  # fmt: skip
        setattr(make_data, name, getattr(make_data, name) // 5)
    assert make_data.render(few, 11) == make_data.render(few, 11) != make_data.render(few, 12)
