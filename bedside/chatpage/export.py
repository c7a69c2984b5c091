"""A conversation as a file that can be read years later: Markdown for people, JSON for programs."""

import json
from dataclasses import asdict
from datetime import datetime

from bedside.answers import Sampling
from bedside.chatpage import safe, texts
from bedside.chatpage.conversation import Conversation

Shown = list[tuple[str, Conversation]]  # the name of each model with what it said


def _when(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def file_name(moment: datetime, ending: str) -> str:
    """`bedside-20260131-235959.md`: no word of the conversation stands in a file's name."""
    return f"bedside-{moment:%Y%m%d-%H%M%S}.{ending}"


def to_json(shown: Shown, sampling: Sampling, language: str, moment: datetime) -> str:
    """`{"disclaimer", "exported", "language", "settings", "conversations": [{"model", "system", "turns"}]}`."""
    return json.dumps(
        {
            "disclaimer": texts.words(language)["disclaimer"],
            "exported": _when(moment),
            "language": language,
            "settings": asdict(sampling),
            "conversations": [{"model": name, **asdict(conversation)} for name, conversation in shown],
        },
        ensure_ascii=False,
        indent=2,
    )


def to_markdown(shown: Shown, sampling: Sampling, language: str, moment: datetime) -> str:
    """The same for people: a head with model, time and settings, then questions, thoughts (quoted) and answers.

    Two models stand one after the other under each question. The texts are made inert as they are on the page.
    """
    said = texts.words(language)
    names = ", ".join(safe.markdown(name) for name, _ in shown)
    settings = f"{said['temperature']} {sampling.temperature:g} · {said['max_new_tokens']} {sampling.max_new_tokens}"
    lines = [f"# {said['title']}", "", f"> {said['disclaimer']}", ""]
    lines += [f"- {said['model']}: {names}", f"- {said['exported']}: {_when(moment)}", f"- {settings}"]
    first = shown[0][1]
    if first.system:
        lines.append(f"- {said['system_prompt']}: {safe.markdown(' '.join(first.system.split()))}")
    for number, turn in enumerate(first.turns):
        lines += ["", f"## {said['you']}", "", safe.markdown(turn.question)]
        for name, conversation in shown:
            if number < len(conversation.turns):
                head = safe.markdown(name) if len(shown) > 1 else said["assistant"]
                lines += ["", f"## {head}", "", *_answer(conversation.turns[number], said)]
    return "\n".join(lines) + "\n"


def _answer(turn, said) -> list[str]:
    lines = []
    if turn.thought:
        quoted = [f"> {line}".rstrip() for line in safe.markdown(turn.thought).splitlines()]
        lines += [f"> **{said['thought']}**", ">", *quoted, ""]
    lines.append(safe.markdown(turn.answer) or said["no_answer"])
    notes = {"cancelled": said["stopped"], "length": said["cut"], "failed": f"{said['failed']}: {turn.error or ''}"}
    if turn.finish_reason in notes:
        lines += ["", f"*({safe.markdown(notes[turn.finish_reason])})*"]
    return lines
