"""The steps a row goes through alone, each a function from its texts to a verdict."""

from collections.abc import Callable
from typing import NamedTuple

from bedside.clean import filters, mojibake, normalise, private
from bedside.clean.fields import TOOL, Text, joined


class Verdict(NamedTuple):
    """What a step says: the texts as they are now, why the row must go, what was done, what is worth a look."""

    texts: list[Text]
    removed: tuple[str, str] | None = None
    changed: tuple[str, str] | None = None
    flagged: tuple[str, str] | None = None


Step = Callable[[list[Text]], Verdict]


def _doubt(texts: list[Text], drop: bool, code: str, detail: str, changed: tuple[str, str] | None = None) -> Verdict:
    return Verdict(texts, (code, detail)) if drop else Verdict(texts, changed=changed, flagged=(code, detail))


def _each(texts: list[Text], function: Callable[[str], str]) -> tuple[list[Text], int]:
    """Texts that are no tool's with `function` applied, and how many differ. A text is never emptied."""
    made, count = [], 0
    for text in texts:
        new = function(text.text) if text.part != TOOL else text.text
        if new != text.text and (new.strip() or not text.text.strip()):
            text, count = text._replace(text=new), count + 1
        made.append(text)
    return made, count


def mending(drop: bool) -> Step:
    """Undo wrong decodings; flag or drop what lost its bytes."""

    def step(texts: list[Text]) -> Verdict:
        made, count = _each(texts, mojibake.repair)
        changed = ("C_MOJIBAKE", f"{count} texts") if count else None
        lost = sum(mojibake.lost(text.text) for text in made)
        if lost:
            return _doubt(made, drop, "W_MOJIBAKE", f"{lost} places that cannot be mended", changed)
        return Verdict(made, changed=changed)

    return step


def normalising(texts: list[Text]) -> Verdict:
    """One spelling."""
    made, count = _each(texts, normalise.normalise)
    return Verdict(made, changed=("C_NORMALISED", f"{count} texts") if count else None)


def hiding(refuse: bool) -> Step:
    """Mask private data, or refuse the row that has any; a tool's texts are never masked, so such a row goes."""

    def step(texts: list[Text]) -> Verdict:
        masked, counts = private.mask(texts)
        if not counts:
            return Verdict(texts)
        detail = ", ".join(f"{kind} {count}" for kind, count in counts.most_common())
        if refuse:
            return Verdict(texts, ("W_PRIVATE", detail))
        if private.in_tools(texts):
            return Verdict(texts, ("W_PRIVATE", f"{detail}, in a tool's text, which a mask could break"))
        return Verdict(masked, changed=("C_PRIVATE", detail))

    return step


def sizing(fewest: int | None, most: int | None) -> Step:
    """Between `fewest` and `most` characters of questions, answers and documents."""

    def step(texts: list[Text]) -> Verdict:
        found = filters.length(texts)
        if fewest is not None and found < fewest:
            return Verdict(texts, ("W_LENGTH", f"{found} characters, --min_chars is {fewest}"))
        if most is not None and found > most:
            return Verdict(texts, ("W_LENGTH", f"{found} characters, --max_chars is {most}"))
        return Verdict(texts)

    return step


def in_languages(languages: list[str]) -> Step:
    """Rows whose questions, answers and documents are in one of these languages."""

    def step(texts: list[Text]) -> Verdict:
        found = filters.language(joined(texts))
        return Verdict(texts, None if found in languages else ("W_LANGUAGE", f"{found}, not {' or '.join(languages)}"))

    return step


def matching(drop: bool) -> Step:
    """Flag or drop rows whose answer belongs to another question."""

    def step(texts: list[Text]) -> Verdict:
        why = filters.mismatch(texts)
        return _doubt(texts, drop, "W_MISMATCH", why) if why else Verdict(texts)

    return step


def without_loops(drop: bool) -> Step:
    """Flag or drop rows with a text that says the same again and again."""

    def step(texts: list[Text]) -> Verdict:
        worst = filters.looping(texts)
        return _doubt(texts, drop, "W_REPEATED", f"compresses {worst:.0f} times") if worst else Verdict(texts)

    return step
