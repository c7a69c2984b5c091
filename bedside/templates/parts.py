"""Rendering by parts: what a template writes around the texts of a chat depends on who speaks, not on what is said.

So it is rendered once for each succession of roles, with place holders for the texts, and later chats are put
together from its parts: the same text and spans (tests compare every template with its real rendering) in a tenth of
the time. Chats whose texts a template may look into (control tokens, tags), and calls of tools, are left to Jinja.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from bedside.data.conversation import MARKS
from bedside.templates.render import Rendered
from bedside.templates.template import Template

# A place holder: a number between two private characters, in blanks of which a template takes all or none away.
_CORE, _LEFT, _RIGHT = "\uf8f0", "\n \u2003", "\u2003 \n"
_PLACE = re.compile(f"{_CORE}(\\d+){_CORE}")
_FIELDS = ("content", "reasoning_content")
Shape = tuple[tuple[str, bool], ...]  # of each message: its role, and whether it holds a thought


class Layout(NamedTuple):
    """A chat without its texts: `parts` are literals, or the number of a text (negative: less its outer blanks,
    `~number`); `spans` are the trained ones, as `[first, last)` of parts."""

    parts: tuple[str | int, ...]
    spans: tuple[tuple[int, int], ...]


def shape_of(messages: list[dict]) -> Shape | None:
    """Who speaks, and with a thought; None where a tool is called or answers."""
    shape = []
    for message in messages:
        role = message["role"]
        if role == "tool" or message.get("tool_calls"):
            return None
        shape.append((role, bool(message.get("reasoning_content"))))
    return tuple(shape)


@lru_cache(maxsize=64)
def _sensitive(tokens: tuple[str, ...]) -> re.Pattern:
    """What a template may look for in a text: control tokens and tags begin so; `/nothink` is a switch of GLM's."""
    return re.compile("|".join(["<", r"\[", "/nothink", _CORE, *MARKS, *map(re.escape, filter(None, tokens))]))


@lru_cache(maxsize=2048)
def layout_of(template: Template, shape: Shape, variables: tuple[tuple[str, Any], ...]) -> Layout | None:
    """The layout of chats of this shape; None if the template does more with a text than to take its blanks away.

    Raises RowError E_TEMPLATE as the template does.
    """
    messages, number = [], 0
    for role, thinks in shape:
        message: dict[str, Any] = {"role": role}
        for field in _FIELDS[: 1 + thinks]:
            message[field] = f"{_LEFT}{_CORE}{number}{_CORE}{_RIGHT}"
            number += 1
        messages.append(message)
    rendered = template.render(messages, None, **dict(variables))
    return _cut(rendered)


def _cut(rendered: Rendered) -> Layout | None:
    """The rendering of place holders as parts."""
    text, places = rendered.text, []
    for found in _PLACE.finditer(text):
        start, end, number = found.start(), found.end(), int(found.group(1))
        whole = text.startswith(_LEFT, start - len(_LEFT)) and text.startswith(_RIGHT, end)
        if not whole and (text[start - 1 : start] == _LEFT[-1] or text[end : end + 1] == _RIGHT[0]):
            return None
        places.append((start - len(_LEFT), end + len(_RIGHT), number) if whole else (start, end, ~number))
    edges = sorted({0, len(text), *(edge for span in rendered.spans for edge in span)})
    parts: list[str | int] = []
    part_at, position = {}, 0
    for start, end, number in [*places, (len(text), len(text), None)]:
        if any(start < edge < end for edge in edges):
            return None
        for edge in [edge for edge in edges if position <= edge < start] + [start]:
            if edge > position:
                parts.append(text[position:edge])
            part_at[edge] = len(parts)
            position = edge
        if number is not None:
            parts.append(number)
            position = end
            part_at[end] = len(parts)
    return Layout(tuple(parts), tuple((part_at[start], part_at[end]) for start, end in rendered.spans))


def filled(layout: Layout, texts: list[str]) -> Rendered:
    """The chat with these texts, as the template would render it."""
    bounds, pieces, position = [0], [], 0
    for part in layout.parts:
        piece = part if isinstance(part, str) else texts[part] if part >= 0 else texts[~part].strip()
        pieces.append(piece)
        position += len(piece)
        bounds.append(position)
    return Rendered("".join(pieces), [(bounds[first], bounds[last]) for first, last in layout.spans])


def render(template: Template, messages: list[dict], tools: list[dict] | None, **variables: Any) -> Rendered:
    """`template.render(messages, tools, **variables)`, by parts where that is certain to be the same."""
    shape = shape_of(messages) if template.trusted and not tools else None
    if shape is None:
        return template.render(messages, tools, **variables)
    texts = [message[field] for message in messages for field in _FIELDS if message.get(field)]
    search = _sensitive(tuple(value for value in variables.values() if isinstance(value, str))).search
    if len(texts) != len(shape) + sum(thinks for _, thinks in shape) or any(map(search, texts)):
        return template.render(messages, tools, **variables)
    layout = layout_of(template, shape, tuple(variables.items()))
    return template.render(messages, tools, **variables) if layout is None else filled(layout, texts)
