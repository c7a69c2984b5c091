"""A question and its answers in Streamlit: the thought in a fold-out, open until the answer begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from bedside.chatpage import alarms, safe
from bedside.chatpage.conversation import Turn
from bedside.chatpage.session import View

_PHASE = {"cancelled": "stopped", "failed": "failed"}


def say(element: Callable, sentence: str, **settings):
    """`sentence` by `element` (st.markdown, st.error ...), its place: nothing in it is HTML, an image or a script."""
    return element(safe.markdown(sentence), **settings)


def kept(turn: Turn) -> View:
    """The view of an answer that has ended."""
    return View(turn.thought, turn.answer, _PHASE.get(turn.finish_reason, "done"), turn.error, turn.finish_reason)


def question(text: str, language: str, title: str, edit: Callable[[], None] | None = None) -> None:
    """What the user wrote, its line breaks kept, and the banner for danger signs in it; `edit` draws its editor.

    Whatever is absent leaves an empty place: what stood there in an earlier drawing would stay until this one ends.
    """
    with st.chat_message("user", avatar=":material/person:"):
        if edit:
            edit()
        else:
            st.markdown(safe.markdown(text).replace("\n", "  \n"), anchors=False)
            st.empty()
    signs = alarms.found(text, language)
    if signs:
        say(st.error, alarms.banner(signs, language), title=title, icon=":material/emergency:")
    else:
        st.empty()


def answers(said: Mapping[str, str], names: Sequence[str], views: Sequence[View]) -> list[Answer]:
    """The answers to one question: one, or two side by side (one above the other on a narrow window)."""
    with st.chat_message("assistant", avatar=":material/stethoscope:"):
        if len(names) == 1:
            return [Answer(said, views[0])]
        places = []
        for column, name, view, which in zip(
            st.columns(2, border=True), names, views, ("first", "second"), strict=True
        ):
            with column:
                say(st.caption, f"{said[which]} · {name}")
                places.append(Answer(said, view))
        return places


class Answer:
    """The place of one answer: made with a first view, drawn again with newer ones while it is written.

    The fold-out keeps its label and state between two drawings, so that one which the reader opened stays open.
    """

    def __init__(self, said: Mapping[str, str], view: View):
        self._said = said
        self._fold, self._box, self._inside, self._shown = None, None, None, None
        self._body, self._foot = st, st
        if view.thought:
            self._draw_thought(view, st)
        else:
            self._fold = st.empty()
        self._body = self._draw_body(view)
        self._foot = self._draw_foot(view, 0.0)

    def draw(self, view: View, waited: float = 0.0) -> None:
        """Show `view`; `waited` are seconds since the question, told while nothing has come."""
        if view.thought:
            self._draw_thought(view, self._fold)
        self._draw_body(view)
        self._draw_foot(view, waited)

    def _state(self, view: View) -> tuple[str, bool, str]:
        """Label, whether open, and the icon's state of the fold-out."""
        if view.phase == "thinking":
            return self._said["thinking"], True, "running"
        return self._said["thought"], not view.answer, "complete"

    def _draw_thought(self, view: View, place) -> None:
        label, opened, state = shown = self._state(view)
        if self._box is None:
            self._box = place.status(label, expanded=opened, state=state)
            self._inside = self._box.markdown("")
        elif shown != self._shown:
            self._box.update(label=label, expanded=opened, state=state)
        self._shown = shown
        say(self._inside.markdown, view.thought, anchors=False)

    def _draw_body(self, view: View):
        nothing = self._said["no_answer"] if view.phase == "done" else ""
        text = view.answer or nothing
        return say(self._body.markdown, text, anchors=False) if text else self._body.empty()

    def _draw_foot(self, view: View, waited: float):
        said, foot = self._said, self._foot
        if view.phase == "failed":
            return say(foot.error, f"{said['failed']}: {view.error or ''}", icon=":material/error:")
        if view.phase == "stopped":
            return foot.caption(f":material/stop_circle: {said['stopped']}")
        if view.finish_reason == "length":
            return foot.caption(f":material/content_cut: {said['cut']}")
        if view.phase == "waiting":
            seconds = f" {waited:.0f} s" if waited >= 2 else ""
            return foot.caption(f":material/hourglass_top: {said['waiting']}{seconds}")
        return foot.empty()
