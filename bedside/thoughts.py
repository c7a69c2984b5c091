"""Text of a completion to thought and answer, whole or while it is written, and the strict score of the format."""

import re
from collections.abc import Iterator
from typing import NamedTuple

OPEN, CLOSE = "<think>", "</think>"


class Parts(NamedTuple):
    """A completion apart. `closed` is False when the text ended inside the thought."""

    thought: str | None
    answer: str
    closed: bool


class Delta(NamedTuple):
    """A piece of a completion while it is written. `kind` is "thought" or "answer".

    A third kind, "was_thought" (without text), says that all that came as answer so far was the thought: a model
    that is given no opening tag and writes none tells so only when it closes.
    """

    kind: str
    text: str


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


class Splitter:
    """`parse` for text that comes in pieces of any size: the deltas, put together, are its thought and answer."""

    def __init__(self, opened: bool = False):
        self.kind = "thought" if opened else "answer"
        self.waiting = ""  # may still be part of a tag, or blanks that end a part
        self.tagged = False  # past the place of the opening tag
        self.closed = False  # past the closing tag
        self.begun = False  # something of this part was handed on

    def feed(self, piece: str) -> Iterator[Delta]:
        """The deltas that `piece` makes certain."""
        self.waiting += piece
        if not self.tagged and not self._past_opening():
            return
        if not self.closed and CLOSE in self.waiting:
            thought, _, answer = self.waiting.partition(CLOSE)
            yield from self._emit(thought.rstrip())
            if self.kind == "answer" and self.begun:
                yield Delta("was_thought", "")
            self.kind, self.closed, self.begun, self.waiting = "answer", True, False, answer
        held = 0 if self.closed else _tag_begun(self.waiting)
        ready = self.waiting[: len(self.waiting) - held].rstrip()
        waiting = self.waiting[len(ready) :]
        yield from self._emit(ready)
        self.waiting = waiting

    def flush(self) -> Iterator[Delta]:
        """What was held back; blanks at the end belong to no part."""
        yield from self._emit(self.waiting.rstrip())
        self.waiting = ""

    def _past_opening(self) -> bool:
        text = self.waiting.lstrip()
        if text != OPEN and OPEN.startswith(text):
            return False
        self.tagged = True
        if text.startswith(OPEN):
            self.kind, self.waiting = "thought", text[len(OPEN) :]
        return True

    def _emit(self, text: str) -> Iterator[Delta]:
        text = text if self.begun else text.lstrip()
        if text:
            self.begun = True
            yield Delta(self.kind, text)


def _tag_begun(text: str) -> int:
    """How many characters at the end of `text` are the beginning of the closing tag."""
    sizes = range(min(len(CLOSE) - 1, len(text)), 0, -1)
    return next((size for size in sizes if text.endswith(CLOSE[:size])), 0)


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
