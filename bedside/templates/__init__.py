"""The template registry: one row and one `.jinja` file a name.

The file is read by training, saved with the checkpoint (`chat_template.jinja`), read by transformers'
`apply_chat_template`, and passed to vLLM: what is served is what was trained. docs/templates.md tells how to add one.
"""

import difflib
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from bedside.errors import ConfigError
from bedside.templates.rows import ROWS, STAND_INS
from bedside.templates.template import TOOL_FORMATS, Template, body_of, format_of, with_tool_format

__all__ = ["REGISTRY", "STAND_INS", "TOOL_FORMATS", "Template", "fitting", "get", "own", "single_pass", "turn_end_of",
           "turn_ends_of"]  # fmt: skip

REGISTRY: dict[str, Template] = {row.name: row for row in ROWS}
_BY_NAME = {name: row for row in ROWS for name in (row.name, *row.aliases)}


def get(name: str, tool_format: str | None = None) -> Template:
    """The template called `name` (or an alias), with its own tool format or another; ConfigError for unknown names."""
    name = STAND_INS[name][0] if name in STAND_INS else name
    if name not in _BY_NAME:
        near = difflib.get_close_matches(name.lower(), (*_BY_NAME, *STAND_INS), n=1)
        hint = f"did you mean {near[0]}? " if near else f"known: {', '.join(REGISTRY)}. "
        raise ConfigError(
            f"--template_name {name}: no such template; {hint}(python -m bedside.templates list tells what each is "
            "for, docs/templates.md how to add one)"
        )
    row = _BY_NAME[name]
    return row if tool_format in (None, row.tool_format) else with_tool_format(row, tool_format)


def own(source: str) -> Template:
    """A model's own chat template as a row: it ends turns with the tokenizer's EOS; thinking is read off its text.

    A registered file, with whatever tool format, is recognised as the row that it is.
    """
    body, tool_format = body_of(source), format_of(source)
    for row in ROWS:
        if tool_format and body_of(row.source) == body:
            kept = None if tool_format == "none" else tool_format
            return row if kept == row.tool_format else replace(row, source=source, tool_format=kept)
    thinks = any(word in source for word in ("reasoning", "thinking", "</think>"))
    return Template("the model's own", source, thinking="hybrid" if thinks else "none")


def fitting(has_token: Callable[[str], bool]) -> list[str]:
    """Names of the templates that a tokenizer has the tokens for, those of its family first."""
    fits = [row for row in ROWS if all(map(has_token, row.required_tokens))]
    return [row.name for row in sorted(fits, key=lambda row: not row.required_tokens)]


def turn_end_of(template: Template, special_tokens: dict[str, str]) -> str:
    """The text that ends an assistant turn, with this tokenizer's EOS filled in."""
    return special_tokens.get("eos_token", "") if template.turn_end == "eos_token" else template.turn_end


def turn_ends_of(template: Template, special_tokens: dict[str, str]) -> tuple[str, ...]:
    """Every text that may end an assistant turn: the turn end, and other stops (a call of a tool may end with one)."""
    return tuple(text for text in (turn_end_of(template, special_tokens), *template.extra_stops) if text)


_PROBE = [
    {"role": "user", "content": "a?"},
    {"role": "assistant", "content": "b.", "reasoning_content": "c"},
    {"role": "user", "content": "d?"},
    {"role": "assistant", "content": "e.", "reasoning_content": "f"},
]


@lru_cache(maxsize=64)
def single_pass(template: Template) -> bool:
    """True if an answer reads the same as the last turn and as history, so that one pass trains every turn.

    Thinking templates drop the thoughts of earlier turns: there, a chat of N turns has to become N samples.
    """
    tokens = {"bos_token": "<bos>", "eos_token": "<eos>"}
    first, both = (template.render(_PROBE[:end], **tokens) for end in (2, 4))
    if not first.spans or len(both.spans) != 2:
        return False
    end = first.spans[0][1]
    return both.spans[0] == first.spans[0] and both.text[:end] == first.text[:end]
