"""Which registered template a model's own template is, or resembles: both render the same short chats."""

import dataclasses
import re
import time
from collections.abc import Mapping
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any

from bedside import templates
from bedside.data.conversation import RowError
from bedside.templates import Template

Prompts = dict[str, str | None]  # the prompt of each probe by its name; None where the template refuses it

_SYSTEM = {"role": "system", "content": "s."}
_ASK, _AGAIN = {"role": "user", "content": "a?"}, {"role": "user", "content": "c?"}
_ANSWER = {"role": "assistant", "content": "b."}
_FIRST, _SECOND, _THOUGHT, _OFF, _WITH = "first", "second", "after a thought", "without thinking", "system, "
_CHATS: dict[str, tuple[list[dict], dict]] = {
    _FIRST: ([_ASK], {}),
    _SECOND: ([_ASK, _ANSWER, _AGAIN], {}),
    _THOUGHT: ([_ASK, {**_ANSWER, "reasoning_content": "t."}, _AGAIN], {}),
    _OFF: ([_ASK], {"enable_thinking": False}),
}
_TOOL = {"type": "function", "function": {"name": "f", "description": "d.", "parameters": {"type": "object"}}}
_DATE = re.compile(r"\d{1,2} [A-Z][a-z]{2,8} \d{4}|\d{4}-\d{2}-\d{2}")
_PIECES = re.compile(r"<[^<>\n]*>|\[/?\w+\]|\w+|\s|.")
_MARKERS = re.compile(r"<[^<>\n]+>|\[/?[A-Z]+\]")
_TODAY = "strftime_now"  # what a template calls for today's date; of the Llamas 3.2 does


def _names(special_tokens: Mapping[str, str]) -> dict[str, Any]:
    """Variables to render with; a template that writes today's date gets one day of the past."""
    day = time.struct_time((2001, 2, 3, 0, 0, 0, 5, 34, 0))
    return {"bos_token": "", "eos_token": "", **special_tokens, _TODAY: lambda form: time.strftime(form, day)}


def _prompt(template: Template, messages: list[dict], tools: list[dict] | None, names: dict) -> str | None:
    try:
        return template.render(messages, tools, add_generation_prompt=True, **names).text
    except RowError:
        return None


def prompts(template: Template, special_tokens: Mapping[str, str]) -> Prompts:
    """What a server would send for the probes, without a system message and with one ("system, ...")."""
    names = _names(special_tokens)
    made = {}
    for name, (chat, switches) in _CHATS.items():
        made[name] = _prompt(template, chat, None, names | switches)
        made[_WITH + name] = _prompt(template, [_SYSTEM, *chat], None, names | switches)
    return made


@lru_cache(maxsize=256)
def _prompts_of(name: str, special_tokens: tuple[tuple[str, str], ...]) -> Prompts:
    return prompts(templates.REGISTRY[name], dict(special_tokens))


def registered_prompts(name: str, special_tokens: Mapping[str, str]) -> Prompts:
    """`prompts` of a registered template; the many comparisons of a process render each once."""
    return _prompts_of(name, tuple(sorted(special_tokens.items())))


def tools_prompt(template: Template, special_tokens: Mapping[str, str]) -> str | None:
    """The prompt of a chat that offers a tool; None if the template refuses, or does not show, tools."""
    names = _names(special_tokens)
    shown = _prompt(template, [_SYSTEM, _ASK], [_TOOL], names)
    return shown if shown != _prompt(template, [_SYSTEM, _ASK], None, names) else None


def has_markers(template: Template) -> bool:
    """True if turns are set apart by markers such as `<...>` or `[INST]`, not by words and EOS alone."""
    return bool(_MARKERS.search(prompts(template, {})[_SECOND] or ""))


def has_dates(made: Prompts) -> bool:
    """True if the prompts hold a date."""
    return any(_DATE.search(text) for text in made.values() if text)


def differ_in_default_system_only(made: Prompts, other: Prompts) -> bool:
    """True if the prompts of every chat that brings a system message are the same, dates aside."""
    shared = [name for name in made if name.startswith(_WITH) and made[name] is not None]
    return bool(shared) and all(_undated(made[name]) == _undated(other[name]) for name in shared)


def _undated(text: str | None) -> str | None:
    return _DATE.sub("", text) if text else text


def _similarity(made: Prompts, other: Prompts) -> float:
    """0..1 over the prompts of chats with a system message, where a default one cannot drown the turns."""
    shared = [name for name in made if made[name] and other[name]]
    shared = [name for name in shared if name.startswith(_WITH)] or shared
    if not shared:
        return 0.0
    pieces = [_PIECES.findall("\n\n".join(texts[name] for name in shared)) for texts in (made, other)]
    return SequenceMatcher(None, *pieces, autojunk=False).ratio()


def _pairs(made: Prompts, row: Template, others: Prompts) -> list[tuple[str, str | None]]:
    """The own template's prompts, each with the row's for the same chat.

    A family that always thinks has no switch, and one that never does has no thoughts. Our files know the switch, and
    write the thought as text, all the same; that is no difference from an official one that passes over both.
    """
    pairs = []
    for name, text in made.items():
        plainer = name.replace(_OFF, _FIRST) if row.thinking == "always" else name
        plainer = plainer.replace(_THOUGHT, _SECOND) if row.thinking == "none" else plainer
        pairs.append((text, others[plainer if text == made[plainer] else name]))
    return [(text, other) for text, other in pairs if text is not None]


def _rank(name: str, own: Template, made: Prompts, others: Prompts, tools: tuple[str | None, str | None]) -> tuple:
    """What decides between templates with as many equal prompts: tools, likeness, then what the makers chose."""
    likely = {
        "llama3_2": _TODAY in own.source,
        "llama3_1": _TODAY not in own.source,
        "gemma3": made[_WITH + _FIRST] is not None,  # the makers' file of the first two refuses system messages
        "chatml": 2,
        "qwen3_instruct": 1,
    }
    return tools[0] is not None and tools[0] == tools[1], round(_similarity(made, others), 3), likely.get(name, 0)


def nearest(source: str, special_tokens: Mapping[str, str]) -> tuple[str, bool] | None:
    """`(name, exact)` of the registered template that a model's own template `source` is, or is most like.

    `exact`: it renders every prompt that the own template renders to the same text. More equal prompts win, then
    the same way to offer tools, then more similar text. None if the own template renders no chat at all.
    """
    own = templates.own(source)
    if own.name in templates.REGISTRY:
        return own.name, True
    made = prompts(own, special_tokens)
    if not any(made.values()):
        return None
    others = {name: registered_prompts(name, special_tokens) for name in templates.REGISTRY}
    pairs = {name: _pairs(made, row, others[name]) for name, row in templates.REGISTRY.items()}
    counts = {
        name: (sum(_undated(text) == _undated(other) for text, other in both), sum(t == other for t, other in both))
        for name, both in pairs.items()
    }
    best = max(counts.values())
    candidates = [name for name in templates.REGISTRY if counts[name] == best]
    if len(candidates) > 1:
        tools = tools_prompt(own, special_tokens)
        theirs = {name: tools_prompt(templates.REGISTRY[name], special_tokens) for name in candidates}
        candidates.sort(key=lambda name: _rank(name, own, made, others[name], (tools, theirs[name])), reverse=True)
    return candidates[0], best[1] == len(pairs[candidates[0]])


def recognised(source: str, special_tokens: Mapping[str, str]) -> Template:
    """A model's own template; turn end, stops and parsers are those of the registered one with the same prompts."""
    own = templates.own(source)
    found = nearest(source, special_tokens) if own.name not in templates.REGISTRY else None
    if not found or not found[1]:
        return own
    row = templates.REGISTRY[found[0]]
    same_tools = tools_prompt(own, special_tokens) == tools_prompt(row, special_tokens)
    return dataclasses.replace(
        own,
        turn_end=row.turn_end,
        extra_stops=row.extra_stops,
        required_tokens=row.required_tokens,
        reasoning_parser=row.reasoning_parser,
        tool_format=row.tool_format if same_tools else None,
    )
