"""Text of a model or a user for a page: Markdown in which nothing executes, nothing is loaded, no link misleads.

The pages' renderers clean HTML too; what leaves this module is inert before they see it.
"""

import html
import re

# A zero-width joiner of words: inside code, entities are not read, and this keeps `<img` from being a tag.
_JOINER = "\u2060"
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})", re.MULTILINE)
_SPAN = re.compile(r"(?<!`)(?P<ticks>`+)(?!`)(?:(?!\n\s*\n).)+?(?<!`)(?P=ticks)(?!`)", re.DOTALL)
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_LINK = re.compile(r"\\?\](?=\((?!(?:https?://|mailto:)[^\s<>]))")
_DEFINITION = re.compile(r"\\?\](?=:)")
_ESCAPED = re.compile(r"\\(?=[<>&$]|!\[)")  # the backslash would stay where an entity follows it
_QUOTE = re.compile(r"^((?: {0,3}&gt; ?)+)", re.MULTILINE)


def text(value: str) -> str:
    """`value` without characters that no one sees: controls, lone surrogates, reversals of the writing direction."""
    return _SURROGATE.sub("\ufffd", _CONTROL.sub("", value))


def escaped(value: str) -> str:
    """`value` as plain text inside HTML, quotes included, so that it may also stand in an attribute."""
    return html.escape(text(value), quote=True)


def markdown(value: str) -> str:
    """`value` as Markdown that shows HTML as text, has links to http, https and mailto only, and loads no image.

    Lists, emphasis, tables and code stay. An unclosed fence (while it is being written) counts as code to the end.
    """
    value = text(value)
    parts, position = [], 0
    for start, end in _fences(value):
        parts += [_inline(value[position:start]), _code(value[start:end])]
        position = end
    return "".join([*parts, _inline(value[position:])])


def _fences(value: str) -> list[tuple[int, int]]:
    """Where fenced code begins and ends, fences included."""
    found, position = [], 0
    while opening := _FENCE.search(value, position):
        mark = opening[1]
        closing = re.compile(rf"^ {{0,3}}{re.escape(mark[0])}{{{len(mark)},}}[ \t]*$", re.MULTILINE)
        line_end = value.find("\n", opening.end())
        closed = closing.search(value, line_end + 1) if line_end >= 0 else None
        position = closed.end() if closed else len(value)
        found.append((opening.start(), position))
    return found


def _inline(value: str) -> str:
    parts, position = [], 0
    for span in _SPAN.finditer(value):
        parts += [_prose(value[position : span.start()]), _code(span[0])]
        position = span.end()
    return "".join([*parts, _prose(value[position:])])


def _prose(value: str) -> str:
    """Outside code: `&` goes first, so that no entity of the text's own is ever read."""
    value = _ESCAPED.sub("", value)
    value = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")
    value = _QUOTE.sub(lambda match: match[0].replace("&gt;", ">"), value)
    value = value.replace("![", "&#33;[")
    return _DEFINITION.sub("&#93;", _LINK.sub("&#93;", value))


def _code(value: str) -> str:
    """Inside code, inert even where a renderer disagrees about what is code."""
    value = _TAG.sub(f"<{_JOINER}", value).replace("![", f"!{_JOINER}[")
    return _DEFINITION.sub(f"]{_JOINER}", _LINK.sub(f"]{_JOINER}", value))
