"""A conversation as the messages of gradio's Chatbot: question, alarm, thought in a fold-out, answer, note."""

from collections.abc import Sequence
from threading import Event, Lock
from typing import Any

from bedside.chatpage import alarms, safe, texts
from bedside.chatpage.conversation import Conversation, Turn
from bedside.chatpage.session import View


def messages(conversation: Conversation, language: str, view: View | None = None) -> list[dict[str, Any]]:
    """All turns, the last one as `view` shows it while it is being answered. Nothing in them executes."""
    shown = []
    for place, turn in enumerate(conversation.turns):
        last = view if place == len(conversation.turns) - 1 else None
        shown += _turn(turn, language, last or _kept(turn))
    return shown


def _kept(turn: Turn) -> View:
    phase = {"cancelled": "stopped", "failed": "failed", None: "stopped"}.get(turn.finish_reason, "done")
    return View(turn.thought, turn.answer, phase, turn.error, turn.finish_reason)


def _turn(turn: Turn, language: str, view: View) -> list[dict[str, Any]]:
    said = texts.words(language)
    shown = [{"role": "user", "content": safe.markdown(turn.question)}]
    if warning := alarms.banner(alarms.found(turn.question, language), language):
        shown.append(_said(f'<div class="alarm" role="alert">{safe.escaped(warning)}</div>'))
    if view.phase == "waiting":
        return [*shown, _said(f'<div class="note waiting">{safe.escaped(said["waiting"])}</div>')]
    if view.thought:
        # gradio opens the fold-out of a pending thought, and closes it when it is done.
        pending = view.phase == "thinking"
        fold = {"title": said["thinking" if pending else "thought"], "status": "pending" if pending else "done"}
        shown.append({"role": "assistant", "content": safe.markdown(view.thought), "metadata": fold})
    if view.answer:
        shown.append(_said(safe.markdown(view.answer)))
    if note := _note(view, said):
        shown.append(_said(f'<div class="note {view.phase}">{safe.escaped(note)}</div>'))
    return shown


def _note(view: View, said) -> str:
    if view.phase == "failed":
        return f"{said['failed']}: {view.error or ''}"
    if view.phase == "stopped":
        return said["stopped"]
    if view.finish_reason == "length":
        return said["cut"]
    return said["no_answer"] if view.phase == "done" and not view.answer else ""


def _said(content: str) -> dict[str, Any]:
    return {"role": "assistant", "content": content}


def all_messages(talks: Sequence[Conversation], language: str) -> list[list[dict[str, Any]]]:
    """The messages of every model's conversation."""
    return [messages(talk, language) for talk in talks]


class Running:
    """Which sessions are being answered: one answer at a time for each, to be stopped from another request."""

    def __init__(self) -> None:
        self._events: dict[str, Event] = {}
        self._lock = Lock()

    def begin(self, session: str) -> Event | None:
        """What cancels this session's answer; None while an earlier one is under way."""
        with self._lock:
            if session in self._events:
                return None
            return self._events.setdefault(session, Event())

    def end(self, session: str) -> None:
        """The session's answer has ended."""
        with self._lock:
            self._events.pop(session, None)

    def stop(self, session: str) -> None:
        """Stop the session's answer, if there is one."""
        with self._lock:
            event = self._events.get(session)
        if event:
            event.set()
