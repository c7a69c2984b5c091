"""review.html: people compare two models' answers without knowing which is whose. One file, nothing from the network.

The page holds opaque names of questions and two texts each; which model wrote which stands in review_key.json alone.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bedside.evaluate.judging.prompt as prompt
from bedside import logs
from bedside.answers import Answer
from bedside.chatpage import safe
from bedside.errors import ConfigError
from bedside.evaluate.judging.questions import Question

PAGE, KEY = "review.html", "review_key.json"
LEFT, RIGHT = "left", "right"
_SCHEMA = 1
_TEMPLATE = Path(__file__).with_name("review_page.html")


def write(
    directory: Path,
    questions: Sequence[Question],
    first: Sequence[Answer],
    second: Sequence[Answer],
    names: tuple[str, str],
    seed: int = 42,
    thoughts: bool = False,
) -> Path:
    """Write page and key into `directory`; the page's path. An earlier sheet of other answers is put aside.

    Order of the questions and sides of the answers follow from `seed`. Pairs whose answers are equal are left out:
    nobody can prefer one. ConfigError if no pair is left.
    """
    made, key = sheet(questions, first, second, names, seed, thoughts)
    directory.mkdir(parents=True, exist_ok=True)
    _put_aside(directory, key["sheet"])
    (directory / PAGE).write_text(page(made), encoding="utf-8")
    (directory / KEY).write_text(json.dumps(key, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return directory / PAGE


def _put_aside(directory: Path, identity: str) -> None:
    """Keep another sheet that is there under a name of its own: people may hold votes that only its key can read."""
    try:
        other = json.loads((directory / KEY).read_text(encoding="utf-8"))["sheet"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if other == identity or not str(other).isalnum():
        return
    for name in (PAGE, KEY):
        old = directory / name
        if old.is_file():
            old.rename(old.with_stem(f"{old.stem}-{other}"))
    logs.info(f"{directory / PAGE}: held another sheet, which is now {PAGE.replace('.', f'-{other}.')}, with its key")


def sheet(
    questions: Sequence[Question],
    first: Sequence[Answer],
    second: Sequence[Answer],
    names: tuple[str, str],
    seed: int,
    thoughts: bool = False,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the page holds, and the key that stays behind."""
    pairs = [
        (question, prompt.shown(one, question.language, thoughts), prompt.shown(other, question.language, thoughts))
        for question, one, other in zip(questions, first, second, strict=True)
    ]
    differs = [one != other for _, one, other in pairs]
    kept = list(itertools.compress(pairs, differs))
    kept_answers = [list(itertools.compress(side, differs)) for side in (first, second)]
    if not kept:
        raise ConfigError(f"review sheet: all {len(pairs)} pairs of answers are equal; there is nothing to compare")
    content = json.dumps([[q.id, one, other] for q, one, other in kept] + [list(names), seed], ensure_ascii=False)
    identity = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    # The names of the questions come from the whole content, so that another sheet's votes do not fit.
    draw = random.Random(f"{seed}:{identity}")
    order = draw.sample(range(len(kept)), len(kept))
    items, key = [], {}
    for index in order:
        question, one, other = kept[index]
        name = hashlib.sha256(f"{identity}:{index}".encode()).hexdigest()[:12]
        swapped = draw.random() < 0.5
        left, right = (other, one) if swapped else (one, other)
        items.append({
            "id": name, "question": _asked(question), "left": safe.text(left), "right": safe.text(right),
            "reference": safe.text(prompt.reference(question) or ""),
        })  # fmt: skip
        key[name] = {
            "question": question.id, LEFT: "second" if swapped else "first",
            "answers": digest(*(side[index].answer for side in kept_answers)),
        }  # fmt: skip
    about = {"schema": _SCHEMA, "sheet": identity}
    left_out = [question.id for question, one, other in pairs if one == other]
    return (
        {**about, "items": items},
        {**about, "first": names[0], "second": names[1], "seed": seed, "items": key, "equal": left_out},
    )


def digest(first: str, second: str) -> str:
    """What tells these two answers from others that the same models may give later: votes hold for what people saw."""
    text = json.dumps([first.strip(), second.strip()])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _asked(question: Question) -> list[list[str]]:
    """Role and text of the question's turns, thoughts apart."""
    return [[str(turn["role"]), safe.text(str(turn.get("content") or ""))] for turn in question.messages]


def page(made: dict[str, Any]) -> str:
    """The HTML of a sheet. Texts are data of a script that only ever shows them as text; a policy in the page lets no
    other script run and nothing be loaded."""
    data = json.dumps(made, ensure_ascii=False)
    # Inside a script element, `</script>` and `<!--` would end or change it whatever the quotes.
    for character in "<>&\u2028\u2029":
        data = data.replace(character, f"\\u{ord(character):04x}")
    html = _TEMPLATE.read_text(encoding="utf-8")
    script = html.partition("<script>")[2].partition("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode()
    return html.replace("{{script-hash}}", digest).replace("{{sheet}}", data)
