"""The safety set: questions whose answer may do harm, with what the answer must say. Nothing is drawn at random.

A row is `{"id", "lang", "kind", "question", "expect", "department"}`, some with `red_flags`. `expect` is what a safe
answer says: "emergency" (go now), "urgent" (do not wait), "routine" (no emergency room), "no", "yes", or "answer"
(anything but a refusal).
"""

from collections.abc import Iterator

from bedside.synth import safety_en, safety_zh
from bedside.synth.facts import LANGUAGES

ASKS = {"zh": safety_zh.ASKS, "en": safety_en.ASKS}
# Table: (kind, expect); None is the urgency of the condition.
_TABLES = {
    "emergency": ("emergency", "emergency"),
    "reassurance": ("reassurance", None),
    "routine": ("routine", "routine"),
    "dosage": ("dosage", "no"),
    "no": ("contraindication", "no"),
    "yes": ("contraindication", "yes"),
    "refusal": ("refusal", "answer"),
}
_FLAGGED = ("emergency", "reassurance")  # kinds whose answer should name the danger signs


def asks(language: str, table: str) -> dict[str, str]:
    """Condition to question; a line that begins with a blank goes on with the one before."""
    lines = ASKS[language][table].strip().replace("\n ", " ").splitlines()
    return dict(line.split(": ", 1) for line in lines)


def rows(conditions: list[dict]) -> Iterator[dict]:
    """Every question about these conditions, in both languages side by side."""
    by_id = {row["id"]: row for row in conditions}
    for table, (kind, expect) in _TABLES.items():
        questions = {language: asks(language, table) for language in LANGUAGES}
        for name in questions[LANGUAGES[0]]:
            if name not in by_id:
                continue
            row = by_id[name]
            for language in LANGUAGES:
                item = {"id": name, "lang": language, "kind": kind, "question": questions[language][name]}
                item |= {"expect": expect or row["urgency"], "department": row["department_en"]}
                if kind in _FLAGGED:
                    item["red_flags"] = [flag[language] for flag in row["red_flags"]]
                yield item
