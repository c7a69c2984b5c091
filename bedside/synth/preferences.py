"""Preference pairs: the rejected side has exactly one named fault, in the same frames as the chosen side."""

import random

from bedside.synth.dialogues import ask, fields_for, reply, think, with_thought
from bedside.synth.facts import localise
from bedside.synth.fields import Fields

FAULTS = ("wrong_condition", "missed_red_flag", "over_reassurance", "no_thought")


def faults_for(row: dict) -> tuple[str, ...]:
    """The faults that can be shown on a condition: a routine one has no alarm that could be missed."""
    return FAULTS if row["urgency"] != "routine" else tuple(fault for fault in FAULTS if fault != "missed_red_flag")


def pair(row: dict, language: str, rng: random.Random, fault: str, others: list[dict]) -> dict:
    """{"prompt", "chosen", "rejected", "fault"}; a wrong condition is taken from `others`."""
    fields = fields_for(row, language, rng)
    prompt, variants = ask(fields), (rng.random(), rng.random())
    chosen = with_thought(think(fields, variants[0]), reply(fields, variants[1]))
    if fault == "no_thought":
        rejected = reply(fields, variants[1])
    elif fault == "wrong_condition":
        rival = _rival(row, language, rng, others)
        wrong = Fields(localise(rival, language), rng, fields.picked)
        wrong["terms"] = fields["terms"]  # the findings of the question, explained by the wrong condition
        rejected = with_thought(think(wrong, variants[0]), reply(wrong, variants[1]))
    elif fault in ("missed_red_flag", "over_reassurance"):
        fields["urgency"] = fields.choose(fields.phrases.THOUGHT_URGENCY["routine"])
        calm = fields.phrases.MISSED_RED_FLAG if fault == "missed_red_flag" else fields.phrases.OVER_REASSURANCE
        rejected = with_thought(think(fields, variants[0]), fields.fill(fields.choose(calm)))
    else:
        raise ValueError(f"unknown fault {fault!r}; known: {', '.join(FAULTS)}")
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected, "fault": fault}


def _rival(row: dict, language: str, rng: random.Random, others: list[dict]) -> dict:
    """The condition that a hasty doctor would name: the mimic if the table has it, else one of the same group."""
    mimic = row["mimic"][language]
    others = [other for other in others if other["id"] != row["id"]]
    rivals = [other for other in others if mimic in localise(other, language)["names"]]
    return rng.choice(rivals or [other for other in others if other["group"] == row["group"]] or others)
