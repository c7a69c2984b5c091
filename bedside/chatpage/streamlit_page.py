"""The chat page in Streamlit: drawn anew at every click, while an answer is written in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial

import streamlit as st

from bedside.answers import Engine, Sampling
from bedside.chatpage import export, flags, streamlit_turns, texts
from bedside.chatpage.background import Writing
from bedside.chatpage.conversation import Conversation
from bedside.chatpage.engines import names
from bedside.chatpage.flags import PageArguments
from bedside.chatpage.streamlit_door import let_in
from bedside.chatpage.streamlit_turns import say
from bedside.chatpage.streamlit_words import words
from bedside.errors import UserError
from bedside.inference_flags import refused

_PAUSE = 0.1  # seconds between two looks at an answer that is being written
_NAMES = {"zh": "中文", "en": "English"}
_MOST_TOKENS = 32768  # the upper end of the field, unless the command line says more
# What the theme in .streamlit/config.toml cannot say: less empty room, long words broken on a narrow window.
_STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding-top: 2.4rem; padding-bottom: 1rem; }
[data-testid="stBottomBlockContainer"] { padding-top: .6rem; padding-bottom: .9rem; }
[data-testid="stBottomBlockContainer"] [data-testid="stVerticalBlock"] { gap: .5rem; }
@media (max-width: 640px) {
  [data-testid="stMainBlockContainer"] { padding-top: 3.8rem; }
  [data-testid="stBottomBlockContainer"] [data-testid="stCaptionContainer"] { font-size: .75rem; }
}
[data-testid="stMarkdownContainer"] { overflow-wrap: anywhere; }
[data-testid="stMarkdownContainer"] table { display: block; overflow-x: auto; overflow-wrap: normal; }
[data-testid="stExpanderDetails"] { color: #48595a; font-size: .95rem; }
[class*="st-key-example_"] button > div { width: 100%; justify-content: flex-start; }
[class*="st-key-example_"] button p { text-align: left; }
</style>"""


def show(args: PageArguments, load: Callable[[], tuple[Engine, Engine | None]]) -> None:
    """Draw the page once, as Streamlit does at every click.

    `load` gives the engine, and the one to compare or None; it is called once for all visitors. A UserError that it
    raises is shown as its sentence.
    """
    state = st.session_state
    if "language" not in state:
        accepted = st.context.headers.get("Accept-Language")
        state.language = texts.preferred(accepted) if args.language == "auto" else args.language
    said = words(state.language)
    # An emoji: the browser would fetch a Material symbol for its tab from another company's server.
    st.set_page_config(said["title"], "🩺", "centered", "auto")
    st.html(_STYLE)
    if not let_in(said):
        return
    _head(said)
    begun = "talks" in state
    if not begun:  # loading may last minutes: what the page is for, and is not for, stands there meanwhile
        _bottom(said, None, False)
    try:
        with st.spinner(said["loading"]):
            first, second = _loaded(repr(args), load)
    except UserError as error:
        say(st.error, str(error), icon=":material/error:")
        st.button(said["load_again"], key="load_again", icon=":material/refresh:")
        return
    engines = [first, second] if second else [first]
    if not begun:
        state.talks, state.writing, state.editing = (Conversation(),) * len(engines), None, False
        st.rerun()
    _talk(said, args, engines, names(first, second))


@st.cache_resource(show_spinner=False)
def _loaded(key: str, _load: Callable[[], tuple[Engine, Engine | None]]) -> tuple[Engine, Engine | None]:
    """The engines of these flags, loaded once for all visitors of the page."""
    return _load()


def _talk(said: Mapping[str, str], args: PageArguments, engines: Sequence[Engine], called: list[str]) -> None:
    state = st.session_state
    if len(engines) > 1:
        st.set_page_config(layout="wide")
    say(st.caption, f"{said['model']}: {' · '.join(called)}")
    _sidebar(said, args, called)

    def ask(talks: Sequence[Conversation]) -> None:
        # Read from the state when it is called: a click may come with a setting changed just before it.
        talks = tuple(talk.with_system(state.system) for talk in talks)
        state.talks, state.editing = talks, False
        state.writing = Writing(engines, talks, _chosen(args), state.language, args.enable_thinking)

    live = _conversation(said, called, ask)
    question = _bottom(said, state.writing, True)
    if question and question.strip():
        ask([talk.asked(question) for talk in state.talks])
        st.rerun()
    if state.writing:
        _follow(state.writing, live)


def _follow(writing: Writing, live: Sequence[streamlit_turns.Answer]) -> None:
    """Show an answer while it is written; then keep it, and draw the page with it.

    A click in the meantime leaves this loop, at any of its calls of Streamlit, for a new drawing of the page.
    """
    while not writing.over():
        for place, view in zip(live, writing.look(), strict=True):
            place.draw(view, writing.seconds)
        writing.wait(_PAUSE)
    state = st.session_state
    if state.writing is writing:  # another drawing of this page may have kept it already
        state.writing = None
        state.talks = tuple(view.kept_in(talk) for view, talk in zip(writing.look(), state.talks, strict=True))
    st.rerun()


def _head(said: Mapping[str, str]) -> None:
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(f"#### {said['title']}", width="content", anchors=False)
        st.segmented_control(
            said["language"], texts.LANGUAGES, format_func=_NAMES.get, key="language", required=True,
            label_visibility="collapsed",
        )  # fmt: skip


def _sidebar(said: Mapping[str, str], args: PageArguments, called: list[str]) -> None:
    """The settings that the next question takes, the export, clearing."""
    state = st.session_state
    with st.sidebar:
        st.markdown(f"**{said['settings']}**")
        st.text_area(said["system_prompt"], args.system_prompt or "", key="system", help=said["system_prompt_hint"])
        for problem in refused(state.system):
            say(st.error, problem)
        st.slider(
            said["temperature"], 0.0, max(2.0, args.temperature), float(args.temperature), 0.05, key="temperature",
            help=said["temperature_hint"],
        )  # fmt: skip
        most = max(args.max_new_tokens, _MOST_TOKENS)
        st.number_input(said["max_new_tokens"], 1, most, args.max_new_tokens, 64, key="most")
        st.space("small")
        st.markdown(f"**{said['export']}**")
        nothing = state.writing is not None or not state.talks[0].turns
        _downloads(said, called, _chosen(args), nothing)
        st.space("small")
        st.button(said["clear"], "clear", icon=":material/delete:", disabled=nothing, on_click=_clear)


def _chosen(args: PageArguments) -> Sampling:
    """The flags' sampling with what the settings on the page say."""
    return flags.sampling(args, st.session_state.temperature, st.session_state.most)


def _downloads(said: Mapping[str, str], called: list[str], sampling: Sampling, nothing: bool) -> None:
    state, moment = st.session_state, datetime.now().astimezone()
    shown = list(zip(called, state.talks, strict=True))
    for kind, ending, mime, written in (
        ("markdown", "md", "text/markdown", export.to_markdown),
        ("json", "json", "application/json", export.to_json),
    ):
        text = "" if nothing else written(shown, sampling, state.language, moment)
        st.download_button(
            said[f"export_{kind}"], text, export.file_name(moment, ending), mime, f"export_{kind}", disabled=nothing,
            on_click="ignore", icon=":material/download:", width="stretch",
        )  # fmt: skip


def _clear() -> None:
    state = st.session_state
    state.talks, state.editing = tuple(Conversation() for _ in state.talks), False


def _conversation(said: Mapping[str, str], called: list[str], ask: Callable) -> list[streamlit_turns.Answer]:
    """Every turn so far, or the example cases; the places of the answers to the last one.

    Each part has a place of its own: a drawing that lasts as long as an answer must leave nothing of the one before.
    """
    state, places = st.session_state, []
    turns = state.talks[0].turns
    if turns:
        st.empty()
    else:
        _examples(said, ask)
    with st.container():
        for number, turn in enumerate(turns):
            last = number == len(turns) - 1
            edit = partial(_editor, said, turn.question, ask) if last and state.editing else None
            streamlit_turns.question(turn.question, state.language, said["banner_title"], edit)
            views = [streamlit_turns.kept(talk.turns[number]) for talk in state.talks]
            if last and state.writing:
                views = state.writing.look()
            places = streamlit_turns.answers(said, called, views)
    if turns and not state.writing and not state.editing:
        _again(said, ask)
    else:
        st.empty()
    return places


def _examples(said: Mapping[str, str], ask: Callable) -> None:
    state = st.session_state
    with st.container():
        st.markdown(said["empty"])
        for number, case in enumerate(texts.EXAMPLES[state.language]):
            st.button(
                case, f"example_{number}", on_click=lambda case=case: ask([talk.asked(case) for talk in state.talks]),
                width="stretch", wrap=True,
            )  # fmt: skip


def _again(said: Mapping[str, str], ask: Callable) -> None:
    state = st.session_state

    def retry() -> None:
        ask([talk.retried() for talk in state.talks])

    def edit() -> None:
        state.editing = True

    with st.container(horizontal=True):
        st.button(said["retry"], "retry", icon=":material/refresh:", on_click=retry)
        st.button(said["edit"], "edit", icon=":material/edit:", on_click=edit)


def _editor(said: Mapping[str, str], question: str, ask: Callable) -> None:
    """The last question, to be changed: its answer, and what it said, are replaced when it is sent."""
    state = st.session_state

    def send() -> None:
        if state.edited.strip():
            last = len(state.talks[0].turns) - 1
            ask([talk.edited(last, state.edited) for talk in state.talks])

    def leave() -> None:
        state.editing = False

    st.text_area(said["edit"], question, key="edited", label_visibility="collapsed")
    with st.container(horizontal=True):
        st.button(said["send"], "send_edited", on_click=send, type="primary", icon=":material/send:")
        st.button(said["cancel"], "leave_edited", on_click=leave)


def _bottom(said: Mapping[str, str], writing: Writing | None, ready: bool) -> str | None:
    """What stays at the lower edge: where to ask, how to stop, and that it is no medical advice."""
    if writing:
        label = said["stopping"] if writing.stopping else said["stop"]
        st.bottom.button(
            label, "stop", icon=":material/stop_circle:", on_click=writing.stop, disabled=writing.stopping,
            width="stretch",
        )  # fmt: skip
    else:
        st.bottom.empty()
    # Streamlit puts it at the lower edge, and keeps the newest text in sight, if it is called outside of st.bottom.
    question = st.chat_input(said["question_hint"], key="question", disabled=not ready or writing is not None)
    st.bottom.caption(f":material/info: {said['disclaimer']}")
    return question
