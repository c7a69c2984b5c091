"""Conversations, preferences and questions: right, in one language, and held out where they should be."""

import random
import re

import pytest

from bedside.synth import dialogues, facts, preferences, questions
from bedside.synth.fields import PHRASES

ROWS = facts.load()
SEEN, HELD_OUT = facts.split(ROWS, 7)
BY_ID = {row["id"]: row for row in ROWS}
BOTH = [(row, language) for row in ROWS for language in facts.LANGUAGES]
HAN = re.compile("[\u4e00-\u9fff]")


def names(row, text, language):
    return any(name.lower() in text.lower() for name in facts.localise(row, language)["names"])


@pytest.mark.parametrize("held_out", [False, True])
def test_thought_and_answer_name_the_condition_and_the_question_does_not_need_to(held_out):
    rng = random.Random(1)
    for row, language in BOTH:
        turn = dialogues.consultation(row, language, rng, held_out)
        view = facts.localise(row, language)
        for part in ("thought", "answer"):
            assert view["name"].lower() in turn[part].lower(), turn
        assert view["mimic"].lower() in turn["thought"].lower()
        assert view["flag1"].lower() in turn["answer"].lower()
        assert view["department"].lower() in turn["answer"].lower()


def test_everything_is_in_the_language_of_the_question():
    rng = random.Random(2)
    for row, language in BOTH:
        turn = dialogues.consultation(row, language, rng)
        for part in turn.values():
            assert bool(HAN.search(part)) == (language == "zh"), part


def test_an_emergency_starts_with_the_call_for_help_and_the_rest_with_the_name():
    rng = random.Random(3)
    for row, language in BOTH:
        text = dialogues.answer(row, language, rng)
        if row["urgency"] == "emergency":
            assert re.match(
                "Call an ambulance|Please get emergency help|Go to the emergency|请(立即|马上|立刻)", text
            ), text
        else:
            assert text.startswith(("最可能是", "This is most likely")), text


def test_thoughts_and_answers_are_short():
    rng = random.Random(4)
    for row, language in BOTH:
        turn = dialogues.consultation(row, language, rng)
        for part in ("thought", "answer"):
            size = len(turn[part]) if language == "zh" else len(turn[part].split())
            assert size <= (120 if language == "zh" else 70), turn[part]


def test_there_are_sixteen_ask_frames_and_four_of_them_are_held_out():
    for language in facts.LANGUAGES:
        assert len(PHRASES[language].ASKS) >= 18
        assert len(set(PHRASES[language].ASKS)) == len(PHRASES[language].ASKS)
    assert dialogues.HELD_OUT_ASKS == 4


def test_held_out_questions_mention_the_fifth_finding_and_training_questions_never_do():
    rng = random.Random(5)
    for row, language in BOTH:
        fifth = facts.localise(row, language)["says"][4].lower()
        assert fifth in dialogues.consultation(row, language, rng, held_out=True)["question"].lower()
        for _ in range(5):
            assert fifth not in dialogues.consultation(row, language, rng)["question"].lower()


@pytest.mark.parametrize("kind", dialogues.REFUSAL_KINDS)
@pytest.mark.parametrize("language", facts.LANGUAGES)
def test_refusals_decline_and_say_what_to_do(kind, language):
    words = {
        "zh": "不能|无法|不会|请不要|谁也不能|无法判断",
        "en": "cannot|will not|not stop|nobody can|no diagnosis",
    }[language]
    for row in ROWS[:40]:
        turn = dialogues.refusal(row, language, kind, random.Random(6))
        assert re.search(words, turn["answer"]), turn
        assert all(turn.values())


@pytest.mark.parametrize("kind", dialogues.FOLLOWUP_KINDS)
@pytest.mark.parametrize("language", facts.LANGUAGES)
def test_followups_answer_with_the_fact_that_was_asked_for(kind, language):
    for row in ROWS:
        view = facts.localise(row, language)
        turn = dialogues.followup(row, language, kind, random.Random(7))
        fact = {"drug": "drug", "department": "department", "alarm": "flag1", "mimic": "mimic"}[kind]
        assert view[fact].lower() in turn["answer"].lower()
        assert view["name"].lower() in turn["answer"].lower()


def show(row, language, fault, seed=8):
    return preferences.pair(row, language, random.Random(seed), fault, SEEN)


def test_each_rejected_side_carries_the_fault_it_names_and_no_other():
    for row in SEEN:
        for language in facts.LANGUAGES:
            view = facts.localise(row, language)
            for fault in preferences.faults_for(row):
                pair = show(row, language, fault)
                chosen, rejected = pair["chosen"], pair["rejected"]
                assert pair["fault"] == fault and chosen != rejected
                assert chosen.startswith("<think>\n") and view["flag1"].lower() in chosen.lower()
                assert rejected.startswith("<think>\n") == (fault != "no_thought")
                answer = rejected.rpartition("</think>\n\n")[2].lower()
                assert (view["name"].lower() in answer) == (fault != "wrong_condition"), pair
                kept = fault == "no_thought"
                assert (view["flag1"].lower() in answer) == kept, pair


def test_without_the_thought_the_answer_is_the_chosen_one():
    pair = show(SEEN[0], "zh", "no_thought")
    assert pair["chosen"].endswith("\n</think>\n\n" + pair["rejected"])


def test_a_wrong_condition_keeps_the_findings_of_the_question():
    pair = show(SEEN[0], "en", "wrong_condition")
    finding = next(term for term in facts.localise(SEEN[0], "en")["terms"] if term in pair["chosen"])
    assert finding in pair["rejected"]


def test_an_unknown_fault_is_refused():
    with pytest.raises(ValueError, match="wrong_condition"):
        show(SEEN[0], "en", "rude")


@pytest.mark.parametrize("kind", questions.OPEN_KINDS + questions.CLOSED_KINDS)
def test_verifiable_answers_are_the_facts(kind):
    rng = random.Random(9)
    for row, language in BOTH:
        item = questions.verifiable(row, language, kind, rng)
        view = facts.localise(row, language)
        expected = {
            "diagnosis": {view["name"]},
            "department": {view["department"]},
            "drug": {view["drug"]},
            "contraindication": {"yes", "no"} if language == "en" else {"是", "否"},
            "urgency": set(PHRASES[language].LEVEL.values()),
        }[kind]
        assert item["answer"] in expected
        if kind == "contraindication":
            asked = view["avoid"] if item["answer"] in ("yes", "是") else view["name"]
            assert asked.lower() in item["question"].lower()


def test_multiple_choice_has_four_different_options_and_prefers_the_same_group():
    rng = random.Random(10)
    for number, (row, language) in enumerate(BOTH):
        letter = questions.LETTERS[number % 4]
        item = questions.multiple_choice(row, language, rng, ROWS, letter)
        assert item["answer_idx"] == letter and item["options"][letter] == item["answer"]
        assert len(set(item["options"].values())) == 4
    groups = {facts.localise(other, "en")["name"]: other["group"] for other in ROWS}
    heart = questions.multiple_choice(ROWS[0], "en", rng, ROWS, "A")
    assert {groups[name] for name in heart["options"].values()} == {"cardio"}
