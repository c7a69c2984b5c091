"""An engine's stream as what a page shows: which phase, the thought and the answer so far, an error as a sentence."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import NamedTuple

from bedside import logs
from bedside.answers import Answer, Engine, Sampling
from bedside.chatpage import texts
from bedside.chatpage.conversation import Conversation
from bedside.data.conversation import RowError
from bedside.errors import UserError

_INTERVAL = 0.08  # seconds between two views: twelve a second look smooth and leave the browser its time
ENDED = ("done", "stopped", "failed")
_REASON = {"stop": "done", "length": "done", "cancelled": "stopped"}


class View(NamedTuple):
    """What to show. `phase` is waiting, thinking or answering, then done, stopped or failed (with `error`).

    `finish_reason` (stop, length, cancelled, failed) and `tokens` of the completion are known at the end.
    """

    thought: str | None = None
    answer: str = ""
    phase: str = "waiting"
    error: str | None = None
    finish_reason: str | None = None
    tokens: int | None = None

    def kept_in(self, conversation: Conversation) -> Conversation:
        """The conversation with this as the answer to its last question."""
        return conversation.answered(self.answer, self.thought, self.finish_reason or "cancelled", self.error)


def answering(
    engine: Engine,
    conversation: Conversation,
    sampling: Sampling,
    cancel: Event | None = None,
    language: str = "en",
    enable_thinking: bool | None = None,
    interval: float = _INTERVAL,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[View]:
    """Views of the answer to the last question, one every `interval` seconds at most; the last is whole.

    Nothing is raised: what breaks becomes a failed View that keeps what had come, with a sentence in `language`.
    Setting `cancel`, or closing the iterator, stops the engine.
    """
    view, shown_at, cancel = View(), clock(), cancel or Event()
    yield view
    try:
        stream = engine.stream(conversation.messages(), sampling, enable_thinking, cancel)
        try:
            for piece in stream:
                before, view = view.phase, _grown(view, piece)
                if view.phase in ENDED:
                    break
                if view.phase != before or clock() - shown_at >= interval:
                    shown_at = clock()
                    yield view
        finally:
            close = getattr(stream, "close", None)
            if close:
                close()
    except Exception as error:  # noqa: BLE001 - a page shows a sentence; the log has the rest
        view = view._replace(phase="failed", error=sentence(error, language), finish_reason="failed")
    if view.phase not in ENDED:  # a stream that ended without its Answer
        phase, reason = ("stopped", "cancelled") if cancel.is_set() else ("failed", "failed")
        error = None if cancel.is_set() else texts.words(language)["failed_unknown"]
        view = view._replace(phase=phase, finish_reason=reason, error=error)
    yield view


def _grown(view: View, piece) -> View:
    if isinstance(piece, Answer):
        phase = _REASON.get(piece.finish_reason, "done")
        return View(piece.thought, piece.answer, phase, None, piece.finish_reason, piece.completion_tokens)
    if piece.kind == "was_thought":
        return view._replace(thought=(view.thought or "") + view.answer, answer="", phase="thinking")
    if piece.kind == "thought":
        return view._replace(thought=(view.thought or "") + piece.text, phase="thinking")
    return view._replace(answer=view.answer + piece.text, phase="answering")


def sentence(error: Exception, language: str) -> str:
    """What went wrong, for the person at the page; where an unforeseen error arose goes to the log."""
    said = texts.words(language)
    if isinstance(error, RowError):
        return said["too_long"] if error.code == "W_OVERLONG" else said["refused"].format(detail=error.detail)
    if isinstance(error, UserError):
        told = str(error).rstrip(". 。")
        return f"{told}{said['full_stop']}{said['again']}" if getattr(error, "again", False) else str(error)
    # Without the message, which may hold what a patient wrote.
    where = "".join(traceback.format_tb(error.__traceback__))
    logs.LOGGER.error("the chat page could not answer: %s at\n%s", type(error).__name__, where)
    return said["failed_unknown"]


def side_by_side(
    engines: Sequence[Engine],
    conversations: Sequence[Conversation],
    sampling: Sampling,
    cancel: Event | None = None,
    language: str = "en",
    enable_thinking: bool | None = None,
) -> Iterator[tuple[View, ...]]:
    """`answering` for several engines at once, each with its own conversation: tuples of their newest views."""
    cancel = cancel or Event()
    if len(engines) == 1:
        yield from (
            (view,)
            for view in answering(engines[0], conversations[0], sampling, cancel, language, enable_thinking)
        )  # fmt: skip
        return
    views, news = [View() for _ in engines], SimpleQueue()

    def follow(place: int) -> None:
        for view in answering(engines[place], conversations[place], sampling, cancel, language, enable_thinking):
            news.put((place, view))

    for place in range(len(engines)):
        Thread(target=follow, args=(place,), daemon=True).start()
    try:
        while not all(view.phase in ENDED for view in views):
            place, view = news.get()
            views[place] = view
            while True:  # what came meanwhile is shown at once
                try:
                    place, view = news.get_nowait()
                except Empty:
                    break
                views[place] = view
            yield tuple(views)
            time.sleep(_INTERVAL)  # as many views a second as of one engine: a slow browser must not fall behind
    finally:
        if not all(view.phase in ENDED for view in views):  # the page went away
            cancel.set()
