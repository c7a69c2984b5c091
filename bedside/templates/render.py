"""A `.jinja` file and messages in; the text and the character spans to train on out.

The environment is the one transformers and vLLM render with, so the text is theirs to the byte (tests compare).
Spans come from two Unicode noncharacters that the generation block puts around its body: they are right wherever
the block stands, and cost nothing.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, NamedTuple

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from bedside.data.conversation import MARKS, RowError

_OPEN, _CLOSE = MARKS


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
    raise _Raised(
        "the template writes today's date, so tomorrow's prompt is not what was trained; pass --template_name"
    )


@lru_cache(maxsize=64)
def compiled(source: str, trusted: bool = False) -> jinja2.Template:
    """The template, compiled; in a sandbox unless it is `trusted` (a model's own template is somebody else's code)."""
    kind = jinja2.Environment if trusted else ImmutableSandboxedEnvironment
    environment = kind(trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals.update(raise_exception=_raise, strftime_now=_no_dates)
    return environment.from_string(source)


def _refuse_marks(messages: Iterable[dict]) -> None:
    for message in messages:
        for text in (message.get("content"), message.get("reasoning_content")):
            if isinstance(text, str) and (_OPEN in text or _CLOSE in text):
                raise RowError("W_SPECIAL", "a message holds U+FDD0 or U+FDD1, which mark trained text here")


def render(
    source: str,
    messages: list[dict],
    tools: list[dict] | None = None,
    add_generation_prompt: bool = False,
    trusted: bool = False,
    **variables: Any,
) -> Rendered:
    """Render `messages`; `variables` are the tokenizer's special tokens and template switches.

    Raises RowError E_TEMPLATE when the template refuses the messages, or fails on them.
    """
    _refuse_marks(messages)
    try:
        text = compiled(source, trusted).render(
            messages=messages, tools=tools, documents=None, add_generation_prompt=add_generation_prompt, **variables
        )
    except _Raised as refusal:
        raise RowError("E_TEMPLATE", str(refusal)) from None
    except jinja2.TemplateError as error:
        raise RowError("E_TEMPLATE", f"the template fails on this row: {error}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError, RecursionError) as error:
        # Code of a template fails like any code does; its words may quote the row, so only the kind is told.
        raise RowError("E_TEMPLATE", f"the template fails on this row ({type(error).__name__})") from None
    return _without_marks(text)


def _without_marks(text: str) -> Rendered:
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
