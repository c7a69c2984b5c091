"""Documents: one line each, no chat, the right facts, the same for the same seed."""

import random
import re
from string import Formatter

import pytest

from bedside.synth import documents, facts, phrases_en, phrases_zh

ROWS = facts.load()
SAMPLE = list(documents.documents(ROWS, 4000, 1)) + list(documents.heldout_documents(ROWS, 1000, 1))
PHRASES = {"zh": phrases_zh, "en": phrases_en}
CHAT = re.compile(
    r"[<>|{}]|\n|\r|\b(user|assistant|human|gpt|question|answer)\s*[:：]|(问|答|用户|助手)[:：]", re.IGNORECASE
)


def test_documents_are_single_lines_without_any_sign_of_a_chat():
    for text in SAMPLE:
        assert text.strip() == text and text
        assert not CHAT.search(text), text


def test_the_same_seed_gives_the_same_documents():
    assert list(documents.documents(ROWS, 200, 1)) == SAMPLE[:200]
    assert list(documents.documents(ROWS, 200, 2)) != SAMPLE[:200]


def test_languages_alternate():
    chinese = [bool(re.search("[\u4e00-\u9fff]", text)) for text in SAMPLE[:100]]
    assert chinese == [True, False] * 50


@pytest.mark.parametrize("language", facts.LANGUAGES)
@pytest.mark.parametrize("kind", documents.KINDS)
def test_every_kind_names_its_condition(kind, language):
    rng = random.Random(3)
    for row in ROWS:
        view = facts.localise(row, language)
        text = documents.document(view, rng, kind)
        assert any(name.lower() in text.lower() for name in view["names"]), text


def test_every_kind_has_five_training_frames_and_one_held_out():
    for phrases in PHRASES.values():
        assert set(phrases.DOCUMENTS) == set(documents.KINDS)
        assert all(len(frames) >= 6 for frames in [*phrases.DOCUMENTS.values(), phrases.PAIRS])


def test_half_of_the_documents_run_from_findings_to_name():
    towards_name = ("case", "story", "glossary", "round", "differential")
    shares = {kind: share for kind, (share, _, _) in documents.KINDS.items()}
    assert sum(shares.values()) + documents.PAIR_SHARE == 100
    assert 45 <= sum(shares[kind] for kind in towards_name) <= 60
    assert 20 <= shares["story"] + shares["glossary"] <= 30  # in the patient's words


@pytest.mark.parametrize("language", facts.LANGUAGES)
def test_training_documents_never_use_a_held_out_frame(language):
    phrases = PHRASES[language]
    literals = []
    for frames in [*phrases.DOCUMENTS.values(), phrases.PAIRS]:
        parts = [literal for literal, *_ in Formatter().parse(frames[-1])]
        literals.append(max(parts, key=len))  # the longest run of words between two fields
    training = "\n".join(documents.documents(ROWS, 3000, 4, language))
    held_out = "\n".join(documents.heldout_documents(ROWS, 1500, 4, language))
    for literal in literals:
        assert literal not in training, literal
        assert literal in held_out, literal


def test_all_five_findings_occur_in_the_patients_words():
    text = "\n".join(documents.documents(ROWS, 40_000, 5)).lower()
    for row in ROWS:
        for finding in row["findings"]:
            assert finding["say_zh"].lower() in text and finding["say_en"].lower() in text, finding
