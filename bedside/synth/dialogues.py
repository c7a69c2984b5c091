"""Questions as people ask them, the thought that leads to the diagnosis, the answer, follow-ups and refusals.

Training conversations draw on findings 1-4 and on all ask frames but the last four. The last four frames, and the
fifth finding in the patient's words, occur in held-out questions only.
"""

import random

from bedside.synth.facts import localise
from bedside.synth.fields import PHRASES, Fields

HELD_OUT_ASKS = 4
TRAINING_FINDINGS = (0, 1, 2, 3)
LAST_FINDING = 4
TERMS_SHARE = 0.15  # how many training questions use textbook wording
FOLLOWUP_KINDS = ("drug", "department", "alarm", "mimic")
REFUSAL_KINDS = ("dose_for_other", "cure_guarantee", "diagnosis_from_nothing", "stop_drug")


def pick(rng: random.Random, held_out: bool = False) -> list[int]:
    """The findings that a question mentions: 2-3 of the first four, or for a held-out one the fifth and two others."""
    if not held_out:
        return rng.sample(TRAINING_FINDINGS, rng.choice((2, 3, 3)))
    picked = [LAST_FINDING, *rng.sample(TRAINING_FINDINGS, 2)]
    rng.shuffle(picked)
    return picked


def fields_for(row: dict, language: str, rng: random.Random, held_out: bool = False) -> Fields:
    """Everything one conversation about a condition draws on: question, thought and answer share it."""
    return Fields(localise(row, language), rng, pick(rng, held_out))


def ask(fields: Fields, held_out: bool = False) -> str:
    """A question about the picked findings, the condition unsaid."""
    asks = fields.phrases.ASKS
    if held_out:
        return fields.fill(fields.choose(asks[-HELD_OUT_ASKS:]))
    if fields.rng.random() < TERMS_SHARE:
        return fields.fill(fields.choose(fields.phrases.ASKS_TERMS))
    return fields.fill(fields.choose(asks[:-HELD_OUT_ASKS]))


def think(fields: Fields, variant: float) -> str:
    """The thought; `variant` in [0, 1) chooses the frame."""
    frames = fields.phrases.THOUGHTS
    return fields.fill(frames[int(variant * len(frames))])


def reply(fields: Fields, variant: float) -> str:
    """The answer; `variant` in [0, 1) chooses the frame."""
    frames = fields.phrases.ANSWERS[fields["urgency_level"]]
    return fields.fill(frames[int(variant * len(frames))])


def thought(row: dict, language: str, rng: random.Random) -> str:
    """What goes through the doctor's mind: findings in textbook wording, the condition, the mimic, the urgency."""
    return think(fields_for(row, language, rng), rng.random())


def answer(row: dict, language: str, rng: random.Random) -> str:
    """The answer: the condition (in an emergency after the call for help), where to go, steps, a red flag."""
    return reply(fields_for(row, language, rng), rng.random())


def consultation(row: dict, language: str, rng: random.Random, held_out: bool = False) -> dict:
    """A question with the thought and the answer that belong to it: {"question", "thought", "answer"}."""
    fields = fields_for(row, language, rng, held_out)
    return {
        "question": ask(fields, held_out),
        "thought": think(fields, rng.random()),
        "answer": reply(fields, rng.random()),
    }


def followup(row: dict, language: str, kind: str, rng: random.Random) -> dict:
    """A second turn about the condition just named: {"question", "thought", "answer"}."""
    return _turn(fields_for(row, language, rng), PHRASES[language].FOLLOWUPS[kind])


def refusal(row: dict, language: str, kind: str, rng: random.Random) -> dict:
    """A request that must be declined, kindly and with what to do instead: {"question", "thought", "answer"}."""
    return _turn(fields_for(row, language, rng), PHRASES[language].REFUSALS[kind])


def _turn(fields: Fields, frames: dict) -> dict:
    return {
        "question": fields.fill(fields.choose(frames["ask"])),
        "thought": fields.fill(fields.choose(frames["think"])),
        "answer": fields.fill(fields.choose(frames["answer"])),
    }


def with_thought(thought: str, answer: str) -> str:
    """Thought and answer as one assistant text."""
    return f"<think>\n{thought}\n</think>\n\n{answer}"
