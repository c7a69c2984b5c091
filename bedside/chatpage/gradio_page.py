"""The page of gradio_demo.py: what stands where, and what each control does.

gradio reads the annotations of the handlers (`request: gr.Request`), so they are not postponed here.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from bedside.answers import Engine
from bedside.chatpage import export, flags, safe, session, texts
from bedside.chatpage.conversation import Conversation
from bedside.chatpage.flags import PageArguments
from bedside.chatpage.gradio_chat import Running, all_messages, messages

_AT_ONCE = 16  # people whose answers are under way together; the engine orders them
# The file is made in the browser: nothing of a conversation is written on the server.
_DOWNLOAD = """(file) => {
    if (!file || !file.name) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([file.text], {type: file.type}));
    link.download = file.name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}"""
_FOCUS = "() => document.querySelector('#question textarea')?.focus()"


def page(engines: Sequence[Engine], names: Sequence[str], args: PageArguments) -> Any:
    """The gradio Blocks that chat with one engine, or show the answers of two side by side under their `names`."""
    import gradio as gr

    language = "en" if args.language == "auto" else args.language
    with gr.Blocks(title="bedside", analytics_enabled=False, fill_width=True) as blocks:
        parts = _layout(gr, names, args, language)
        _wire(gr, blocks, parts, engines, names, args)
    return blocks.queue(default_concurrency_limit=_AT_ONCE, api_open=False)


def _layout(gr: Any, names: Sequence[str], args: PageArguments, language: str) -> SimpleNamespace:
    """The components, by name, with their words in `language`."""
    said, on = texts.words(language), SimpleNamespace()
    on.talks, on.editing = gr.State(tuple(Conversation() for _ in names)), gr.State(False)
    with gr.Row(elem_id="head"):
        on.head = gr.HTML(_head(said), elem_id="title", scale=4, min_width=0, padding=False)
        choices = [("中文", "zh"), ("English", "en")]
        on.language = gr.Radio(
            choices, value=language, label=said["language"], show_label=False, container=False, elem_id="language",
            scale=0,
        )  # fmt: skip
    on.disclaimer = gr.HTML(_disclaimer(said), elem_id="disclaimer", padding=False)
    with gr.Row(elem_id="chats"):
        on.chats = [
            gr.Chatbot(
                label=name, height="56dvh", min_height=300, show_label=len(names) > 1, elem_id=f"chat{place}",
                layout="bubble", latex_delimiters=[], buttons=[], sanitize_html=True, allow_tags=False,
                feedback_options=(), allow_file_downloads=False, min_width=300, **_empty(language, place),
            )
            for place, name in enumerate(names)
        ]  # fmt: skip
    with gr.Row(elem_id="ask"):
        on.question = gr.Textbox(
            label=said["question"], placeholder=said["question_hint"], lines=1, max_lines=8, autofocus=True,
            show_label=False, container=False, elem_id="question", scale=8, min_width=200,
        )  # fmt: skip
        on.send = gr.Button(said["send"], variant="primary", elem_id="send", scale=0, min_width=96)
        on.stop = gr.Button(said["stop"], variant="stop", elem_id="stop", scale=0, min_width=96, visible=False)
    with gr.Row(elem_id="tools"):
        for name in ("retry", "edit", "clear", "export_markdown", "export_json"):
            setattr(on, name, gr.Button(said[name], size="sm", elem_id=name, scale=0, min_width=88))
    with gr.Accordion(said["settings"], open=False, elem_id="settings") as on.settings:
        on.system = gr.Textbox(
            args.system_prompt or "", label=said["system_prompt"], info=said["system_prompt_hint"], lines=2,
            elem_id="system",
        )  # fmt: skip
        with gr.Row():
            on.temperature = gr.Slider(
                0, max(2.0, args.temperature), args.temperature, step=0.05, label=said["temperature"],
                info=said["temperature_hint"], elem_id="temperature", min_width=200,
            )  # fmt: skip
            on.tokens = gr.Slider(
                1, max(4096, args.max_new_tokens), args.max_new_tokens, step=1, label=said["max_new_tokens"],
                elem_id="tokens", min_width=200,
            )  # fmt: skip
    on.model = gr.HTML(_models(names, said), elem_id="model", padding=False)
    on.file = gr.JSON(visible=False)
    return on


def _wire(gr: Any, blocks: Any, on: SimpleNamespace, engines, names, args: PageArguments) -> None:
    """Which control does what. Endpoints are for this page only."""
    running, private = Running(), {"api_visibility": "private"}
    quick = {"queue": False, "show_progress": "hidden", **private}

    def stop(request: gr.Request):
        running.stop(request.session_hash)

    on.stop.click(stop, None, None, **quick)
    blocks.unload(stop)
    _wire_asking(gr, on, _answerer(gr, on, engines, args, running), quick)
    _wire_editing(gr, on, quick)
    for ending, button in (("md", on.export_markdown), ("json", on.export_json)):
        inputs = [on.talks, on.temperature, on.tokens, on.language]
        # Through the queue, which is how a notice reaches the page.
        write = _exporter(gr, names, args, ending)
        button.click(write, inputs, on.file, show_progress="hidden", **private).then(None, on.file, js=_DOWNLOAD)
    _wire_language(gr, blocks, on, names, args, quick)


def _wire_asking(gr: Any, on: SimpleNamespace, answer: Callable, quick: dict) -> None:
    """Send, an example, and the same question again."""
    controls = [on.system, on.temperature, on.tokens, on.language]
    typed = [on.question, on.talks, on.editing, *controls]
    shown = [*on.chats, on.talks, on.editing, on.question, on.send, on.stop, on.retry, on.edit, on.clear]
    slow = {**quick, "queue": True, "outputs": shown}

    def send(question, talks, editing, system, temperature, tokens, language, request: gr.Request):
        if not question.strip():
            yield gr.skip()  # a generator without a value would empty all that it may show
            return
        if editing and talks[0].turns:
            asked = tuple(talk.edited(len(talk.turns) - 1, question) for talk in talks)
        else:
            asked = tuple(talk.asked(question) for talk in talks)
        yield from answer(asked, system, temperature, tokens, language, request.session_hash)

    def retry(talks, system, temperature, tokens, language, request: gr.Request):
        if not talks[0].turns:
            yield gr.skip()
            return
        again = tuple(talk.retried() for talk in talks)
        yield from answer(again, system, temperature, tokens, language, request.session_hash)

    def example(event: gr.SelectData):
        return event.value["text"]

    gr.on([on.send.click, on.question.submit], send, typed, **slow)
    on.retry.click(retry, [on.talks, *controls], **slow)
    # Examples stand in the first chat.
    on.chats[0].example_select(example, None, on.question, **quick).then(send, typed, **slow)


def _wire_editing(gr: Any, on: SimpleNamespace, quick: dict) -> None:
    """The last question back into its field (or out of it again), and everything forgotten."""

    def edit(talks, editing, language):
        said = texts.words(language)
        if editing:
            return False, "", said["send"]
        if not talks[0].turns:  # nothing to edit: what is being typed stays
            return gr.skip()
        return True, talks[0].turns[-1].question, said["edit"]

    def clear(talks, language):
        return [tuple(Conversation() for _ in talks), False, texts.words(language)["send"], *([] for _ in talks)]

    edited = on.edit.click(edit, [on.talks, on.editing, on.language], [on.editing, on.question, on.send], **quick)
    edited.then(None, js=_FOCUS)
    on.clear.click(clear, [on.talks, on.language], [on.talks, on.editing, on.send, *on.chats], **quick)
    # In the browser: a reply that comes late would take what has been typed since.
    on.clear.click(None, None, on.question, js="() => ''")


def _answerer(gr: Any, on: SimpleNamespace, engines, args: PageArguments, running: Running) -> Callable:
    """What answers the last question of every conversation and shows it while it is written."""

    def answer(talks, system, temperature, tokens, language, who) -> Iterator[dict]:
        cancel = running.begin(who)
        if cancel is None:  # this page is being answered already
            yield gr.skip()
            return
        said, chosen = texts.words(language), flags.sampling(args, temperature, tokens)
        talks, views = tuple(talk.with_system(system) for talk in talks), ()
        try:
            yield {
                on.talks: talks, on.editing: False, on.question: gr.update(value=""),
                on.send: gr.update(visible=False, value=said["send"]), on.stop: gr.update(visible=True),
                **{button: gr.update(interactive=False) for button in (on.retry, on.edit, on.clear)},
            }  # fmt: skip
            for views in session.side_by_side(engines, talks, chosen, cancel, language, args.enable_thinking):
                shown = (messages(talk, language, view) for talk, view in zip(talks, views, strict=True))
                yield dict(zip(on.chats, shown, strict=True))
        finally:
            cancel.set()
            running.end(who)
        kept = tuple(view.kept_in(talk) for talk, view in zip(talks, views, strict=True))
        yield {
            on.talks: kept, on.send: gr.update(visible=True), on.stop: gr.update(visible=False),
            **{button: gr.update(interactive=True) for button in (on.retry, on.edit, on.clear)},
        }  # fmt: skip

    return answer


def _wire_language(gr: Any, blocks: Any, on: SimpleNamespace, names, args: PageArguments, quick: dict) -> None:
    plain = ("send", "stop", "retry", "edit", "clear", "export_markdown", "export_json")

    def switch(language, talks):
        said = texts.words(language)
        return {
            on.head: _head(said), on.disclaimer: _disclaimer(said), on.model: _models(names, said),
            **{getattr(on, name): gr.update(value=said[name]) for name in plain},
            **{chat: gr.update(value=shown, **_empty(language, place))
               for place, (chat, shown) in enumerate(zip(on.chats, all_messages(talks, language), strict=True))},
            on.editing: False,
            on.question: gr.update(label=said["question"], placeholder=said["question_hint"]),
            on.settings: gr.update(label=said["settings"]),
            on.system: gr.update(label=said["system_prompt"], info=said["system_prompt_hint"]),
            on.temperature: gr.update(label=said["temperature"], info=said["temperature_hint"]),
            on.tokens: gr.update(label=said["max_new_tokens"]),
        }  # fmt: skip

    worded = [on.head, on.disclaimer, on.model, *on.chats, on.editing, on.question, on.settings, on.system,
              on.temperature, on.tokens, *(getattr(on, name) for name in plain)]  # fmt: skip
    on.language.input(switch, [on.language, on.talks], worded, **quick)
    if args.language == "auto":

        def begin(talks, request: gr.Request):
            language = texts.preferred(request.headers.get("accept-language"))
            if language == on.language.value:  # the page has these words already, and somebody may be typing
                return gr.skip()
            return {on.language: language, **switch(language, talks)}

        blocks.load(begin, on.talks, [on.language, *worded], **quick)


def _exporter(gr: Any, names, args: PageArguments, ending: str) -> Callable:
    write, kind = {"md": (export.to_markdown, "text/markdown"), "json": (export.to_json, "application/json")}[ending]

    def exported(talks, temperature, tokens, language):
        if not talks[0].turns:
            gr.Info(texts.words(language)["nothing_to_export"])
            return {}
        now, shown = datetime.now().astimezone(), list(zip(names, talks, strict=True))
        text = write(shown, flags.sampling(args, temperature, tokens), language, now)
        return {"name": export.file_name(now, ending), "type": f"{kind};charset=utf-8", "text": text}

    return exported


def _empty(language: str, place: int) -> dict:
    """What an empty chat shows: an invitation, and in the first one the examples."""
    return {
        "placeholder": f"### {texts.words(language)['empty']}" if place == 0 else "",
        "examples": [{"text": case} for case in texts.EXAMPLES[language]] if place == 0 else None,
    }


def _head(said) -> str:
    return f"<h1>{safe.escaped(said['title'])}</h1><p>{safe.escaped(said['subtitle'])}</p>"


def _disclaimer(said) -> str:
    return f'<p role="note">{safe.escaped(said["disclaimer"])}</p>'


def _models(names: Sequence[str], said) -> str:
    return f"{safe.escaped(said['model'])}: {safe.escaped(' · '.join(names))}"
