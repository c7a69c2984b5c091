"""A `.jinja` file and messages in; the text and the character spans to train on out.

The environment is the one transformers and vLLM render with, so the text is theirs to the byte (tests compare).
Spans come from two Unicode noncharacters that the generation block puts around its body: they are right wherever
the block stands, and cost nothing.
"""

import json
from functools import lru_cache
from typing import Any, NamedTuple

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bedside.data.conversation import RowError

_OPEN, _CLOSE = "\ufdd0", "\ufdd1"


class Rendered(NamedTuple):
    """The text of a chat and the `[start, end)` character spans of its assistant turns, in order."""

    text: str
    spans: list[tuple[int, int]]


class _Generation(Extension):
    tags = {"generation"}

    def parse(self, parser: jinja2.parser.Parser) -> list[jinja2.nodes.Node]:
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        # A scope of its own, as transformers gives it: a name set inside is unknown after the block.
        scope = jinja2.nodes.Scope(body).set_lineno(line)
        return [_output(_OPEN, line), scope, _output(_CLOSE, line)]


def _output(text: str, line: int) -> jinja2.nodes.Node:
    return jinja2.nodes.Output([jinja2.nodes.TemplateData(text)]).set_lineno(line)


class _Raised(Exception):
    """The template called raise_exception."""


def _raise(message: str) -> None:
    raise _Raised(message)


def _tojson(value: Any, ensure_ascii: bool = False, indent=None, separators=None, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _no_dates(_format: str) -> str:
    raise _Raised("the template writes today's date, so tomorrow's prompt is not what was trained; pass --template_name")


@lru_cache(maxsize=64)
def compiled(source: str) -> jinja2.Template:
    """The template, compiled in a sandbox (a model's own template is somebody else's code)."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_raise, strftime_now=_no_dates)
    return environment.from_string(source)


def render(
    source: str,
    messages: list[dict],
    tools: list[dict] | None = None,
    add_generation_prompt: bool = False,
    **variables: Any,
) -> Rendered:
    """Render `messages`; `variables` are the tokenizer's special tokens and template switches.

    Raises RowError E_TEMPLATE when the template refuses the messages.
    """
    try:
        text = compiled(source).render(
            messages=messages, tools=tools, documents=None, add_generation_prompt=add_generation_prompt, **variables
        )
    except _Raised as refusal:
        raise RowError("E_TEMPLATE", str(refusal)) from None
    except jinja2.TemplateError as error:
        raise RowError("E_TEMPLATE", f"the template fails on this row: {error}") from None
    if _OPEN not in text:
        return Rendered(text, [])
    pieces, spans, position = [], [], 0
    for number, piece in enumerate(text.split(_OPEN)):
        if number:
            inside, _, piece_after = piece.partition(_CLOSE)
            spans.append((position, position + len(inside)))
            piece = inside + piece_after
        pieces.append(piece)
        position += len(piece)
    return Rendered("".join(pieces), spans)
