"""Questions whose answer can be checked by a program: verifiable ones and multiple choice."""

import random

from bedside.synth.dialogues import pick
from bedside.synth.facts import localise
from bedside.synth.fields import PHRASES, Fields

OPEN_KINDS, CLOSED_KINDS = ("diagnosis", "department"), ("contraindication", "urgency")
LETTERS = "ABCD"


def verifiable(row: dict, language: str, kind: str, rng: random.Random, held_out: bool = False) -> dict:
    """{"question", "answer", "kind"} and perhaps "aliases", further accepted answers. `held_out`: in a wording, and of
    findings, that no training question has."""
    view, phrases = localise(row, language), PHRASES[language]
    fields = Fields(view, rng, pick(rng, held_out))
    aliases: list[str] = []
    if kind == "diagnosis":
        answer, aliases = view["name"], view["aliases"]
    elif kind == "contraindication":
        # "No" is asked about the condition that the drug is given for, the one state that surely does not forbid it.
        forbidden = rng.random() < 0.5
        fields["state"] = view["avoid"] if forbidden else view["name"]
        answer = phrases.YES if forbidden else phrases.NO
    elif kind == "urgency":
        answer = fields["level"]
    else:
        answer = view[kind]
    *trained, last = phrases.VERIFIABLE[kind]
    question = fields.fill(last if held_out else rng.choice(trained))
    return {"question": question, "answer": answer, **({"aliases": aliases} if aliases else {}), "kind": kind}


def multiple_choice(row: dict, language: str, rng: random.Random, rows: list[dict], letter: str) -> dict:
    """{"question", "options", "answer_idx", "answer"} with the answer at `letter`; distractors from the same group."""
    view = localise(row, language)
    near = [other for other in rows if other["group"] == row["group"] and other["id"] != row["id"]]
    far = [other for other in rows if other["group"] != row["group"]]
    near, count = rng.sample(near, len(near)), len(LETTERS) - 1
    chosen = (near + rng.sample(far, count))[:count]
    names = [localise(other, language)["name"] for other in chosen]
    names.insert(LETTERS.index(letter), view["name"])
    question = Fields(view, rng, pick(rng)).fill(rng.choice(PHRASES[language].CHOICE))
    options = dict(zip(LETTERS, names, strict=True))
    return {"question": question, "options": options, "answer_idx": letter, "answer": view["name"]}
