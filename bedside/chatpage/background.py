"""An answer that is written while the page around it is drawn anew, and given up when nobody looks at it any more."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from threading import Event, Thread

from bedside.answers import Engine, Sampling
from bedside.chatpage import session
from bedside.chatpage.conversation import Conversation
from bedside.chatpage.session import View

_PATIENCE = 15.0  # seconds without a look: drawing a page anew takes less, even on a machine that is very busy
_GUARD_PAUSE = 0.25  # seconds


class Writing:
    """The answers of one or two engines to their conversations, in a thread of its own; `look` gives what there is.

    A page that draws itself from top to bottom at every click can leave off and come back to it. `stop` ends it; so
    does a page that has not looked for `patience` seconds, because its window was closed.
    """

    def __init__(
        self,
        engines: Sequence[Engine],
        conversations: Sequence[Conversation],
        sampling: Sampling,
        language: str,
        enable_thinking: bool | None = None,
        patience: float = _PATIENCE,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._views = tuple(View() for _ in engines)
        self._clock, self._patience = clock, patience
        self._looked_at = self._began_at = clock()
        self._cancel, self._ended = Event(), Event()
        self._stopped_at: float | None = None
        asked = (engines, conversations, sampling, self._cancel, language, enable_thinking)
        Thread(target=self._follow, args=asked, daemon=True, name="answer").start()
        Thread(target=self._guard, daemon=True, name="answer-guard").start()

    def look(self) -> tuple[View, ...]:
        """The newest view of each engine."""
        self._looked_at = self._clock()
        return self._views

    def stop(self) -> None:
        """Ask the engines to end; what they have written so far is kept."""
        self._stopped_at = self._stopped_at or self._clock()
        self._cancel.set()

    @property
    def stopping(self) -> bool:
        """Whether `stop` was asked for."""
        return self._cancel.is_set()

    @property
    def seconds(self) -> float:
        """Since the question was asked."""
        return self._clock() - self._began_at

    def over(self, grace: float = 3.0) -> bool:
        """Whether nothing more will come, or was stopped `grace` seconds ago by an engine that does not heed it."""
        late = self._stopped_at is not None and self._clock() - self._stopped_at > grace
        return self._ended.is_set() or late

    def wait(self, seconds: float) -> bool:
        """Sleep until it has ended, at most so long; True if it has."""
        return self._ended.wait(seconds)

    def _follow(self, *asked) -> None:
        try:
            for views in session.side_by_side(*asked):
                self._views = tuple(views)
        finally:
            self._ended.set()

    def _guard(self) -> None:
        while not self._ended.wait(_GUARD_PAUSE):
            if self._clock() - self._looked_at > self._patience:
                self._cancel.set()
                return
