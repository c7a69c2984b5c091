"""The fact table: load it, check it, split it, and view one row in one language."""

import json
import random
from pathlib import Path

from bedside.errors import DataError

PATH = Path(__file__).resolve().parents[2] / "data" / "conditions.jsonl"
LANGUAGES = ("zh", "en")
URGENCIES = ("emergency", "urgent", "routine")
HELD_OUT = 16  # conditions that no training conversation may be about
_TEXTS = ("zh", "en", "department_zh", "department_en", "who_zh", "who_en")
_TEXTS += ("drug_zh", "drug_en", "avoid_zh", "avoid_en", "group", "id")
_LISTS = {"findings": (5, ("zh", "en", "say_zh", "say_en")), "steps": (2, LANGUAGES), "red_flags": (2, LANGUAGES)}
_MIMIC = ("zh", "en", "differs_zh", "differs_en")
_KEYS = {*_TEXTS, *_LISTS, "aliases_zh", "aliases_en", "urgency", "mimic"}


def load(path: Path | str | None = None) -> list[dict]:
    """Every row of the table, checked; a row that breaks the schema raises DataError with its file and line."""
    path = Path(path or PATH)
    rows, ids = [], set()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        where = f"{path}:{number}"
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError("E_JSON", where, f"is not a JSON object: {error}") from None
        problem = _problem(row)
        if problem is None and row["id"] in ids:
            problem = f"the id {row['id']} is used twice"
        if problem:
            raise DataError("E_FACT", where, problem)
        ids.add(row["id"])
        rows.append(row)
    return rows


def _problem(row: object) -> str | None:
    """What is wrong with a row, in words, or None."""
    if not isinstance(row, dict) or set(row) != _KEYS:
        found = set(row) if isinstance(row, dict) else set()
        return f"needs exactly the keys of the schema; differs in {sorted(found ^ _KEYS)}"
    blank = [key for key in _TEXTS if not _is_text(row[key])]
    if blank:
        return f"{blank[0]} is not a non-empty text on one line"
    if row["urgency"] not in URGENCIES:
        return f"urgency is {row['urgency']!r}, not one of {', '.join(URGENCIES)}"
    for key in ("aliases_zh", "aliases_en"):
        if not isinstance(row[key], list) or not all(_is_text(name) for name in row[key]):
            return f"{key} is not a list of names"
    for key, (count, parts) in _LISTS.items():
        items = row[key]
        if not isinstance(items, list) or len(items) != count or not all(_has(item, parts) for item in items):
            return f"{key} is not {count} objects of {', '.join(parts)}"
    return None if _has(row["mimic"], _MIMIC) else f"mimic is not an object of {', '.join(_MIMIC)}"


def _is_text(value: object) -> bool:
    """True for a non-empty one-line string that cannot be taken for markup."""
    return isinstance(value, str) and bool(value.strip()) and not set(value) & set("\n\r<>|")


def _has(item: object, parts: tuple[str, ...]) -> bool:
    """True for an object of exactly these texts."""
    return isinstance(item, dict) and set(item) == set(parts) and all(_is_text(item[part]) for part in parts)


def split(rows: list[dict], seed: int) -> tuple[list[dict], list[dict]]:
    """(seen, held out): 16 held-out conditions, one of each group where there are as many groups.

    A condition that no other row mentions is preferred, so that its name stays out of the conversations altogether.
    """
    rng = random.Random(f"split-{seed}")
    groups: dict[str, list[dict]] = {}
    for row in rows:
        groups.setdefault(row["group"], []).append(row)
    queues = []
    for name in sorted(groups):
        members = rng.sample(groups[name], len(groups[name]))
        queues.append(sorted(members, key=lambda row: _is_mentioned(row, rows)))  # stable: shuffled within each half
    held = set()
    for depth in range(max(map(len, queues))):
        for queue in queues:
            if depth < len(queue) and len(held) < min(HELD_OUT, len(rows) - 1):
                held.add(queue[depth]["id"])
    return [row for row in rows if row["id"] not in held], [row for row in rows if row["id"] in held]


def _is_mentioned(row: dict, rows: list[dict]) -> bool:
    """True if any name of this condition occurs in another row."""
    names = names_of(row)
    for other in rows:
        if other["id"] != row["id"]:
            text = json.dumps(other, ensure_ascii=False).lower()
            if any(name.lower() in text for name in names):
                return True
    return False


def names_of(row: dict) -> list[str]:
    """Every accepted name of a condition, in both languages."""
    return [row["zh"], *row["aliases_zh"], row["en"], *row["aliases_en"]]


def localise(row: dict, language: str) -> dict:
    """A row as one language sees it: flat, with the same keys in every language."""
    of = "_" + language
    first, second = (step[language] for step in row["steps"])
    flag1, flag2 = (flag[language] for flag in row["red_flags"])
    return {
        "id": row["id"],
        "lang": language,
        "name": row[language],
        "aliases": row["aliases" + of],
        "names": [row[language], *row["aliases" + of]],
        "department": row["department" + of],
        "group": row["group"],
        "urgency_level": row["urgency"],
        "who": row["who" + of],
        "who_zh": row["who_zh"],  # who the patient is, for the age and sex of an example, is read in one language
        "terms": [finding[language] for finding in row["findings"]],
        "says": [finding["say" + of] for finding in row["findings"]],
        "step1": first,
        "step2": second,
        "flag1": flag1,
        "flag2": flag2,
        "drug": row["drug" + of],
        "avoid": row["avoid" + of],
        "mimic": row["mimic"][language],
        "differs": row["mimic"]["differs" + of],
    }
