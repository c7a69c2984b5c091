"""Text of a completion to thought and answer, and the strict score of the format."""

import re
from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"


class Parts(NamedTuple):
    """A completion apart. `closed` is False when the text ended inside the thought."""

    thought: str | None
    answer: str
    closed: bool


def parse(text: str, opened: bool = False) -> Parts:
    """Thought and answer of a completion; `opened` says that the prompt ended in an open `<think>`.

    >>> parse("<think>\\nhm\\n</think>\\n\\nyes")
    Parts(thought='hm', answer='yes', closed=True)
    """
    body = text.lstrip()
    if body.startswith(OPEN):
        body, opened = body[len(OPEN) :], True
    thought, closing, answer = body.partition(CLOSE)
    if closing:
        return Parts(thought.strip(), answer.strip(), True)
    if opened:
        return Parts(body.strip(), "", False)
    return Parts(None, body.strip(), True)


_STRICT = re.compile(r"\A(?:<think>\n)?(?P<thought>.+?)\n</think>\n\n(?P<answer>.+)\Z", re.DOTALL)
_LENIENT = re.compile(r"</think>.*\S", re.DOTALL)


def strict(text: str, finished: bool) -> bool:
    """True for exactly `[<think>\\n]THOUGHT\\n</think>\\n\\nANSWER` that ended by itself, both parts non-blank.

    The prompt may have supplied the opening tag, so it is optional; no other tag may appear.
    """
    found = _STRICT.match(text)
    if not found or not finished:
        return False
    parts = found.groups()
    return all(part.strip() and OPEN not in part and CLOSE not in part for part in parts)


def lenient(text: str) -> bool:
    """True if anything non-blank follows a closing tag (for diagnosis, never as a reward)."""
    return bool(_LENIENT.search(text))
