"""A completion while it is written: token ids in, deltas of thought and answer out, up to a stop token or text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from bedside import thoughts
from bedside.answers import Answer
from bedside.thoughts import Delta

_HELD_BACK = 8  # tokens: longer than any character, so that invalid bytes do not hold back what follows


class TextOfTokens:
    """Text that each new token adds, whole characters only (a character may be several tokens)."""

    def __init__(self, decode: Callable[[list[int]], str]):
        self._decode, self._ids = decode, []
        self._start = self._shown = 0  # ids from `start` are decoded again; those before `shown` were handed on

    def add(self, token: int) -> str:
        """The text that became certain with `token`, often none."""
        self._ids.append(token)
        return self._new(hold=len(self._ids) - self._shown < _HELD_BACK)

    def rest(self) -> str:
        """What was held back, as the whole text has it."""
        return self._new(hold=False)

    def _new(self, hold: bool) -> str:
        before = self._decode(self._ids[self._start : self._shown])
        text = self._decode(self._ids[self._start :])
        if hold and text.endswith("\ufffd"):
            return ""
        self._start, self._shown = self._shown, len(self._ids)
        return text[len(before) :]


class StopTexts:
    """Text up to the first stop text, in pieces of any size. What may be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]):
        self._stops = [stop for stop in stops if stop]
        self._waiting = ""
        self.found = False

    def feed(self, piece: str) -> str:
        """The text that `piece` makes certain; `found` says that a stop text came and all the rest is cut off."""
        if self.found:
            return ""
        text = self._waiting + piece
        # The one that is complete first, so that the size of the pieces changes nothing.
        ends = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        if ends:
            self.found, self._waiting = True, ""
            return text[: min(ends)[1]]
        held = max((_begun(text, stop) for stop in self._stops), default=0)
        ready = text[: len(text) - held]
        self._waiting = text[len(ready) :]
        return ready

    def rest(self) -> str:
        """What was held back and is no stop text after all."""
        text, self._waiting = self._waiting, ""
        return text


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of `text` are the beginning of `stop`."""
    sizes = range(min(len(stop) - 1, len(text)), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)


class Written:
    """One completion. `ended` is True once a stop token or a stop text came; tokens after that are not taken."""

    def __init__(
        self,
        decode: Callable[[list[int]], str],
        stop_ids: Sequence[int],
        stops: Sequence[str] = (),
        opened: bool = False,
    ):
        self._decode, self._stop_ids, self._opened = decode, frozenset(stop_ids), opened
        self._text, self._stops = TextOfTokens(decode), StopTexts(stops)
        self._splitter = thoughts.Splitter(opened)
        self._pieces: list[str] = []
        self.ids: list[int] = []
        self.ended = False

    def add(self, token: int) -> Iterator[Delta]:
        """The deltas that `token` makes certain."""
        if self.ended:
            return
        self.ids.append(token)
        if token in self._stop_ids:
            self.ended = True
            return
        yield from self._split(self._stops.feed(self._text.add(token)))
        self.ended = self._stops.found

    def close(self) -> Iterator[Delta]:
        """What was held back; called once, at the end."""
        if not self._stops.found:
            yield from self._split(self._stops.feed(self._text.rest()))
        if not self._stops.found:
            yield from self._split(self._stops.rest())
        yield from self._splitter.flush()

    def answer(self, prompt_tokens: int, cancelled: bool = False) -> Answer:
        """The whole of it, once it is closed."""
        cut = self._stops.found
        reason = "stop" if self.ended or cut else "cancelled" if cancelled else "length"
        # Pieces and the whole differ where bytes are no characters; where nothing is cut, the whole is right.
        kept = self.ids[:-1] if self.ended and not cut else self.ids
        text = "".join(self._pieces) if cut else self._decode(kept)
        parts = thoughts.parse(text, self._opened)
        return Answer(text, parts.thought, parts.answer, reason, prompt_tokens, len(self.ids))

    def _split(self, text: str) -> Iterator[Delta]:
        if text:
            self._pieces.append(text)
            yield from self._splitter.feed(text)
